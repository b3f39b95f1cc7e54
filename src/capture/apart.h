/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a function in a process of its own that shares our memory and files: the
 * tracer lives there, so that nobody who stops the profiler stops the tracer.
 * The file opens with the theory.
 */
#ifndef CPROF_CAPTURE_APART_H
#define CPROF_CAPTURE_APART_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

struct apart {
	void (*run)(void *arg);   /* in the process apart */
	void (*ended)(void *arg); /* afterwards, in a thread of ours, however it ended */
	void *arg;
	_Atomic pid_t pid; /* of the process apart, while it runs */
	int wait_status;   /* how it ended; set before ended() */
	pid_t parent;
	pthread_t thread;
};

/* Starts it; *apart must stay where it is. 0 or a negative errno. */
int apart_start(struct apart *apart, void (*run)(void *), void (*ended)(void *), void *arg)
        __attribute__((warn_unused_result));

/* To be called when SIGCHLD comes: if somebody has stopped it, lets it go on. */
void apart_tend(struct apart *apart);

/* In the process apart: whether we, its parent, have died. Then it must end soon, and
 * take no lock before. */
bool apart_is_orphan(void);

/* In the process apart, when from now on it takes no lock: if we have died, or do, it has
 * so many ms to end, rather than the moment that is enough where nothing hangs. */
void apart_take_time(int ms);

/* Waits for its end. */
void apart_join(struct apart *apart);

#endif
