/* SPDX-License-Identifier: Apache-2.0 */
/* build spinners: -O1 -g -pthread */
/*
 * spinners N: N threads that never sleep and make no system calls, in spin_on.
 */
#include "victim.h"

static volatile int stop;

VICTIM_NOINLINE static void spin_on(void)
{
	while (!stop)
		;
}

static void *spinner(void *arg)
{
	spin_on();
	VICTIM_STAY();
	return arg;
}

int main(int argc, char **argv)
{
	long threads = victim_arg(argc, argv, 1, 1);

	victim_init();
	for (long i = 0; i < threads; i++)
		victim_thread(spinner, NULL, "spinner");
	victim_ready();
	victim_wait();
	stop = 1;
	return 0;
}
