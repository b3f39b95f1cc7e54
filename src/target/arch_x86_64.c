/* SPDX-License-Identifier: Apache-2.0 */
#include "target/arch.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/user.h>

/* By their DWARF numbers. */
#define REG_RAX 0
#define REG_RCX 2

/* Kernel-internal: "restart unless a signal handler runs" (include/linux/errno.h). */
#define ERESTARTNOHAND 514
/* "Go on by restart_syscall unless a signal handler runs". */
#define ERESTART_RESTARTBLOCK 516

_Static_assert(sizeof(struct user_regs_struct) <=
                       sizeof(((struct arch_prstatus *)0)->words),
               "arch_prstatus holds the kernel's register set");

/*
 * The set of a thread that runs a 32-bit program. We do not profile those, but a program
 * may become one by an exec, and is to come to no harm until then either.
 */
struct user_regs_i386 {
	uint32_t ebx, ecx, edx, esi, edi, ebp, eax, ds, es, fs, gs, orig_eax, eip, cs,
	        eflags, esp, ss;
};

/* Its calls have other numbers. */
#define I386(nr) (0x10000 + (nr))

static bool unpack_i386(const struct arch_prstatus *raw, struct user_regs_i386 *user)
{
	memcpy(user, raw->words, sizeof *user);
	return raw->len == sizeof *user;
}

static struct user_regs_struct unpack(const struct arch_prstatus *raw)
{
	struct user_regs_struct user;

	memcpy(&user, raw->words, sizeof user);
	return user;
}

int arch_regs_from_prstatus(const struct arch_prstatus *raw, struct regs *regs)
{
	struct user_regs_struct user;

	/* A 32-bit task has a shorter set: 17 words of 4 bytes. */
	if (raw->len != sizeof user)
		return -ENOTSUP;
	user = unpack(raw);
	*regs = (struct regs){
	        .r = {user.rax, user.rdx, user.rcx, user.rbx, user.rsi, user.rdi, user.rbp,
	              user.rsp, user.r8, user.r9, user.r10, user.r11, user.r12, user.r13,
	              user.r14, user.r15, user.rip},
	        .valid = (UINT32_C(1) << ARCH_NREGS) - 1,
	};
	return 0;
}

long arch_syscall_nr(const struct arch_prstatus *raw)
{
	struct user_regs_struct user = unpack(raw);

	if (raw->len != sizeof user || (long long)user.orig_rax < 0)
		return -1;
	return (long)user.orig_rax;
}

bool arch_syscall_interrupted(const struct arch_prstatus *raw, long *nr)
{
	struct user_regs_struct user = unpack(raw);
	struct user_regs_i386 i386;

	if (unpack_i386(raw, &i386)) {
		*nr = I386((long)i386.orig_eax);
		return (int32_t)i386.orig_eax >= 0 && (int32_t)i386.eax == -EINTR;
	}
	/* orig_rax is negative unless the thread is on its way out of a system call. */
	if (raw->len != sizeof user || (long long)user.orig_rax < 0 ||
	    (long long)user.rax != -EINTR)
		return false;
	*nr = (long)user.orig_rax;
	return true;
}

bool arch_syscall_suspended(const struct arch_prstatus *raw)
{
	struct user_regs_struct user = unpack(raw);
	struct user_regs_i386 i386;

	if (unpack_i386(raw, &i386))
		return (int32_t)i386.orig_eax >= 0 &&
		       (int32_t)i386.eax == -ERESTART_RESTARTBLOCK;
	return raw->len == sizeof user && (long long)user.orig_rax >= 0 &&
	       (long long)user.rax == -ERESTART_RESTARTBLOCK;
}

/*
 * Putting the call's number back into rax and rip on the syscall instruction
 * would do as well, but only while no signal arrives between a look at the
 * pending ones and the thread's departure; one that did would run its handler
 * and then find the call sleeping again, which breaks programs that wait in
 * epoll_pwait for just that EINTR. With this value the kernel decides, after
 * the stop, as it does for poll and pause.
 */
void arch_syscall_restart(struct arch_prstatus *raw)
{
	struct user_regs_struct user = unpack(raw);
	struct user_regs_i386 i386;

	if (unpack_i386(raw, &i386)) {
		i386.eax = (uint32_t)-ERESTARTNOHAND;
		memcpy(raw->words, &i386, sizeof i386);
		return;
	}
	user.rax = (unsigned long long)-ERESTARTNOHAND;
	memcpy(raw->words, &user, sizeof user);
}

/*
 * The program sees r10 changed after the call. A C library's function does not mind: for
 * its caller the register is lost anyway. Code that makes the call itself, in a
 * loop, could be compiled to rely on it. So the register is left alone unless a whole
 * millisecond has gone by, which takes a thread that had fallen asleep when
 * it was asked to stop.
 */
void arch_syscall_shorten(struct arch_prstatus *raw, long nr, uint64_t asleep_ns)
{
	struct user_regs_struct user = unpack(raw);
	uint64_t ms = asleep_ns / 1000000;
	int32_t timeout = (int32_t)user.r10;

	if ((nr != SYS_epoll_wait && nr != SYS_epoll_pwait) || timeout <= 0 || ms == 0)
		return;
	user.r10 = ms < (uint64_t)timeout ? (uint64_t)timeout - ms : 0;
	memcpy(raw->words, &user, sizeof user);
}

/* The same calls (arch/x86/entry/syscalls/syscall_32.tbl). */
static bool needs_restart_i386(long nr)
{
	static const short numbers[] = {
	        3,   4,   145, 146, /* read, write, readv, writev */
	        54,                 /* ioctl */
	        102, 117,           /* socketcall, ipc */
	        177, 421,           /* rt_sigtimedwait */
	        187, 239, 313,      /* sendfile, sendfile64, splice */
	        247, 385, 416,      /* io_getevents, io_pgetevents */
	        256, 319, 441,      /* epoll_wait, epoll_pwait, epoll_pwait2 */
	        337, 345, 417,      /* recvmmsg, sendmmsg */
	        362, 364,           /* connect, accept4 */
	        369, 370, 371, 372, /* sendto, sendmsg, recvfrom, recvmsg */
	        420, 426,           /* semtimedop, io_uring_enter */
	};

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		if (nr == I386(numbers[i]))
			return true;
	}
	return false;
}

bool arch_syscall_needs_restart(long nr)
{
	if (nr >= I386(0))
		return needs_restart_i386(nr);
	switch (nr) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_rt_sigtimedwait:
	case SYS_io_getevents:
#ifdef SYS_io_pgetevents
	case SYS_io_pgetevents:
#endif
#ifdef SYS_io_uring_enter
	case SYS_io_uring_enter:
#endif
	/* On a socket with SO_RCVTIMEO or SO_SNDTIMEO. */
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_sendfile:
	case SYS_splice:
	case SYS_connect:
	/* tcdrain(3) of a terminal; other drivers, too. */
	case SYS_ioctl:
		return true;
	default:
		return false;
	}
}

/*
 * The length of "ff /2" (call through a register or memory) whose ModRM byte is
 * `modrm` and, if it has one, whose SIB byte is `sib`; 0 when it is no such call.
 */
static size_t indirect_call_len(uint8_t modrm, uint8_t sib)
{
	unsigned mod = modrm >> 6, rm = modrm & 7;
	size_t len = 2;

	if ((modrm >> 3 & 7) != 2)
		return 0;
	if (mod == 3)
		return len;
	if (rm == 4) {
		len++;
		if (mod == 0 && (sib & 7) == 5)
			len += 4;
	} else if (mod == 0 && rm == 5) {
		len += 4;
	}
	if (mod == 1)
		len += 1;
	else if (mod == 2)
		len += 4;
	return len;
}

/* Whether the number of a call that makes threads is put into EAX or, cleared before,
 * AL. */
static bool sets_clone(const uint8_t *code, size_t len)
{
	static const uint8_t clone[] = {0xb8, SYS_clone, 0, 0, 0},
	                     clone_al[] = {0xb0, SYS_clone},
	                     clone3[] = {0xb8, SYS_clone3 & 0xff, SYS_clone3 >> 8, 0, 0};

	return memmem(code, len, clone, sizeof clone) ||
	       memmem(code, len, clone_al, sizeof clone_al) ||
	       memmem(code, len, clone3, sizeof clone3);
}

/* The kernel leaves the return address of `syscall` (0f 05) in RCX. */
bool arch_is_newborn(const struct regs *regs, const uint8_t *before, size_t len)
{
	return regs_has(regs, REG_RAX) && regs->r[REG_RAX] == 0 &&
	       regs_has(regs, REG_RCX) && regs->r[REG_RCX] == regs->r[ARCH_REG_PC] &&
	       len >= 2 && before[len - 2] == 0x0f && before[len - 1] == 0x05 &&
	       sets_clone(before, len - 2);
}

bool arch_is_after_call(const uint8_t *before, size_t len)
{
	const uint8_t *end = before + len;

	if (len >= 5 && end[-5] == 0xe8)
		return true;
	for (size_t n = 2; n <= 7 && n <= len; n++) {
		uint8_t sib = n > 2 ? end[-(ptrdiff_t)n + 2] : 0;

		if (end[-(ptrdiff_t)n] == 0xff &&
		    indirect_call_len(end[-(ptrdiff_t)n + 1], sib) == n)
			return true;
	}
	return false;
}
