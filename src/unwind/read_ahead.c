/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that no table describes and of which it is not known where its function
 * begins, by what it will do until it returns (ahead.h). That is JIT code: HotSpot's
 * and others' keeps RBP for other things, and the chain of frame pointers would
 * leave out callers there. And it is what read_code.c cannot make out: functions of
 * stripped programs without unwind tables that are called by pointer.
 *
 * Code that never returns, as an endless loop that was compiled, still tells where
 * its function begins if that makes sure first that the stack is large enough, by
 * a write far below SP, and then pushes RBP.
 *
 * A return address must lie in JIT code, or behind a call in code of a file.
 * Interpreters that are themselves made at run time do not call what they run, but
 * push an address of their own choice and jump.
 *
 * JIT code is read as it is now, though its thread has gone on. What was learned
 * of it holds for a second: it may be thrown away, and other code take its place.
 */
#include "unwind/backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "module/module.h"
#include "unwind/ahead.h"
#include "unwind/believe.h"
#include "unwind/code_step.h"

#define NSLOTS   4096 /* a power of two */
#define VALID_NS 1000000000u

/* What is looked at first: of most functions it is enough. */
#define NEAR_LEN    (4 * 1024)
#define NEAR_BEFORE 512

#define PROBE_LEN 8

/* What was learned of a place in the code of a module or, elsewhere, of a process. */
struct slot {
	const void *owner; /* struct module, struct space; NULL: of nothing */
	uint64_t at;       /* vaddr, address */
	uint64_t time_ns;
	bool is_call; /* `at` is where a call comes back to */
	bool has_rule;
	struct code_rule rule;
};

struct state {
	struct believer believer;
	struct slot slots[NSLOTS];
	uint8_t code[AHEAD_MAX_LEN];
};

static bool is_old(const struct walk *walk, const struct slot *slot)
{
	uint64_t now = walk->snap->time_ns;

	return (now > slot->time_ns ? now - slot->time_ns : slot->time_ns - now) > VALID_NS;
}

static struct slot *find_slot(struct state *state, const struct walk *walk,
                              const struct space_map *where, uint64_t addr)
{
	const void *owner = where->module != NULL ? (const void *)where->module
	                                          : (const void *)walk->space;
	uint64_t at = where->module != NULL ? addr - where->bias : addr;
	struct slot *slot = &state->slots[(at ^ at >> 12) & (NSLOTS - 1)];
	const bool is_call = !walk->frame.exact;

	if (slot->owner != owner || slot->at != at || slot->is_call != is_call ||
	    (where->module == NULL && is_old(walk, slot)))
		*slot = (struct slot){.owner = owner,
		                      .at = at,
		                      .time_ns = walk->snap->time_ns,
		                      .is_call = is_call};
	return slot;
}

/* Where the code that holds an address begins, in the file or in its mapping, and
 * ends; the addresses are those of the process. */
static struct module_range find_code(const struct space_map *where, uint64_t addr)
{
	struct module_range range = {where->map.start, where->map.end};
	const struct module_range *code;
	size_t n;

	if (where->module == NULL)
		return range;
	code = module_code(where->module, &n);
	code = module_range_find(code, n, addr - where->bias);
	if (code == NULL)
		return (struct module_range){addr, addr};
	return (struct module_range){code->start + where->bias, code->end + where->bias};
}

/* So much code at most around PC, of it so much in front; *at is where in state->code
 * PC is. */
static size_t read_around(struct state *state, struct walk *walk, size_t most,
                          size_t before, size_t *at)
{
	const struct space_map *where = walk->frame.where;
	const uint64_t addr = walk->frame.pc;
	struct module_range range = find_code(where, addr);
	size_t len;

	if (addr - range.start > before)
		range.start = addr - before;
	len = range.end - range.start;
	if (len > most)
		len = most;
	*at = addr - range.start;
	if (where->module != NULL)
		return module_read(where->module, range.start - where->bias, state->code,
		                   len);
	return walk_read_code_now(walk, range.start, state->code, len) ? len : 0;
}

/* mov %eax,-n(%rsp); push %rbp: n a multiple of the page's size, no red zone. */
static const uint8_t probe[] = {0x89, 0x84, 0x24, 0};

static bool is_probe(const uint8_t *code)
{
	return memcmp(code, probe, sizeof probe) == 0 && (code[4] & 0x0f) == 0 &&
	       code[6] == 0xff && code[7] == 0x55;
}

/* The last one that ends at `end` or before; NULL if there is none. */
static const uint8_t *find_last_probe(const uint8_t *code, size_t end)
{
	const uint8_t *at = code + end;

	while (at >= code + PROBE_LEN) {
		at = memrchr(code, probe[0], (size_t)(at - code) - (PROBE_LEN - 1));
		if (!at || is_probe(at))
			return at;
		at += PROBE_LEN - 1;
	}
	return NULL;
}

/* One past the code of a function, or of what there is of it. */
static size_t find_end(const uint8_t *code, size_t len, size_t from)
{
	const uint8_t *at = code + from, *end = code + len;

	while ((at = memmem(at, (size_t)(end - at), probe, sizeof probe))) {
		if ((size_t)(end - at) < PROBE_LEN)
			break;
		if (is_probe(at))
			return (size_t)(at - code);
		at++;
	}
	return len;
}

/* By what was done since the function began. */
static struct code_rule look_back(struct walk *walk, const uint8_t *code, size_t len,
                                  size_t at)
{
	const bool is_call = !walk->frame.exact;
	const uint8_t *start = find_last_probe(code, at);
	size_t before;

	if (!start || walk->nread++ >= WALK_MAX_READ)
		return (struct code_rule){.kind = CODE_UNKNOWN};
	before = (size_t)(start - code);
	len = find_end(code, len, at) - before;
	return code_rule_at(start, len, at - before - is_call, is_call, true);
}

static struct code_rule read_rule(struct state *state, struct walk *walk)
{
	const struct frame *frame = &walk->frame;
	struct code_rule rule = {.kind = CODE_UNKNOWN};
	size_t at, len;
	bool more;

	if (walk->nahead++ >= WALK_MAX_AHEAD)
		return rule;
	len = read_around(state, walk, NEAR_LEN, NEAR_BEFORE, &at);
	if (at >= len)
		return rule;
	rule = ahead_rule_at(state->code, len, at, frame->pc, !frame->exact, &more);
	if (rule.kind != CODE_UNKNOWN && !more)
		return rule;
	len = read_around(state, walk, AHEAD_MAX_LEN, AHEAD_BEFORE, &at);
	if (at >= len)
		return rule;
	if (more)
		rule = ahead_rule_at(state->code, len, at, frame->pc, !frame->exact, &more);
	if (rule.kind == CODE_UNKNOWN)
		rule = look_back(walk, state->code, len, at);
	return rule;
}

static enum unwind_verdict take(struct state *state, struct walk *walk,
                                const struct code_rule *rule, struct unwind_step *step)
{
	enum unwind_verdict verdict;

	if (rule->kind == CODE_UNKNOWN || rule->kind == CODE_OUTERMOST)
		return UNWIND_PASS;
	verdict = code_step(walk, rule, step);
	/* A larger copy will show it. */
	if (verdict == UNWIND_STOP && step->end == UNWIND_END_WINDOW)
		return verdict;
	if (verdict != UNWIND_CALLER ||
	    !believer_accepts(&state->believer, walk, step->regs.r[ARCH_REG_PC], false))
		return UNWIND_PASS;
	return UNWIND_CALLER;
}

static enum unwind_verdict read_ahead_step(void *opaque, struct walk *walk,
                                           struct unwind_step *step)
{
	const struct space_map *where = walk->frame.where;
	struct state *state = opaque;
	struct slot *slot;

	/* Go has tables of its own, and stacks of its own. */
	if ((where->module != NULL && module_is_go(where->module)) ||
	    walk->frame.pc >= where->map.end)
		return UNWIND_PASS;
	slot = find_slot(state, walk, where, walk->frame.pc);
	if (!slot->has_rule) {
		slot->rule = read_rule(state, walk);
		/* Else the next stack may say more. */
		slot->has_rule = walk->nahead < WALK_MAX_AHEAD &&
		                 walk->nread < WALK_MAX_READ;
	}
	return take(state, walk, &slot->rule, step);
}

static void read_ahead_forget(void *opaque, const struct space *space)
{
	struct state *state = opaque;

	for (size_t i = 0; i < NSLOTS; i++)
		if (state->slots[i].owner == space)
			state->slots[i].owner = NULL;
}

static void *read_ahead_state_new(void)
{
	return xcalloc(1, sizeof(struct state));
}

const struct unwind_backend unwind_backend_read_ahead = {
        .name = "ahead",
        .state_new = read_ahead_state_new,
        .state_free = free,
        .forget = read_ahead_forget,
        .step = read_ahead_step,
};
