/* SPDX-License-Identifier: Apache-2.0 */
/* build fault.so: -O1 -g -fPIC -shared -fno-builtin */
/*
 * Preloaded into a program, makes one call of the C library fail:
 *   FAULT_CALL   the function, as "malloc"
 *   FAULT_NTH    which of its calls, from 1 on; 0: none, they are only counted
 *   FAULT_ERRNO  the error; unless given, one that the call may well return
 *   FAULT_COUNTS a file to which "NAME N" is written for all functions at the end
 * Calls are counted over all threads, and processes that share memory.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

struct counter {
	const char *name;
	int error;
	atomic_long n;
};

static struct counter *counters[64];
static atomic_int ncounters;
static const char *wanted;
static long nth;
static int wanted_error;

__attribute__((constructor)) static void begin(void)
{
	const char *number = getenv("FAULT_NTH"), *error = getenv("FAULT_ERRNO");

	nth = number ? strtol(number, NULL, 10) : 0;
	wanted_error = error ? (int)strtol(error, NULL, 10) : 0;
	wanted = getenv("FAULT_CALL");
}

__attribute__((destructor)) static void end(void)
{
	const char *path = getenv("FAULT_COUNTS");
	FILE *f = path ? fopen(path, "w") : NULL;

	for (int i = 0; f && i < ncounters; i++)
		fprintf(f, "%s %ld\n", counters[i]->name, (long)counters[i]->n);
	if (f)
		fclose(f);
}

/* Whether this call is the one; if so, errno is set. Counts from begin() on. */
static bool fails(struct counter *counter)
{
	long n = atomic_fetch_add(&counter->n, 1) + 1;

	if (n == 1)
		counters[atomic_fetch_add(&ncounters, 1)] = counter;
	if (n != nth || !wanted || strcmp(wanted, counter->name) != 0)
		return false;
	errno = wanted_error ? wanted_error : counter->error;
	return true;
}

#define COUNTER(called, error) static struct counter counter = {called, error, 0}

/* `result` of a call that fails; errno is set. */
#define WRAP_AS(called, type, name, params, args, error, result)   \
	type name params                                           \
	{                                                          \
		static type(*real) params;                         \
		COUNTER(called, error);                            \
		if (fails(&counter))                               \
			return result;                             \
		if (!real)                                         \
			*(void **)&real = dlsym(RTLD_NEXT, #name); \
		return real args;                                  \
	}

#define WRAP(type, name, params, args, error, result) \
	WRAP_AS(#name, type, name, params, args, error, result)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	COUNTER("malloc", ENOMEM);
	return fails(&counter) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	COUNTER("calloc", ENOMEM);
	return fails(&counter) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	COUNTER("realloc", ENOMEM);
	return fails(&counter) ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t n, size_t size)
{
	COUNTER("reallocarray", ENOMEM);
	return fails(&counter) ? NULL : __libc_realloc(old, n * size);
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	COUNTER("open", EMFILE);
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	if (fails(&counter))
		return -1;
	static int (*real)(int, const char *, int, ...);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "openat");
	return real(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	COUNTER("openat", EMFILE);
	static int (*real)(int, const char *, int, ...);
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	if (fails(&counter))
		return -1;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "openat");
	return real(dir, path, flags, mode);
}

long ptrace(enum __ptrace_request request, ...)
{
	COUNTER("ptrace", ESRCH);
	static long (*real)(enum __ptrace_request, pid_t, void *, void *);
	va_list ap;
	pid_t pid;
	void *addr, *data;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (fails(&counter))
		return -1;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ptrace");
	return real(request, pid, addr, data);
}

int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	COUNTER("clone", EAGAIN);
	static int (*real)(int (*)(void *), void *, int, void *, ...);
	va_list ap;
	void *a, *b, *c;

	va_start(ap, arg);
	a = va_arg(ap, void *);
	b = va_arg(ap, void *);
	c = va_arg(ap, void *);
	va_end(ap);
	if (fails(&counter))
		return -1;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clone");
	return real(fn, stack, flags, arg, a, b, c);
}

int prctl(int option, ...)
{
	COUNTER("prctl", EINVAL);
	static int (*real)(int, unsigned long, unsigned long, unsigned long, unsigned long);
	unsigned long v[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		v[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (fails(&counter))
		return -1;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "prctl");
	return real(option, v[0], v[1], v[2], v[3]);
}

WRAP(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n), EIO, -1)
WRAP_AS("read", ssize_t, __read_chk, (int fd, void *buf, size_t n, size_t len),
        (fd, buf, n, len), EIO, -1)
WRAP(ssize_t, pread, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at), EIO, -1)
WRAP_AS("pread", ssize_t, pread64, (int fd, void *buf, size_t n, off_t at),
        (fd, buf, n, at), EIO, -1)
WRAP_AS("pread", ssize_t, __pread_chk, (int fd, void *buf, size_t n, off_t at, size_t len),
        (fd, buf, n, at, len), EIO, -1)
WRAP(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n), ENOSPC, -1)
WRAP(ssize_t, process_vm_readv,
     (pid_t pid, const struct iovec *l, unsigned long nl, const struct iovec *r,
      unsigned long nr, unsigned long flags),
     (pid, l, nl, r, nr, flags), EFAULT, -1)
WRAP(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t offset),
     (at, n, prot, flags, fd, offset), ENOMEM, MAP_FAILED)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg),
     (thread, attr, start, arg), EAGAIN, errno)
WRAP(int, fork, (void), (), EAGAIN, -1)
WRAP(int, pipe2, (int fds[2], int flags), (fds, flags), EMFILE, -1)
WRAP(int, eventfd, (unsigned n, int flags), (n, flags), EMFILE, -1)
WRAP(int, eventfd_write, (int fd, eventfd_t value), (fd, value), EAGAIN, -1)
WRAP(int, timerfd_create, (int clock, int flags), (clock, flags), EMFILE, -1)
WRAP(int, timerfd_settime,
     (int fd, int flags, const struct itimerspec *when, struct itimerspec *old),
     (fd, flags, when, old), EINVAL, -1)
WRAP(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags), EMFILE, -1)
WRAP(int, sigaction, (int sig, const struct sigaction *new, struct sigaction *old),
     (sig, new, old), EINVAL, -1)
WRAP(int, renameat, (int from, const char *old, int to, const char *new),
     (from, old, to, new), EXDEV, -1)
WRAP(int, linkat, (int from, const char *old, int to, const char *new, int flags),
     (from, old, to, new, flags), EPERM, -1)
WRAP(int, fsync, (int fd), (fd), EIO, -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), EPERM, -1)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), EIO, -1)
WRAP(int, stat, (const char *path, struct stat *st), (path, st), EACCES, -1)
WRAP(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), EINTR, -1)
WRAP(int, ppoll,
     (struct pollfd * fds, nfds_t n, const struct timespec *ts, const sigset_t *set),
     (fds, n, ts, set), EINTR, -1)
WRAP(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options), ECHILD,
     -1)
WRAP(int, sched_setscheduler, (pid_t pid, int policy, const struct sched_param *param),
     (pid, policy, param), EPERM, -1)
WRAP(int, sched_setaffinity, (pid_t pid, size_t n, const cpu_set_t *set), (pid, n, set),
     EINVAL, -1)
WRAP(int, sched_getaffinity, (pid_t pid, size_t n, cpu_set_t *set), (pid, n, set), EINVAL,
     -1)
WRAP(int, setpriority, (__priority_which_t which, id_t who, int nice), (which, who, nice),
     EPERM, -1)
WRAP(int, setpgid, (pid_t pid, pid_t group), (pid, group), EPERM, -1)
WRAP(ssize_t, getrandom, (void *buf, size_t n, unsigned flags), (buf, n, flags), EAGAIN, -1)
WRAP(int, clock_getcpuclockid, (pid_t pid, clockid_t *clock), (pid, clock), ESRCH, errno)
WRAP(ssize_t, readlinkat, (int dir, const char *path, char *buf, size_t n),
     (dir, path, buf, n), EACCES, -1)
