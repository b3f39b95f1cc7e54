/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tick: who is due for a sample. Threads that run at this instant are met or
 * asked to stop. The CPU time of a thread that ran and sleeps by now waits for its
 * next sample, so no time is lost and no sleeper disturbed; where sleeping threads
 * count, peek.c reads where it sleeps.
 */
#include <sys/stat.h>

#include "base/clock.h"
#include "capture/sampler_impl.h"

/* A process whose CPU clock stood still for this long is idle: then the clock
 * alone is read. Not sooner, since the clock moves only at scheduler ticks and
 * the beginning of a burst must not be passed over. */
#define IDLE_AFTER_NS (1 * NS_PER_SEC)

/* The kernel sums that clock up over all threads: with many of them it is read at one
 * tick of so many as they have this number. */
#define CLOCK_THREADS 128

/* Threads that come and go in equal numbers do not change the link count. */
#define RESCAN_AFTER_NS (100 * NS_PER_MS)

/* Listing threads takes at most one part in so many of the time, when it is only
 * to be sure, and when it is known that there is something to find. */
#define RESCAN_PART        400
#define RESCAN_PART_CHANGE 20

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
		thread->known_ns = account.run_ns;
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
		if (sampler_wants(sampler, st->threads.list.v[i]->tid))
			threads_wake(&st->threads, i);
	}
	sampler->stats.threads_seen += scan.nnew;
	return true;
}

/* Whether the process has used CPU lately. */
static bool is_awake(struct sampler *sampler, struct sampler_target *st, uint64_t now_ns)
{
	uint64_t cpu_ns, every = st->threads.list.n / CLOCK_THREADS;

	if (sampler->tick >= st->clock_tick + every) {
		if (target_cpu_ns(st->target, &cpu_ns) < 0)
			return true;
		st->clock_tick = sampler->tick;
		if (cpu_ns != st->cpu_ns) {
			st->cpu_ns = cpu_ns;
			st->cpu_changed_ns = now_ns;
		}
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
	sampler_note_cpu(st, thread, thread->seen.run_ns);
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

bool sampler_look(struct sampler *sampler, struct sampler_target *st, struct thread *thread,
                  uint64_t now_ns)
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

void sampler_tick(struct sampler *sampler, uint64_t now_ns)
{
	size_t nthreads = 0;

	sampler->tick++;
	for (size_t l = 0; l < sampler->live.n; l++) {
		size_t i = sampler->live.v[l];
		struct sampler_target *st = &sampler->targets[i];

		if (st->result.gone)
			continue;
		if (is_awake(sampler, st, now_ns) || st->unobserved) {
			if (needs_scan(st, now_ns))
				(void)sampler_scan(sampler, i, now_ns, false);
			sampler_look_at_all(sampler, st, now_ns);
		}
		nthreads += st->threads.list.n;
	}
	sampler_flush_credits(sampler, false);
	atomic_store(&sampler->stats.threads, nthreads);
	atomic_fetch_add(&sampler->stats.ticks, 1);
	sampler_drain_briefly(sampler);
}
