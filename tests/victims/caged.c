/* SPDX-License-Identifier: Apache-2.0 */
/* build caged: -O2 -pthread -Wno-unused-function */
/*
 * caged: threads that sleep a few milliseconds at a time in calls that the kernel
 * goes on with after a stop by a call of its own, restart_syscall, and one that
 * works in spin_caged; under a seccomp filter that kills the process for just that
 * call. At the end prints "rounds N".
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include "sleepers_calls.h"

static struct sleeper sleepers[] = {
        {.name = "nanosleep", .sleep = sleep_nanosleep},
        {.name = "clock_nanosleep", .sleep = sleep_clock_nanosleep},
        {.name = "poll", .prepare = prepare_pipe, .sleep = sleep_poll},
        {.name = "condvar_timed", .prepare = prepare_condvar, .sleep = sleep_condvar_timed},
};

static void lock_up(void)
{
	struct sock_filter filter[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		victim_die("seccomp");
}

VICTIM_NOINLINE static void spin_caged(void)
{
	VICTIM_BURN(10000000);
	VICTIM_STAY();
}

static void *spinner(void *arg)
{
	for (;;)
		spin_caged();
	return arg;
}

static void *sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	unsigned seed = (unsigned)(s - sleepers) + 1;

	for (;;) {
		(void)s->sleep(s);
		s->rounds++;
		VICTIM_BURN(5000 + (unsigned)rand_r(&seed) % 100000);
	}
	return NULL;
}

int main(void)
{
	long rounds = 0;

	is_short = 1;
	victim_init();
	lock_up();
	for (size_t i = 0; i < sizeof sleepers / sizeof sleepers[0]; i++)
		if (sleepers[i].prepare == NULL || sleepers[i].prepare(&sleepers[i]) == 0)
			victim_thread(sleeper_main, &sleepers[i], sleepers[i].name);
	victim_thread(spinner, NULL, "spinner");
	victim_ready();
	victim_wait();
	for (size_t i = 0; i < sizeof sleepers / sizeof sleepers[0]; i++)
		rounds += sleepers[i].rounds;
	printf("rounds %ld\n", rounds);
	return 0;
}
