/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that join a run while it lasts, and those that end in it.
 *
 * Somebody else finds and opens them and puts them on the roster (roster.h); here
 * they are taken up at the next tick. What a process that was born within the
 * run had used by then belongs to the run: its account starts at 0, and what no
 * sample can claim any more is told as not sampled.
 *
 * One that has ended has its account closed at once and its descriptors given
 * back: a run may see tens of thousands of them.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/sampler_impl.h"

void sampler_add_target(struct sampler *sampler, const struct target *target, bool born,
                        uint64_t now_ns)
{
	size_t index = sampler->ntargets;
	struct sampler_target *st;

	if (index == sampler->targets_cap)
		sampler->targets = array_grow(sampler->targets, &sampler->targets_cap,
		                              index + 1, sizeof *sampler->targets);
	st = &sampler->targets[index];
	*st = (struct sampler_target){
	        .target = target, .cpu_changed_ns = now_ns, .ahead_ns = INT64_MAX};
	sampler->ntargets++;
	array_push(&sampler->live, index);
	(void)!target_cpu_ns(target, &st->cpu_ns);
	st->cpu_start_ns = born ? 0 : st->cpu_ns;
	(void)sampler_scan(sampler, index, now_ns, !born);
}

void sampler_adopt(struct sampler *sampler, uint64_t now_ns)
{
	const struct roster *roster = sampler->options.roster;

	if (!roster)
		return;
	while (sampler->ntargets < roster_count(roster)) {
		const struct roster_member *member = roster_get(roster, sampler->ntargets);

		sampler_add_target(sampler, member->target, member->born, now_ns);
		/* Opening files takes a while. */
		(void)sampler_drain(sampler);
	}
}

/*
 * Whether the report of a stop that was asked for cannot come any more: it comes
 * under the tid that was asked. A thread that ends keeps that until we have taken
 * note; one that executes a program takes over the first thread's.
 */
static bool is_lost(const struct sampler_target *st, const struct thread *thread)
{
	char tid[16];

	if (!thread->stop_open)
		return false;
	if (st->result.gone)
		return true;
	if (thread->generation == st->threads.generation)
		return false;
	snprintf(tid, sizeof tid, "%d", thread->tid);
	return faccessat(st->target->task_fd, tid, F_OK, 0) < 0 && errno == ENOENT;
}

static void close_lost_stops(struct sampler *sampler, struct sampler_target *st)
{
	/* Before it is judged: what there was to report of one that has ended. */
	(void)sampler_drain(sampler);
	for (size_t i = 0; i < st->threads.list.n; i++) {
		struct thread *thread = st->threads.list.v[i];

		if (is_lost(st, thread))
			sampler_lose_stop(sampler, thread);
	}
}

static void note_end(struct sampler_target *st)
{
	if (!st->result.gone && !target_alive(st->target))
		st->result.gone = true;
}

/* Whether it has ended and is done with. */
static bool retire(struct sampler *sampler, size_t index)
{
	struct sampler_target *st = &sampler->targets[index];

	note_end(st);
	if (sampler->nstops_open > 0)
		close_lost_stops(sampler, st);
	if (!st->result.gone)
		return false;
	sampler_balance(sampler, index, true);
	sampler_close_sleeps(sampler, index, clock_monotonic_ns());
	threads_fini(&st->threads);
	st->threads = (struct thread_table){0};
	if (sampler->options.roster)
		atomic_store(&roster_get(sampler->options.roster, index)->closed, true);
	return true;
}

void sampler_retire(struct sampler *sampler)
{
	size_t kept = 0;

	for (size_t i = 0; i < sampler->live.n; i++) {
		if (!retire(sampler, sampler->live.v[i]))
			sampler->live.v[kept++] = sampler->live.v[i];
	}
	sampler->live.n = kept;
}

bool sampler_is_over(struct sampler *sampler)
{
	const struct roster *roster = sampler->options.roster;
	uint64_t looks = roster ? atomic_load(&roster->looks) : 0;

	if (sampler->live.n > 0 || (roster && roster->endless)) {
		sampler->last_look = 0;
		return false;
	}
	if (!roster)
		return true;
	/* The look that is under way may have passed by; the next one has not. */
	if (sampler->last_look == 0)
		sampler->last_look = looks + 2;
	return looks >= sampler->last_look && sampler->ntargets == roster_count(roster);
}

void sampler_close_all(struct sampler *sampler)
{
	sampler_adopt(sampler, clock_monotonic_ns());
	for (size_t i = 0; i < sampler->live.n; i++) {
		note_end(&sampler->targets[sampler->live.v[i]]);
		sampler_balance(sampler, sampler->live.v[i], true);
		sampler_close_sleeps(sampler, sampler->live.v[i], sampler->stats.end_ns);
	}
	if (sampler->options.sleeping && !sampler->options.once)
		sampler_flush_credits(sampler, true);
}
