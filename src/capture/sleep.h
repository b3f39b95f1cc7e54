/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account of one thread's sleeping time. Pure bookkeeping: it looks at nothing.
 * The file opens with the theory.
 */
#ifndef CPROF_CAPTURE_SLEEP_H
#define CPROF_CAPTURE_SLEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "target/procfs.h"

struct sleep {
	/* Where the account begins: CLOCK_MONOTONIC, and the thread's numbers then. */
	uint64_t born_ns, born_run_ns, born_wait_ns;
	uint64_t claimed_ns; /* of its sleep, what observations weigh so far */
	/* Owed to the observation that was handed over last, if there is one. */
	bool has_stack;
	uint64_t credit_ns, credit_count;
	/*
	 * That observation still holds: while the thread's numbers are these, it
	 * sleeps where it was seen, in this call.
	 */
	bool holds;
	struct procfs_schedstat at;
	struct procfs_syscall call;
	uint64_t since_ns; /* when it was first seen to hold */
	bool disturbed;    /* we have stopped it since, and it fell asleep anew */
	unsigned retries;  /* how often the observation has been made anew */
	/* Ticks, by number: the last look, and the next one that is needed. */
	uint64_t look_tick, next_tick;
	/* Sleeps begun, by the count of voluntary switches. */
	bool counted;
	uint64_t switches;     /* counted so far */
	uint64_t own_switches; /* that our stops have made since */
};

/* How many thread switches one stop of a sleeping thread makes at most. */
#define SLEEP_SWITCHES_OF_A_STOP 4

/* What one observation weighs. */
struct sleep_weight {
	uint64_t wall_ns;
	uint64_t count;
};

static inline bool sleep_is_same(const struct procfs_schedstat *a,
                                 const struct procfs_schedstat *b)
{
	return a->run_ns == b->run_ns && a->wait_ns == b->wait_ns &&
	       a->timeslices == b->timeslices;
}

/* Begins the account of a thread found now whose numbers are `now`. */
void sleep_begin(struct sleep *sleep, const struct procfs_schedstat *now, uint64_t now_ns);

/* How long it has slept so far. Exact when it sleeps now. */
uint64_t sleep_total_ns(const struct sleep *sleep, const struct procfs_schedstat *now,
                        uint64_t now_ns);

/*
 * Whether a thread seen asleep with these numbers in this call sleeps where it did
 * when it was last observed.
 */
bool sleep_goes_on(struct sleep *sleep, const struct procfs_schedstat *now,
                   const struct procfs_syscall *call);

/* It sleeps on: the time since the last look is its last observation's. */
void sleep_credit(struct sleep *sleep, const struct procfs_schedstat *now, uint64_t now_ns,
                  uint64_t tick);

/* It is awake: part of the time since then was still that sleep. */
void sleep_end(struct sleep *sleep, const struct procfs_schedstat *now, uint64_t now_ns,
               uint64_t tick);

/* It sleeps in a place that has just been observed; what that observation weighs. */
struct sleep_weight sleep_observed(struct sleep *sleep, const struct procfs_schedstat *now,
                                   const struct procfs_syscall *call, uint64_t now_ns,
                                   uint64_t tick);

/* How many sleeps have begun since this was asked last, by the count of voluntary
 * switches. One that had begun before the account counts as begun with it. */
uint64_t sleep_count(struct sleep *sleep, uint64_t switches);

/* Sets when it must be looked at next, if it sleeps on: `max_ticks` at most. */
void sleep_back_off(struct sleep *sleep, uint64_t now_ns, uint64_t period_ns, uint64_t tick,
                    uint64_t max_ticks, uint64_t random);

#endif
