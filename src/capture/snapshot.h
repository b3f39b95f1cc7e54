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
#define SNAPSHOT_MAX_BYTES    (512 * 1024 + 64 * 1024)

/* A run of bytes of the target's memory. */
struct snapshot_segment {
	uint64_t addr;
	size_t len;
	size_t offset; /* in snapshot.bytes */
};

struct snapshot {
	size_t target; /* index of the process in its session */
	pid_t tid;
	uint64_t thread_serial; /* names the thread for good; tids are used again */
	char comm[PROCFS_COMM_LEN];
	uint64_t time_ns; /* CLOCK_MONOTONIC of the stop */
	uint64_t cpu_ns;  /* CPU time since the thread's last sample: the weight */
	struct regs regs;
	/*
	 * Segment 0 is the top of the stack, from SP - ARCH_RED_ZONE upward;
	 * further ones were read on demand while the thread was stopped.
	 */
	struct snapshot_segment segment[SNAPSHOT_MAX_SEGMENTS];
	size_t nsegments;
	bool extended;  /* further segments were looked for */
	uint8_t *bytes; /* SNAPSHOT_MAX_BYTES of room; owned by the queue */
	size_t nbytes;  /* used */
};

/*
 * Copies len bytes at addr out of the segments. False unless all of them are
 * there; segments that touch are read across.
 */
bool snapshot_read(const struct snapshot *snap, uint64_t addr, void *buf, size_t len);

#endif
