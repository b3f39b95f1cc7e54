/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sampling costs, and how it is kept below a limit.
 *
 * Who samples takes a processor from the target for as long as a tick lasts, or
 * makes a thread of it stand still. That time, as a part of what the target could
 * do meanwhile, is the overhead. What it could do is taken to be the CPU time
 * that it uses, and never less than one processor: a process that mostly sleeps has
 * time to spare, and looking at it now and then does not slow it down.
 *
 * A tick has its price, which depends on the number of threads, the depth of their
 * stacks and the machine. So the rate is what can be changed: of what the ticks of
 * the last tenth of a second cost on average follows how many of them a second
 * fit the limit. What has been spent too much is saved again within about a
 * second, so that the limit holds for a run as a whole. Before anything is known
 * a price is assumed that is rather high: the rate comes from below.
 *
 * A single dear tick, like the one that meets a crowd of new threads, is no new
 * price. What it cost is a debt, but the price follows it by a step alone.
 *
 * A limit on the single pause cannot be kept by reckoning, since a pause is long
 * when something unforeseen happens (the processor goes to somebody else). It can
 * only be made unlikely. After each pause that was too long, less of the stack is
 * copied, it is not followed to other stacks, and the rate is halved; all of
 * that is taken back by and by while pauses are short.
 */
#include "capture/budget.h"

#include "base/clock.h"

/* How often the rate is reckoned anew. */
#define SETTLE_NS (100 * NS_PER_MS)

/* What a tick is assumed to cost before one was seen. */
#define FIRST_TICK_NS (50.0 * NS_PER_US)

/* How much the last tenth of a second counts against all those before. */
#define NEWS 0.4

/* The price that this tenth of a second may show at most, as a multiple of that so
 * far. */
#define MAX_RISE 4

/* Debts are paid back over this time, are never larger than what the limit allows
 * in DEBT_MAX_S, and leave at least this part of the limit to be spent. */
#define PAY_BACK_S 1.0
#define DEBT_MAX_S 5.0
#define LEAST_PART 0.25

/* A rate below this tells nothing, whatever it costs. */
#define PERIOD_MAX_NS NS_PER_SEC

/* After a pause that was too long. */
#define WINDOW_MIN  ((size_t)4 * 1024)
#define SLOWER_MAX  8
#define GOOD_PAUSES 64 /* within the limit, and a step is taken back */

static bool is_limited(const struct budget *budget)
{
	return budget->limits.overhead > 0 && budget->limits.overhead < 1;
}

void budget_init(struct budget *budget, const struct budget_limits *limits,
                 const struct budget_reading *start)
{
	*budget = (struct budget){
	        .limits = *limits,
	        .period_ns = limits->period_ns,
	        .first = *start,
	        .last = *start,
	        .tick_ns = FIRST_TICK_NS,
	        .window = limits->max_window,
	        .slower = 1,
	};
	if (is_limited(budget) &&
	    (double)budget->period_ns < FIRST_TICK_NS / limits->overhead) {
		budget->period_ns = (uint64_t)(FIRST_TICK_NS / limits->overhead);
		budget->is_lowered = true;
	}
}

/* How many processors' worth of time went by. */
static double processors(const struct budget_reading *from, const struct budget_reading *to)
{
	uint64_t busy = to->busy_ns > from->busy_ns ? to->busy_ns - from->busy_ns : 0;
	double n = (double)busy / (double)(to->now_ns - from->now_ns);

	return n > 1 ? n : 1;
}

/* The part of a processor that may be spent in the time to come. */
static double allowance(struct budget *budget, const struct budget_reading *reading)
{
	double elapsed = (double)(reading->now_ns - budget->last.now_ns);
	double limit = budget->limits.overhead * processors(&budget->last, reading);
	double most = limit * DEBT_MAX_S * (double)NS_PER_SEC;
	double part;

	budget->debt_ns += (double)(reading->cost_ns - budget->last.cost_ns) -
	                   limit * elapsed;
	if (budget->debt_ns < 0)
		budget->debt_ns = 0; /* what was not spent is not saved up */
	if (budget->debt_ns > most)
		budget->debt_ns = most;
	part = limit - budget->debt_ns / (PAY_BACK_S * (double)NS_PER_SEC);
	return part > limit * LEAST_PART ? part : limit * LEAST_PART;
}

/* The shortest period that keeps the limit on the overhead. */
static double affordable(struct budget *budget, const struct budget_reading *reading)
{
	double price = (double)(reading->cost_ns - budget->last.cost_ns) /
	               (double)(reading->ticks - budget->last.ticks);

	if (price > MAX_RISE * budget->tick_ns)
		price = MAX_RISE * budget->tick_ns;
	budget->tick_ns += NEWS * (price - budget->tick_ns);
	return budget->tick_ns / allowance(budget, reading);
}

bool budget_is_due(const struct budget *budget, uint64_t now_ns)
{
	return now_ns - budget->last.now_ns >= SETTLE_NS;
}

void budget_tick(struct budget *budget, const struct budget_reading *reading)
{
	uint64_t asked = budget->limits.period_ns;
	double period = (double)asked;

	if (!budget_is_due(budget, reading->now_ns) || reading->ticks == budget->last.ticks)
		return;
	if (budget->is_lowered)
		budget->lowered_ns += reading->now_ns - budget->last.now_ns;
	if (is_limited(budget)) {
		double least = affordable(budget, reading);

		budget->is_lowered = least > period;
		period = budget->is_lowered ? least : period;
	}
	period *= budget->slower;
	if (period > (double)PERIOD_MAX_NS)
		period = (double)PERIOD_MAX_NS;
	budget->period_ns = (uint64_t)period > asked ? (uint64_t)period : asked;
	budget->last = *reading;
}

void budget_pause(struct budget *budget, uint64_t pause_ns)
{
	if (budget->limits.max_pause_ns == 0)
		return;
	if (pause_ns > budget->limits.max_pause_ns) {
		budget->pauses_over++;
		budget->good = 0;
		if (budget->window / 2 >= WINDOW_MIN)
			budget->window /= 2;
		if (budget->slower < SLOWER_MAX)
			budget->slower *= 2;
	} else if (++budget->good >= GOOD_PAUSES) {
		budget->good = 0;
		if (budget->window < budget->limits.max_window)
			budget->window *= 2;
		if (budget->slower > 1)
			budget->slower /= 2;
	}
}

size_t budget_window(const struct budget *budget, size_t wanted)
{
	return wanted < budget->window ? wanted : budget->window;
}

bool budget_may_follow(struct budget *budget, uint64_t stopped_ns)
{
	if (budget->limits.max_pause_ns == 0 ||
	    (budget->slower == 1 && stopped_ns < budget->limits.max_pause_ns / 2))
		return true;
	budget->not_followed++;
	return false;
}

double budget_overhead(const struct budget *budget, const struct budget_reading *end)
{
	double elapsed = (double)(end->now_ns - budget->first.now_ns);

	if (end->now_ns <= budget->first.now_ns)
		return 0;
	return (double)(end->cost_ns - budget->first.cost_ns) /
	       (elapsed * processors(&budget->first, end));
}
