/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the collector share: collector.c (from a snapshot to a sum) and
 * collector_parts.c (from one part of a run to the next).
 */
#ifndef CPROF_COLLECT_COLLECTOR_IMPL_H
#define CPROF_COLLECT_COLLECTOR_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/hashmap.h"
#include "capture/queue.h"
#include "capture/sampler.h"
#include "collect/segment.h"
#include "collect/waits.h"
#include "module/space.h"
#include "unwind/unwind.h"

/* One process. */
struct process {
	const struct target *target;
	struct space *space;
	uint64_t maps_read_ns; /* CLOCK_MONOTONIC */
	uint64_t exec_checked_ns;
	dev_t exe_dev; /* of the file it executes, to notice an exec */
	ino_t exe_ino;
	bool main_due; /* its main binary may be another than the profile says */
	bool is_go;    /* its main binary is: stacks come in pairs */
	bool released; /* it has ended: nothing is read of it any more */
};

#define NO_TALLY SIZE_MAX

/* One thread that has been sampled. */
struct sampled_thread {
	struct tally_thread who;
	uint64_t last_ns;  /* CLOCK_MONOTONIC of its last sample or credit */
	size_t stack_need; /* bytes, falling slowly */
	unsigned extend_failures;
	bool elsewhere; /* its stack leaves the window for another place */
	uint32_t root;  /* location of its outermost function of interest, or 0 */
	/* Its last sleep: where that is counted, and with what so far. */
	size_t sleep_tally; /* index, or NO_TALLY */
	struct weights sleep;
	enum unwind_end sleep_end;
	bool sleep_carried; /* it was counted in an earlier part of the run */
};

struct collector {
	/* ROSTER_MAX of them, made when first sampled, but for the first ones. Set by
	 * the collector's thread under `tables_lock`, and never moved. */
	struct process **processes;
	const struct roster *roster;
	struct queue *queue;
	const struct collector_options *options;
	struct sampler *sampler;
	struct tables *tables;
	/* Held while those are used, or exchanged; a stopped thread may wait for it. */
	pthread_mutex_t tables_lock;
	/* Held by the collector's thread as long as a snapshot keeps it busy, so that
	 * no process is released that it works on. Taken before `tables_lock`. */
	pthread_mutex_t busy_lock;
	_Atomic bool live_waits; /* a stopped thread waits for the tables */
	ARRAY(struct sampled_thread) threads;
	struct hashmap thread_index;     /* target and serial -> index */
	struct segment *segment;         /* the part of the run that is being sampled */
	struct sampler_segment *carried; /* of marks that ended no part */
	_Atomic unsigned why;            /* the next mark ends the part; segment.h */
	unsigned modes;                  /* enum profile_mode */
	bool no_traceback;
	size_t max_depth;
	struct frame *frames;      /* max_depth of them */
	struct frame *live_frames; /* of collector_extend */
	uint32_t *locations;       /* more: [truncated], and the kernel's */
	pthread_t thread;
	bool started;
	bool is_full; /* a profile was */
};

/* How a thread is found again. */
static inline uint64_t collector_thread_key(size_t target, uint64_t serial)
{
	return (uint64_t)target << 48 | serial;
}

/* collector.c: enters the mapping of the program that the process runs now. */
void collector_enter_main(struct collector *collector, struct process *process);
/* collector.c: whether the process runs another file than when this was asked last. */
bool collector_notice_exec(struct process *process);

/* collector_parts.c: reads the maps of a process for the first time in these tables.
 * Under the lock. */
void collector_open_space(struct collector *collector, struct process *process);
/* collector_parts.c: a mark has come through the queue: takes over the account. */
void collector_take_mark(struct collector *collector, struct sampler_segment *account);
/* collector_parts.c: asks for a cut when the part has become too large. */
void collector_mind_memory(struct collector *collector);

#endif
