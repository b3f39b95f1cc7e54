/* SPDX-License-Identifier: Apache-2.0 */
/* build family: -O2 -fno-ipa-icf -pthread */
/*
 * Families of processes.
 *
 *   family work MS NAME            works MS ms in spin_NAME (left or right), then ends
 *   family crowd N MS              N children, one after the other, each MS ms of work in
 *                                  spin_short: they live too briefly to be seen
 *   family tree MS                 a child works in spin_left and its own child in
 *                                  spin_right, MS ms each
 *   family daemon MS               a daemon of its own session works in spin_right; who
 *                                  started it has ended long before
 *   family respawn                 keeps one child that works in spin_left: another takes
 *                                  the place of one that ends
 *   family later MS                waits for SIGTERM, then does what `work MS left` does
 *
 * Those that end say "used NS", their own CPU time and that of their children by the
 * kernel's account, at their end.
 */
#include <sys/resource.h>
#include <sys/wait.h>

#include "victim.h"

static VICTIM_NOINLINE void spin_left(long ms)
{
	VICTIM_BURN((uint64_t)ms * 1000000);
	VICTIM_STAY();
}

static VICTIM_NOINLINE void spin_right(long ms)
{
	VICTIM_BURN((uint64_t)ms * 1000000);
	VICTIM_STAY();
}

static VICTIM_NOINLINE void spin_short(long ms)
{
	VICTIM_BURN((uint64_t)ms * 1000000);
	VICTIM_STAY();
}

static uint64_t used_by(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
}

static void say_used(void)
{
	printf("used %llu\n",
	       (unsigned long long)(used_by(RUSAGE_SELF) + used_by(RUSAGE_CHILDREN)));
	fflush(stdout);
}

static pid_t fork_or_die(void)
{
	pid_t pid = fork();

	if (pid < 0)
		victim_die("fork");
	return pid;
}

static void crowd(long n, long ms)
{
	for (long i = 0; i < n; i++) {
		pid_t pid = fork_or_die();

		if (pid == 0) {
			spin_short(ms);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
}

static void tree(long ms)
{
	if (fork_or_die() == 0) {
		pid_t below = fork_or_die();

		if (below == 0) {
			spin_right(ms);
			_exit(0);
		}
		spin_left(ms);
		waitpid(below, NULL, 0);
		_exit(0);
	}
	wait(NULL);
}

static void make_daemon(long ms)
{
	if (fork_or_die() == 0) {
		setsid();
		/* Long enough to be seen by who looks fifty times a second. */
		if (fork_or_die() == 0) {
			usleep(300000);
			spin_right(ms);
			_exit(0);
		}
		usleep(200000);
		_exit(0);
	}
	wait(NULL);
}

static void respawn(void)
{
	pid_t pid;

	victim_ready();
	while (!victim_ended()) {
		pid = fork_or_die();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				spin_left(1000);
		}
		printf("child %d\n", (int)pid);
		waitpid(pid, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	long number = victim_arg(argc, argv, 2, 100);

	victim_init();
	if (strcmp(what, "work") == 0 && argc > 3) {
		if (strcmp(argv[3], "left") == 0)
			spin_left(number);
		else
			spin_right(number);
	} else if (strcmp(what, "crowd") == 0) {
		crowd(number, victim_arg(argc, argv, 3, 2));
	} else if (strcmp(what, "tree") == 0) {
		tree(number);
	} else if (strcmp(what, "daemon") == 0) {
		make_daemon(number);
	} else if (strcmp(what, "respawn") == 0) {
		respawn();
	} else if (strcmp(what, "later") == 0) {
		victim_ready();
		victim_wait();
		spin_left(number);
	}
	say_used();
	return 0;
}
