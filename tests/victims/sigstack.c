/* SPDX-License-Identifier: Apache-2.0 */
/* build sigstack: -O2 -pthread */
/*
 * sigstack: two threads that live in signal handlers. Most of the time is spent
 * in handler_work <- on_signal, which interrupted interrupted_work <- raiser.
 * The first thread's handler runs on an alternate stack, the second's on the
 * stack of the code that it interrupted.
 */
#include <sys/syscall.h>

#include "victim.h"

static volatile int stop;

VICTIM_NOINLINE static void handler_work(void)
{
	for (volatile int i = 0; i < 2000000; i++)
		;
}

static void on_signal(int number)
{
	(void)number;
	handler_work();
	VICTIM_STAY();
}

/* Interrupted here, not in a library: the call is made inline. */
VICTIM_NOINLINE static void interrupted_work(long pid, long tid, long number)
{
	long r;

	for (volatile int i = 0; i < 200000; i++)
		;
	__asm__ volatile("syscall"
	                 : "=a"(r)
	                 : "a"(SYS_tgkill), "D"(pid), "S"(tid), "d"(number)
	                 : "rcx", "r11", "memory");
	if (r != 0)
		_exit(70);
}

static void *raiser(void *arg)
{
	long tid = syscall(SYS_gettid);

	if (arg != NULL) {
		stack_t stack = {.ss_size = 1 << 16};

		stack.ss_sp = malloc(stack.ss_size);
		if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0)
			victim_die("sigaltstack");
	}
	while (!stop)
		interrupted_work(getpid(), tid, SIGUSR1);
	return NULL;
}

int main(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal;
	action.sa_flags = SA_ONSTACK | SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	victim_init();
	victim_thread(raiser, &action, "alternate");
	victim_thread(raiser, NULL, "same-stack");
	victim_ready();
	victim_wait();
	stop = 1;
	return 0;
}
