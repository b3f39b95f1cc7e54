/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the sampler share: sampler.c (life and accounts), tick.c
 * (who is due) and stops.c (asking threads to stop, and what comes of it). All
 * of it is touched by the capture process alone, but for what is atomic.
 */
#ifndef CPROF_CAPTURE_SAMPLER_IMPL_H
#define CPROF_CAPTURE_SAMPLER_IMPL_H

#include <sched.h>
#include <stdatomic.h>

#include "capture/apart.h"
#include "capture/sampler.h"
#include "capture/threads.h"
#include "target/tracer.h"

#define SAMPLER_WINDOW_START (16u * 1024)
#define SAMPLER_WINDOW_MAX   (512u * 1024)
#define SAMPLER_NHINTS       16384 /* a power of two */

/* By how much a running thread's account may lag behind the process's clock: it is
 * billed at the scheduler's ticks. In ns. */
#define SAMPLER_ACCOUNT_LAG_NS UINT64_C(10000000)

/* One process's state. */
struct sampler_target {
	const struct target *target;
	struct thread_table threads;
	size_t next_at_rest; /* in their list: the next to be looked at */
	size_t search;       /* so many at rest are still to be looked at for who works */
	uint64_t known_ns; /* what looks have seen the threads use since they were known */
	int64_t ahead_ns;  /* the clock was ahead of that by so much, at least */
	uint64_t clock_tick;     /* when the clock was read */
	uint64_t cpu_start_ns;   /* its CPU clock at the start */
	uint64_t cpu_ns;         /* at the last look */
	uint64_t cpu_changed_ns; /* CLOCK_MONOTONIC when it was last seen to move */
	uint64_t baseline_ns;    /* what its threads had used at the start, summed */
	uint64_t last_scan_ns;
	uint64_t links;        /* of /proc/PID/task at the last scan */
	uint64_t scan_cost_ns; /* what listing its threads took */
	bool rescan;           /* a thread was found gone */
	bool unobserved;       /* a thread sleeps whose stack is still to be read */
	struct sampler_target_result result;     /* since the start */
	struct sampler_target_result cut_result; /* up to the last cut */
};

/* See sampler_hint. Threads that share a slot share their hints, harmlessly. */
struct sampler_hint {
	_Atomic pid_t tid;
	_Atomic uint32_t stack_len;
	_Atomic bool elsewhere;
	_Atomic bool rooted;
	_Atomic uint32_t wish; /* enum sampler_wish */
};

struct sampler {
	struct sampler_options options;
	struct sampler_target *targets;
	size_t ntargets, targets_cap;
	ARRAY(size_t) live; /* indexes of those whose accounts are open */
	uint64_t last_look; /* of the roster, to wait for when all have ended; or 0 */
	struct queue *queue;
	size_t queue_capacity;
	struct sampler_stats stats;
	ARRAY(struct sampler_unsampled) unsampled; /* since the last cut */
	struct {
		struct sampler_stats stats; /* as they were then */
		uint64_t threads;           /* known then */
		uint64_t at_ns;             /* CLOCK_MONOTONIC */
		int64_t time_ns;            /* since the epoch */
		bool asked;                 /* one more is to be made */
	} cut;                              /* the last one, or the start */
	struct sampler_hint hints[SAMPLER_NHINTS];
	_Atomic uint32_t widest;    /* window that any thread has needed */
	_Atomic bool any_elsewhere; /* some thread's stack leaves its window */
	size_t nstops_open;
	uint64_t tick;                         /* its number */
	ARRAY(struct snapshot_credit) credits; /* still to be handed over */
	uint64_t period_ns;                    /* as the budget allows */
	uint64_t cpu_start_ns;                 /* what we had used when the budget began */
	uint64_t due_ns;                       /* of the next tick */
	uint64_t end_ns;                       /* of the run; UINT64_MAX: open */
	bool is_armed; /* the timer is set for the earlier of them */
	uint64_t random;
	int timer_fd, child_fd, stop_fd, done_fd, cut_fd;
	struct apart apart; /* the process that all of this runs in */
	int profiler_fd;    /* /proc/PID/stat of ours: are we stopped? */
	bool is_stopped;
	uint64_t stopped_read_ns; /* when that was read */
	bool started;
	bool can_visit;                /* see visit.c */
	cpu_set_t cpus;                /* where we may run */
	size_t nprocessors;            /* the machine has */
	ARRAY(struct thread *) visits; /* still to be made in this round */
	size_t nround;                 /* processors that this round visits; at least 1 */
	int cpu;                       /* where we wait for the next tick; -1: anywhere */
	int home;                      /* the one processor we may run on; -1: any */
	int level;                     /* our real-time priority now; 0: none */
	int priority;                  /* what it takes, when it is to be raised */
	/* When we, with it raised, are to be awake again, for whoever else can see to that
	 * (sampler_free_tracer); 0: never mind. */
	_Atomic uint64_t awake_by_ns;
	struct {
		uint64_t by_ns, seen_ns;
	} overdue; /* when that was found to be so, first */
	_Atomic bool was_freed;
};

/* The process of a thread. */
static inline const struct target *sampler_target_of(const struct sampler *sampler,
                                                     const struct thread *thread)
{
	return sampler->targets[thread->target].target;
}

/* sampler.c: whether a thread is among those asked for. */
bool sampler_wants(const struct sampler *sampler, pid_t tid);

/*
 * sampler.c: brings a target's account up to date. At the `end`, its own or the run's,
 * what threads have used since their last sample is no longer left to the next.
 */
void sampler_balance(struct sampler *sampler, size_t index, bool end);

/* sampler.c: what the sampling has cost since the run began. */
void sampler_tell_overhead(struct sampler *sampler);

/* cut.c: the part since the last cut; a new one begins. */
struct sampler_segment *sampler_take_segment(struct sampler *sampler);
/* cut.c: ends a part and hands it over; false: there is no room in the queue. */
bool sampler_make_cut(struct sampler *sampler);

/* visit.c: in the profiler, from time to time: the tracer is not left to wait for a
 * processor that somebody with a higher priority keeps for himself. */
void sampler_free_tracer(struct sampler *sampler, pid_t tracer);

/* tick.c: looks at every thread of every target and asks those that run to stop. */
void sampler_tick(struct sampler *sampler, uint64_t now_ns);
/* tick.c: looks at one thread; false: it is not its turn. */
bool sampler_look(struct sampler *sampler, struct sampler_target *st, struct thread *thread,
                  uint64_t now_ns);
/* rest.c: looks at all that are awake and at some that are at rest. */
void sampler_look_at_all(struct sampler *sampler, struct sampler_target *st,
                         uint64_t now_ns);
/* rest.c: what a thread's account has been seen to say. */
void sampler_note_cpu(struct sampler_target *st, struct thread *thread, uint64_t run_ns);
/* tick.c: lists a target's threads; new ones start their account at 0, or at
 * what they have used so far when `first`. False when the target is gone. */
bool sampler_scan(struct sampler *sampler, size_t index, uint64_t now_ns, bool first);

/* copy.c: what the collector has said about this thread last, or NULL. */
struct sampler_hint *sampler_hint_of(struct sampler *sampler, const struct thread *thread);
/* copy.c: copies what unwinding will need; the registers are in the snapshot. Since
 * when it is stopped, if it is: CLOCK_MONOTONIC, or 0. */
void sampler_copy(struct sampler *sampler, struct thread *thread, struct snapshot *snap,
                  uint64_t stopped_ns);
/* copy.c: says whose it is and commits it. */
void sampler_hand_over(struct sampler *sampler, struct thread *thread,
                       struct snapshot *snap, uint64_t now_ns);

/* peek.c: a thread has been seen to sleep. */
void sampler_asleep(struct sampler *sampler, struct sampler_target *st,
                    struct thread *thread, uint64_t now_ns);
/* peek.c: a thread has been seen awake. */
void sampler_awake(struct sampler *sampler, struct thread *thread, uint64_t now_ns);
/* peek.c: a thread that was asked to stop because it sleeps has stopped. */
void sampler_caught_asleep(struct sampler *sampler, struct thread *thread,
                           struct snapshot *snap, uint64_t now_ns);
/* peek.c: what is owed to the last observation of a thread that is gone, or at a
 * boundary, is entered for the hand-over. */
void sampler_settle_sleep(struct sampler *sampler, struct thread *thread, uint64_t now_ns);
/* sampler.c: closes the account of a thread's time asleep, here or gone. */
void sampler_close_sleep(struct sampler *sampler, struct thread *thread, uint64_t now_ns);
/* peek.c: hands credits over; waits for room when `all` must go. */
void sampler_flush_credits(struct sampler *sampler, bool all);
/* peek.c: hands over what sleeping threads have been credited with so far. */
void sampler_hand_credits(struct sampler *sampler);

/* peek.c: waits until the collector has made room; false: in vain. */
bool sampler_wait_for_room(const struct sampler *sampler);
/* peek.c: whether more could be had of a sleeping thread's stack than was. */
bool sampler_has_wish(struct sampler *sampler, const struct thread *thread);

/* once.c: looks at every thread once. */
void sampler_run_once(struct sampler *sampler);

/* tick.c: begins a thread's account: at 0, or at what it has used when `first`. */
void sampler_open_account(struct sampler *sampler, struct sampler_target *st,
                          struct thread *thread, uint64_t now_ns, bool first);

/* members.c: enters one more process. */
void sampler_add_target(struct sampler *sampler, const struct target *target, bool born,
                        uint64_t now_ns);
/* members.c: takes up what has been put on the roster. */
void sampler_adopt(struct sampler *sampler, uint64_t now_ns);
/* members.c: closes the accounts of those that have ended. No visit may be planned. */
void sampler_retire(struct sampler *sampler);
/* members.c: whether all have ended and no more can come. */
bool sampler_is_over(struct sampler *sampler);
/* members.c: the end of the run. */
void sampler_close_all(struct sampler *sampler);
/* sampler.c: closes what is open of a process's threads of the time that they slept. */
void sampler_close_sleeps(struct sampler *sampler, size_t index, uint64_t now_ns);

/* visit.c: finds out whether threads can be met on their processors. */
void sampler_prepare_visits(struct sampler *sampler);
/* visit.c: this thread is to be met in the next round; false: it cannot be. */
bool sampler_plan_visit(struct sampler *sampler, struct thread *thread);
/* visit.c: all have been planned. */
void sampler_begin_round(struct sampler *sampler);
/* visit.c: goes to a processor of the round, there to wait for the tick. */
void sampler_go(struct sampler *sampler);
/* visit.c: the tick has come: meets who ran here. */
void sampler_meet(struct sampler *sampler);

/* sampler.c: forgets the SIGCHLDs that have come. */
void sampler_clear_child(struct sampler *sampler);

/* stops.c: waits a moment for a thread's stop. */
void sampler_await(struct sampler *sampler, const struct thread *thread);

/* stops.c: asks one thread to stop. */
void sampler_request(struct sampler *sampler, struct thread *thread);
/* stops.c: the same of one that sleeps. */
void sampler_request_asleep(struct sampler *sampler, struct thread *thread);
/* stops.c: the report of a stop that was asked for, if one was, will not come. */
void sampler_lose_stop(struct sampler *sampler, struct thread *thread);
/* stops.c: deals with every report there is, without waiting. Returns how many. */
size_t sampler_drain(struct sampler *sampler);
/* stops.c: gives running threads a moment to report. */
void sampler_drain_briefly(struct sampler *sampler);

#endif
