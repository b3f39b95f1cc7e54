/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children and signal handlers as they are without ThreadSanitizer, which gives the
 * child of a fork a second thread, and runs a handler when it suits it: never, in a
 * loop that calls nobody. It does not know of these.
 */
#ifndef TESTS_PLAIN_H
#define TESTS_PLAIN_H

#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* fork(2), of a child that makes no thread. */
static inline pid_t plain_fork(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

#ifdef __SANITIZE_THREAD__
int __sigaction(int sig, const struct sigaction *action, struct sigaction *old);
#define sigaction(sig, action, old) __sigaction(sig, action, old)
/* For code that is looked at from outside: nothing is put into it. */
#define PLAIN __attribute__((no_sanitize("thread")))
#else
#define PLAIN
#endif

#endif
