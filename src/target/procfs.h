/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsers of the kernel's text files; see proc(5). Each takes the text, so its
 * edge cases are unit tests, and bounds every access: the fields a process
 * chooses (its comm) may hold any bytes. All return 0 or -EINVAL.
 */
#ifndef CPROF_TARGET_PROCFS_H
#define CPROF_TARGET_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/array.h"

#define PROCFS_COMM_LEN 16 /* TASK_COMM_LEN: with its NUL */

/* /proc/PID/task/TID/schedstat: "5071812 36035 12\n" */
struct procfs_schedstat {
	uint64_t run_ns;     /* time on a CPU */
	uint64_t wait_ns;    /* time runnable but waiting for one */
	uint64_t timeslices; /* how often it was put on one */
};
int procfs_parse_schedstat(const char *text, size_t len, struct procfs_schedstat *out)
        __attribute__((warn_unused_result));

/*
 * /proc/PID/task/TID/syscall: "running\n", or
 * "232 0x5 0x7ffc… 0x80 0xffffffff 0x0 0x8 0x7ffc12345678 0x7f12345678\n"
 * (number, six arguments, SP, PC), or "-1 0x7ffc… 0x7f…\n" for a thread blocked
 * outside of a call (a page fault).
 */
struct procfs_syscall {
	bool running; /* runnable, on a CPU or not; nothing below is set */
	long nr;      /* -1: not in a system call */
	uint64_t args[6];
	uint64_t sp;
	uint64_t pc;
};
int procfs_parse_syscall(const char *text, size_t len, struct procfs_syscall *out)
        __attribute__((warn_unused_result));

/* /proc/PID/stat: "31337 (a (odd) name) S 1 31337 … " (field numbers: proc(5)) */
struct procfs_stat {
	pid_t pid;
	char comm[PROCFS_COMM_LEN];
	char state; /* R S D Z T t X I */
	pid_t ppid;
	unsigned flags;       /* PF_*; PF_KTHREAD is 0x200000 */
	uint64_t utime_ticks; /* in sysconf(_SC_CLK_TCK) */
	uint64_t stime_ticks;
	uint64_t children_ticks; /* cutime and cstime: what its children that ended
				    and were waited for had used, with theirs */
	int priority; /* the kernel's: 0..39; -2..-100: real-time; below: with a deadline */
	uint64_t start_ticks; /* since boot */
	int processor;        /* where it runs or ran last; -1: not told */
};
#define PROCFS_PF_KTHREAD 0x00200000u
int procfs_parse_stat(const char *text, size_t len, struct procfs_stat *out)
        __attribute__((warn_unused_result));

/* /proc/PID/status, the lines that matter here. What is not there stays 0. */
struct procfs_status {
	char name[PROCFS_COMM_LEN];
	char state;
	pid_t tgid;
	pid_t pid;
	pid_t tracer_pid;
	uid_t uid[4]; /* real, effective, saved, filesystem */
	gid_t gid[4];
	pid_t ns_pid; /* the pid in the innermost namespace; last of NSpid */
	uint64_t cap_prm;
	uint64_t cap_eff;
	int no_new_privs;
	int seccomp; /* 0 off, 1 strict, 2 filter */
	uint64_t sig_blocked;
	uint64_t sig_pending;          /* of the thread */
	uint64_t shared_pending;       /* of the process */
	uint64_t voluntary_switches;   /* how often it gave its processor up: to sleep */
	uint64_t involuntary_switches; /* how often that was taken from it */
};
int procfs_parse_status(const char *text, size_t len, struct procfs_status *out)
        __attribute__((warn_unused_result));

struct pids {
	pid_t *v;
	size_t n;
	size_t cap;
};

/*
 * /proc/PID/task/TID/children "4711 4713 " and cgroup.procs "4711\n4713\n": takes
 * the first number off *text, which has *len bytes, and moves both past it. 0 in
 * the text is a process that has no number in our pid namespace, and is passed
 * over. Returns 0 at the end, and at whatever is no number.
 */
pid_t procfs_next_pid(const char **text, size_t *len);

/* Appends all numbers of such a text. */
void procfs_parse_pids(const char *text, size_t len, struct pids *pids);

/*
 * The next frame of /proc/PID/task/TID/stack, leaf first, one a line:
 * "[<0>] do_epoll_wait+0x6a5/0x860\n", "[<0>] nf_hook+0x1/0x2 [nf_tables]\n". Its
 * function's name goes to `name`, cut to fit. Moves *text on; false at the end.
 */
bool procfs_next_kernel_frame(const char **text, const char *end, char *name, size_t size)
        __attribute__((warn_unused_result));

/*
 * Reads a whole file under dirfd (AT_FDCWD with an absolute path) into a new
 * NUL-terminated buffer, at most `max` bytes. Returns the length or a negative
 * errno; *text must be freed by the caller when the result is >= 0.
 */
ssize_t procfs_read(int dirfd, const char *path, size_t max, char **text)
        __attribute__((warn_unused_result));

/* Reads into the caller's buffer, NUL-terminates; the length or -errno. */
ssize_t procfs_read_fixed(int dirfd, const char *path, char *buf, size_t size)
        __attribute__((warn_unused_result));

/* Reads and parses `dir`/stat: of a process's own directory, or a thread's. 0 or
 * -errno; -ESRCH when it has ended and been waited for. */
int procfs_read_stat(int dirfd, const char *dir, struct procfs_stat *out)
        __attribute__((warn_unused_result));

/*
 * The thread's name from /proc/PID/task/TID/comm or /proc/PID/comm, without
 * its newline. -errno on failure (comm is then "").
 */
int procfs_read_comm(int dirfd, const char *path, char comm[PROCFS_COMM_LEN])
        __attribute__((warn_unused_result));

#endif
