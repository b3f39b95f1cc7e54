/* SPDX-License-Identifier: Apache-2.0 */
/* build signals: -O2 -pthread */
/*
 * signals [COUNT]: gets COUNT queued real-time signals with payloads from a child
 * process, to the process and to one of its threads in turn, and SIGALRM at
 * 100 Hz, while three threads spin. When all were sent (or SIGTERM came) prints
 *
 *     sent N  received N  disordered N  altered N
 *     alarms N  expirations N
 *
 * Both numbers of a line differ only if a signal was lost. A timer's
 * expirations while its signal was pending are known from its overrun count.
 */
#include <sys/syscall.h>
#include <sys/wait.h>

#include "victim.h"

#define TO_PROCESS (SIGRTMIN + 1)
#define TO_THREAD  (SIGRTMIN + 2)
#define PERIOD_NS  10000000
#define STAMP      0x5a000000

struct stream {
	volatile int next;
	volatile long received;
	volatile long disordered;
	volatile long altered;
};

static struct stream to_process;
static struct stream to_thread;
static volatile long alarms;
static timer_t timer;
static volatile int stop;
static pid_t spinner_tid;
static pthread_barrier_t begin;

static void on_payload(int number, siginfo_t *info, void *context)
{
	struct stream *s = number == TO_PROCESS ? &to_process : &to_thread;
	int value = info->si_value.sival_int ^ STAMP;

	(void)context;
	if (info->si_code != SI_QUEUE || info->si_pid == 0 || value < 0 || value > 0xffffff)
		s->altered++;
	else if (value != s->next)
		s->disordered++;
	s->next = value + 1;
	s->received++;
}

static void on_alarm(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	alarms += 1 + info->si_overrun;
}

VICTIM_NOINLINE static void spin(void)
{
	for (volatile int i = 0; i < 1000000; i++)
		;
}

static void block(int how, int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	pthread_sigmask(how, &set, NULL);
}

/* The first spinner is the one that TO_THREAD is for; the second gets none. */
static void *spinner(void *arg)
{
	block(SIG_BLOCK, TO_PROCESS);
	block(SIG_BLOCK, SIGALRM);
	if (arg != NULL)
		spinner_tid = (pid_t)syscall(SYS_gettid);
	else
		block(SIG_BLOCK, TO_THREAD);
	pthread_barrier_wait(&begin);
	while (!stop)
		spin();
	return NULL;
}

static void queue_one(pid_t pid, pid_t tid, int number, int n)
{
	const union sigval value = {.sival_int = n ^ STAMP};

	victim_queue(pid, tid, number, value);
}

static void send_all(pid_t pid, pid_t tid, long count)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int n = 0; n < count; n++) {
		queue_one(pid, 0, TO_PROCESS, n);
		queue_one(pid, tid, TO_THREAD, n);
		if (n % 8 == 0)
			usleep(2000);
	}
	_exit(0);
}

static uint64_t start_timer(void)
{
	struct sigevent event;
	struct itimerspec spec;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGALRM;
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
		victim_die("timer_create");
	clock_gettime(CLOCK_MONOTONIC, &spec.it_value);
	spec.it_value.tv_sec += 1;
	spec.it_interval.tv_sec = 0;
	spec.it_interval.tv_nsec = PERIOD_NS;
	if (timer_settime(timer, TIMER_ABSTIME, &spec, NULL) != 0)
		victim_die("timer_settime");
	return (uint64_t)spec.it_value.tv_sec * 1000000000u +
	       (uint64_t)spec.it_value.tv_nsec;
}

/*
 * Takes the last expirations by hand, until one was taken early in its period, so that
 * the clock read afterwards belongs to the same one.
 */
static long count_expirations(uint64_t first)
{
	uint64_t since;
	siginfo_t info;
	sigset_t set;

	block(SIG_BLOCK, SIGALRM);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	do {
		while (sigwaitinfo(&set, &info) != SIGALRM)
			;
		alarms += 1 + info.si_overrun;
		since = victim_clock_ns(CLOCK_MONOTONIC) - first;
	} while (since % PERIOD_NS > PERIOD_NS / 2);
	timer_delete(timer);
	return (long)(since / PERIOD_NS) + 1;
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = handler;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	if (sigaction(number, &action, NULL) != 0)
		victim_die("sigaction");
}

int main(int argc, char **argv)
{
	long count = victim_arg(argc, argv, 1, 5000);
	long expirations;
	int ended = 0;
	uint64_t first;
	pid_t child;

	victim_init();
	handle(TO_PROCESS, on_payload);
	handle(TO_THREAD, on_payload);
	handle(SIGALRM, on_alarm);
	block(SIG_BLOCK, TO_THREAD);
	block(SIG_BLOCK, TO_PROCESS);
	pthread_barrier_init(&begin, NULL, 3);
	block(SIG_UNBLOCK, TO_THREAD);
	victim_thread(spinner, &begin, "addressee");
	victim_thread(spinner, NULL, "spinner");
	block(SIG_BLOCK, TO_THREAD);
	pthread_barrier_wait(&begin);
	first = start_timer();
	child = fork();
	if (child == 0)
		send_all(getppid(), spinner_tid, count);
	block(SIG_UNBLOCK, TO_PROCESS);
	victim_ready();
	while (!ended && (to_process.received < count || to_thread.received < count)) {
		ended = victim_ended();
		spin();
	}
	expirations = count_expirations(first);
	printf("sent %ld received %ld disordered %ld altered %ld\n", 2 * count,
	       to_process.received + to_thread.received,
	       to_process.disordered + to_thread.disordered,
	       to_process.altered + to_thread.altered);
	printf("alarms %ld expirations %ld\n", alarms, expirations);
	printf("done\n");
	fflush(stdout);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (!ended)
		victim_wait();
	return 0;
}
