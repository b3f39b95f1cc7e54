/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go's text has no call frame information, but its runtime unwinds its own
 * stacks by .gopclntab (pclntab.h), and so can we: it tells how far above SP
 * the return address is, also where RBP is not set up yet. RBP is followed along,
 * for the places below that need it: a function with a frame saves it in the
 * frame's last word, just below the return address.
 *
 * Functions that nothing calls are flagged there as a stack's end (goexit,
 * mstart, rt0_go). RBP would not tell: a new thread's is its creator's.
 * sigtramp is flagged, too, but it returns to the trampoline that returns to
 * what the signal interrupted, and that is of interest.
 *
 * Functions that move SP to another stack are flagged as well. In asmcgocall,
 * which calls C on the thread's own stack, the way back lies on that stack: at
 * SP + 48 the goroutine's descriptor g, whose second word is where the
 * goroutine's stack ends, and at SP + 40 how far below that its SP was (stacks
 * move, so Go keeps no address). Where it was on that stack already, the first
 * is 0 and the second is SP itself. Of the others (systemstack, morestack) only
 * RBP is left: they are passed on to frame_pointer.c.
 *
 * But a thread in the scheduler has let its goroutine go. Another thread may run
 * it by now, and what RBP points to is that one's stack. Go ends its own
 * tracebacks there, at mcall (from where goroutines park) or morestack (from
 * where they are preempted), and so do we.
 *
 * asyncPreempt and sigpanic are entered as if called where a signal came: what
 * they return to was interrupted, it did not call.
 */
#include "unwind/backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/mem.h"
#include "module/pclntab.h"

#define ASMCGOCALL_DEPTH 40
#define ASMCGOCALL_G     48
#define G_STACK_HI       8

struct state {
	struct hashmap tables; /* struct module * -> struct pclntab *, NULL if none */
};

static const struct pclntab *find_table(struct state *state, struct module *module)
{
	uint64_t value;

	if (!hashmap_get(&state->tables, (uintptr_t)module, &value)) {
		struct pclntab *table = xcalloc(1, sizeof *table);

		if (!module_is_go(module) || !pclntab_init(table, module)) {
			free(table);
			table = NULL;
		}
		value = (uintptr_t)table;
		hashmap_put(&state->tables, (uintptr_t)module, value);
	}
	return (const struct pclntab *)(uintptr_t)value;
}

static bool is_named(const struct pclntab_func *func, const char *name)
{
	return strcmp(func->name, name) == 0;
}

/* Whether code of this function no longer runs for a goroutine. */
static bool is_scheduler(const struct pclntab_func *func)
{
	static const char *const names[] = {"runtime.schedule", "runtime.goschedImpl",
	                                    "runtime.preemptPark", "runtime.mcall"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (is_named(func, names[i]))
			return true;
	return false;
}

/* asmcgocall left the goroutine's stack. Its caller's SP, or false. */
static bool goroutine_slot(struct walk *walk, uint64_t *slot)
{
	uint64_t sp = walk->regs.r[ARCH_REG_SP], depth, g, hi;

	if (!walk_read_word(walk, sp + ASMCGOCALL_DEPTH, &depth) ||
	    !walk_read_word(walk, sp + ASMCGOCALL_G, &g))
		return false;
	if (g == 0)
		*slot = depth;
	else if (walk_read_word(walk, g + G_STACK_HI, &hi))
		*slot = hi - depth;
	else
		return false;
	return true;
}

/* Fills the caller's registers, given where its return address is. */
static enum unwind_verdict take(struct walk *walk, uint64_t slot, struct unwind_step *step)
{
	uint64_t fp = walk->regs.r[ARCH_REG_FP], ra;
	bool have_fp = regs_has(&walk->regs, ARCH_REG_FP);

	if (!walk_read_word(walk, slot, &ra)) {
		step->end = walk_refusal_end(walk, UNWIND_END_MEMORY);
		return UNWIND_STOP;
	}
	if (have_fp && fp == slot - 8)
		have_fp = walk_read_word(walk, fp, &fp);
	if (have_fp)
		regs_set(&step->regs, ARCH_REG_FP, fp);
	regs_set(&step->regs, ARCH_REG_SP, slot + 8);
	regs_set(&step->regs, ARCH_REG_PC, ra);
	step->how = FRAME_GO;
	return UNWIND_CALLER;
}

/* A function flagged as a stack's end, unless it is a signal handler's entry. */
static enum unwind_verdict at_top(struct walk *walk, uint64_t slot,
                                  struct unwind_step *step)
{
	uint64_t ra;

	if (walk_read_word(walk, slot, &ra) && unwind_is_sigreturn(walk, ra))
		return take(walk, slot, step);
	step->end = UNWIND_END_MARKER;
	return UNWIND_STOP;
}

static enum unwind_verdict across_asmcgocall(struct walk *walk, struct unwind_step *step)
{
	enum unwind_verdict verdict;
	uint64_t slot;

	if (!goroutine_slot(walk, &slot)) {
		step->end = walk_refusal_end(walk, UNWIND_END_MEMORY);
		return UNWIND_STOP;
	}
	verdict = take(walk, slot, step);
	step->other_stack = true;
	return verdict;
}

static enum unwind_verdict go_step(void *opaque, struct walk *walk,
                                   struct unwind_step *step)
{
	const struct space_map *where = walk->frame.where;
	uint64_t vaddr = walk_lookup_pc(walk) - where->bias, delta;
	enum unwind_verdict verdict;
	const struct pclntab *table;
	struct pclntab_func func;

	if (where->module == NULL)
		return UNWIND_PASS;
	table = find_table(opaque, where->module);
	if (table == NULL || !pclntab_find(table, vaddr, &func))
		return UNWIND_PASS;
	if (is_named(&func, "runtime.asmcgocall") && !walk->frame.exact)
		return across_asmcgocall(walk, step);
	walk->left_goroutine |= is_scheduler(&func);
	if (func.writes_sp && walk->left_goroutine && !walk->frame.exact) {
		step->end = UNWIND_END_MARKER;
		return UNWIND_STOP;
	}
	if (func.writes_sp || !pclntab_sp_delta(table, &func, vaddr, &delta))
		return UNWIND_PASS;
	if (func.is_top)
		return at_top(walk, walk->regs.r[ARCH_REG_SP] + delta, step);
	verdict = take(walk, walk->regs.r[ARCH_REG_SP] + delta, step);
	step->exact = is_named(&func, "runtime.asyncPreempt") ||
	              is_named(&func, "runtime.sigpanic");
	return verdict;
}

static void *go_state_new(void)
{
	return xcalloc(1, sizeof(struct state));
}

static void go_state_free(void *opaque)
{
	struct state *state = opaque;

	for (size_t i = 0; i < state->tables.nslots; i++)
		if (state->tables.slots[i].used)
			free((struct pclntab *)(uintptr_t)state->tables.slots[i].value);
	hashmap_fini(&state->tables);
	free(state);
}

const struct unwind_backend unwind_backend_go = {
        .name = "go",
        .state_new = go_state_new,
        .state_free = go_state_free,
        .step = go_step,
};
