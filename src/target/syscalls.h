/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of system calls by their number: of a thread that sleeps in one. */
#ifndef CPROF_TARGET_SYSCALLS_H
#define CPROF_TARGET_SYSCALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "target/procfs.h"

/* "epoll_wait"; NULL for a number that this program was not built to know. */
const char *syscall_name(long nr);

/* What the first argument of a call says about what it waits for. */
enum syscall_object {
	SYSCALL_OBJECT_NONE,
	SYSCALL_OBJECT_FD,    /* a descriptor */
	SYSCALL_OBJECT_POLL,  /* struct pollfd[], their number is the second */
	SYSCALL_OBJECT_FUTEX, /* the address of one */
};

enum syscall_object syscall_object(long nr);

/*
 * Whether a thread that sleeps in this call may be stopped for a moment and the
 * program will not know: the kernel restarts the call by itself with what is left
 * of its time, or returns an EINTR that can be undone (arch_syscall_needs_restart)
 * without a timeout that would begin anew, and cannot have done part of its work. What
 * it waits for must agree (descriptor_may_be_left). False for what is not known.
 */
bool syscall_may_be_stopped(const struct procfs_syscall *call);

/*
 * Whether a later look at a thread shows it in the same sleep as an earlier one,
 * though it has been stopped meanwhile: a call that the kernel restarts with what
 * is left of its time goes by another number.
 */
bool syscall_is_continued(const struct procfs_syscall *before,
                          const struct procfs_syscall *after);

/* Whether it is the number by which the kernel continues any such call. */
bool syscall_is_restart(long nr);

#endif
