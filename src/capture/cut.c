/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run in parts. A part ends between two events of the capture process, so every
 * sample belongs to exactly one, and the accounts go on as if nothing had
 * happened:
 *
 *   - CPU time that a living thread has used since its last sample is left alone:
 *     its next sample, in the next part, claims it. The same goes for the time that
 *     a sleeping thread has slept since the last look at it.
 *   - What the process has used beyond all its living threads' accounts, and no
 *     sample claims, belongs to threads that have ended. It is told in the part in
 *     which it is first seen, and remembered as told.
 *
 * So a part's samples and its [not sampled] are what the process used in that
 * time, plus what waited at its beginning, minus what waits at its end; and over
 * all parts they sum to what the process used.
 *
 * The mark that ends a part goes through the queue, behind the part's last sample.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "capture/sampler_impl.h"

/* to += sign * more, of what is counted and can be summed. */
static void sum_counters(struct sampler_stats *to, const struct sampler_stats *more,
                         uint64_t sign)
{
	to->samples += sign * more->samples;
	to->missed += sign * more->missed;
	to->ticks += sign * more->ticks;
	to->missed_ticks += sign * more->missed_ticks;
	to->late_ticks += sign * more->late_ticks;
	to->missed_queue_full += sign * more->missed_queue_full;
	to->missed_refused += sign * more->missed_refused;
	to->missed_unreadable += sign * more->missed_unreadable;
	to->missed_32bit += sign * more->missed_32bit;
	to->missed_unstopped += sign * more->missed_unstopped;
	to->threads_seen += sign * more->threads_seen;
	to->signals_passed += sign * more->signals_passed;
	to->eintr_undone += sign * more->eintr_undone;
	to->group_stops += sign * more->group_stops;
	to->credited += sign * more->credited;
	to->peeks += sign * more->peeks;
	to->peeks_failed += sign * more->peeks_failed;
	to->sleepers_stopped += sign * more->sleepers_stopped;
	to->kernel_denied += sign * more->kernel_denied;
	to->budget.lowered_ns += sign * more->budget.lowered_ns;
	to->budget.pauses_over += sign * more->budget.pauses_over;
	to->budget.not_followed += sign * more->budget.not_followed;
}

static void add_results(struct sampler_segment *to, const struct sampler_segment *more)
{
	if (more->ntargets > to->ntargets) {
		to->results = xreallocarray(to->results, more->ntargets,
		                            sizeof *to->results);
		memset(to->results + to->ntargets, 0,
		       (more->ntargets - to->ntargets) * sizeof *to->results);
		to->ntargets = more->ntargets;
	}
	for (size_t i = 0; i < more->ntargets; i++) {
		struct sampler_target_result *result = &to->results[i];
		const struct sampler_target_result *next = &more->results[i];

		result->gone = next->gone;
		result->have_cpu_clock = next->have_cpu_clock;
		result->life_ns = next->life_ns;
		result->cpu_ns += next->cpu_ns;
		result->sampled_ns += next->sampled_ns;
		result->unsampled_ns += next->unsampled_ns;
		result->waiting_ns = next->waiting_ns;
	}
}

void sampler_segment_add(struct sampler_segment *to, const struct sampler_segment *more)
{
	/* Threads that lived from one into the other would count twice. */
	uint64_t threads_before = more->threads_before;

	if (to->stats.start_ns == 0) {
		to->stats.start_ns = more->stats.start_ns;
		to->stats.budget.limits = more->stats.budget.limits;
		to->start_time_ns = more->start_time_ns;
		to->threads_before = more->threads_before;
		threads_before = 0;
	}
	sum_counters(&to->stats, &more->stats, 1);
	to->stats.threads_seen -= threads_before;
	quantile_merge(&to->stats.pause_ns, &more->stats.pause_ns);
	quantile_merge(&to->stats.latency_ns, &more->stats.latency_ns);
	to->stats.end_ns = more->stats.end_ns;
	to->stats.budget.tick_ns = more->stats.budget.tick_ns;
	to->stats.overhead = more->stats.overhead;
	add_results(to, more);
	for (size_t i = 0; i < more->unsampled.n; i++)
		array_push(&to->unsampled, more->unsampled.v[i]);
}

void sampler_segment_free(struct sampler_segment *segment)
{
	if (!segment)
		return;
	free(segment->results);
	array_fini(&segment->unsampled);
	free(segment);
}

static size_t count_threads(const struct sampler *sampler)
{
	size_t n = 0;

	for (size_t i = 0; i < sampler->live.n; i++)
		n += sampler->targets[sampler->live.v[i]].threads.list.n;
	return n;
}

/* What a target's account has come to since the last part. */
static void take_result(struct sampler_target *st, struct sampler_target_result *result)
{
	const struct sampler_target_result *now = &st->result, *before = &st->cut_result;

	*result = *now;
	result->cpu_ns = now->cpu_ns > before->cpu_ns ? now->cpu_ns - before->cpu_ns : 0;
	result->sampled_ns = now->sampled_ns - before->sampled_ns;
	result->unsampled_ns = now->unsampled_ns - before->unsampled_ns;
	st->cut_result = *now;
	/* A sum of living threads' accounts may fall; what was told stays told. */
	if (now->cpu_ns < before->cpu_ns)
		st->cut_result.cpu_ns = before->cpu_ns;
}

struct sampler_segment *sampler_take_segment(struct sampler *sampler)
{
	struct sampler_segment *segment = xcalloc(1, sizeof *segment);
	struct sampler_stats *stats = &sampler->stats;
	uint64_t now_ns = stats->end_ns ? stats->end_ns : clock_monotonic_ns();

	segment->stats = *stats;
	sum_counters(&segment->stats, &sampler->cut.stats, UINT64_MAX);
	segment->threads_before = sampler->cut.threads;
	segment->stats.threads_seen += sampler->cut.threads;
	segment->stats.start_ns = sampler->cut.at_ns;
	segment->stats.end_ns = now_ns;
	segment->start_time_ns = sampler->cut.time_ns;
	segment->ntargets = sampler->ntargets;
	segment->results = xcalloc(sampler->ntargets, sizeof *segment->results);
	for (size_t i = 0; i < sampler->ntargets; i++)
		take_result(&sampler->targets[i], &segment->results[i]);
	segment->unsampled.v = sampler->unsampled.v;
	segment->unsampled.n = sampler->unsampled.n;
	segment->unsampled.cap = sampler->unsampled.cap;
	memset(&sampler->unsampled, 0, sizeof sampler->unsampled);

	sampler->cut.stats = *stats;
	sampler->cut.threads = count_threads(sampler);
	sampler->cut.at_ns = now_ns;
	sampler->cut.time_ns = (int64_t)clock_realtime_ns();
	memset(&stats->pause_ns, 0, sizeof stats->pause_ns);
	memset(&stats->latency_ns, 0, sizeof stats->latency_ns);
	return segment;
}

bool sampler_make_cut(struct sampler *sampler)
{
	struct snapshot *mark;

	/* Each stop that is open has a place in the queue. */
	if (queue_room(sampler->queue) <= sampler->nstops_open)
		return false;
	for (size_t i = 0; i < sampler->live.n; i++)
		sampler_balance(sampler, sampler->live.v[i], false);
	sampler_hand_credits(sampler);
	sampler_tell_overhead(sampler);
	mark = queue_reserve(sampler->queue);
	if (!mark)
		return false;
	mark->kind = SNAPSHOT_CUT;
	mark->cut = sampler_take_segment(sampler);
	queue_commit(sampler->queue);
	return true;
}
