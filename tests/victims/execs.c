/* SPDX-License-Identifier: Apache-2.0 */
/* build execs: -O2 -fno-ipa-icf -pthread */
/*
 * Programs whose life is not a quiet one:
 *
 *   execs exec MS PROGRAM ARG…    works MS ms in spin_before_exec, then becomes PROGRAM
 *   execs exec-thread MS PROGRAM ARG…   the same, by a thread that is not the leader
 *   execs fork                    works in spin_parent and forks children that
 *                                 work 5 ms in spin_child and end with status 7
 *   execs storm N                 a thread that is not the leader executes this program
 *                                 anew, N times, while two others work in spin_storm;
 *                                 the last prints "storm over" and ends
 *   execs leader                  the leader ends, two threads work on in spin_orphan
 *   execs exit MS STATUS          works MS ms in spin_until_exit, then ends
 *   execs parent                  forks a child that works in spin_child, and prints
 *                                 "child PID" and each event of it that waitpid
 *                                 tells: "stopped SIG", "continued", "exited STATUS",
 *                                 "killed SIG"
 *   execs none                    says ready and waits
 */
#include <sys/wait.h>

#include "victim.h"

static void work_ms(long ms)
{
	uint64_t end = victim_clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000u;

	while (victim_clock_ns(CLOCK_MONOTONIC) < end)
		for (volatile int i = 0; i < 4000; i++)
			;
}

VICTIM_NOINLINE static void spin_before_exec(long ms)
{
	work_ms(ms);
	VICTIM_STAY();
}

VICTIM_NOINLINE static void spin_parent(long ms)
{
	work_ms(ms);
	VICTIM_STAY();
}

VICTIM_NOINLINE static void spin_child(long ms)
{
	work_ms(ms);
	VICTIM_STAY();
}

VICTIM_NOINLINE static void spin_orphan(long ms)
{
	work_ms(ms);
	VICTIM_STAY();
}

VICTIM_NOINLINE static void spin_until_exit(long ms)
{
	work_ms(ms);
	VICTIM_STAY();
}

static void *exec_now(void *arg)
{
	char **argv = arg;
	sigset_t set;

	spin_before_exec(strtol(argv[2], NULL, 10));
	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	execvp(argv[3], argv + 3);
	victim_die("%s", argv[3]);
	return NULL;
}

static void *spin_storm(void *arg)
{
	for (;;)
		work_ms(1);
	return arg;
}

static void *storm_on(void *arg)
{
	long left = *(long *)arg;
	char number[32];
	sigset_t set;

	work_ms(left % 7);
	snprintf(number, sizeof number, "%ld", left - 1);
	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	execl("/proc/self/exe", "execs", "storm-on", number, NULL);
	victim_die("exec");
	return NULL;
}

static void storm(long left)
{
	if (left <= 0) {
		printf("storm over\n");
		exit(0);
	}
	victim_thread(spin_storm, NULL, "storm");
	victim_thread(spin_storm, NULL, "storm");
	victim_thread(storm_on, &left, "exec");
	for (;;)
		pause();
}

static void forks(void)
{
	long children = 0;
	long odd = 0;
	int status;

	while (!victim_ended()) {
		pid_t child = fork();

		if (child == 0) {
			spin_child(5);
			_exit(7);
		}
		children++;
		spin_parent(5);
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != 7)
			odd++;
	}
	printf("children %ld odd %ld\n", children, odd);
}

static void *orphan(void *arg)
{
	for (;;)
		spin_orphan(10);
	return arg;
}

/* SIGTERM is left to whoever asks for it: nobody here does, so it must kill. */
static void leader(void)
{
	sigset_t set;

	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	victim_thread(orphan, NULL, "orphan");
	victim_thread(orphan, NULL, "orphan");
	victim_ready();
	pthread_exit(NULL);
}

static void tell(int status)
{
	if (WIFSTOPPED(status))
		printf("stopped %d\n", WSTOPSIG(status));
	else if (WIFCONTINUED(status))
		printf("continued\n");
	else if (WIFSIGNALED(status))
		printf("killed %d\n", WTERMSIG(status));
	else
		printf("exited %d\n", WEXITSTATUS(status));
	fflush(stdout);
}

static void parent(void)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		victim_init();
		for (;;)
			spin_child(10);
	}
	printf("child %d\n", (int)child);
	victim_ready();
	do {
		if (waitpid(child, &status, WUNTRACED | WCONTINUED) != child)
			victim_die("waitpid");
		tell(status);
	} while (!WIFEXITED(status) && !WIFSIGNALED(status));
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "none";

	victim_init();
	if (strcmp(what, "leader") == 0)
		leader();
	if (strcmp(what, "storm-on") == 0)
		storm(victim_arg(argc, argv, 2, 0));
	if (strcmp(what, "parent") == 0) {
		parent();
		return 0;
	}
	victim_ready();
	if (strcmp(what, "storm") == 0) {
		usleep(300000); /* for who wants to be there from the start */
		storm(victim_arg(argc, argv, 2, 100));
	}
	if (strcmp(what, "exec") == 0 && argc > 3)
		exec_now(argv);
	if (strcmp(what, "exec-thread") == 0 && argc > 3)
		victim_thread(exec_now, argv, "exec");
	if (strcmp(what, "fork") == 0) {
		forks();
		return 0;
	}
	if (strcmp(what, "exit") == 0 && argc > 3) {
		spin_until_exit(strtol(argv[2], NULL, 10));
		return (int)strtol(argv[3], NULL, 10);
	}
	victim_wait();
	return 0;
}
