/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only caller of ptrace(2). The protocol of one sample, seen from here:
 *
 *     tracer_request(tid)            SEIZE + INTERRUPT; returns at once
 *     … other work …
 *     tracer_next(&stop)             some thread has stopped (or ended)
 *     tracer_get_regs(&stop, …)      while it is stopped
 *     tracer_release(&stop)          DETACH: runs on, untraced
 *
 * All calls come from one thread. The file opens with the theory.
 */
#ifndef CPROF_TARGET_TRACER_H
#define CPROF_TARGET_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/arch.h"

/* What a report of the kernel obliges the caller to do. */
enum tracer_event {
	TRACER_NONE,    /* nothing has been reported: do something else */
	TRACER_STOPPED, /* a thread stands still: look, then release it */
	TRACER_ENDED,   /* a tracee or a child of ours is gone: tracer_take_end */
};

struct tracer_stop {
	pid_t tid;
	enum tracer_event event;
	int signal;        /* to be passed on at release; 0 none */
	bool is_interrupt; /* the stop that was asked for, nothing else */
	bool group_stop;   /* the process is stopped by job control, and stays so */
	/* Set by the caller before tracer_undo_eintr: for how long at most the thread can
	 * have slept when it stopped; 0: not known. */
	uint64_t asleep_ns;
	int wait_status; /* as waitpid gives it, after tracer_take_end */
};

/* Takes SIGCHLD, which must be blocked in every thread. Once, before the first
 * request: 0 or -errno. */
int tracer_init(void) __attribute__((warn_unused_result));

/* Gives SIGCHLD back as it was. After the last request. */
void tracer_fini(void);

/*
 * Asks one thread to stop. 0: a report will follow, the thread's stop or its
 * exit. -ESRCH: it is gone; -EPERM: refused (traced by another, exiting, or
 * not permitted); -EINTR: reports have come meanwhile, take them and ask again.
 */
int tracer_request(pid_t tid) __attribute__((warn_unused_result));

/* Takes the next report, without waiting. Fills *stop; returns its event. */
enum tracer_event tracer_next(struct tracer_stop *stop);

/* Takes the report of an end, which would come again and again; from then on the
 * process may vanish. */
void tracer_take_end(struct tracer_stop *stop);

/* Copies the registers of a stopped thread: 0 or -errno. */
int tracer_get_regs(const struct tracer_stop *stop, struct arch_prstatus *raw)
        __attribute__((warn_unused_result));

/*
 * If this stop made a system call fail with an EINTR that the program would see,
 * makes the call start again, with what is left of its timeout. 1 when it did so, 0
 * when there was nothing to undo, or -errno. `raw` must hold the thread's registers;
 * it keeps them as they were, for the sample.
 */
int tracer_undo_eintr(const struct tracer_stop *stop, const struct arch_prstatus *raw)
        __attribute__((warn_unused_result));

/*
 * If this stop made a call wait for restart_syscall, makes the call itself start
 * again; its timeout begins anew. For threads under a seccomp filter, which may
 * not know restart_syscall and kill the process for it: no program makes that call
 * itself. Results as above.
 */
int tracer_undo_suspension(const struct tracer_stop *stop, const struct arch_prstatus *raw)
        __attribute__((warn_unused_result));

/*
 * Lets a stopped thread go on, untraced, with the signal it was stopped for.
 * -ESRCH when it was killed while it stood: its end will be reported.
 */
int tracer_release(const struct tracer_stop *stop);

/*
 * A call of ptrace that cannot have an effect, for refusal.h: returns the errno
 * it gave. ESRCH is how it should fail; EPERM or ENOSYS mean that the call
 * itself is forbidden to us.
 */
int tracer_probe(pid_t pid);

#endif
