/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread behind the queue: unwinds each snapshot, interns its stack, adds
 * up its weight. It also tells the sampler how much of each thread's stack to
 * copy next time. A part of the run that ends is handed on, and the next begun,
 * between two snapshots. Part of a session.
 */
#ifndef CPROF_COLLECT_COLLECTOR_H
#define CPROF_COLLECT_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "capture/queue.h"
#include "capture/sampler.h"
#include "collect/segment.h"
#include "target/roster.h"
#include "unwind/unwind.h"

struct collector;

struct collector_options {
	struct tally_types types;
	enum unwind_method unwinder;
	struct symbol_options symbols;
	size_t max_depth;
	bool no_traceback;
	size_t share_bytes; /* a part that has grown so large is ended */
	bool can_cut;       /* if not, the run ends then */
	/*
	 * Called in the collector's thread: takes over a part that has ended, and
	 * says how many bytes are still held of those before. As long as the first
	 * waits, samples pile up in the queue, and are missed when it is full.
	 */
	void (*give)(void *ctx, struct segment *segment);
	size_t (*held)(void *ctx);
	void *give_ctx;
};

/* Keeps everything it is given; owns none of it. */
struct collector *collector_new(struct queue *queue,
                                const struct collector_options *options);

/*
 * For sampler_options.extend: called in the capture process with the collector
 * as `ctx` while a thread stands still, to walk its stack and copy what lies
 * outside of the snapshot's window. Gives up soon when the tables are in use.
 */
void collector_extend(void *ctx, struct snapshot *snap);

/* Starts the thread; hints go to `sampler`. Opens the modules mapped by now. */
int collector_start(struct collector *collector, struct sampler *sampler,
                    struct error *err);

/*
 * A process has ended and the sampler has done with it (roster_member.closed):
 * gives back what reading it took, its descriptors among that. A snapshot that
 * still waits in the queue will have no frames. Callable from any thread.
 */
void collector_release(struct collector *collector, size_t index);

/* Waits until the queue is closed and worked off. */
void collector_join(struct collector *collector);

/* Ends the part of the run that is being sampled, soon, and begins the next.
 * Callable from any thread. */
void collector_cut(struct collector *collector, enum segment_end why);

/* Enters CPU time of children of a process that ended without having been seen, into
 * the last part. After the join. */
void collector_add_ended(struct collector *collector, size_t parent, uint64_t cpu_ns);

/* The last part, after the join: once, and the caller's. */
struct segment *collector_last(struct collector *collector);

/* Before the roster. NULL is fine. */
void collector_free(struct collector *collector);

#endif
