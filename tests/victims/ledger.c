/* SPDX-License-Identifier: Apache-2.0 */
/* build ledger: -O2 -pthread -Wno-unused-function */
/*
 * ledger FILE: a process that keeps books of what is done to it. FILE becomes an
 * array of entries {char name[24], int64 value}, mapped by whoever wants to read
 * along without touching the process:
 *
 *   work         operations of a thread that never sleeps
 *   gap_max      the longest time between two of them, in ns
 *   still_max    the same without the time that the thread waited for a processor:
 *                what is left is that it was held, or the machine itself stood still
 *   still_sum    the sum of these, of all over 20 us
 *   sleeps       calls of threads that sleep some milliseconds at a time in calls
 *                that are not restarted after a stop; nobody sends them a signal
 *   eintr        of these, the ones that failed with EINTR; eintr NAME by call
 *   rt_…         queued real-time signals of every number, with a payload that says
 *                which it is, to the process or to one thread: sent, received, out of
 *                order (one that is lost or comes twice makes two), altered
 *   std_…        the same of standard signals, each sent when the last has arrived
 *   itimer       SIGALRMs of setitimer, every 10 ms
 *   timer        expirations of a timer_create timer, every 10 ms, overruns included
 *   timer_behind how many of its expirations have not been told, at best, since
 *                this was last set to a great number
 *   families     children that were made (fork, vfork, posix_spawn), and stopped,
 *                continued and ended or killed; chld_lost: SIGCHLDs that did not come,
 *                chld_odd: that came with other facts; wait_odd: waits that failed or
 *                told another event than the one that happened
 *
 * hold (set to 1 by the reader) makes sender and families pause: held counts those
 * that do. end (set to 1) ends the process.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "sleepers_calls.h"

#define PERIOD_NS   10000000
#define GAP_NS      20000
#define PATIENCE_NS 20000000000u
#define STAMP       0x5aul
#define NSIGNALS    65

struct entry {
	char name[24];
	_Atomic int64_t value;
};

enum {
	N_HOLD,
	N_HELD,
	N_END,
	N_WORK,
	N_GAP_MAX,
	N_STILL_MAX,
	N_STILL_SUM,
	N_SLEEPS,
	N_EINTR,
	N_RT_SENT,
	N_RT_RECEIVED,
	N_RT_DISORDERED,
	N_RT_ALTERED,
	N_STD_SENT,
	N_STD_RECEIVED,
	N_STD_LOST,
	N_STD_ODD,
	N_STD_ALTERED,
	N_ITIMER,
	N_TIMER,
	N_TIMER_BEHIND,
	N_FAMILIES,
	N_CHLD_LOST,
	N_CHLD_ODD,
	N_WAIT_ODD,
	NENTRIES
};

static const char *const names[NENTRIES] = {
        [N_HOLD] = "hold",
        [N_HELD] = "held",
        [N_END] = "end",
        [N_WORK] = "work",
        [N_GAP_MAX] = "gap_max",
        [N_STILL_MAX] = "still_max",
        [N_STILL_SUM] = "still_sum",
        [N_SLEEPS] = "sleeps",
        [N_EINTR] = "eintr",
        [N_RT_SENT] = "rt_sent",
        [N_RT_RECEIVED] = "rt_received",
        [N_RT_DISORDERED] = "rt_disordered",
        [N_RT_ALTERED] = "rt_altered",
        [N_STD_SENT] = "std_sent",
        [N_STD_RECEIVED] = "std_received",
        [N_STD_LOST] = "std_lost",
        [N_STD_ODD] = "std_odd",
        [N_STD_ALTERED] = "std_altered",
        [N_ITIMER] = "itimer",
        [N_TIMER] = "timer",
        [N_TIMER_BEHIND] = "timer_behind",
        [N_FAMILIES] = "families",
        [N_CHLD_LOST] = "chld_lost",
        [N_CHLD_ODD] = "chld_odd",
        [N_WAIT_ODD] = "wait_odd",
};

/* Shared with the sender, which is a process of its own, and with the reader. */
static struct ledger {
	struct entry entry[64];
	_Atomic uint64_t std_seen[NSIGNALS];
} * ledger;

#define AT(name)       (ledger->entry[name].value)
#define COUNT(name, n) atomic_fetch_add(&AT(name), (n))

static struct sleeper sleepers[] = {
        {.name = "epoll_wait", .prepare = prepare_epoll, .sleep = sleep_epoll_wait},
        {.name = "epoll_pwait", .prepare = prepare_epoll, .sleep = sleep_epoll_pwait},
        {.name = "semtimedop", .prepare = prepare_sem, .sleep = sleep_semtimedop},
        {.name = "sigtimedwait", .sleep = sleep_sigtimedwait},
        {.name = "io_getevents",
         .prepare = prepare_io_getevents,
         .sleep = sleep_io_getevents},
        {.name = "recv_timeout", .prepare = prepare_recv_timeout, .sleep = sleep_recv},
};

#define NSLEEPERS (sizeof(sleepers) / sizeof(sleepers[0]))

static uint64_t now_ns(void)
{
	return victim_clock_ns(CLOCK_MONOTONIC);
}

/* ---- work ---------------------------------------------------------------- */

VICTIM_NOINLINE static void one_operation(void)
{
	for (volatile int i = 0; i < 300; i++)
		;
}

/* "run_ns wait_ns timeslices" */
static uint64_t waited_ns(int fd)
{
	char text[128];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	unsigned long long run, wait = 0;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%llu %llu", &run, &wait) == 2 ? wait : 0;
}

static void raise_to(_Atomic int64_t *value, int64_t n)
{
	if (n > atomic_load(value))
		atomic_store(value, n);
}

static void *worker(void *arg)
{
	int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	uint64_t waited = waited_ns(fd), last = now_ns();

	for (;;) {
		uint64_t now, all;
		int64_t gap, still;

		one_operation();
		COUNT(N_WORK, 1);
		now = now_ns();
		gap = (int64_t)(now - last);
		last = now;
		if (gap < GAP_NS)
			continue;
		all = waited_ns(fd);
		still = gap - (int64_t)(all - waited);
		waited = all;
		raise_to(&AT(N_GAP_MAX), gap);
		if (still > 0) {
			raise_to(&AT(N_STILL_MAX), still);
			COUNT(N_STILL_SUM, still);
		}
		last = now_ns();
	}
	return arg;
}

static void *sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	unsigned seed = (unsigned)(s - sleepers) + 1;

	for (;;) {
		if (s->sleep(s) < 0 && errno == EINTR) {
			COUNT(N_EINTR, 1);
			atomic_fetch_add(&ledger->entry[NENTRIES + (s - sleepers)].value,
			                 1);
		}
		COUNT(N_SLEEPS, 1);
		VICTIM_BURN(5000 + (unsigned)rand_r(&seed) % 100000);
	}
	return NULL;
}

/* ---- signals ------------------------------------------------------------- */

/* What a signal carries: the stamp, its number, whom it is for, and which it is. */
static uint64_t payload(int number, int to_thread, uint64_t n)
{
	return STAMP << 56 | (uint64_t)number << 48 | (uint64_t)to_thread << 47 | n;
}

static uint64_t next[NSIGNALS][2];

static void on_queued(int number, const siginfo_t *info)
{
	uint64_t value = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
	int to_thread = value >> 47 & 1;
	uint64_t n = value & 0x7fffffffffffu;
	int is_std = number < 32;

	if (value != payload(number, to_thread, n) || info->si_pid == 0 ||
	    info->si_uid != getuid() || info->si_signo != number) {
		atomic_fetch_add(is_std ? &AT(N_STD_ALTERED) : &AT(N_RT_ALTERED), 1);
		return;
	}
	if (n != next[number][to_thread])
		atomic_fetch_add(is_std ? &AT(N_STD_ODD) : &AT(N_RT_DISORDERED), 1);
	next[number][to_thread] = n + 1;
	atomic_fetch_add(is_std ? &AT(N_STD_RECEIVED) : &AT(N_RT_RECEIVED), 1);
	if (is_std)
		atomic_fetch_add(&ledger->std_seen[number], 1);
}

static uint64_t timer_first_ns;

/* Between the kernel's count of the overruns and ours another period may end; so
 * the least that it was ever behind is what was lost. */
static void on_timer(const siginfo_t *info)
{
	int64_t counted = COUNT(N_TIMER, 1 + info->si_overrun) + 1 + info->si_overrun;
	int64_t expired = (int64_t)((now_ns() - timer_first_ns) / PERIOD_NS) + 1;

	if (expired - counted < atomic_load(&AT(N_TIMER_BEHIND)))
		atomic_store(&AT(N_TIMER_BEHIND), expired - counted);
}

/* The SIGCHLDs that have come since this was last cleared, and what the last said. */
static _Atomic int chld_come;
static siginfo_t chld_info;

static void on_child(const siginfo_t *info)
{
	chld_info = *info;
	atomic_fetch_add(&chld_come, 1);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	int error = errno;

	(void)context;
	if (info->si_code == SI_QUEUE)
		on_queued(number, info);
	else if (info->si_code == SI_TIMER)
		on_timer(info);
	else if (number == SIGALRM && info->si_code == SI_KERNEL)
		COUNT(N_ITIMER, 1);
	else if (number == SIGCHLD)
		on_child(info);
	else
		atomic_fetch_add(number < 32 ? &AT(N_STD_ALTERED) : &AT(N_RT_ALTERED), 1);
	errno = error;
}

static int is_sent(int number)
{
	return number != SIGKILL && number != SIGSTOP && number != SIGCHLD &&
	       number != SIGALRM && (number < 32 || number >= SIGRTMIN) &&
	       number != SIGRTMAX;
}

static void wait_while(_Atomic int64_t *flag)
{
	if (!atomic_load(flag))
		return;
	COUNT(N_HELD, 1);
	while (atomic_load(flag))
		usleep(1000);
	COUNT(N_HELD, -1);
}

static void queue_one(pid_t pid, int number, int to_thread, uint64_t n)
{
	const union sigval value = {
	        .sival_ptr = (void *)(uintptr_t)payload(number, to_thread, n)};

	victim_queue(pid, to_thread ? pid : 0, number, value);
}

static void send_std(pid_t pid, int number, int to_thread)
{
	static uint64_t sent[NSIGNALS][2];
	uint64_t seen = ledger->std_seen[number], until = now_ns() + PATIENCE_NS;

	queue_one(pid, number, to_thread, sent[number][to_thread]++);
	COUNT(N_STD_SENT, 1);
	while (ledger->std_seen[number] == seen) {
		if (now_ns() > until) {
			COUNT(N_STD_LOST, 1);
			return;
		}
		usleep(20);
	}
}

static void send_rt(pid_t pid, int number, int to_thread)
{
	static uint64_t sent[NSIGNALS][2];

	/* Two in a row, for their order. */
	for (int i = 0; i < 2; i++) {
		queue_one(pid, number, to_thread, sent[number][to_thread]++);
		COUNT(N_RT_SENT, 1);
	}
}

/* The process that sends. Whoever waits for WAIT_SIG would take it from the others. */
static void sender(pid_t pid)
{
	unsigned round = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;; round++) {
		for (int number = 1; number < NSIGNALS; number++) {
			int to_thread = (round & 1) || number == WAIT_SIG;

			if (!is_sent(number))
				continue;
			if (number < 32)
				send_std(pid, number, to_thread);
			else
				send_rt(pid, number, to_thread);
			if (number % 8 == 0)
				usleep(2000);
			wait_while(&AT(N_HOLD));
		}
	}
}

static void handle_all(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_signal;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	sigfillset(&action.sa_mask);
	for (int number = 1; number < NSIGNALS; number++)
		if (is_sent(number) || number == SIGCHLD || number == SIGALRM ||
		    number == SIGRTMAX)
			sigaction(number, &action, NULL);
}

static void start_timers(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMAX};
	struct itimerval itimer = {{0, PERIOD_NS / 1000}, {0, PERIOD_NS / 1000}};
	struct itimerspec spec;
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
		victim_die("timer_create");
	clock_gettime(CLOCK_MONOTONIC, &spec.it_value);
	spec.it_value.tv_sec += 1;
	spec.it_interval.tv_sec = 0;
	spec.it_interval.tv_nsec = PERIOD_NS;
	timer_first_ns = (uint64_t)spec.it_value.tv_sec * 1000000000u +
	                 (uint64_t)spec.it_value.tv_nsec;
	if (timer_settime(timer, TIMER_ABSTIME, &spec, NULL) != 0)
		victim_die("timer_settime");
	if (setitimer(ITIMER_REAL, &itimer, NULL) != 0)
		victim_die("setitimer");
}

/* ---- families ------------------------------------------------------------ */

static bool is_expected(pid_t pid, int code, int status)
{
	if (chld_come == 1 && chld_info.si_pid == pid && chld_info.si_code == code &&
	    chld_info.si_status == status)
		return true;
	fprintf(stderr,
	        "ledger: %d SIGCHLDs, the last of %d: code %d, status %d; "
	        "expected of %d: code %d, status %d\n",
	        chld_come, chld_info.si_pid, chld_info.si_code, chld_info.si_status, pid,
	        code, status);
	return false;
}

/*
 * Waits for the one event that is to come, and for its SIGCHLD. The next event is
 * not caused before both are here: pending SIGCHLDs would become one.
 */
static void expect(pid_t pid, int want, int code, int status)
{
	uint64_t until = now_ns() + PATIENCE_NS;
	int got = -1;

	if (waitpid(pid, &got, WUNTRACED | WCONTINUED) != pid || got != want)
		COUNT(N_WAIT_ODD, 1);
	while (!chld_come && now_ns() < until)
		usleep(50);
	if (!chld_come)
		COUNT(N_CHLD_LOST, 1);
	else if (!is_expected(pid, code, status))
		COUNT(N_CHLD_ODD, 1);
	chld_come = 0;
}

/* Runs in a child made by fork: stops, goes on, and ends as it is told. */
static void child_of_fork(int pipe_fd)
{
	char how;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	kill(getpid(), SIGSTOP);
	while (read(pipe_fd, &how, 1) != 1)
		;
	for (;;)
		_exit(how);
}

static void family_of_fork(int round)
{
	const char how = (char)(round & 0x7f);
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return;
	pid = fork();
	if (pid == 0)
		child_of_fork(fds[0]);
	expect(pid, W_STOPCODE(SIGSTOP), CLD_STOPPED, SIGSTOP);
	kill(pid, SIGCONT);
	expect(pid, __W_CONTINUED, CLD_CONTINUED, SIGCONT);
	if (round & 1) {
		kill(pid, SIGKILL);
		expect(pid, W_EXITCODE(0, SIGKILL), CLD_KILLED, SIGKILL);
	} else {
		if (write(fds[1], &how, 1) != 1)
			COUNT(N_WAIT_ODD, 1);
		expect(pid, W_EXITCODE(how, 0), CLD_EXITED, how);
	}
	close(fds[0]);
	close(fds[1]);
}

static void family_of_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0)
		_exit(3);
	expect(pid, W_EXITCODE(3, 0), CLD_EXITED, 3);
}

static void family_of_spawn(void)
{
	char *const argv[] = {"true", NULL};
	pid_t pid;

	if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, argv + 1) != 0)
		COUNT(N_WAIT_ODD, 1);
	else
		expect(pid, W_EXITCODE(0, 0), CLD_EXITED, 0);
}

static void *families(void *arg)
{
	for (int round = 0;; round++) {
		switch (round % 4) {
		case 2:
			family_of_vfork();
			break;
		case 3:
			family_of_spawn();
			break;
		default:
			family_of_fork(round);
		}
		COUNT(N_FAMILIES, 1);
		usleep(20000);
		wait_while(&AT(N_HOLD));
	}
	return arg;
}

/* ---- main ---------------------------------------------------------------- */

static void open_ledger(const char *file)
{
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof *ledger) != 0)
		victim_die("%s", file);
	ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ledger == MAP_FAILED)
		victim_die("mmap");
	for (int i = 0; i < NENTRIES; i++)
		strncpy(ledger->entry[i].name, names[i], sizeof ledger->entry[i].name - 1);
	for (size_t i = 0; i < NSLEEPERS; i++)
		snprintf(ledger->entry[NENTRIES + i].name, sizeof ledger->entry[0].name,
		         "eintr %s", sleepers[i].name);
}

/* The addressee of all signals: works, sleeps, calls the kernel. */
static void live(void)
{
	const struct timespec nap = {0, 200000};

	while (!AT(N_END)) {
		for (int i = 0; i < 200; i++)
			one_operation();
		(void)getppid();
		nanosleep(&nap, NULL);
	}
}

int main(int argc, char **argv)
{
	sigset_t all;
	pid_t child;

	if (argc < 2)
		return 64;
	is_short = 1;
	victim_init();
	open_ledger(argv[1]);
	if (unshare(CLONE_NEWIPC) != 0)
		errno = 0; /* needs privileges; then a semaphore set outlives us */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	handle_all();
	for (size_t i = 0; i < NSLEEPERS; i++)
		if (sleepers[i].prepare == NULL || sleepers[i].prepare(&sleepers[i]) == 0)
			victim_thread(sleeper_main, &sleepers[i], sleepers[i].name);
	victim_thread(worker, NULL, "worker");
	child = fork();
	if (child == 0)
		sender(getppid());
	start_timers();
	victim_thread(families, NULL, "families");
	victim_ready();
	sigemptyset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	live();
	kill(child, SIGKILL);
	semctl(sleepers[2].fd, 0, IPC_RMID);
	_exit(0);
}
