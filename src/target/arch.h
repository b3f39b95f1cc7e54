/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What depends on the processor: registers, and the few machine code patterns
 * that capture and unwinding must know. One arch_*.c implements this page for
 * one processor; everything else is free of #ifdef.
 */
#ifndef CPROF_TARGET_ARCH_H
#define CPROF_TARGET_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
/*
 * Registers carry their DWARF numbers (System V AMD64 psABI, figure 3.36):
 * 0 rax 1 rdx 2 rcx 3 rbx 4 rsi 5 rdi 6 rbp 7 rsp 8-15 r8-r15 16 return address.
 */
#define ARCH_ELF_MACHINE 62         /* EM_X86_64 */
#define ARCH_AUDIT       0xc000003e /* AUDIT_ARCH_X86_64 */
#define ARCH_NREGS       17
#define ARCH_REG_FP      6
#define ARCH_REG_SP      7
#define ARCH_REG_PC      16
#define ARCH_RED_ZONE    128 /* bytes below SP that a leaf function may use */
#else
#error "cprof-attach knows x86-64 only so far; see src/target/arch.h"
#endif

/* A thread's registers and which of them are known. */
struct regs {
	uint64_t r[ARCH_NREGS];
	uint32_t valid; /* bit n: r[n] is known */
};

static inline bool regs_has(const struct regs *regs, unsigned reg)
{
	return reg < ARCH_NREGS && (regs->valid >> reg & 1) != 0;
}

static inline void regs_set(struct regs *regs, unsigned reg, uint64_t value)
{
	regs->r[reg] = value;
	regs->valid |= UINT32_C(1) << reg;
}

/* The kernel's register set as PTRACE_GETREGSET/NT_PRSTATUS gives it. */
struct arch_prstatus {
	uint64_t words[32]; /* struct user_regs_struct on x86-64 */
	size_t len;         /* bytes the kernel filled in */
};

/*
 * Fills *regs. -ENOTSUP when `raw` is of another class, as that of a 32-bit
 * process under a 64-bit kernel.
 */
int arch_regs_from_prstatus(const struct arch_prstatus *raw, struct regs *regs)
        __attribute__((warn_unused_result));

/* The system call that the thread is in or on its way out of; -1: none. */
long arch_syscall_nr(const struct arch_prstatus *raw);

/*
 * Whether the thread was stopped on its way out of a system call that failed
 * with EINTR and that does not restart by itself. `*nr` gets the call's number
 * when true.
 */
bool arch_syscall_interrupted(const struct arch_prstatus *raw, long *nr);

/*
 * Whether the thread was stopped in a call that the kernel goes on with by one of its
 * own, restart_syscall: nanosleep, poll, futex and others with a timeout.
 */
bool arch_syscall_suspended(const struct arch_prstatus *raw);

/*
 * Makes a call of either kind start again when the thread goes on, unless a signal
 * handler runs first: then it returns EINTR, as it would have without us.
 */
void arch_syscall_restart(struct arch_prstatus *raw);

/*
 * The thread may have slept for `asleep_ns` of the timeout of call `nr`, which is to
 * start again: takes that off the timeout, if it is relative and a register holds it.
 * One that lies in memory (semtimedop, rt_sigtimedwait, io_getevents, epoll_pwait2)
 * starts anew: a profiler does not write to its target's memory.
 */
void arch_syscall_shorten(struct arch_prstatus *raw, long nr, uint64_t asleep_ns);

/*
 * Whether system call `nr` returns EINTR to the program when a stop without a
 * signal wakes it, so that the stop must be undone. A call for which starting
 * again would be wrong (close) is not among them.
 */
bool arch_syscall_needs_restart(long nr);

/*
 * Whether a thread stands behind a clone(2) or clone3(2) that gave 0, and has not gone
 * on since: so a new thread begins. `before` holds the `len` bytes in front of PC, of
 * which ARCH_CLONE_LEN are enough.
 */
#define ARCH_CLONE_LEN 48
bool arch_is_newborn(const struct regs *regs, const uint8_t *before, size_t len);

/*
 * Whether the bytes that end at a return address are a call instruction.
 * `before` holds the `len` bytes in front of it (8 are enough).
 */
bool arch_is_after_call(const uint8_t *before, size_t len);

#endif
