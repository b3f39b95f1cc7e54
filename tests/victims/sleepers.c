/* SPDX-License-Identifier: Apache-2.0 */
/* build sleepers: -O2 -pthread */
/*
 * sleepers long|short [busy]: one thread in each blocking call that a stop could
 * disturb, those that then return EINTR to the program and those that the
 * kernel restarts. With "long" they sleep until the end; with "short" each
 * sleep lasts a few milliseconds with some work in between, so that threads
 * are often met on their way into the call. With "busy" one more thread runs all
 * the time.
 *
 * Nothing here installs a signal handler but for the thread in pause(), so an
 * EINTR has no other cause than somebody's stop. Prints
 *
 *     call NAME ROUNDS EINTRS
 *
 * for each, "absent NAME" for what this kernel does not have, and the sum.
 */
#include "sleepers_calls.h"

static volatile int stop;
static sem_t mutex_held;
static sem_t all_started;

static struct sleeper sleepers[] = {
        {.name = "epoll_wait", .prepare = prepare_epoll, .sleep = sleep_epoll_wait},
        {.name = "epoll_wait_forever",
         .prepare = prepare_epoll,
         .sleep = sleep_epoll_forever,
         .wake = wake_eventfd},
        {.name = "epoll_pwait", .prepare = prepare_epoll, .sleep = sleep_epoll_pwait},
        {.name = "epoll_pwait2",
         .prepare = prepare_epoll_pwait2,
         .sleep = sleep_epoll_pwait2},
        {.name = "semop", .prepare = prepare_sem, .sleep = sleep_semop, .wake = wake_semop},
        {.name = "semtimedop", .prepare = prepare_sem, .sleep = sleep_semtimedop},
        {.name = "sigtimedwait", .sleep = sleep_sigtimedwait},
        {.name = "sigwaitinfo", .sleep = sleep_sigwaitinfo, .wake = wake_sigwaitinfo},
        {.name = "io_getevents",
         .prepare = prepare_io_getevents,
         .sleep = sleep_io_getevents},
        {.name = "recv_timeout", .prepare = prepare_recv_timeout, .sleep = sleep_recv},
        {.name = "send_timeout", .prepare = prepare_send_timeout, .sleep = sleep_send},
        {.name = "accept_timeout",
         .prepare = prepare_accept_timeout,
         .sleep = sleep_accept},
        {.name = "poll", .prepare = prepare_pipe, .sleep = sleep_poll},
        {.name = "ppoll", .prepare = prepare_pipe, .sleep = sleep_ppoll},
        {.name = "select", .prepare = prepare_pipe, .sleep = sleep_select},
        {.name = "pselect", .prepare = prepare_pipe, .sleep = sleep_pselect},
        {.name = "nanosleep", .sleep = sleep_nanosleep},
        {.name = "clock_nanosleep", .sleep = sleep_clock_nanosleep},
        {.name = "mutex", .sleep = sleep_mutex, .wake = wake_mutex},
        {.name = "condvar",
         .prepare = prepare_condvar,
         .sleep = sleep_condvar,
         .wake = wake_condvar},
        {.name = "condvar_timed", .prepare = prepare_condvar, .sleep = sleep_condvar_timed},
        {.name = "sem_wait",
         .prepare = prepare_posix_sem,
         .sleep = sleep_sem_wait,
         .wake = wake_sem_wait},
        {.name = "sem_timedwait",
         .prepare = prepare_posix_sem,
         .sleep = sleep_sem_timedwait},
        {.name = "read_pipe",
         .prepare = prepare_pipe,
         .sleep = sleep_read,
         .wake = wake_eventfd},
        {.name = "write_pipe",
         .prepare = prepare_full_pipe,
         .sleep = sleep_write,
         .wake = wake_write},
        {.name = "recv",
         .prepare = prepare_socketpair,
         .sleep = sleep_recv,
         .wake = wake_eventfd},
        {.name = "accept",
         .prepare = prepare_accept,
         .sleep = sleep_accept,
         .wake = wake_accept},
        {.name = "msgrcv",
         .prepare = prepare_msgq,
         .sleep = sleep_msgrcv,
         .wake = wake_msgrcv},
        {.name = "pause",
         .prepare = prepare_pause,
         .sleep = sleep_pause,
         .wake = wake_pause},
        {.name = "inotify",
         .prepare = prepare_inotify,
         .sleep = sleep_inotify,
         .wake = wake_inotify},
        {.name = "eventfd",
         .prepare = prepare_eventfd,
         .sleep = sleep_read,
         .wake = wake_eventfd},
        {.name = "timerfd", .prepare = prepare_timerfd, .sleep = sleep_read},
        {.name = "mq_timedreceive", .prepare = prepare_mq, .sleep = sleep_mq_timedreceive},
        {.name = "mq_receive",
         .prepare = prepare_mq,
         .sleep = sleep_mq_receive,
         .wake = wake_mq},
        {.name = "flock",
         .prepare = prepare_flock,
         .sleep = sleep_flock,
         .wake = wake_flock},
};

#define NSLEEPERS (sizeof(sleepers) / sizeof(sleepers[0]))

VICTIM_NOINLINE static void work_a_little(unsigned *seed)
{
	VICTIM_BURN(20000 + (unsigned)rand_r(seed) % 400000);
}

static void *sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	unsigned seed = (unsigned)(s - sleepers) + 1;

	while (!stop) {
		if (s->sleep(s) < 0 && errno == EINTR)
			s->eintrs++;
		s->rounds++;
		if (is_short)
			work_a_little(&seed);
	}
	return NULL;
}

static void wake_all(void)
{
	for (size_t i = 0; i < NSLEEPERS; i++)
		if (!sleepers[i].absent && sleepers[i].wake != NULL)
			sleepers[i].wake(&sleepers[i]);
}

static void *waker(void *arg)
{
	const struct timespec nap = {0, SHORT_NS};

	wake_mutex(arg);
	sem_post(&mutex_held);
	while (sem_wait(&all_started) != 0)
		;
	while (is_short && !stop) {
		wake_all();
		nanosleep(&nap, NULL);
	}
	for (;;)
		pause();
	return NULL;
}

VICTIM_NOINLINE static void *spinner(void *arg)
{
	for (;;)
		VICTIM_BURN(1000000);
	return arg;
}

static struct sleeper *find(const char *name)
{
	for (size_t i = 0; i < NSLEEPERS; i++)
		if (strcmp(sleepers[i].name, name) == 0)
			return &sleepers[i];
	return NULL;
}

static void start_one(struct sleeper *s)
{
	if (s->prepare != NULL && s->prepare(s) < 0) {
		s->absent = 1;
		return;
	}
	s->thread = victim_thread(sleeper_main, s, s->name);
}

/* What outlives a process; the namespace (if there is one of ours) goes with it. */
static void remove_ipc(void)
{
	for (size_t i = 0; i < NSLEEPERS; i++) {
		if (sleepers[i].prepare == prepare_sem)
			semctl(sleepers[i].fd, 0, IPC_RMID);
		if (sleepers[i].prepare == prepare_msgq)
			msgctl(sleepers[i].fd, IPC_RMID, NULL);
	}
}

int main(int argc, char **argv)
{
	long eintrs[NSLEEPERS];
	long sum = 0;
	sigset_t set;

	is_short = argc > 1 && strcmp(argv[1], "short") == 0;
	victim_init();
	if (unshare(CLONE_NEWIPC) != 0)
		errno = 0; /* needs privileges; then remove_ipc() is all there is */
	sigemptyset(&set);
	sigaddset(&set, WAIT_SIG);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sem_init(&mutex_held, 0, 0);
	sem_init(&all_started, 0, 0);
	prepare_mutex(find("mutex"));
	victim_thread(waker, find("mutex"), "waker");
	while (sem_wait(&mutex_held) != 0)
		;
	for (size_t i = 0; i < NSLEEPERS; i++)
		start_one(&sleepers[i]);
	sem_post(&all_started);
	if (argc > 2 && strcmp(argv[2], "busy") == 0)
		victim_thread(spinner, NULL, "spinner");
	usleep(100000);
	victim_ready();
	victim_wait();
	for (size_t i = 0; i < NSLEEPERS; i++)
		eintrs[i] = sleepers[i].eintrs; /* before removing anything disturbs them */
	stop = 1;
	for (size_t i = 0; i < NSLEEPERS; i++) {
		if (sleepers[i].absent) {
			printf("absent %s\n", sleepers[i].name);
			continue;
		}
		printf("call %s %ld %ld\n", sleepers[i].name, sleepers[i].rounds,
		       eintrs[i]);
		sum += eintrs[i];
	}
	printf("eintrs %ld\n", sum);
	remove_ipc();
	fflush(stdout);
	_exit(0);
}
