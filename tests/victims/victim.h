/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all victims share. A victim says "ready PID" on stdout when its threads
 * do what it is for, lives until SIGTERM (or as long as it was told to), and
 * then prints what it did: a test takes its expectations from there.
 *
 * How to build each is in its first lines, "build NAME: FLAGS".
 */
#ifndef VICTIM_H
#define VICTIM_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* clang makes no clones, and has no word for that. */
#ifdef __clang__
#define VICTIM_NOINLINE __attribute__((noinline, unused))
#else
#define VICTIM_NOINLINE __attribute__((noinline, noclone, unused))
#endif

/* Keeps a call from becoming a jump, so that its caller stays on the stack. */
#define VICTIM_STAY() __asm__ volatile("" ::: "memory")

__attribute__((unused)) static uint64_t victim_clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

__attribute__((unused)) static uint64_t victim_thread_cpu_ns(void)
{
	return victim_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

__attribute__((unused, format(printf, 1, 2))) static void victim_die(const char *fmt, ...)
{
	int error = errno;
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(error));
	_exit(70);
}

/*
 * SIGTERM is for victim_wait alone, in every thread made from now on. The
 * victim also ends with whoever started it.
 */
__attribute__((unused)) static void victim_init(void)
{
	sigset_t set;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

__attribute__((unused)) static void victim_ready(void)
{
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
}

/* Sleeps until SIGTERM. */
__attribute__((unused)) static void victim_wait(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	while (sigwait(&set, &number) != 0)
		;
}

/* Whether SIGTERM is there, for a main thread that has work to do. */
__attribute__((unused)) static int victim_ended(void)
{
	const struct timespec now = {0, 0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	return sigtimedwait(&set, NULL, &now) == SIGTERM;
}

__attribute__((unused)) static pthread_t victim_thread(void *(*start)(void *), void *arg,
                                                       const char *name)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, start, arg);

	if (error != 0) {
		errno = error;
		victim_die("pthread_create");
	}
	if (name != NULL)
		pthread_setname_np(thread, name);
	return thread;
}

/* Queues a signal, to the process or, if tid is not 0, to that thread of it. */
__attribute__((unused)) static void victim_queue(pid_t pid, pid_t tid, int number,
                                                 union sigval value)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value = value;
	for (;;) {
		long r = tid != 0 ? syscall(SYS_rt_tgsigqueueinfo, pid, tid, number, &info)
		                  : syscall(SYS_rt_sigqueueinfo, pid, number, &info);

		if (r == 0)
			return;
		if (errno != EAGAIN)
			_exit(1);
		usleep(500);
	}
}

/* Uses the processor for about n nanoseconds of this thread's time, inline. */
#define VICTIM_BURN(ns)                                               \
	do {                                                          \
		uint64_t victim_end_ = victim_thread_cpu_ns() + (ns); \
		do {                                                  \
			for (volatile int i_ = 0; i_ < 2000; i_++)    \
				;                                     \
		} while (victim_thread_cpu_ns() < victim_end_);       \
	} while (0)

/* The n-th argument as a number, or a default. */
__attribute__((unused)) static long victim_arg(int argc, char **argv, int n, long otherwise)
{
	return argc > n ? strtol(argv[n], NULL, 10) : otherwise;
}

#endif
