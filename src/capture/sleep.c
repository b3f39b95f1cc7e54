/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread's wall clock time has three parts, and the kernel keeps two of them to
 * the nanosecond: on a processor, and waiting for one. What is left it slept. So of
 * any stretch of time it is known how long the thread slept, without having seen it;
 * what looking must find out is where.
 *
 * A look that finds the thread's numbers as they were at the last one proves that
 * it has slept all the time, and where it was seen to sleep: that observation gets
 * the time. A look that finds other numbers means that it has run meanwhile. When
 * it woke is not known. If it sleeps again, somewhere else perhaps, both places
 * get half of the time slept; that is right on average, also where looks are far
 * apart. If it is awake and has been put on a processor just once, all of the time
 * was the old place's; if more often, half of it was, and the rest waits for the
 * next place that it is seen to sleep in.
 *
 * Time is claimed from a running total, never measured twice: whatever the looks
 * see, a thread's observations add up to the time that it slept.
 *
 * A thread that sleeps long is looked at more seldom, so that thousands of idle
 * ones cost little: after an eighth of the time it has slept, and never later than
 * a tenth of a second. The ticks between count for it all the same.
 */
#include "capture/sleep.h"

#include "target/syscalls.h"

/* The part of the time slept so far after which to look again. */
#define BACK_OFF_PART 8

void sleep_begin(struct sleep *sleep, const struct procfs_schedstat *now, uint64_t now_ns)
{
	*sleep = (struct sleep){
	        .born_ns = now_ns,
	        .born_run_ns = now->run_ns,
	        .born_wait_ns = now->wait_ns,
	};
}

uint64_t sleep_total_ns(const struct sleep *sleep, const struct procfs_schedstat *now,
                        uint64_t now_ns)
{
	uint64_t elapsed = now_ns - sleep->born_ns;
	uint64_t awake = now->run_ns - sleep->born_run_ns + now->wait_ns -
	                 sleep->born_wait_ns;

	/* By another thread's numbers, which has taken this one's tid with an exec. */
	if (now->run_ns < sleep->born_run_ns || now->wait_ns < sleep->born_wait_ns)
		awake = 0;
	return now_ns > sleep->born_ns && elapsed > awake ? elapsed - awake : 0;
}

/* The time slept that nothing has claimed yet. */
static uint64_t due(const struct sleep *sleep, const struct procfs_schedstat *now,
                    uint64_t now_ns)
{
	uint64_t total = sleep_total_ns(sleep, now, now_ns);

	return total > sleep->claimed_ns ? total - sleep->claimed_ns : 0;
}

static void give(struct sleep *sleep, uint64_t ns, uint64_t count)
{
	sleep->claimed_ns += ns;
	sleep->credit_ns += ns;
	sleep->credit_count += count;
}

bool sleep_goes_on(struct sleep *sleep, const struct procfs_schedstat *now,
                   const struct procfs_syscall *call)
{
	if (!sleep->holds)
		return false;
	if (sleep_is_same(now, &sleep->at)) {
		sleep->disturbed = false;
		return true;
	}
	/* It ran because we stopped it. */
	if (!sleep->disturbed || !syscall_is_continued(&sleep->call, call) ||
	    now->timeslices - sleep->at.timeslices > SLEEP_SWITCHES_OF_A_STOP)
		return false;
	sleep->at = *now;
	sleep->disturbed = false;
	return true;
}

void sleep_credit(struct sleep *sleep, const struct procfs_schedstat *now, uint64_t now_ns,
                  uint64_t tick)
{
	give(sleep, due(sleep, now, now_ns), tick - sleep->look_tick);
	sleep->look_tick = tick;
}

/* The ticks since the last look that went by without one. */
static uint64_t skipped(const struct sleep *sleep, uint64_t tick)
{
	return tick > sleep->look_tick ? tick - sleep->look_tick - 1 : 0;
}

void sleep_end(struct sleep *sleep, const struct procfs_schedstat *now, uint64_t now_ns,
               uint64_t tick)
{
	uint64_t ns = due(sleep, now, now_ns);

	if (sleep->holds) {
		if (now->timeslices - sleep->at.timeslices <= 1)
			give(sleep, ns, skipped(sleep, tick));
		else
			give(sleep, ns / 2, skipped(sleep, tick) / 2);
	}
	sleep->holds = false;
	sleep->look_tick = tick;
}

struct sleep_weight sleep_observed(struct sleep *sleep, const struct procfs_schedstat *now,
                                   const struct procfs_syscall *call, uint64_t now_ns,
                                   uint64_t tick)
{
	struct sleep_weight weight = {due(sleep, now, now_ns), 1};

	if (sleep->holds) {
		uint64_t old = weight.wall_ns / 2, ticks = skipped(sleep, tick);

		give(sleep, old, ticks / 2);
		weight.wall_ns -= old;
		weight.count += ticks - ticks / 2;
	}
	sleep->claimed_ns += weight.wall_ns;
	sleep->has_stack = sleep->holds = true;
	sleep->at = *now;
	sleep->call = *call;
	sleep->since_ns = now_ns;
	sleep->disturbed = false;
	sleep->retries = 0;
	sleep->look_tick = tick;
	return weight;
}

uint64_t sleep_count(struct sleep *sleep, uint64_t switches)
{
	uint64_t before = sleep->switches + sleep->own_switches;
	uint64_t n = switches > before ? switches - before : 0;

	if (!sleep->counted)
		n = 1;
	sleep->counted = true;
	sleep->switches = switches;
	sleep->own_switches = 0;
	return n;
}

void sleep_back_off(struct sleep *sleep, uint64_t now_ns, uint64_t period_ns, uint64_t tick,
                    uint64_t max_ticks, uint64_t random)
{
	uint64_t gap = (now_ns - sleep->since_ns) / BACK_OFF_PART / period_ns;

	if (gap > max_ticks)
		gap = max_ticks;
	/* Not all in the same tick. */
	if (gap > 1)
		gap -= random % (gap / 2 + 1);
	sleep->next_tick = tick + (gap > 0 ? gap : 1);
}
