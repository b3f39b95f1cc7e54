/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread at one instant: its registers and a copy of the part of its
 * memory that unwinding will need. This is all that unwind/ sees of a thread;
 * the thread itself has long gone on.
 */
#ifndef CPROF_CAPTURE_SNAPSHOT_H
#define CPROF_CAPTURE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/arch.h"
#include "target/procfs.h"

#define SNAPSHOT_MAX_SEGMENTS 8
#define SNAPSHOT_OBJECT_LEN   256
#define SNAPSHOT_MAX_BYTES    (512 * 1024 + 64 * 1024)

/* A run of bytes of the target's memory. */
struct snapshot_segment {
	uint64_t addr;
	size_t len;
	size_t offset; /* in snapshot.bytes */
};

/* What the thread was doing. */
enum snapshot_state {
	SNAPSHOT_RUNNING,  /* on a processor */
	SNAPSHOT_SYSCALL,  /* asleep in system call number `syscall` */
	SNAPSHOT_FAULT,    /* asleep outside of a call: a page fault */
	SNAPSHOT_JOB_STOP, /* stopped by job control */
	SNAPSHOT_RUNNABLE, /* waits for a processor: of a thread without a stack alone */
	SNAPSHOT_UNKNOWN,  /* asleep; the kernel does not say in what */
};

enum snapshot_kind {
	SNAPSHOT_STOPPED,  /* the thread stood still: all registers */
	SNAPSHOT_PEEKED,   /* it slept: SP and PC alone are known */
	SNAPSHOT_NO_STACK, /* one that could not be had: the state is all there is */
	SNAPSHOT_CREDITS,  /* of no thread: `bytes` holds struct snapshot_credit[] */
	SNAPSHOT_CUT,      /* of no thread: `cut` ends a part of the run */
};

/* More of a sleep whose stack has been handed over already. */
struct snapshot_credit {
	size_t target;
	uint64_t thread_serial;
	uint64_t count;
	uint64_t wall_ns;
};

struct sampler_segment;

struct snapshot {
	enum snapshot_kind kind;
	enum snapshot_state state;
	struct sampler_segment *cut; /* sampler.h; to be freed by who takes it out */
	size_t target;               /* index of the process in its session */
	pid_t tid;
	uint64_t thread_serial; /* names the thread for good; tids are used again */
	char comm[PROCFS_COMM_LEN];
	uint64_t time_ns; /* CLOCK_MONOTONIC of the stop */
	uint64_t cpu_ns;  /* CPU time since the thread's last sample: the weight */
	uint64_t wait_ns; /* time it waited for a processor since then */
	/*
	 * Of a sleep: the ticks and the time it stands for, and how many sleeps have
	 * begun. When it `replaces` the thread's last one, whose stack was not complete,
	 * it takes over what that one stood for.
	 */
	long syscall;
	uint64_t count;
	uint64_t wall_ns;
	uint64_t sleeps;
	bool replaces;
	struct snapshot_credit before; /* what is still owed to the thread's last sleep */
	char wait_object[SNAPSHOT_OBJECT_LEN]; /* what it waits for, or "" */
	pid_t wait_owner;                      /* the thread that holds that, or 0 */
	struct regs regs;
	/*
	 * Segment 0 is the top of the stack, from SP - ARCH_RED_ZONE upward;
	 * further ones were read on demand while the thread was stopped.
	 */
	struct snapshot_segment segment[SNAPSHOT_MAX_SEGMENTS];
	size_t nsegments;
	bool extended;        /* further segments were looked for */
	size_t kernel_offset; /* in bytes: the text of /proc/PID/task/TID/stack */
	size_t kernel_len;
	uint8_t *bytes; /* SNAPSHOT_MAX_BYTES of room; owned by the queue */
	size_t nbytes;  /* used */
};

/*
 * Copies len bytes at addr out of the segments. False unless all of them are
 * there; segments that touch are read across.
 */
bool snapshot_read(const struct snapshot *snap, uint64_t addr, void *buf, size_t len);

#endif
