/* SPDX-License-Identifier: Apache-2.0 */
/* build work: -O2 -pthread */
/*
 * work THREADS KIND [FILE]: threads that count what they do. KIND is
 *   busy    all the time
 *   bursty  a few ms of work, then a few ms of sleep, at random
 *   wait    nothing until SIGUSR1; then each thread uses 2 s of CPU time, once
 *   idle    nothing at all
 * The counts are 64-bit numbers, 64 bytes apart, one for each thread; with
 * FILE they are mapped from there, so that others can watch them.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "victim.h"

#define MAX_THREADS 256
#define PER_COUNTER 8

static volatile uint64_t *counters;
static volatile int stop;
static pthread_barrier_t begin;

VICTIM_NOINLINE static void one_operation(volatile uint64_t *counter)
{
	for (volatile int i = 0; i < 1000; i++)
		;
	*counter += 1;
}

VICTIM_NOINLINE static void operations(volatile uint64_t *counter, uint64_t cpu_ns)
{
	uint64_t end = victim_thread_cpu_ns() + cpu_ns;

	do {
		for (int i = 0; i < 16; i++)
			one_operation(counter);
	} while (!stop && victim_thread_cpu_ns() < end);
	VICTIM_STAY();
}

static void *busy(void *counter)
{
	while (!stop)
		operations(counter, 10000000);
	return NULL;
}

static void *bursty(void *counter)
{
	unsigned seed = (unsigned)(uintptr_t)counter;

	while (!stop) {
		struct timespec nap = {0, 100000 + rand_r(&seed) % 9000000};

		operations(counter, 100000 + (unsigned)rand_r(&seed) % 5000000);
		nanosleep(&nap, NULL);
	}
	return NULL;
}

static void *wait_for_it(void *counter)
{
	pthread_barrier_wait(&begin);
	operations(counter, 2000000000);
	return NULL;
}

static void *idle(void *counter)
{
	(void)counter;
	for (;;)
		pause();
	return NULL;
}

static void await_begin(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigwait(&set, &number);
	pthread_barrier_wait(&begin);
}

static void map_counters(const char *file)
{
	size_t size = MAX_THREADS * PER_COUNTER * sizeof(uint64_t);
	int flags = MAP_SHARED | MAP_ANONYMOUS;
	int fd = -1;
	void *at;

	if (file != NULL) {
		fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
			victim_die("%s", file);
		flags = MAP_SHARED;
	}
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (at == MAP_FAILED)
		victim_die("mmap");
	counters = at;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void *(*start)(void *);
	} kinds[] = {
	        {"busy", busy}, {"bursty", bursty}, {"wait", wait_for_it}, {"idle", idle}};
	const char *kind = argc > 2 ? argv[2] : "busy";
	long n = victim_arg(argc, argv, 1, 1);
	void *(*start)(void *) = NULL;
	sigset_t usr1;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, kind) == 0)
			start = kinds[i].start;
	if (start == NULL || n < 1 || n > MAX_THREADS)
		return 64;
	victim_init();
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	map_counters(argc > 3 ? argv[3] : NULL);
	pthread_barrier_init(&begin, NULL, (unsigned)n + 1);
	for (long i = 0; i < n; i++)
		victim_thread(start, (void *)(uintptr_t)&counters[i * PER_COUNTER],
		              "worker");
	victim_ready();
	if (start == wait_for_it)
		await_begin();
	victim_wait();
	stop = 1;
	for (long i = 0; i < n; i++)
		printf("count %ld %llu\n", i,
		       (unsigned long long)counters[i * PER_COUNTER]);
	return 0;
}
