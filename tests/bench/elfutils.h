/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack of a stopped thread as elfutils' libdw sees it: what eu-stack does,
 * given the same registers and the same memory as ours, at the same stop.
 */
#ifndef TESTS_BENCH_ELFUTILS_H
#define TESTS_BENCH_ELFUTILS_H

#include <elfutils/libdwfl.h>

#include "stops.h"

struct eu_frame {
	uint64_t pc;
	bool exact;
};

struct eu_stack {
	struct eu_frame frames[STOPS_MAX_FRAMES];
	size_t nframes;
	bool complete;   /* it found the stack's end */
	const char *why; /* else what it says instead */
};

struct eu {
	Dwfl *dwfl;
	const struct target *target;
	const struct regs *regs; /* of the stop that is looked at */
	uint64_t generation;     /* of the space whose modules it knows */
};

static pid_t eu_next_thread(Dwfl *dwfl, void *eu, void **thread)
{
	(void)dwfl;
	(void)eu;
	(void)thread;
	return 0;
}

static bool eu_get_thread(Dwfl *dwfl, pid_t tid, void *eu, void **thread)
{
	(void)dwfl;
	(void)tid;
	*thread = eu;
	return true;
}

static bool eu_read(Dwfl *dwfl, Dwarf_Addr addr, Dwarf_Word *value, void *arg)
{
	struct eu *eu = arg;

	(void)dwfl;
	return target_read_memory(eu->target, addr, value, sizeof *value) == sizeof *value;
}

/* libdw numbers the registers as DWARF does, the return address being the PC. */
static bool eu_set_registers(Dwfl_Thread *thread, void *arg)
{
	const struct eu *eu = arg;
	Dwarf_Word words[ARCH_NREGS];

	for (unsigned i = 0; i < ARCH_NREGS; i++)
		words[i] = eu->regs->r[i];
	return dwfl_thread_state_registers(thread, 0, ARCH_NREGS, words);
}

static int eu_add_frame(Dwfl_Frame *frame, void *arg)
{
	struct eu_stack *stack = arg;
	Dwarf_Addr pc;
	bool exact;

	if (stack->nframes == STOPS_MAX_FRAMES || !dwfl_frame_pc(frame, &pc, &exact))
		return DWARF_CB_ABORT;
	stack->frames[stack->nframes++] = (struct eu_frame){pc, exact};
	return DWARF_CB_OK;
}

/* Lets it look at the process's modules, anew when they have changed. */
static void eu_refresh(struct eu *eu, const struct space *space)
{
	static const Dwfl_Callbacks callbacks = {
	        .find_elf = dwfl_linux_proc_find_elf,
	        .find_debuginfo = dwfl_standard_find_debuginfo,
	};
	static const Dwfl_Thread_Callbacks threads = {
	        .next_thread = eu_next_thread,
	        .get_thread = eu_get_thread,
	        .memory_read = eu_read,
	        .set_initial_registers = eu_set_registers,
	};

	if (eu->dwfl != NULL && eu->generation == space_generation(space))
		return;
	dwfl_end(eu->dwfl);
	eu->generation = space_generation(space);
	eu->dwfl = dwfl_begin(&callbacks);
	if (eu->dwfl == NULL || dwfl_linux_proc_report(eu->dwfl, eu->target->pid) != 0 ||
	    dwfl_report_end(eu->dwfl, NULL, NULL) != 0 ||
	    !dwfl_attach_state(eu->dwfl, NULL, eu->target->pid, &threads, eu))
		die("elfutils does not take the process");
}

static void eu_unwind(struct eu *eu, const struct space *space, const struct snapshot *snap,
                      struct eu_stack *stack)
{
	int rc;

	eu_refresh(eu, space);
	eu->regs = &snap->regs;
	stack->nframes = 0;
	rc = dwfl_getthread_frames(eu->dwfl, snap->tid, eu_add_frame, stack);
	stack->complete = rc == 0;
	stack->why = rc == 0 ? "reached the end" : dwfl_errmsg(-1);
}

static void eu_close(struct eu *eu)
{
	dwfl_end(eu->dwfl);
}

#endif
