/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a profiler that was broken by its target's bytes could still do.
 *
 * Two things are set before the first of these bytes is read, when all has been
 * checked, a COMMAND has been forked, and no thread exists that would not inherit
 * them: no_new_privs, so that no program could give privileges back, and a seccomp
 * filter. The filter refuses, with EPERM, executing programs and making processes,
 * changing what others see of the system, the calls that write to other processes' memory,
 * and every request of ptrace and every signal that are not ours. It cannot tell
 * /proc/PID/mem from any other file.
 *
 * It is a list of what is refused, not of what is allowed: which calls the C
 * library and the libraries for debug information make differs from version to
 * version, and a filter that breaks a profiler during an incident would be switched
 * off. Nor does it kill; whoever made the call sees the error.
 *
 * Threads are still made, with clone(2), whose flags the filter sees. clone3(2) keeps
 * them in memory, which it cannot see, so that call does not exist in here, and the C
 * library takes the older one. The capture process shares our memory (CLONE_VM),
 * which makes it a thread in the eyes of the filter.
 */
#include "target/sandbox.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config.h"
#include "target/arch.h"

static const int refused[] = {
        /* programs and processes */
        SYS_execve, SYS_execveat, SYS_fork, SYS_vfork, SYS_process_vm_writev,
        SYS_process_madvise, SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
        SYS_pidfd_send_signal,
        /* who we are and where */
        SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid,
        SYS_setfsuid, SYS_setfsgid, SYS_setgroups, SYS_personality, SYS_unshare, SYS_setns,
        SYS_chroot, SYS_pivot_root,
        /* file systems and special files */
        SYS_mount, SYS_umount2, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig,
        SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_mknod, SYS_mknodat,
        SYS_open_by_handle_at, SYS_swapon, SYS_swapoff, SYS_quotactl, SYS_acct,
        /* the kernel */
        SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load,
        SYS_kexec_file_load, SYS_reboot, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd,
        SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_syslog, SYS_io_uring_setup,
        SYS_io_uring_enter, SYS_io_uring_register,
        /* keys, names and clocks */
        SYS_add_key, SYS_request_key, SYS_keyctl, SYS_sethostname, SYS_setdomainname,
        SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime};

static const int requests[] = {PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_GETREGSET,
                               PTRACE_SETREGSET, PTRACE_DETACH};

#define NREFUSED  (sizeof refused / sizeof refused[0])
#define NREQUESTS (sizeof requests / sizeof requests[0])

struct filter {
	struct sock_filter v[2 * NREFUSED + NREQUESTS + 48];
	unsigned short n;
};

static void add(struct filter *filter, struct sock_filter instruction)
{
	filter->v[filter->n++] = instruction;
}

static void load(struct filter *filter, size_t offset)
{
	add(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

/* The low half of an argument: all that the kernel looks at in those we ask for. */
static void load_argument(struct filter *filter, size_t i)
{
	load(filter, offsetof(struct seccomp_data, args) + i * sizeof(uint64_t));
}

/* If what was loaded equals `value`, the filter's answer is `answer`. */
static void answer_if(struct filter *filter, uint32_t value, uint32_t answer)
{
	add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
	add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, answer));
}

static void answer(struct filter *filter, uint32_t value)
{
	add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value));
}

/* What follows is for one system call: an unconditional answer must end it. */
static unsigned short begin_call(struct filter *filter, int nr)
{
	load(filter, offsetof(struct seccomp_data, nr));
	add(filter,
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 0));
	return filter->n;
}

static void end_call(struct filter *filter, unsigned short begin)
{
	filter->v[begin - 1].jf = (uint8_t)(filter->n - begin);
}

#define ALLOW  SECCOMP_RET_ALLOW
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)

static void add_numbers(struct filter *filter)
{
	load(filter, offsetof(struct seccomp_data, arch));
	add(filter,
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_AUDIT, 1, 0));
	answer(filter, REFUSE);
	load(filter, offsetof(struct seccomp_data, nr));
	/* x32: other numbers for the same calls. */
	add(filter,
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
	answer(filter, REFUSE);
	answer_if(filter, SYS_clone3, ABSENT);
	for (size_t i = 0; i < NREFUSED; i++)
		answer_if(filter, (uint32_t)refused[i], REFUSE);
}

static void add_calls(struct filter *filter)
{
	unsigned short call = begin_call(filter, SYS_clone);

	load_argument(filter, 0);
	add(filter,
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_VM, 1, 0));
	answer(filter, REFUSE);
	answer(filter, ALLOW);
	end_call(filter, call);

	call = begin_call(filter, SYS_ptrace);
	load_argument(filter, 0);
	for (size_t i = 0; i < NREQUESTS; i++)
		answer_if(filter, (uint32_t)requests[i], ALLOW);
	answer(filter, REFUSE);
	end_call(filter, call);

	/* apart_tend() sends SIGCONT to the capture process. */
	call = begin_call(filter, SYS_kill);
	load_argument(filter, 1);
	answer_if(filter, 0, ALLOW);
	answer_if(filter, SIGCONT, ALLOW);
	load_argument(filter, 0);
	answer_if(filter, (uint32_t)getpid(), ALLOW);
	answer(filter, REFUSE);
	end_call(filter, call);

	/* raise() and abort() */
	call = begin_call(filter, SYS_tgkill);
	load_argument(filter, 0);
	answer_if(filter, (uint32_t)getpid(), ALLOW);
	answer(filter, REFUSE);
	end_call(filter, call);
}

int sandbox_enter(void)
{
	struct filter filter = {.n = 0};
	struct sock_fprog program = {.filter = filter.v};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
#ifdef INSTRUMENTED
	/* A sanitizer traces us and starts a program of its own to report. */
	return 0;
#endif
	add_numbers(&filter);
	add_calls(&filter);
	answer(&filter, ALLOW);
	program.len = filter.n;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return -errno;
	return (int)NREFUSED;
}
