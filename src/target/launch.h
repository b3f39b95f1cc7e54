/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a program that is to be profiled from its first instruction. The
 * child exists, and can be opened as a target, before it becomes the program.
 * It is not traced for this: a traced process that executes a setuid program
 * does not get that program's rights, and would behave differently.
 */
#ifndef CPROF_TARGET_LAUNCH_H
#define CPROF_TARGET_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct launch {
	pid_t pid;
	int go_fd;       /* a byte written here lets the child execute the program */
	int result_fd;   /* closes when it did; else the errno of its failure comes */
	bool ended;      /* launch_reap has its status: */
	int wait_status; /* as waitpid gives it */
};

/* Forks the child, which waits. Call before any thread is made and before
 * signals are blocked: the program inherits both. 0, or -1 with *err. */
int launch_fork(char *const argv[], struct launch *launch, struct error *err);

/* Lets the child go and waits until it has become the program: 0, or -1 with
 * *err when it cannot be executed; the child has then ended. */
int launch_go(struct launch *launch, const char *program, struct error *err);

/*
 * Takes the status of a child that was let go, waiting `ms` milliseconds at most,
 * or with -1 until it ends or a signal handler has run. Whether it has ended.
 */
bool launch_reap(struct launch *launch, int ms);

/* Ends a child that was not let go; does nothing otherwise. */
void launch_abandon(struct launch *launch);

#endif
