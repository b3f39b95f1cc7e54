/* SPDX-License-Identifier: Apache-2.0 */
/* build blocked: -O2 -pthread */
/*
 * blocked convoy: eight threads that want one mutex, and hold it for a while in
 * which they sleep. blocked fifo PATH: a thread that reads from a slow pipe; the
 * test writes into it. Everything else sleeps in other calls, and less.
 */
#include <fcntl.h>
#include <unistd.h>

#include "victim.h"

#define NCONVOY 8

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

VICTIM_NOINLINE static void hold_for_a_while(void)
{
	const struct timespec nap = {0, 3000000};

	nanosleep(&nap, NULL);
	VICTIM_STAY();
}

VICTIM_NOINLINE static void join_convoy(void)
{
	pthread_mutex_lock(&mutex);
	hold_for_a_while();
	pthread_mutex_unlock(&mutex);
}

static void *convoy(void *arg)
{
	for (;;) {
		join_convoy();
		VICTIM_STAY();
	}
	return arg;
}

VICTIM_NOINLINE static void read_slowly(int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1)
		VICTIM_STAY();
}

static void *reader(void *arg)
{
	int fd = open(arg, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		victim_die("fifo");
	read_slowly(fd);
	return NULL;
}

/* Mostly awake: sleeps for a tenth of its time. */
static void *worker(void *arg)
{
	const struct timespec nap = {0, 200000};

	for (;;) {
		uint64_t until = victim_clock_ns(CLOCK_MONOTONIC) + 2000000;

		while (victim_clock_ns(CLOCK_MONOTONIC) < until)
			VICTIM_STAY();
		nanosleep(&nap, NULL);
	}
	return arg;
}

int main(int argc, char **argv)
{
	victim_init();
	if (argc > 2 && strcmp(argv[1], "fifo") == 0)
		victim_thread(reader, argv[2], "reader");
	else
		for (int i = 0; i < NCONVOY; i++)
			victim_thread(convoy, NULL, "convoy");
	victim_thread(worker, NULL, "worker");
	usleep(100000);
	victim_ready();
	victim_wait();
	return 0;
}
