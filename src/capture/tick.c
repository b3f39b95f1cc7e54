/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tick: who is due for a sample. In cpu mode those threads that run at this
 * instant. A thread that ran and sleeps by now is left alone; the CPU time it
 * used waits for its next sample, so no time is lost and no sleeper disturbed.
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

static void open_account(struct sampler *sampler, struct sampler_target *st,
                         struct thread *thread, uint64_t now_ns, bool first)
{
	uint64_t used;

	thread->claimed_at_ns = now_ns;
	if (!first ||
	    activity_cpu_ns(st->target, thread, sampler->options.cpu_source, &used) < 0)
		return;
	thread->claimed_ns = used;
	thread->seen.run_ns = used;
	st->baseline_ns += used;
}

bool sampler_scan(struct sampler *sampler, size_t index, uint64_t now_ns, bool first)
{
	struct sampler_target *st = &sampler->targets[index];
	struct thread_scan scan;
	struct stat task;

	/* Before the scan: what changes during it is found by the next one. */
	if (fstat(st->target->task_fd, &task) == 0)
		st->links = task.st_nlink;
	st->rescan = false;
	st->last_scan_ns = now_ns;
	if (threads_scan(&st->threads, st->target, index,
	                 activity_cpu_file(sampler->options.cpu_source), &scan) < 0)
		return false;
	for (size_t i = st->threads.list.n - scan.nnew; i < st->threads.list.n; i++)
		open_account(sampler, st, st->threads.list.v[i], now_ns, first);
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
	struct stat task;

	return st->rescan || now_ns - st->last_scan_ns >= RESCAN_AFTER_NS ||
	       (fstat(st->target->task_fd, &task) == 0 && task.st_nlink != st->links);
}

static void look_at(struct sampler *sampler, struct sampler_target *st,
                    struct thread *thread)
{
	switch (activity_look(st->target, thread, sampler->options.cpu_source)) {
	case ACTIVITY_RUNNING:
		/* One that has no sample yet may not live to see our visit. */
		if (thread->comm_read_ns == 0 || !sampler_plan_visit(sampler, thread))
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
		/* It has run since the last look, and may run when we come. */
		(void)sampler_plan_visit(sampler, thread);
		break;
	case ACTIVITY_ASLEEP:
		break;
	}
}

void sampler_tick(struct sampler *sampler, uint64_t now_ns)
{
	size_t nthreads = 0;

	for (size_t i = 0; i < sampler->ntargets; i++) {
		struct sampler_target *st = &sampler->targets[i];

		if (st->result.gone)
			continue;
		if (is_awake(st, now_ns)) {
			if (needs_scan(st, now_ns))
				(void)sampler_scan(sampler, i, now_ns, false);
			for (size_t t = 0; t < st->threads.list.n; t++) {
				struct thread *thread = st->threads.list.v[t];

				if (!sampler_wants(sampler, thread->tid) ||
				    thread->stop_open)
					continue;
				look_at(sampler, st, thread);
				/* Nobody stands still while the others are looked at. */
				if (sampler->nstops_open > 0)
					(void)sampler_drain(sampler);
			}
		}
		nthreads += st->threads.list.n;
	}
	atomic_store(&sampler->stats.threads, nthreads);
	atomic_fetch_add(&sampler->stats.ticks, 1);
	sampler_drain_briefly(sampler);
}
