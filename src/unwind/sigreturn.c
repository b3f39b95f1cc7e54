/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal trampolines without unwind data, as in musl and in Go. A handler
 * returns to a piece of code that does nothing but call rt_sigreturn; the kernel
 * recognizes nothing there, but debuggers have always looked for these bytes,
 * and libraries keep them for that:
 *
 *     48 c7 c0 0f 00 00 00    mov $15,%rax
 *     0f 05                   syscall
 *
 * SP then points to the ucontext that the kernel saved (struct rt_sigframe
 * behind its return address); every register of the interrupted code is in it.
 */
#include "unwind/backend.h"

#include <string.h>

#define UCONTEXT_GREGS 40 /* offsetof (ucontext_t, uc_mcontext) */

/* The registers in the order of struct sigcontext, by their DWARF numbers. */
static const uint8_t gregs[] = {8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16};

bool unwind_is_sigreturn(struct walk *walk, uint64_t addr)
{
	static const uint8_t code[] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05};
	uint8_t bytes[sizeof code];

	return walk_read_text(walk, addr, bytes, sizeof bytes) &&
	       memcmp(bytes, code, sizeof code) == 0;
}

static enum unwind_verdict sigreturn_step(void *state, struct walk *walk,
                                          struct unwind_step *step)
{
	uint64_t context[sizeof gregs];

	(void)state;
	if (walk->no_trampoline || !unwind_is_sigreturn(walk, walk->frame.pc))
		return UNWIND_PASS;
	if (!walk_read(walk, walk->regs.r[ARCH_REG_SP] + UCONTEXT_GREGS, context,
	               sizeof context)) {
		step->end = walk_refusal_end(walk, UNWIND_END_MEMORY);
		return UNWIND_STOP;
	}
	for (size_t i = 0; i < sizeof gregs; i++)
		regs_set(&step->regs, gregs[i], context[i]);
	step->how = FRAME_SIGNAL;
	step->exact = true;
	step->other_stack = true;
	return UNWIND_CALLER;
}

const struct unwind_backend unwind_backend_sigreturn = {
        .name = "sigreturn",
        .step = sigreturn_step,
};
