/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread behind the queue: unwinds each snapshot, interns its stack, adds
 * up its weight. It also tells the sampler how much of each thread's stack to
 * copy next time. Part of a session.
 */
#ifndef CPROF_COLLECTOR_H
#define CPROF_COLLECTOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "capture/queue.h"
#include "capture/sampler.h"
#include "options.h"
#include "profile/profile.h"
#include "symbol/symbol.h"
#include "target/roster.h"
#include "unwind/unwind.h"

struct collector;

/* Gives a new profile the sample types that the options ask for. */
void collector_add_types(struct profile *profile, const struct options *options);

/* Keeps everything it is given; owns none of it. */
struct collector *collector_new(const struct roster *roster, struct queue *queue,
                                struct profile *profile, struct symbolizer *symbolizer,
                                const struct options *options);

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

/*
 * Puts all samples into the profile, with the threads' last names as labels,
 * and the CPU time that no sample claims as "[not sampled]". After the join.
 */
void collector_finish(struct collector *collector);

/* Enters CPU time of children of a process that ended without having been seen. */
void collector_add_ended(struct collector *collector, size_t parent, uint64_t cpu_ns);

/* How many samples' stacks ended in which way. */
const uint64_t *collector_stack_ends(const struct collector *collector);

void collector_free(struct collector *collector);

#endif
