/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tick: who is due for a sample. Threads that run at this instant are met or
 * asked to stop. The CPU time of a thread that ran and sleeps by now waits for its
 * next sample, so no time is lost and no sleeper disturbed; where sleeping threads
 * count, peek.c reads where it sleeps.
 *
 * A look costs microseconds, and a process may have thousands of threads that never
 * do anything. So those that have slept for some looks are at rest: of them only so
 * many are looked at at a tick, in turn. One that has run since goes back to those
 * that are looked at every time. Until it is found its CPU time waits for it.
 */
#include <sys/stat.h>

#include "base/clock.h"
#include "capture/sampler_impl.h"

/* A process whose CPU clock stood still for this long is idle: then the clock
 * alone is read. Not sooner, since the clock moves only at scheduler ticks and
 * the beginning of a burst must not be passed over. */
#define IDLE_AFTER_NS (1 * NS_PER_SEC)

/* Threads that come and go in equal numbers do not change the link count. */
#define RESCAN_AFTER_NS (100 * NS_PER_MS)

/* Listing threads takes at most one part in so many of the time, when it is only
 * to be sure, and when it is known that there is something to find. */
#define RESCAN_PART        100
#define RESCAN_PART_CHANGE 20

/* Looks that find a thread asleep until it is at rest, and how many of those at rest
 * have their turn at one tick; those that have backed off (sleep.c) may be passed over. */
#define LOOKS_TO_REST  4
#define LOOKS_AT_REST  32
#define PASSED_AT_REST 256

void sampler_open_account(struct sampler *sampler, struct sampler_target *st,
                          struct thread *thread, uint64_t now_ns, bool first)
{
	struct procfs_schedstat account = {0};

	thread->claimed_at_ns = now_ns;
	if (first && activity_account(st->target, thread, sampler->options.cpu_source,
	                              &account) == 0) {
		thread->claimed_ns = account.run_ns;
		thread->waited_ns = account.wait_ns;
		thread->seen = account;
		st->baseline_ns += account.run_ns;
	}
	sleep_begin(&thread->sleep, &account, now_ns);
	/* Of one that began in the run all sleeps are seen to begin. */
	thread->sleep.counted = !first;
	thread->sleep.look_tick = sampler->tick;
}

/* What those that are gone have still to get. */
static void close_dropped(struct sampler *sampler, struct sampler_target *st,
                          uint64_t now_ns)
{
	for (size_t i = 0; i < st->threads.dropped.n; i++) {
		struct thread *thread = st->threads.dropped.v[i];

		if (sampler->options.sleeping && sampler_wants(sampler, thread->tid))
			sampler_close_sleep(sampler, thread, now_ns);
	}
	threads_free_dropped(&st->threads);
}

bool sampler_scan(struct sampler *sampler, size_t index, uint64_t now_ns, bool first)
{
	struct sampler_target *st = &sampler->targets[index];
	struct thread_scan scan;
	uint64_t began_ns = clock_monotonic_ns();
	struct stat task;
	bool there;

	/* Before the scan: what changes during it is found by the next one. */
	if (fstat(st->target->task_fd, &task) == 0)
		st->links = task.st_nlink;
	st->rescan = false;
	st->last_scan_ns = now_ns;
	there = threads_scan(&st->threads, st->target, index,
	                     activity_cpu_file(sampler->options.cpu_source), &scan) == 0;
	close_dropped(sampler, st, now_ns);
	if (!there)
		return false;
	st->scan_cost_ns = clock_monotonic_ns() - began_ns;
	for (size_t i = st->threads.list.n - scan.nnew; i < st->threads.list.n; i++) {
		sampler_open_account(sampler, st, st->threads.list.v[i], now_ns, first);
		threads_wake(&st->threads, i);
	}
	sampler->stats.threads_seen += scan.nnew;
	return true;
}

/* Whether the process has used CPU lately. */
static bool is_awake(struct sampler_target *st, uint64_t now_ns)
{
	uint64_t cpu_ns;

	if (target_cpu_ns(st->target, &cpu_ns) < 0)
		return true;
	if (cpu_ns != st->cpu_ns) {
		st->cpu_ns = cpu_ns;
		st->cpu_changed_ns = now_ns;
	}
	return now_ns - st->cpu_changed_ns < IDLE_AFTER_NS;
}

static bool needs_scan(const struct sampler_target *st, uint64_t now_ns)
{
	uint64_t age_ns = now_ns - st->last_scan_ns;
	struct stat task;

	if (age_ns >= RESCAN_AFTER_NS && age_ns >= st->scan_cost_ns * RESCAN_PART)
		return true;
	if (age_ns < st->scan_cost_ns * RESCAN_PART_CHANGE)
		return false;
	return st->rescan ||
	       (fstat(st->target->task_fd, &task) == 0 && task.st_nlink != st->links);
}

/* One that was met at this very tick needs no look to be known to run. */
static bool was_just_met(struct sampler *sampler, struct thread *thread, uint64_t now_ns)
{
	if (!thread->was_met || thread->claimed_at_ns <= now_ns)
		return false;
	if (sampler->options.sleeping)
		sampler_awake(sampler, thread, now_ns);
	return sampler_plan_visit(sampler, thread);
}

static void look_at(struct sampler *sampler, struct sampler_target *st,
                    struct thread *thread, uint64_t now_ns)
{
	const struct sampler_options *options = &sampler->options;
	enum activity activity;

	if (was_just_met(sampler, thread, now_ns))
		return;
	activity = activity_look(st->target, thread, options->cpu_source);
	thread->looks_asleep = activity == ACTIVITY_ASLEEP ? thread->looks_asleep + 1 : 0;
	switch (activity) {
	case ACTIVITY_RUNNING:
		if (options->sleeping)
			sampler_awake(sampler, thread, now_ns);
		/* One that has no sample yet may not live to see our visit. */
		if (options->running &&
		    (thread->comm_read_ns == 0 || !sampler_plan_visit(sampler, thread)))
			sampler_request(sampler, thread);
		break;
	case ACTIVITY_GONE:
		st->rescan = true;
		break;
	case ACTIVITY_DENIED:
		sampler->stats.missed_refused++;
		atomic_fetch_add(&sampler->stats.missed, 1);
		break;
	case ACTIVITY_BLOCKED:
		if (options->sleeping)
			sampler_asleep(sampler, st, thread, now_ns);
		/* It has run since the last look, and may run when we come. */
		if (options->running)
			(void)sampler_plan_visit(sampler, thread);
		break;
	case ACTIVITY_ASLEEP:
		if (options->sleeping)
			sampler_asleep(sampler, st, thread, now_ns);
		break;
	}
}

/* False: it is not its turn. */
static bool look_if_due(struct sampler *sampler, struct sampler_target *st,
                        struct thread *thread, uint64_t now_ns)
{
	if (thread->stop_open || sampler->tick < thread->sleep.next_tick ||
	    !sampler_wants(sampler, thread->tid))
		return false;
	look_at(sampler, st, thread, now_ns);
	/* Nobody stands still while the others are looked at. */
	if (sampler->nstops_open > 0)
		(void)sampler_drain(sampler);
	return true;
}

static bool may_rest(const struct sampler *sampler, const struct thread *thread)
{
	/* Where it sleeps is still to be read. */
	if (sampler->options.sleeping && !thread->sleep.holds)
		return false;
	return thread->looks_asleep >= LOOKS_TO_REST;
}

static void look_at_awake(struct sampler *sampler, struct sampler_target *st,
                          uint64_t now_ns)
{
	st->unobserved = false;
	for (size_t i = st->threads.nawake; i-- > 0;) {
		struct thread *thread = st->threads.list.v[i];

		if (look_if_due(sampler, st, thread, now_ns) && may_rest(sampler, thread))
			threads_rest(&st->threads, i);
	}
}

static void look_at_resting(struct sampler *sampler, struct sampler_target *st,
                            uint64_t now_ns)
{
	struct thread_table *threads = &st->threads;
	size_t looks = 0, left = threads->list.n - threads->nawake;

	if (left > PASSED_AT_REST)
		left = PASSED_AT_REST;
	for (; left > 0 && looks < LOOKS_AT_REST; left--) {
		size_t i = st->next_at_rest;
		struct thread *thread;

		if (i < threads->nawake || i >= threads->list.n)
			i = threads->nawake;
		st->next_at_rest = i + 1;
		thread = threads->list.v[i];
		if (!look_if_due(sampler, st, thread, now_ns))
			continue;
		looks++;
		if (!may_rest(sampler, thread))
			threads_wake(threads, i);
	}
}

void sampler_tick(struct sampler *sampler, uint64_t now_ns)
{
	size_t nthreads = 0;

	sampler->tick++;
	for (size_t l = 0; l < sampler->live.n; l++) {
		size_t i = sampler->live.v[l];
		struct sampler_target *st = &sampler->targets[i];

		if (st->result.gone)
			continue;
		if (is_awake(st, now_ns) || st->unobserved) {
			if (needs_scan(st, now_ns))
				(void)sampler_scan(sampler, i, now_ns, false);
			look_at_awake(sampler, st, now_ns);
			look_at_resting(sampler, st, now_ns);
		}
		nthreads += st->threads.list.n;
	}
	sampler_flush_credits(sampler, false);
	atomic_store(&sampler->stats.threads, nthreads);
	atomic_fetch_add(&sampler->stats.ticks, 1);
	sampler_drain_briefly(sampler);
}
