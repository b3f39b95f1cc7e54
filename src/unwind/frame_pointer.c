/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frame pointers, for code without unwind data: Go, JIT compilers, assembly.
 *
 * A function that keeps one begins with `push %rbp; mov %rsp,%rbp`. From then on
 * RBP points to the caller's RBP, and the return address lies above it. Nothing
 * marks code that does so, and RBP may as well hold any number, so a caller is
 * believed only if the return address found lies in executable memory behind a
 * call instruction (where the code is of a file), and the place it was found at
 * lies above SP.
 *
 * At the leaf, or where a signal interrupted, the function may not have set up
 * its frame yet, or have taken it down: RBP is then the caller's, and the chain
 * would skip the caller. The instructions at PC tell, and where the return
 * address then lies (the table below). Code of no file is read from the process,
 * though the thread has gone on by then: functions seldom move within
 * milliseconds, and what they are taken for must still be true of the stack.
 *
 * The chain ends where RBP is 0 (psABI 3.4.1: a process begins so; Go's
 * goroutines do, too). Go crosses from one stack to another with RBP unchanged
 * (systemstack, mcall, morestack: from the thread's stack to a goroutine's), so
 * for Go code, RBP may point elsewhere. Which Go code comes here: go.c.
 */
#include "unwind/backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "module/module.h"
#include "unwind/believe.h"
#include "unwind/insn.h"

/* Enough for what the table looks at, and for what V8 does before it sets up a frame. */
#define BEFORE 8
#define AFTER  32

/* How far up a return address would tell that RBP 0 is not the end. */
#define END_WORDS 64

struct state {
	struct believer believer;
};

/* Code around PC; what is not readable is 0 bytes of it. */
struct code_bytes {
	uint8_t bytes[BEFORE + AFTER];
	size_t nafter; /* of them from PC on; 0: nothing is known */
};

static const uint8_t *at_pc(const struct code_bytes *code)
{
	return code->bytes + BEFORE;
}

static void read_code(struct walk *walk, uint64_t pc, struct code_bytes *code)
{
	const struct space_map *where = walk->frame.where;
	size_t before = pc - where->map.start, len = where->map.end - pc;

	memset(code, 0, sizeof *code);
	before = before < BEFORE ? before : BEFORE;
	len = len < AFTER ? len : AFTER;
	if (where->module == NULL) {
		/* It is there up to its mapping's end, or not at all. */
		if (walk_read_code_now(walk, pc - before, code->bytes + BEFORE - before,
		                       before + len))
			code->nafter = len;
		return;
	}
	(void)walk_read_text(walk, pc - before, code->bytes + BEFORE - before, before);
	for (; len > 0 && code->nafter == 0; len--)
		if (walk_read_text(walk, pc, code->bytes + BEFORE, len))
			code->nafter = len;
}

/* Where a frame that is not set up has its return address. */
enum slot {
	SLOT_SP,     /* at SP */
	SLOT_PUSHED, /* at SP + 8, and the caller's RBP at SP */
};

/*
 * Instructions that stand where the frame is not set up. `code` begins `before`
 * bytes in front of PC.
 */
struct position {
	uint8_t before;
	uint8_t len;
	uint8_t code[9];
	enum slot slot;
};

static const struct position positions[] = {
        /* push %rbp; mov %rsp,%rbp, in both encodings of mov: in between */
        {1, 4, {0x55, 0x48, 0x89, 0xe5}, SLOT_PUSHED},
        {1, 4, {0x55, 0x48, 0x8b, 0xec}, SLOT_PUSHED},
        /* endbr64; push %rbp */
        {0, 5, {0xf3, 0x0f, 0x1e, 0xfa, 0x55}, SLOT_SP},
        /* ret; rep ret; ret $n */
        {0, 1, {0xc3}, SLOT_SP},
        {0, 2, {0xf3, 0xc3}, SLOT_SP},
        {0, 1, {0xc2}, SLOT_SP},
        /* jmp *GOT(%rip), push $n, jmp: a PLT entry's three instructions */
        {0, 2, {0xff, 0x25}, SLOT_SP},
        {0, 3, {0xf2, 0xff, 0x25}, SLOT_SP},
        {0, 6, {0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25}, SLOT_SP},
        {0, 7, {0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25}, SLOT_SP},
};

/*
 * Code that gets to `push %rbp; mov %rsp,%rbp` without a detour has not set up its
 * frame. V8's functions first look whether they are still good:
 *
 *     mov -0x8(%rcx),%rbx; testb $1,0x35(%rbx); jne …; push %rbp; mov %rsp,%rbp
 */
static bool is_before_frame(const struct code_bytes *code)
{
	size_t pos = 0;

	while (pos < code->nafter) {
		struct insn insn = insn_read(at_pc(code) + pos, code->nafter - pos);

		pos += insn.len;
		if (insn.kind == INSN_PUSH_RBP) {
			insn = insn_read(at_pc(code) + pos, code->nafter - pos);
			return insn.kind == INSN_SET_RBP && insn.value == 0;
		}
		if (insn.kind != INSN_OTHER && insn.kind != INSN_NOP &&
		    insn.kind != INSN_BRANCH)
			return false;
	}
	return false;
}

static const struct position *find_position(const struct code_bytes *code)
{
	static const struct position not_begun = {.slot = SLOT_SP};

	for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
		const struct position *p = &positions[i];

		if (memcmp(at_pc(code) - p->before, p->code, p->len) == 0)
			return p;
	}
	return is_before_frame(code) ? &not_begun : NULL;
}

static bool is_go(const struct space_map *where)
{
	return where->module != NULL && module_is_go(where->module);
}

/* What was found to be the caller. */
struct caller {
	uint64_t ra;
	uint64_t fp;
	uint64_t sp;
};

static bool believe(struct state *state, struct walk *walk, const struct caller *caller)
{
	/* runtime.goexit, where goroutines return to, is never called: its first
	 * instruction is there to be skipped. */
	return believer_accepts(&state->believer, walk, caller->ra, caller->fp == 0);
}

/* The caller of a frame that is not set up; false if nothing says that it is not. */
static bool leaf_caller(struct state *state, struct walk *walk, struct caller *caller)
{
	uint64_t sp = walk->regs.r[ARCH_REG_SP], slot = sp;
	const struct position *p;
	struct code_bytes code;

	read_code(walk, walk->frame.pc, &code);
	p = find_position(&code);
	if (code.nafter == 0 || p == NULL || !regs_has(&walk->regs, ARCH_REG_FP))
		return false;
	caller->fp = walk->regs.r[ARCH_REG_FP];
	if (p->slot == SLOT_PUSHED) {
		slot = sp + 8;
		if (!walk_read_word(walk, sp, &caller->fp))
			return false;
	}
	caller->sp = slot + 8;
	return slot >= sp && walk_read_word(walk, slot, &caller->ra) &&
	       believe(state, walk, caller);
}

static void take(struct unwind_step *step, const struct caller *caller, bool other_stack)
{
	/* Any other register may have been changed by the frame that is left. */
	regs_set(&step->regs, ARCH_REG_FP, caller->fp);
	regs_set(&step->regs, ARCH_REG_SP, caller->sp);
	regs_set(&step->regs, ARCH_REG_PC, caller->ra);
	step->how = FRAME_POINTER;
	step->other_stack = other_stack;
}

static enum unwind_verdict stop(struct unwind_step *step, enum unwind_end end)
{
	step->end = end;
	return UNWIND_STOP;
}

/* Whether RBP 0 may be the end: in code that keeps no frame pointer, a register
 * that is 0 says nothing, but then there is a return address further up. */
static bool may_be_end(struct state *state, struct walk *walk)
{
	uint64_t sp = walk->regs.r[ARCH_REG_SP], word;

	if (walk->frame.how == FRAME_POINTER || is_go(walk->frame.where))
		return true;
	for (uint64_t i = 0; i < END_WORDS; i++) {
		if (!snapshot_read(walk->snap, sp + i * 8, &word, sizeof word))
			return true;
		if (word != 0 && believer_accepts(&state->believer, walk, word, false))
			return false;
	}
	return true;
}

/* The caller by the chain of frame pointers. */
static enum unwind_verdict chain_caller(struct state *state, struct walk *walk,
                                        struct unwind_step *step)
{
	uint64_t sp = walk->regs.r[ARCH_REG_SP], fp = walk->regs.r[ARCH_REG_FP];
	bool other_stack;
	struct caller caller = {.sp = fp + 16};
	uint64_t words[2];

	if (!regs_has(&walk->regs, ARCH_REG_FP))
		return stop(step, UNWIND_END_REGISTER);
	if (fp == 0)
		return stop(step, may_be_end(state, walk) ? UNWIND_END_MARKER
		                                          : UNWIND_END_NO_INFO);
	other_stack = is_go(walk->frame.where);
	if (fp % 8 != 0 || (fp < sp && !other_stack))
		return stop(step, UNWIND_END_NO_INFO);
	if (!walk_read(walk, fp, words, sizeof words))
		return stop(step, walk_refusal_end(walk, UNWIND_END_MEMORY));
	caller.fp = words[0];
	caller.ra = words[1];
	if (caller.ra == 0)
		return stop(step, UNWIND_END_MARKER);
	if (!believe(state, walk, &caller))
		return stop(step, UNWIND_END_NO_INFO);
	if (fp < sp && !is_go(space_find(walk->space, caller.ra - 1)))
		return stop(step, UNWIND_END_NO_INFO);
	take(step, &caller, other_stack);
	return UNWIND_CALLER;
}

static enum unwind_verdict frame_pointer_step(void *opaque, struct walk *walk,
                                              struct unwind_step *step)
{
	struct state *state = opaque;
	struct caller caller;

	if (walk->frame.exact && leaf_caller(state, walk, &caller)) {
		take(step, &caller, false);
		return UNWIND_CALLER;
	}
	walk->refusal = WALK_REFUSED_NOTHING;
	return chain_caller(state, walk, step);
}

static void *frame_pointer_state_new(void)
{
	return xcalloc(1, sizeof(struct state));
}

const struct unwind_backend unwind_backend_frame_pointer = {
        .name = "frame-pointer",
        .state_new = frame_pointer_state_new,
        .state_free = free,
        .step = frame_pointer_step,
};
