/* SPDX-License-Identifier: Apache-2.0 */
/* build stacks: -O1 -pthread -fno-omit-frame-pointer -fno-optimize-sibling-calls */
/*
 * stacks [DEPTH]: one thread that goes through very many distinct stacks, each
 * a random path of DEPTH calls among eight functions. At the end prints "cpu
 * NANOSECONDS" of the whole process.
 */
#include "victim.h"

static uint64_t path = 88172645463325252u;

/* Which way to go next: xorshift64. */
static unsigned next_way(void)
{
	path ^= path << 13;
	path ^= path >> 7;
	path ^= path << 17;
	return (unsigned)(path >> 32) & 7;
}

static void go(int depth);

#define WAY(n)                                               \
	VICTIM_NOINLINE static void way_##n(int depth)       \
	{                                                    \
		for (volatile int i_ = 0; i_ < 20 + n; i_++) \
			;                                    \
		go(depth - 1);                               \
		VICTIM_STAY();                               \
	}
WAY(0)
WAY(1)
WAY(2)
WAY(3)
WAY(4)
WAY(5)
WAY(6)
WAY(7)

static void (*const ways[])(int) = {way_0, way_1, way_2, way_3, way_4, way_5, way_6, way_7};

VICTIM_NOINLINE static void go(int depth)
{
	if (depth > 0)
		ways[next_way()](depth);
	else
		for (volatile int i = 0; i < 2000; i++)
			;
	VICTIM_STAY();
}

static void *run(void *arg)
{
	for (;;)
		go((int)(intptr_t)arg);
	return NULL;
}

int main(int argc, char **argv)
{
	long depth = victim_arg(argc, argv, 1, 60);

	victim_init();
	(void)victim_thread(run, (void *)(intptr_t)depth, "stacks");
	victim_ready();
	victim_wait();
	printf("cpu %llu\n", (unsigned long long)victim_clock_ns(CLOCK_PROCESS_CPUTIME_ID));
	fflush(stdout);
	_exit(0);
}
