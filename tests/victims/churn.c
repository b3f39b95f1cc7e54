/* SPDX-License-Identifier: Apache-2.0 */
/* build churn: -O2 -pthread */
/*
 * churn [PER_SECOND [CPU_US]]: threads that come and go, at most PER_SECOND of
 * them (0: as many as can be), each using CPU_US microseconds of CPU time. At the end prints
 * "threads N" and "cpu NANOSECONDS" of the whole process.
 */
#include <sys/resource.h>

#include "victim.h"

static uint64_t each_ns;

VICTIM_NOINLINE static void short_life(void)
{
	VICTIM_BURN(each_ns);
}

static void *live(void *arg)
{
	short_life();
	return arg;
}

static uint64_t timeval_ns(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * 1000000000u + (uint64_t)tv->tv_usec * 1000u;
}

int main(int argc, char **argv)
{
	long per_second = victim_arg(argc, argv, 1, 1000);
	struct timespec nap = {0, 1000000000 / (per_second > 1 ? per_second : 2)};
	unsigned long threads = 0;
	struct rusage usage;
	pthread_attr_t attr;

	each_ns = (uint64_t)victim_arg(argc, argv, 2, 300) * 1000u;
	victim_init();
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	victim_ready();
	while (!victim_ended()) {
		pthread_t thread;

		/* EAGAIN when the machine is too slow for the rate: go on */
		if (pthread_create(&thread, &attr, live, NULL) == 0)
			threads++;
		if (per_second > 0)
			nanosleep(&nap, NULL);
	}
	usleep(200000);
	getrusage(RUSAGE_SELF, &usage);
	printf("threads %lu\n", threads);
	printf("cpu %llu\n", (unsigned long long)(timeval_ns(&usage.ru_utime) +
	                                          timeval_ns(&usage.ru_stime)));
	return 0;
}
