/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process that is looked at. Everything is read relative to a directory
 * descriptor of /proc/PID that is opened once: when the process ends and its
 * number is given to another, reads fail instead of reading the wrong process.
 *
 * A process whose first thread has ended while others live shows nothing under
 * its own number, neither maps nor memory. It is then read by the number of a
 * thread that lives; /proc has a directory for each, though it lists only the
 * first ones.
 */
#ifndef CPROF_TARGET_TARGET_H
#define CPROF_TARGET_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/error.h"
#include "target/procfs.h"

struct target {
	pid_t pid;   /* as seen from here */
	int proc_fd; /* /proc/PID, or that of a living thread */
	int task_fd; /* /proc/PID/task */
	int pid_fd;  /* readable when the last thread has ended; -1 before Linux 5.3 */
	char comm[PROCFS_COMM_LEN];
	char *cmdline;             /* arguments joined with spaces, printable; or "" */
	_Atomic pid_t *memory_tid; /* whose memory is read; found anew when it ends */
	clockid_t cpu_clock;
	bool have_cpu_clock;
};

/*
 * Opens a process for reading. Fails with EXIT_CODE_NO_PROCESS when there is
 * none, EXIT_CODE_FAILURE otherwise; whether it may be attached to is
 * refusal.h's question. Freed with target_free (NULL is fine).
 */
struct target *target_open(pid_t pid, struct error *err);
void target_free(struct target *target);

/* Reads comm and cmdline again, as after an exec. What cannot be read, as of a
 * process that has ended, stays as it was. */
void target_refresh(struct target *target);

/* Whether its program file has that name, as its own root has it, or had before the
 * file was deleted. */
bool target_runs(const struct target *target, const char *path);

/*
 * Gives back the descriptors and most of the memory of a process that has ended;
 * reading it fails from now on. Nobody may be reading it meanwhile.
 */
void target_release(struct target *target);

/* Whether any thread of the process still lives; its first may have ended. */
bool target_alive(const struct target *target);

/* The CPU time all its threads, past and present, have used; 0 or -errno. */
int target_cpu_ns(const struct target *target, uint64_t *ns)
        __attribute__((warn_unused_result));

/*
 * Copies up to len bytes of the target's memory, never stopping or changing it.
 * Returns the number of bytes copied, which is smaller where a page is missing,
 * or -errno when nothing could be read. Callable from any thread.
 */
ssize_t target_read_memory(const struct target *target, uint64_t addr, void *buf,
                           size_t len) __attribute__((warn_unused_result));

#endif
