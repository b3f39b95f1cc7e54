/* SPDX-License-Identifier: Apache-2.0 */
/* build inlines: -O2 -g -pthread */
/*
 * inlines: works in functions that are inlined into each other, four of five parts
 * of the time in `heavy`:
 *
 *     heavy <- both (inlined) <- worker
 *     light <- both (inlined) <- worker
 *
 * The lines of their loops are marked for who reads this file.
 */
#include "victim.h"

#define INLINED static inline __attribute__((always_inline))

static volatile int stop;

INLINED void heavy(volatile uint64_t *x)
{
	for (int i = 0; i < 40000; i++)
		*x += *x / 3 + 1; /* line of heavy */
}

INLINED void light(volatile uint64_t *x)
{
	for (int i = 0; i < 10000; i++)
		*x += *x / 3 + 1; /* line of light */
}

INLINED void both(volatile uint64_t *x)
{
	heavy(x); /* both calls heavy */
	light(x); /* both calls light */
}

VICTIM_NOINLINE static void *worker(void *arg)
{
	while (!stop)
		both(arg); /* worker calls both */
	return NULL;
}

int main(void)
{
	uint64_t x = 1;
	pthread_t thread;

	victim_init();
	pthread_create(&thread, NULL, worker, &x);
	victim_ready();
	victim_wait();
	stop = 1;
	pthread_join(thread, NULL);
	return 0;
}
