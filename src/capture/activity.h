/* SPDX-License-Identifier: Apache-2.0 */
/* Has a thread run since it was last looked at, and is it running now? */
#ifndef CPROF_CAPTURE_ACTIVITY_H
#define CPROF_CAPTURE_ACTIVITY_H

#include "capture/threads.h"
#include "target/target.h"

enum cpu_source {
	CPU_SOURCE_SCHEDSTAT, /* nanoseconds */
	CPU_SOURCE_STAT,      /* clock ticks of /proc/PID/task/TID/stat */
};

enum activity {
	ACTIVITY_GONE,    /* ended, or cannot be read any more */
	ACTIVITY_DENIED,  /* the kernel does not let us look (any more) */
	ACTIVITY_ASLEEP,  /* has not run since the last look */
	ACTIVITY_BLOCKED, /* has run, sleeps now: thread->call tells where */
	ACTIVITY_RUNNING, /* on a CPU or waiting for one */
};

/* The file of /proc/PID/task/TID that this source reads. */
const char *activity_cpu_file(enum cpu_source source);

/* Looks at a thread without touching it; updates what it remembers of it. */
enum activity activity_look(const struct target *target, struct thread *thread,
                            enum cpu_source source);

/*
 * The kernel's account of the thread, with the time it has waited for processors;
 * where the clock ticks of `stat` must do, without that. 0 or -errno.
 */
int activity_account(const struct target *target, const struct thread *thread,
                     enum cpu_source source, struct procfs_schedstat *out)
        __attribute__((warn_unused_result));

/*
 * How often the thread lost its processor without giving it up, and whether it runs
 * or waits for one now; 0 or -errno. Its `status` is kept open.
 */
int activity_preemptions(const struct target *target, struct thread *thread, uint64_t *n,
                         bool *runnable) __attribute__((warn_unused_result));

/* What `status` says: 0 or -errno. Read through `fd`, or by name if that is -1. */
int activity_status(const struct target *target, const struct thread *thread, int fd,
                    struct procfs_status *out) __attribute__((warn_unused_result));

/* Whether a seccomp filter watches the thread's system calls; true if that cannot be told. */
bool activity_under_seccomp(const struct target *target, const struct thread *thread);

/* The processor that the thread is on, or was on last; -1 if that cannot be told. Its
 * priority, as in procfs.h, goes to *priority. Its `stat` is kept open. */
int activity_processor(const struct target *target, struct thread *thread, int *priority);

/* The CPU time the thread has used since it began: 0 or -errno. */
int activity_cpu_ns(const struct target *target, const struct thread *thread,
                    enum cpu_source source, uint64_t *ns)
        __attribute__((warn_unused_result));

#endif
