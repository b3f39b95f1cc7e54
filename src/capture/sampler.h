/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When and how threads are sampled: ticks, who is due, stops, weights. Runs in
 * a process of its own (apart.h), which is the tracer of every stop; hands
 * snapshots to a
 * queue and keeps count of all that it did and could not do.
 */
#ifndef CPROF_CAPTURE_SAMPLER_H
#define CPROF_CAPTURE_SAMPLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/array.h"
#include "base/error.h"
#include "base/quantile.h"
#include "capture/activity.h"
#include "capture/budget.h"
#include "capture/queue.h"
#include "capture/snapshot.h"
#include "target/roster.h"
#include "target/target.h"

/* The priority of who samples, where it may be raised: they run seldom, briefly. */
#define SAMPLER_NICE (-10)

struct sampler_options {
	double frequency_hz;
	double max_overhead;   /* part of what the target can do: see budget.h */
	uint64_t max_pause_ns; /* 0: no limit */
	uint64_t duration_ns;  /* 0: until stopped or all targets are gone */
	enum cpu_source cpu_source;
	const pid_t *only_tids; /* sample these alone; copied */
	size_t nonly_tids;
	pid_t command;      /* our child among the targets, or 0 */
	bool running;       /* threads that run are sampled */
	bool sleeping;      /* threads that sleep are, too */
	bool once;          /* one instant: each thread once, and then the run is over */
	bool wait_detail;   /* what sleeping threads wait for */
	bool kernel_stacks; /* where in the kernel they do */
	bool no_traceback;  /* leaf and root will do */
	/* More processes, taken up as they are added; its first members are the
	 * sampler's targets. NULL: there are no more. */
	struct roster *roster;
	/*
	 * Called in the capture process while a thread is stopped whose last stack
	 * left its window, to copy more of its memory into the snapshot. NULL: never.
	 */
	void (*extend)(void *ctx, struct snapshot *snap);
	void *extend_ctx;
};

/* Counters; cut.c sums those that can be summed. Written by the capture process
 * alone; the atomics may be read while it runs, the rest after sampler_join. */
struct sampler_stats {
	_Atomic uint64_t samples; /* snapshots handed over */
	_Atomic uint64_t threads; /* known now */
	_Atomic uint64_t missed;  /* sum of the missed_* below */
	_Atomic uint64_t ticks;   /* handled */
	_Atomic bool done;        /* the run is over */
	_Atomic uint64_t
	        credited;      /* ticks that a sleeping thread's last sample stands for */
	uint64_t missed_ticks; /* periods that went by without being handled */
	uint64_t late_ticks;   /* handled more than a tenth of a period late */
	uint64_t missed_queue_full; /* no room for the snapshot */
	uint64_t missed_refused;    /* the kernel refused the stop */
	uint64_t missed_unreadable; /* stopped, but registers or stack not readable */
	uint64_t missed_32bit;      /* stopped, and has become a 32-bit program */
	uint64_t missed_unstopped;  /* asked, and ended or not run by the end */
	uint64_t threads_seen;
	uint64_t signals_passed; /* given back with a detach */
	uint64_t eintr_undone;
	uint64_t group_stops;
	uint64_t peeks;        /* stacks of sleeping threads read without a stop */
	uint64_t peeks_failed; /* it ran meanwhile: made again, or left for the next tick */
	uint64_t sleepers_stopped;  /* for want of a register */
	uint64_t kernel_denied;     /* kernel stacks that could not be read */
	struct quantile pause_ns;   /* stop seen .. thread released */
	struct quantile latency_ns; /* stop asked for .. stop seen */
	struct budget budget;
	double overhead;           /* part of what the target could do that it cost */
	_Atomic uint64_t start_ns; /* CLOCK_MONOTONIC */
	uint64_t end_ns;
};

/* Time that no sample claims, of one thread or (tid 0) of a whole process. */
struct sampler_unsampled {
	size_t target;
	pid_t tid;
	uint64_t thread_serial; /* 0 with tid 0 */
	char comm[PROCFS_COMM_LEN];
	uint64_t cpu_ns;
	uint64_t wait_ns;  /* runnable, waiting for a processor */
	uint64_t sleep_ns; /* asleep, and its stack was never seen */
};

/* How each target ended up; one per target, in their order. Also of those that
 * joined: there are sampler_ntargets. */
struct sampler_target_result {
	bool gone; /* ended during the run */
	bool have_cpu_clock;
	uint64_t cpu_ns;       /* by the process's CPU clock, over the run */
	uint64_t life_ns;      /* by the same, since its birth */
	uint64_t sampled_ns;   /* what the samples weigh */
	uint64_t unsampled_ns; /* what is known to be claimed by none */
	uint64_t waiting_ns;   /* of living threads, for a sample in the next part */
};

/*
 * A part of the run, from one cut to the next; cut.c tells what belongs to which.
 * Counters, times and results are those of the part.
 */
struct sampler_segment {
	struct sampler_stats stats;
	int64_t start_time_ns;   /* its beginning, since the epoch */
	uint64_t threads_before; /* of stats.threads_seen, those known at its beginning */
	struct sampler_target_result *results; /* one per target, in their order */
	size_t ntargets;
	ARRAY(struct sampler_unsampled) unsampled;
};

/* Adds a part to the one before it, or to one that is all zeroes. */
void sampler_segment_add(struct sampler_segment *to, const struct sampler_segment *more);
void sampler_segment_free(struct sampler_segment *segment);

struct sampler;

/*
 * Prepares to sample; baselines are read now. `targets` must outlive the
 * sampler. NULL with *err on failure.
 */
struct sampler *sampler_new(const struct sampler_options *options,
                            struct target *const *targets, size_t ntargets,
                            struct queue *queue, struct error *err);

/* Starts the capture process. SIGCHLD must be blocked in every thread. */
int sampler_start(struct sampler *sampler, struct error *err);

/* Asks it to end early; callable from any thread and from a signal handler. */
void sampler_stop(struct sampler *sampler);

/* To be called when SIGCHLD comes (see apart.h), and a few times a second. */
void sampler_tend(struct sampler *sampler);

/*
 * Asks for a cut: soon a snapshot comes through the queue that is none, but holds
 * the part of the run that ends there. Callable from any thread. Sampling does not
 * wait; asked again before it has come, it comes once.
 */
void sampler_cut(struct sampler *sampler);

/* How the capture process ended, as waitpid gives it; after sampler_join. */
int sampler_wait_status(const struct sampler *sampler);

/* Readable (poll) when the run is over. */
int sampler_done_fd(const struct sampler *sampler);

/* Waits for the process's end: from then on nothing is traced. The queue is
 * closed before. */
void sampler_join(struct sampler *sampler);

const struct sampler_stats *sampler_stats(const struct sampler *sampler);

/*
 * A hint from whoever unwinds: how many bytes of stack this thread's snapshots
 * should hold from now on, and whether its stack left the window for elsewhere.
 * Callable from any thread.
 */
void sampler_hint(struct sampler *sampler, pid_t tid, size_t stack_len, bool elsewhere);

/* What the last look at a sleeping thread's stack did not show. */
enum sampler_wish {
	SAMPLER_WISH_NOTHING,
	SAMPLER_WISH_MEMORY,    /* look again, with what sampler_hint has said */
	SAMPLER_WISH_REGISTERS, /* it needs a register that only a stop can tell */
};
/* After sampler_hint for the same thread. */
void sampler_wish(struct sampler *sampler, pid_t tid, enum sampler_wish wish);
/* Whether the thread's root is known: see sampler_options.no_traceback. */
void sampler_rooted(struct sampler *sampler, pid_t tid, bool rooted);

/* The same for every thread that is not known yet: its stack may be elsewhere. */
void sampler_expect_elsewhere(struct sampler *sampler);

/* The last part, after sampler_join; once, and the caller's to free. */
struct sampler_segment *sampler_last_segment(struct sampler *sampler);

/* After sampler_join: of the whole run. */
size_t sampler_ntargets(const struct sampler *sampler);
const struct sampler_target_result *sampler_result(const struct sampler *sampler,
                                                   size_t target);

void sampler_free(struct sampler *sampler);

#endif
