/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why the tracer is no mere thread.
 *
 * A thread of the target that has been asked to stop stands still until its
 * tracer lets it go. Ctrl-Z or a SIGSTOP stops all threads of a process at
 * once, the tracer too, in the middle of whatever it does; SIGSTOP cannot be
 * caught. The target would stand still for as long as the profiler does.
 *
 * So the tracer is a process of its own, in a process group of its own: the
 * terminal's signals do not reach it, and a SIGSTOP sent to the profiler stops
 * the profiler alone. If somebody stops the tracer itself, we are its parent,
 * hear of it, and let it go on (apart_tend).
 *
 * If we die, of a kill -9 say, the kernel tells it with a signal. It could simply die,
 * too, and the kernel would release whatever it held; but a system call that it has
 * cut short, and was about to start again, would return EINTR. So it takes the stops
 * that are still open, undoes what there is to undo, and then ends. It touches no
 * lock on the way, since whoever held one may be dead; and should it hang all the same,
 * a timer ends it: soon, until all that it does is to wait for those stops.
 *
 * It shares our memory, so that nothing else changes: the queue, the locks and
 * what they guard are used as between threads. But a process made by clone(2)
 * with CLONE_VM also shares the thread-local storage of whoever made it: errno
 * and the allocator's caches among it. So it is made by a thread that has nothing
 * else to do. It lends its thread-local storage, and until the process ends does
 * nothing but one system call that waits for that.
 * (CLONE_VFORK would see to this as well, but a thread that waits so cannot be
 * stopped: the shell that sent our Ctrl-Z would wait for it.)
 */
#include "config.h"

#include "capture/apart.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_BYTES (512 * 1024)
#define GUARD_BYTES (16 * 1024)

/*
 * ThreadSanitizer takes clone(2) for a fork, shared memory or not: it would not look at
 * what the process does, and would hold back its signals until whoever they were for
 * has returned. Under this name it lets the call alone.
 */
#ifdef INSTRUMENTED
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

/* Not ours: "pkill -STOP cprof-attach" is meant for the profiler. */
#define NAME "cprof-tracer"

/* Tells of our parent's death. */
#define DEATH_SIGNAL SIGUSR1

/* How long after that we may live, in whatever we were doing. */
#define LAST_MS 350

static pid_t parent;
static volatile sig_atomic_t is_orphan;
static volatile sig_atomic_t last_ms;

static void set_last_timer(void)
{
	const struct itimerval last = {
	        .it_value = {.tv_sec = last_ms / 1000, .tv_usec = last_ms % 1000 * 1000}};

	(void)setitimer(ITIMER_REAL, &last, NULL);
}

static void on_death(int sig)
{
	(void)sig;
	if (getppid() == parent) /* somebody else has sent it */
		return;
	is_orphan = 1;
	set_last_timer();
}

void apart_take_time(int ms)
{
	last_ms = ms;
	if (is_orphan)
		set_last_timer();
}

bool apart_is_orphan(void)
{
	return is_orphan;
}

static void hear_of_death(void)
{
	struct sigaction action = {.sa_handler = on_death};
	sigset_t heard;

	sigfillset(&action.sa_mask);
	sigaction(DEATH_SIGNAL, &action, NULL);
	signal(SIGALRM, SIG_DFL);
	sigemptyset(&heard);
	sigaddset(&heard, DEATH_SIGNAL);
	sigaddset(&heard, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &heard, NULL);
	prctl(PR_SET_PDEATHSIG, DEATH_SIGNAL);
}

static int process_main(void *arg)
{
	struct apart *apart = arg;

	hear_of_death();
	if (getppid() != apart->parent) /* it died before we asked */
		return 1;
	(void)setpgid(0, 0);
	prctl(PR_SET_NAME, NAME);
	apart->run(apart->arg);
	return 0;
}

/*
 * A stack of its own. That of our thread has thread-local storage in it, of whatever
 * size: libraries say how large.
 */
static pid_t make_process(struct apart *apart, char *stack)
{
	if (stack == MAP_FAILED)
		return -1;
	(void)mprotect(stack, GUARD_BYTES, PROT_NONE);
	return clone(process_main, stack + STACK_BYTES,
	             CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_PARENT_SETTID | SIGCHLD,
	             apart, &apart->pid);
}

static void *thread_main(void *arg)
{
	struct apart *apart = arg;
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	sigset_t all;
	pid_t pid;

	/* It inherits this, and hears no signal but those nobody can block. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pid = make_process(apart, stack);
	if (pid < 0) {
		apart->wait_status = W_EXITCODE(1, 0);
	} else {
		/* Not waitpid: that looks at thread-local storage, which is lent. This
		 * does so only when it fails, and it cannot: no signal comes here. */
		(void)syscall(SYS_wait4, pid, &apart->wait_status, 0, NULL);
	}
	apart->pid = 0;
	if (stack != MAP_FAILED)
		(void)munmap(stack, STACK_BYTES);
	apart->ended(apart->arg);
	return NULL;
}

int apart_start(struct apart *apart, void (*run)(void *), void (*ended)(void *), void *arg)
{
	apart->run = run;
	apart->ended = ended;
	apart->arg = arg;
	apart->parent = parent = getpid();
	is_orphan = 0;
	last_ms = LAST_MS;
	return -pthread_create(&apart->thread, NULL, thread_main, apart);
}

void apart_tend(struct apart *apart)
{
	siginfo_t info = {0};
	pid_t pid = apart->pid;

	if (pid > 0 && waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG) == 0 &&
	    info.si_pid == pid)
		kill(pid, SIGCONT);
}

void apart_join(struct apart *apart)
{
	pthread_join(apart->thread, NULL);
}
