/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sampling may cost the target, and the rate that this allows. Pure
 * reckoning: it is told what was measured and says what follows. The file opens
 * with the theory.
 */
#ifndef CPROF_CAPTURE_BUDGET_H
#define CPROF_CAPTURE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget_limits {
	uint64_t period_ns;    /* between ticks, as asked for: never shorter */
	double overhead;       /* 0.01: one percent; 0, or from 1 up: whatever it costs */
	uint64_t max_pause_ns; /* of a sampled thread; 0: whatever it takes */
	size_t max_window;     /* bytes of stack to copy when nothing is short */
};

/* What has been measured so far: all of it only ever grows. */
struct budget_reading {
	uint64_t now_ns;  /* CLOCK_MONOTONIC */
	uint64_t ticks;   /* handled */
	uint64_t cost_ns; /* taken from the target */
	uint64_t busy_ns; /* CPU time that the target has used */
};

struct budget {
	struct budget_limits limits;
	uint64_t period_ns;         /* to be used now */
	struct budget_reading last; /* when the rate was last reckoned */
	struct budget_reading first;
	double tick_ns;      /* what a tick costs, of late */
	double debt_ns;      /* spent beyond what was allowed */
	bool is_lowered;     /* the rate, because of what ticks cost */
	uint64_t lowered_ns; /* for how long it was */
	size_t window;       /* bytes of stack that may be copied now */
	unsigned slower;     /* the period is so many times longer, after long pauses */
	unsigned good;       /* pauses within the limit since */
	uint64_t pauses_over;
	uint64_t not_followed; /* samples whose stack was not followed elsewhere */
};

void budget_init(struct budget *budget, const struct budget_limits *limits,
                 const struct budget_reading *start);

/* Whether enough time has gone by for the rate to be reckoned anew. */
bool budget_is_due(const struct budget *budget, uint64_t now_ns);

/* After a tick: the period may be another from now on. */
void budget_tick(struct budget *budget, const struct budget_reading *reading);

/* A thread was stopped for so long. */
void budget_pause(struct budget *budget, uint64_t pause_ns);

/* How many bytes of stack may be copied when so many are wanted. */
size_t budget_window(const struct budget *budget, size_t wanted);

/* Whether a thread that has been stopped for so long may be kept for longer, to
 * follow its stack elsewhere. Counts those that may not. */
bool budget_may_follow(struct budget *budget, uint64_t stopped_ns);

/* The part of what the target could do that was taken from it: see budget.c. */
double budget_overhead(const struct budget *budget, const struct budget_reading *end);

#endif
