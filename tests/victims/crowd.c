/* SPDX-License-Identifier: Apache-2.0 */
/* build crowd: -O2 -pthread */
/*
 * crowd IDLE BUSY FILE: IDLE threads that sleep, a third each in poll, on a
 * condition and in nanosleep, and BUSY ones that count what they do: 64-bit
 * numbers, 64 bytes apart, in FILE.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include "victim.h"

#define STACK_BYTES (64 * 1024)
#define PER_COUNTER 8

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

VICTIM_NOINLINE static void one_operation(volatile uint64_t *counter)
{
	for (volatile int i = 0; i < 1000; i++)
		;
	*counter += 1;
}

static void *busy(void *counter)
{
	for (;;)
		one_operation(counter);
	return NULL;
}

VICTIM_NOINLINE static void idle_in(long kind)
{
	const struct timespec long_time = {100000, 0};

	if (kind == 0) {
		poll(NULL, 0, -1);
	} else if (kind == 1) {
		pthread_mutex_lock(&mutex);
		pthread_cond_wait(&never, &mutex);
		pthread_mutex_unlock(&mutex);
	} else {
		nanosleep(&long_time, NULL);
	}
	VICTIM_STAY();
}

static void *idle(void *kind)
{
	for (;;)
		idle_in((long)(intptr_t)kind);
	return NULL;
}

static void start(void *(*main_of_it)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (pthread_create(&thread, &attr, main_of_it, arg) != 0)
		victim_die("pthread_create");
	pthread_attr_destroy(&attr);
}

int main(int argc, char **argv)
{
	size_t size = argc == 4 ? (size_t)atoi(argv[2]) * PER_COUNTER * 8 + 8 : 0;
	int fd = argc == 4 ? open(argv[3], O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	uint64_t *counters;

	if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
		victim_die("usage: crowd IDLE BUSY FILE");
	counters = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counters == MAP_FAILED)
		victim_die("mmap");
	victim_init();
	for (long i = 0; i < atoi(argv[1]); i++)
		start(idle, (void *)(intptr_t)(i % 3));
	for (int i = 0; i < atoi(argv[2]); i++)
		start(busy, counters + i * PER_COUNTER);
	usleep(200000);
	victim_ready();
	victim_wait();
	_exit(0);
}
