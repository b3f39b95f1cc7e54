/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of one target as the capture process knows them, each with the
 * open files that tell what it does.
 */
#ifndef CPROF_CAPTURE_THREADS_H
#define CPROF_CAPTURE_THREADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/array.h"
#include "base/hashmap.h"
#include "capture/sleep.h"
#include "target/procfs.h"
#include "target/target.h"

struct thread {
	pid_t tid;
	size_t target;   /* index of its process */
	uint64_t serial; /* never used again, unlike the tid */
	char comm[PROCFS_COMM_LEN];
	uint64_t comm_read_ns; /* CLOCK_MONOTONIC; 0: not since it was found */
	int cpu_fd;            /* schedstat or stat; -1: opened at each read */
	int syscall_fd;
	int stat_fd, status_fd;       /* see thread_keep */
	bool blocked;                 /* was seen asleep at the last look */
	unsigned looks_asleep;        /* so often in a row had it not run since */
	uint64_t known_ns;            /* CPU time, of the process's known_ns: see rest.c */
	struct procfs_schedstat seen; /* at the last look */
	struct procfs_syscall call;   /* when it was last seen to have fallen asleep */
	struct sleep sleep;           /* kept where sleeping threads count */
	uint64_t waited_ns;           /* of its wait for processors, what samples weigh */
	bool stop_is_of_sleeper;      /* the stop asked for is to find it asleep */
	bool is_done;                 /* has been handed over: see once.c */
	uint64_t claimed_ns;          /* of its CPU time, what samples weigh so far */
	uint64_t claimed_at_ns;       /* CLOCK_MONOTONIC of that */
	int cpu;                      /* to be met there, where it was last: see visit.c */
	uint64_t preemptions;         /* how often it had lost its CPU before we came */
	bool was_met;                 /* there, the last time, and nobody else since */
	bool stop_open;               /* asked to stop, not yet reported */
	uint64_t stop_asked_ns;
	unsigned generation; /* of the last scan that listed it */
};

struct thread_table {
	ARRAY(struct thread *) list;
	size_t nawake; /* list.v[0 … nawake) are looked at at every tick; see rest.c */
	struct hashmap by_tid;          /* tid -> struct thread * */
	ARRAY(struct thread *) dropped; /* by the last scan */
	unsigned generation;
	uint64_t next_serial;
};

/* What to make of a scan. */
struct thread_scan {
	size_t nnew; /* list.v[list.n - nnew …] were found by it */
	size_t nthreads;
};

/*
 * Lists /proc/PID/task: new threads are entered (their files opened, nothing
 * read), those no longer there are dropped unless a stop is open, whose end is
 * still to be reported. `cpu_file` is "schedstat" or "stat". 0, or -errno when
 * the process is gone. Those dropped wait in `dropped` for threads_free_dropped.
 */
int threads_scan(struct thread_table *table, const struct target *target,
                 size_t target_index, const char *cpu_file, struct thread_scan *scan)
        __attribute__((warn_unused_result));

/* From those at rest to those awake and back; `i` is its place in the list, which
 * changes with that of one other. */
void threads_wake(struct thread_table *table, size_t i);
void threads_rest(struct thread_table *table, size_t i);

void threads_free_dropped(struct thread_table *table);

/* The thread with this tid, or NULL. */
struct thread *threads_find(const struct thread_table *table, pid_t tid);
void threads_fini(struct thread_table *table);

/*
 * Reads one of a thread's files ("schedstat", "syscall", …) from the start,
 * through `fd` or, if that is -1, by name. NUL-terminates. Length or -errno.
 */
ssize_t thread_read(const struct target *target, const struct thread *thread, int fd,
                    const char *file, char *buf, size_t size)
        __attribute__((warn_unused_result));

/*
 * The open `file` of a thread that is read at every tick, opened at the first call;
 * `fd` is where it is kept. -1, to be read by name, when descriptors are scarce.
 */
int thread_keep(const struct target *target, const struct thread *thread, int *fd,
                const char *file);

/* Reads its name anew. */
void thread_read_comm(const struct target *target, struct thread *thread);

#endif
