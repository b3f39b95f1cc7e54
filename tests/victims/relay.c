/* SPDX-License-Identifier: Apache-2.0 */
/* build relay: -O2 -pthread */
/*
 * relay THREADS MS: one after the other works for MS milliseconds of CPU time, while
 * all others sleep. Each waits long for its turn.
 */
#include <semaphore.h>

#include "victim.h"

#define STACK_BYTES (64 * 1024)
#define MAX_THREADS 10000

static sem_t turn[MAX_THREADS];
static long nthreads;
static uint64_t turn_ns;

VICTIM_NOINLINE static void run_leg(void)
{
	uint64_t end = victim_thread_cpu_ns() + turn_ns;

	while (victim_thread_cpu_ns() < end)
		for (volatile int i = 0; i < 10000; i++)
			;
}

static void *runner(void *number)
{
	long me = (long)(intptr_t)number;

	for (;;) {
		sem_wait(&turn[me]);
		run_leg();
		/* Not a neighbour in any list. */
		sem_post(&turn[(me + 7 * nthreads / 16 + 1) % nthreads]);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;

	nthreads = argc == 3 ? atol(argv[1]) : 0;
	turn_ns = argc == 3 ? (uint64_t)atol(argv[2]) * 1000000 : 0;
	if (nthreads < 1 || nthreads > MAX_THREADS || turn_ns == 0)
		victim_die("usage: relay THREADS MS");
	victim_init();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (long i = 0; i < nthreads; i++) {
		pthread_t thread;

		sem_init(&turn[i], 0, 0);
		if (pthread_create(&thread, &attr, runner, (void *)(intptr_t)i) != 0)
			victim_die("pthread_create");
	}
	sem_post(&turn[0]);
	victim_ready();
	victim_wait();
	_exit(0);
}
