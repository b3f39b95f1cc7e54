/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk from the leaf outward. What holds for every backend is checked here,
 * in one place, so that no backend can invent a frame:
 *
 *   - a caller's PC lies in an executable mapping;
 *   - SP rises with every frame, but perhaps the first. It may go anywhere at a
 *     signal frame (the handler may have had a stack of its own) and where a
 *     backend knows of a stack switch, but only so many times: hence every walk
 *     ends;
 *   - PC 0 is the end-of-stack marker, whoever finds it.
 *
 * A return address is looked up one byte before itself. The call may be the
 * last instruction of its function, or of its mapping.
 */
#include "unwind/unwind.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "unwind/backend.h"

struct method {
	/* Asked in this order; NULL: no more. */
	const struct unwind_backend *backend[UNWIND_MAX_BACKENDS];
	/* The first leaves registers behind. A stack that needs one is walked again
	 * with the second asked before the first. */
	bool first_drops;
};

static const struct method methods[UNWIND_NMETHODS] = {
        [UNWIND_AUTO] = {.backend = {&unwind_backend_rules, &unwind_backend_libunwind,
                                     &unwind_backend_sigreturn, &unwind_backend_complex,
                                     &unwind_backend_go, &unwind_backend_read_code,
                                     &unwind_backend_read_ahead,
                                     &unwind_backend_frame_pointer},
                         .first_drops = true},
        [UNWIND_RULES] = {.backend = {&unwind_backend_rules, &unwind_backend_sigreturn,
                                      &unwind_backend_complex, &unwind_backend_go,
                                      &unwind_backend_read_code, &unwind_backend_read_ahead,
                                      &unwind_backend_frame_pointer}},
        [UNWIND_FP] = {.backend = {&unwind_backend_sigreturn,
                                   &unwind_backend_frame_pointer}},
        [UNWIND_LIBUNWIND] = {.backend = {&unwind_backend_libunwind}},
        [UNWIND_TRACKING] = {.backend = {&unwind_backend_libunwind, &unwind_backend_rules,
                                         &unwind_backend_sigreturn, &unwind_backend_complex,
                                         &unwind_backend_go, &unwind_backend_read_code,
                                         &unwind_backend_read_ahead,
                                         &unwind_backend_frame_pointer}},
};

struct unwinder {
	const struct method *method;
	struct unwind_tables tables;
	void *state[UNWIND_MAX_BACKENDS];
	uint64_t nframes[UNWIND_MAX_BACKENDS]; /* that each found the caller of */
	uint64_t nstacks;
	uint64_t nagain;
};

const char *unwind_end_text(enum unwind_end end)
{
	static const char *const text[UNWIND_NENDS] = {
	        [UNWIND_END_MARKER] = "reached the end",
	        [UNWIND_END_NO_INFO] = "no unwind data",
	        [UNWIND_END_WINDOW] = "cut short by the stack copy",
	        [UNWIND_END_MEMORY] = "unreadable memory",
	        [UNWIND_END_REGISTER] = "unknown register",
	        [UNWIND_END_BAD_PC] = "return address outside of any code",
	        [UNWIND_END_DEPTH] = "too deep",
	        [UNWIND_END_LOOP] = "stack pointer does not rise",
	};

	return end < UNWIND_NENDS ? text[end] : "?";
}

struct unwinder *unwinder_new(enum unwind_method method)
{
	struct unwinder *unwinder = xcalloc(1, sizeof *unwinder);

	unwinder->method = &methods[method];
	for (size_t i = 0; i < UNWIND_MAX_BACKENDS; i++) {
		const struct unwind_backend *backend = unwinder->method->backend[i];

		if (backend != NULL && backend->state_new != NULL)
			unwinder->state[i] = backend->state_new();
	}
	return unwinder;
}

void unwinder_free(struct unwinder *unwinder)
{
	if (unwinder == NULL)
		return;
	for (size_t i = 0; i < UNWIND_MAX_BACKENDS; i++) {
		const struct unwind_backend *backend = unwinder->method->backend[i];

		if (backend != NULL && backend->state_free != NULL)
			backend->state_free(unwinder->state[i]);
	}
	unwind_tables_fini(&unwinder->tables);
	free(unwinder);
}

void unwinder_forget(struct unwinder *unwinder, const struct space *space)
{
	for (size_t i = 0; i < UNWIND_MAX_BACKENDS; i++) {
		const struct unwind_backend *backend = unwinder->method->backend[i];

		if (backend != NULL && backend->forget != NULL)
			backend->forget(unwinder->state[i], space);
	}
}

static void walk_begin(struct walk *walk, struct unwinder *unwinder, struct space *space,
                       const struct snapshot *snap, const struct unwind_demand *demand)
{
	uint64_t sp = snap->regs.r[ARCH_REG_SP];

	*walk = (struct walk){.space = space,
	                      .tables = &unwinder->tables,
	                      .snap = snap,
	                      .demand = demand,
	                      .regs = snap->regs};
	walk->base = sp < ARCH_RED_ZONE ? 0 : sp - ARCH_RED_ZONE;
	walk->window_end = walk->base;
	if (snap->nsegments > 0 && snap->segment[0].addr <= walk->base &&
	    walk->base - snap->segment[0].addr <= snap->segment[0].len)
		walk->window_end = snap->segment[0].addr + snap->segment[0].len;
	walk->high = walk->base;
	walk->frame = (struct frame){
	        .pc = snap->regs.r[ARCH_REG_PC], .exact = true, .how = FRAME_REGISTERS};
	walk->frame.where = space_find(space, walk->frame.pc);
}

/* Asks the backends in turn; `again`: the first two in the other order. */
static enum unwind_verdict ask(struct unwinder *unwinder, bool again, struct walk *walk,
                               struct unwind_step *step)
{
	walk->complex = walk->no_trampoline = false;
	for (size_t n = 0; n < UNWIND_MAX_BACKENDS; n++) {
		size_t i = again && n < 2 ? 1 - n : n;
		const struct unwind_backend *backend = unwinder->method->backend[i];
		enum unwind_verdict verdict;

		if (backend == NULL)
			break;
		memset(step, 0, sizeof *step);
		walk->refusal = WALK_REFUSED_NOTHING;
		verdict = backend->step(unwinder->state[i], walk, step);
		unwinder->nframes[i] += verdict == UNWIND_CALLER;
		if (verdict != UNWIND_PASS)
			return verdict;
	}
	step->end = UNWIND_END_NO_INFO;
	return UNWIND_STOP;
}

/*
 * Whether the caller's SP is above this frame's, or may be elsewhere. It is the same
 * where a function, interrupted, has popped its return address to jump to it; as
 * its caller has called, that happens once.
 */
static bool check_sp(struct walk *walk, const struct unwind_step *step)
{
	uint64_t sp = walk->regs.r[ARCH_REG_SP], above = step->regs.r[ARCH_REG_SP];

	if (above > sp || (above == sp && walk->frame.exact && !step->exact))
		return true;
	return step->other_stack && ++walk->switches <= WALK_MAX_SWITCHES;
}

/* Callers are often in the same mapping. */
static struct space_map *find_map(struct walk *walk, uint64_t addr)
{
	struct space_map *here = walk->frame.where;

	if (addr >= here->map.start && addr < here->map.end)
		return here;
	return space_find(walk->space, addr);
}

/* Moves the walk to the caller. False when the stack ends here: *end says why. */
static bool walk_step(struct unwinder *unwinder, bool again, struct walk *walk,
                      enum unwind_end *end)
{
	struct unwind_step step;
	struct frame caller = {0};

	if (ask(unwinder, again, walk, &step) == UNWIND_STOP) {
		walk->frame.exact |= step.never_called;
		*end = step.end;
		return false;
	}
	assert(regs_has(&step.regs, ARCH_REG_PC) && regs_has(&step.regs, ARCH_REG_SP));
	caller.pc = step.regs.r[ARCH_REG_PC];
	caller.exact = step.exact;
	caller.how = step.how;
	if (caller.pc == 0) {
		*end = UNWIND_END_MARKER;
		return false;
	}
	if (!check_sp(walk, &step)) {
		*end = UNWIND_END_LOOP;
		return false;
	}
	caller.where = find_map(walk, caller.exact ? caller.pc : caller.pc - 1);
	if (caller.where == NULL && unwind_is_sigreturn(walk, caller.pc))
		caller.where = space_find(walk->space, caller.pc);
	if (caller.where == NULL) {
		*end = UNWIND_END_BAD_PC;
		return false;
	}
	walk->regs = step.regs;
	walk->frame = caller;
	return true;
}

struct unwind_stats unwinder_stats(const struct unwinder *unwinder)
{
	struct unwind_stats stats = {.nstacks = unwinder->nstacks,
	                             .nagain = unwinder->nagain};

	for (size_t i = 0; i < UNWIND_MAX_BACKENDS; i++) {
		const struct unwind_backend *backend = unwinder->method->backend[i];

		stats.backend[i].name = backend != NULL ? backend->name : NULL;
		stats.backend[i].nframes = unwinder->nframes[i];
	}
	return stats;
}

/* The whole walk. */
static struct unwind_result run(struct unwinder *unwinder, bool again, struct walk *walk,
                                struct frame *frames, size_t max)
{
	struct unwind_result result = {.nframes = 1, .end = UNWIND_END_BAD_PC};

	frames[0] = walk->frame;
	if (!regs_has(&walk->regs, ARCH_REG_PC) || !regs_has(&walk->regs, ARCH_REG_SP))
		result.end = UNWIND_END_REGISTER;
	else if (walk->frame.where != NULL)
		while (walk_step(unwinder, again, walk, &result.end)) {
			if (result.nframes == max) {
				result.end = UNWIND_END_DEPTH;
				break;
			}
			/* Nothing called the trampoline that led here. */
			if (walk->frame.how == FRAME_SIGNAL)
				frames[result.nframes - 1].exact = true;
			frames[result.nframes++] = walk->frame;
		}
	/* It may have turned out to be exact. */
	if (result.end == UNWIND_END_MARKER)
		frames[result.nframes - 1] = walk->frame;
	result.stack_used = walk->high - walk->base;
	return result;
}

struct unwind_result unwinder_run(struct unwinder *unwinder, struct space *space,
                                  const struct snapshot *snap,
                                  const struct unwind_demand *demand, struct frame *frames,
                                  size_t max)
{
	struct unwind_result result;
	struct walk walk;

	assert(max > 0);
	unwinder->nstacks++;
	walk_begin(&walk, unwinder, space, snap, demand);
	result = run(unwinder, false, &walk, frames, max);
	if (result.end == UNWIND_END_REGISTER && walk.dropped &&
	    unwinder->method->first_drops) {
		unwinder->nagain++;
		walk_begin(&walk, unwinder, space, snap, demand);
		result = run(unwinder, true, &walk, frames, max);
	}
	return result;
}
