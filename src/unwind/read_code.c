/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code of a file that no table describes: C libraries and programs built without
 * unwind tables and without frame pointers (musl is), hand-written assembly. What
 * its functions have pushed is read off the code itself (code.h). That needs
 * to know where the function begins:
 *
 *   - a symbol says so; or
 *   - the stack does. A word on it that points behind a direct call names the
 *     function that was called there. If from that function's beginning the code
 *     leads to PC, and leaves the return address exactly where that word was
 *     found, then the word is the return address, and the function begins there; or
 *   - the code looks like it (functions_guess): what is there is reached by calls
 *     alone, and saves registers first.
 *
 * In either case the caller must be behind a call instruction. What was learned
 * of a place in the code is kept, as rules are, for as long as the module lives.
 */
#include "unwind/backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "unwind/believe.h"
#include "unwind/code.h"
#include "unwind/code_step.h"
#include "unwind/functions.h"

#define NSLOTS 4096 /* a power of two */

/* How far up the stack a return address is looked for, how far in front of PC its
 * function may begin, and how often that is tried. */
#define MAX_WORDS  512
#define MAX_BEFORE (16 * 1024)
#define MAX_TRIES  4

struct slot {
	const struct module *module;
	uint64_t vaddr; /* to look up */
	bool is_call;
	struct code_rule rule;
};

struct state {
	struct believer believer;
	struct slot slots[NSLOTS];
	uint8_t code[CODE_MAX_LEN];
};

/* What the code from a function's beginning on makes of a place in it. */
static struct code_rule read_rule(struct state *state, struct walk *walk,
                                  struct module_range range, bool follow_tables)
{
	const struct space_map *where = walk->frame.where;
	uint64_t vaddr = walk_lookup_pc(walk) - where->bias;
	size_t len = range.end - range.start;

	if (walk->nread++ >= WALK_MAX_READ)
		return (struct code_rule){.kind = CODE_UNKNOWN};
	if (len > CODE_MAX_LEN)
		len = CODE_MAX_LEN;
	len = module_read(where->module, range.start, state->code, len);
	return code_rule_at(state->code, len, vaddr - range.start, !walk->frame.exact,
	                    follow_tables);
}

/* The vaddr that the direct call in front of a return address goes to, if it is of
 * the same module. */
static bool called_at(struct walk *walk, uint64_t ra, uint64_t *vaddr)
{
	const struct space_map *where = space_find(walk->space, ra - 1);
	uint8_t call[5];
	int32_t distance;

	if (where == NULL || where->module != walk->frame.where->module ||
	    !walk_read_text(walk, ra - sizeof call, call, sizeof call) || call[0] != 0xe8)
		return false;
	memcpy(&distance, call + 1, sizeof distance);
	*vaddr = ra + (uint64_t)(int64_t)distance - where->bias;
	return true;
}

/* The function by what the stack says of it. */
static struct code_rule search_stack(struct state *state, struct walk *walk)
{
	uint64_t vaddr = walk_lookup_pc(walk) - walk->frame.where->bias;
	struct code_rule rule = {.kind = CODE_UNKNOWN};
	struct module *module = walk->frame.where->module;
	unsigned tries = 0;

	for (int32_t i = 0; i < MAX_WORDS && tries < MAX_TRIES; i++) {
		uint64_t word, start;

		if (!snapshot_read(walk->snap, walk->regs.r[ARCH_REG_SP] + (uint64_t)i * 8,
		                   &word, sizeof word))
			break;
		if (!called_at(walk, word, &start) || start > vaddr ||
		    vaddr - start > MAX_BEFORE)
			continue;
		tries++;
		rule = read_rule(
		        state, walk,
		        (struct module_range){start, functions_guess_end(module, vaddr)},
		        true);
		if (rule.kind == CODE_FROM_SP && rule.cfa == (i + 1) * 8)
			return rule;
	}
	rule.kind = CODE_UNKNOWN;
	return rule;
}

/* The function by how its code begins. Where it ends is not known, so what is only
 * reached through a table of addresses may be another function. */
static struct code_rule guess_function(struct state *state, struct walk *walk)
{
	struct module *module = walk->frame.where->module;
	uint64_t vaddr = walk_lookup_pc(walk) - walk->frame.where->bias, start;

	if (!functions_guess(module, vaddr, &start))
		return (struct code_rule){.kind = CODE_UNKNOWN};
	return read_rule(state, walk,
	                 (struct module_range){start, functions_guess_end(module, vaddr)},
	                 false);
}

static struct code_rule find_rule(struct state *state, struct walk *walk)
{
	struct module *module = walk->frame.where->module;
	uint64_t vaddr = walk_lookup_pc(walk) - walk->frame.where->bias;
	struct slot *slot = &state->slots[(vaddr ^ vaddr >> 12) & (NSLOTS - 1)];
	const bool is_call = !walk->frame.exact;
	struct module_range range;
	struct code_rule rule;

	if (slot->module == module && slot->vaddr == vaddr && slot->is_call == is_call)
		return slot->rule;
	if (module_function(module, vaddr, &range)) {
		rule = read_rule(state, walk, range, true);
		if (walk->nread > WALK_MAX_READ)
			return rule;
	} else {
		rule = search_stack(state, walk);
		if (rule.kind == CODE_UNKNOWN)
			rule = guess_function(state, walk);
		/* The next stack may say more. */
		if (rule.kind == CODE_UNKNOWN)
			return rule;
	}
	*slot = (struct slot){module, vaddr, is_call, rule};
	return rule;
}

/* Whether this is where the kernel or the dynamic linker let the program begin: what
 * lies on the stack there are arguments. */
static bool is_entry(struct walk *walk)
{
	const struct space_map *where = walk->frame.where;
	uint64_t entry = module_entry(where->module);
	struct module_range range;

	return entry != 0 &&
	       module_function(where->module, walk_lookup_pc(walk) - where->bias, &range) &&
	       range.start == entry;
}

/* Whether a new thread stands where clone() has let it begin: beside its creator,
 * which comes back from there with a number. */
static bool is_newborn(struct walk *walk)
{
	uint8_t before[ARCH_CLONE_LEN];

	return walk->frame.how == FRAME_REGISTERS &&
	       walk_read_text(walk, walk->frame.pc - sizeof before, before,
	                      sizeof before) &&
	       arch_is_newborn(&walk->regs, before, sizeof before);
}

static enum unwind_verdict read_code_step(void *opaque, struct walk *walk,
                                          struct unwind_step *step)
{
	const struct space_map *where = walk->frame.where;
	struct state *state = opaque;
	enum unwind_verdict verdict;
	struct code_rule rule;

	/* Go has tables of its own, and stacks of its own. */
	if (where->module == NULL || module_is_go(where->module))
		return UNWIND_PASS;
	rule = find_rule(state, walk);
	step->end = UNWIND_END_MARKER;
	switch ((enum code_kind)rule.kind) {
	case CODE_UNKNOWN:
		return is_newborn(walk) ? UNWIND_STOP : UNWIND_PASS;
	case CODE_OUTERMOST:
		return UNWIND_STOP;
	case CODE_FROM_SP:
	case CODE_FROM_FP:
		break;
	}
	verdict = code_step(walk, &rule, step);
	if (verdict == UNWIND_CALLER &&
	    !believer_accepts(&state->believer, walk, step->regs.r[ARCH_REG_PC], false))
		return is_entry(walk) || is_newborn(walk) ? UNWIND_STOP : UNWIND_PASS;
	return verdict;
}

static void *read_code_state_new(void)
{
	return xcalloc(1, sizeof(struct state));
}

const struct unwind_backend unwind_backend_read_code = {
        .name = "code",
        .state_new = read_code_state_new,
        .state_free = free,
        .step = read_code_step,
};
