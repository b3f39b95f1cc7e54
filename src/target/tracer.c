/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a thread is stopped without harm.
 *
 * A thread is traced only from tracer_request to tracer_release. PTRACE_SEIZE
 * is used, never PTRACE_ATTACH: ATTACH sends a SIGSTOP that outlives a tracer
 * that dies, while a seized thread is resumed by the kernel when its tracer
 * goes away for any reason, at any point below. Nor does a thread stay seized
 * between samples, which would be simpler: every signal sent to a tracee stops
 * it until its tracer answers, and a tracer that is itself stopped never does.
 *
 * PTRACE_INTERRUPT only asks. What waitpid then reports for the thread may be
 *   - PTRACE_EVENT_STOP with SIGTRAP: the stop that was asked for;
 *   - PTRACE_EVENT_STOP with a stopping signal: the whole process is stopped by
 *     job control. Detaching leaves it stopped, as it should be;
 *   - a stop without an event: a signal is being delivered. It must be given
 *     back with the detach, or the program never gets it;
 *   - the thread's end. There is nothing to detach from.
 * All but the last are as good as another for a sample: the thread's registers
 * are those of its user code. Detaching also withdraws a stop that was asked
 * for and not yet taken, so a thread is never stopped a second time for it.
 *
 * No wait here ever names one thread: a runnable thread stops only when it next
 * gets a CPU, and on a busy machine that can take a third of a second.
 *
 * One call can wait all the same. While a thread executes a program, SEIZE of
 * any thread of its process sleeps on a lock (cred_guard_mutex), and the exec
 * in turn waits until the tracer has taken note of the end of every other
 * thread that is traced: a deadlock that would last as long as we do. So SEIZE
 * runs with SIGCHLD unblocked, and the handler jumps out of it: whenever a
 * tracee has something to report, that comes first and SEIZE is tried again.
 */
#include "config.h"

#include "target/tracer.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* Where the handler jumps to; it runs only inside of seize(). */
static sigjmp_buf way_out;

/* A sanitizer may call it with every signal blocked. */
#ifdef INSTRUMENTED
#define SAVE_MASK 1
#else
#define SAVE_MASK 0
#endif

static void jump_out(int sig)
{
	(void)sig;
	siglongjmp(way_out, 1);
}

static struct sigaction old_action;

int tracer_init(void)
{
	struct sigaction action = {.sa_handler = jump_out};

	sigemptyset(&action.sa_mask);
	return sigaction(SIGCHLD, &action, &old_action) < 0 ? -errno : 0;
}

void tracer_fini(void)
{
	(void)sigaction(SIGCHLD, &old_action, NULL);
}

/*
 * SEIZE, left early with -EINTR when a report comes. Nothing but a system call
 * is ever jumped out of, and SIGCHLD is blocked again either way: it is while
 * its handler runs, and the jump leaves the mask, or restores that of before.
 */
static int seize(pid_t tid)
{
	sigset_t child;
	volatile int r = 0;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	if (sigsetjmp(way_out, SAVE_MASK) != 0)
		return -EINTR;
	pthread_sigmask(SIG_UNBLOCK, &child, NULL);
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
		r = -errno;
	pthread_sigmask(SIG_BLOCK, &child, NULL);
	return r;
}

int tracer_request(pid_t tid)
{
	int r = seize(tid);

	if (r < 0 && r != -EINTR)
		return r;
	/*
	 * After a SEIZE that was left early, this also tells whether it had been
	 * done. After one that was done, it fails only when the thread is exiting,
	 * and then its end is reported.
	 */
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 && r == -EINTR)
		return -EINTR;
	return 0;
}

static bool is_stopping_signal(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/*
 * The report of a stop is only looked at (WNOWAIT), never taken. Taking it makes the
 * kernel forget which signal is being delivered, and leaves that to the detach: killed
 * between the two, we would take the signal with us. A report that was not taken is
 * dropped by the detach; should we die instead, the thread gets its signal.
 */
enum tracer_event tracer_next(struct tracer_stop *stop)
{
	siginfo_t info = {0};
	int number, event;

	*stop = (struct tracer_stop){.event = TRACER_NONE};
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 ||
	    info.si_pid == 0)
		return TRACER_NONE;
	stop->tid = info.si_pid;
	if (info.si_code != CLD_TRAPPED) {
		stop->event = TRACER_ENDED;
		return stop->event;
	}
	stop->event = TRACER_STOPPED;
	number = info.si_status & 0xff;
	event = info.si_status >> 8;
	if (event == 0) {
		stop->signal = number;
	} else if (event == PTRACE_EVENT_STOP) {
		stop->group_stop = is_stopping_signal(number);
		stop->is_interrupt = !stop->group_stop;
	}
	return stop->event;
}

void tracer_take_end(struct tracer_stop *stop)
{
	(void)waitpid(stop->tid, &stop->wait_status, WNOHANG | __WALL);
}

int tracer_get_regs(const struct tracer_stop *stop, struct arch_prstatus *raw)
{
	struct iovec iov = {raw->words, sizeof raw->words};

	if (ptrace(PTRACE_GETREGSET, stop->tid, NT_PRSTATUS, &iov) < 0)
		return -errno;
	raw->len = iov.iov_len;
	return 0;
}

/* `nr`: the call, whose timeout is to be shortened; -1: leave that to the kernel. */
static int restart(const struct tracer_stop *stop, const struct arch_prstatus *raw, long nr)
{
	struct arch_prstatus restarted = *raw;
	struct iovec iov = {restarted.words, raw->len};

	arch_syscall_restart(&restarted);
	arch_syscall_shorten(&restarted, nr, stop->asleep_ns);
	if (ptrace(PTRACE_SETREGSET, stop->tid, NT_PRSTATUS, &iov) < 0)
		return -errno;
	return 1;
}

/*
 * Whether a call that was cut short may be our doing. A signal that the program ignores
 * goes unseen by an untraced thread, but stops a traced one, so its delivery counts too:
 * it is the kernel that decides, after the stop, whether a handler runs and the call
 * returns EINTR after all. Not so job control, which causes EINTR by itself.
 */
static bool may_be_ours(const struct tracer_stop *stop)
{
	return stop->is_interrupt || (stop->signal && !is_stopping_signal(stop->signal));
}

int tracer_undo_eintr(const struct tracer_stop *stop, const struct arch_prstatus *raw)
{
	long nr;

	if (!may_be_ours(stop) || !arch_syscall_interrupted(raw, &nr) ||
	    !arch_syscall_needs_restart(nr))
		return 0;
	return restart(stop, raw, nr);
}

int tracer_undo_suspension(const struct tracer_stop *stop, const struct arch_prstatus *raw)
{
	return may_be_ours(stop) && arch_syscall_suspended(raw) ? restart(stop, raw, -1)
	                                                        : 0;
}

int tracer_release(const struct tracer_stop *stop)
{
	int r = 0;

	if (ptrace(PTRACE_DETACH, stop->tid, NULL, (void *)(intptr_t)stop->signal) < 0) {
		r = -errno;
		/* Its report would come again and again. One that was killed has its
		 * end to report, and that is still wanted. */
		if (r != -ESRCH)
			(void)waitpid(stop->tid, NULL, WNOHANG | __WALL);
	}
	return r;
}

int tracer_probe(pid_t pid)
{
	/* Nobody is our tracee yet, so there is nothing this could detach. */
	if (ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0)
		return 0;
	return errno;
}
