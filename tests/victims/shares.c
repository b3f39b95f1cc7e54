/* SPDX-License-Identifier: Apache-2.0 */
/* build shares: -O2 -pthread */
/*
 * shares [THREADS]: functions that use 60, 30 and 10 % of each thread's CPU
 * time. Work comes in rounds of a random length between 0.2 and 2 ms in which each function has
 * its slice, in random order. Each steers by the sum of what it used so far,
 * so that overrunning a slice is made good in the next one. At the end
 * prints "share FUNCTION NANOSECONDS" as the thread clocks counted it.
 */
#include "victim.h"

#define NFUNCTIONS  3
#define MAX_THREADS 16

struct slices {
	uint64_t due[NFUNCTIONS];
	uint64_t used[NFUNCTIONS];
	unsigned seed;
};

static struct slices all[MAX_THREADS];
static volatile int stop;

#define SPENDER(name, n)                                         \
	VICTIM_NOINLINE static void name(struct slices *s)       \
	{                                                        \
		uint64_t start = victim_thread_cpu_ns();         \
		uint64_t now = start;                            \
                                                                 \
		while (s->used[n] + (now - start) < s->due[n]) { \
			for (volatile int i = 0; i < 4000; i++)  \
				;                                \
			now = victim_thread_cpu_ns();            \
		}                                                \
		s->used[n] += now - start;                       \
	}

SPENDER(spend_sixty, 0)
SPENDER(spend_thirty, 1)
SPENDER(spend_ten, 2)

static void (*const spenders[NFUNCTIONS])(struct slices *) = {
        spend_sixty,
        spend_thirty,
        spend_ten,
};

static void shuffle(int order[NFUNCTIONS], unsigned *seed)
{
	for (int i = NFUNCTIONS - 1; i > 0; i--) {
		int j = rand_r(seed) % (i + 1);
		int kept = order[i];

		order[i] = order[j];
		order[j] = kept;
	}
}

VICTIM_NOINLINE static void one_round(struct slices *s)
{
	static const unsigned share[NFUNCTIONS] = {60, 30, 10};
	uint64_t unit = 2000 + (uint64_t)rand_r(&s->seed) % 18000;
	int order[NFUNCTIONS] = {0, 1, 2};

	shuffle(order, &s->seed);
	for (int i = 0; i < NFUNCTIONS; i++) {
		s->due[order[i]] += unit * share[order[i]];
		spenders[order[i]](s);
	}
	VICTIM_STAY();
}

static void *spend(void *arg)
{
	while (!stop)
		one_round(arg);
	return NULL;
}

int main(int argc, char **argv)
{
	static const char *const names[NFUNCTIONS] = {"spend_sixty", "spend_thirty",
	                                              "spend_ten"};
	long n = victim_arg(argc, argv, 1, 2);
	pthread_t threads[MAX_THREADS];

	if (n < 1 || n > MAX_THREADS)
		return 64;
	victim_init();
	for (long i = 0; i < n; i++) {
		all[i].seed = (unsigned)i + 1;
		threads[i] = victim_thread(spend, &all[i], "spender");
	}
	victim_ready();
	victim_wait();
	stop = 1;
	for (long i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	for (int f = 0; f < NFUNCTIONS; f++) {
		uint64_t used = 0;

		for (long i = 0; i < n; i++)
			used += all[i].used[f];
		printf("share %s %llu\n", names[f], (unsigned long long)used);
	}
	return 0;
}
