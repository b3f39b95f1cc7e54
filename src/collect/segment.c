/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/segment.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

struct segment *segment_new(const struct tally_types *types, struct tables *tables)
{
	struct segment *segment = xcalloc(1, sizeof *segment);

	segment->types = *types;
	segment->profile = profile_new();
	tally_add_types(segment->profile, types);
	segment->tally = tally_new();
	segment->tables = tables;
	return segment;
}

void segment_free(struct segment *segment)
{
	if (!segment)
		return;
	profile_free(segment->profile);
	tally_free(segment->tally);
	tables_release(segment->tables);
	sampler_segment_free(segment->account);
	free(segment);
}

size_t segment_bytes(const struct segment *segment)
{
	return profile_bytes(segment->profile) +
	       (segment->tally ? tally_bytes(segment->tally) : 0);
}

static struct tally_thread thread_of(const struct sampler_unsampled *rest)
{
	struct tally_thread thread = {
	        .target = rest->target,
	        .tid = rest->tid,
	        .serial = rest->thread_serial,
	};

	memcpy(thread.comm, rest->comm, sizeof thread.comm);
	return thread;
}

/* A thread's name at the end is its name: those that live were asked once more. */
static void take_last_names(struct segment *segment)
{
	for (size_t i = 0; i < segment->account->unsampled.n; i++) {
		struct tally_thread thread = thread_of(&segment->account->unsampled.v[i]);

		tally_rename(segment->tally, &thread);
	}
}

/* Time that no sample claims, by what the thread was doing. */
static void enter_rest(struct segment *segment, uint32_t stack,
                       const struct tally_thread *thread, enum snapshot_state state,
                       struct weights weights)
{
	uint32_t wait = 0;

	if (segment->types.modes != MODE_CPU)
		wait = waits_of_state(tally_waits(segment->tally), state);
	tally_add_sample(segment->profile, &segment->types, stack,
	                 tally_labels(segment->tally, segment->profile, &segment->types,
	                              thread, wait),
	                 &weights);
}

static void enter_unsampled(struct segment *segment)
{
	unsigned modes = segment->types.modes;
	uint32_t location, stack;

	if (segment->account->unsampled.n == 0)
		return;
	location = profile_pseudo(segment->profile, "[not sampled]");
	stack = profile_stack(segment->profile, &location, 1);
	for (size_t i = 0; i < segment->account->unsampled.n; i++) {
		const struct sampler_unsampled *rest = &segment->account->unsampled.v[i];
		struct tally_thread thread = thread_of(rest);

		if (modes & (MODE_CPU | MODE_WALL))
			enter_rest(segment, stack, &thread, SNAPSHOT_RUNNING,
			           (struct weights){.cpu_ns = (int64_t)rest->cpu_ns,
			                            .wall_ns = (int64_t)rest->cpu_ns});
		if (modes & MODE_WALL)
			enter_rest(segment, stack, &thread, SNAPSHOT_RUNNABLE,
			           (struct weights){.wall_ns = (int64_t)rest->wait_ns});
		if (modes & (MODE_WALL | MODE_BLOCK))
			enter_rest(segment, stack, &thread, SNAPSHOT_UNKNOWN,
			           (struct weights){.wall_ns = (int64_t)rest->sleep_ns});
	}
}

void segment_add_ended(struct segment *segment, size_t parent, uint64_t cpu_ns)
{
	const struct tally_thread whole = {.target = parent};
	uint32_t location, stack;

	if (!(segment->types.modes & (MODE_CPU | MODE_WALL)))
		return;
	location = profile_pseudo(segment->profile, "[not sampled, ended children]");
	stack = profile_stack(segment->profile, &location, 1);
	enter_rest(segment, stack, &whole, SNAPSHOT_RUNNING,
	           (struct weights){.cpu_ns = (int64_t)cpu_ns, .wall_ns = (int64_t)cpu_ns});
}

static int64_t length_ns(const struct sampler_segment *account)
{
	return (int64_t)(account->stats.end_ns - account->stats.start_ns);
}

void segment_complete(struct segment *segment)
{
	struct profile *profile = segment->profile;
	struct symbol_stats before;

	take_last_names(segment);
	if (log_level() >= LOG_LEVEL_VERBOSE)
		tally_tell(segment->tally, &segment->types);
	tally_enter(segment->tally, profile, &segment->types);
	enter_unsampled(segment);
	profile->time_ns = segment->account->start_time_ns;
	profile->duration_ns = length_ns(segment->account);
	tally_free(segment->tally);
	segment->tally = NULL;

	before = symbolizer_stats(segment->tables->symbolizer);
	symbolizer_fill(segment->tables->symbolizer, profile);
	segment->symbols = symbolizer_stats(segment->tables->symbolizer);
	segment->symbols.resolved -= before.resolved;
	segment->symbols.unresolved -= before.unresolved;
	tables_release(segment->tables);
	segment->tables = NULL;
}

void segment_merge(struct segment *segment, struct segment *next)
{
	profile_merge(segment->profile, next->profile);
	sampler_segment_add(segment->account, next->account);
	segment->profile->duration_ns = length_ns(segment->account);
	for (size_t i = 0; i < UNWIND_NENDS; i++)
		segment->stack_ends[i] += next->stack_ends[i];
	segment->symbols.resolved += next->symbols.resolved;
	segment->symbols.unresolved += next->symbols.unresolved;
	segment->why = next->why;
	segment_free(next);
}

void segment_collapse(struct segment *segment)
{
	struct profile *old = segment->profile, *profile = profile_new();
	int64_t totals[PROFILE_MAX_TYPES] = {0};
	uint32_t location, stack;

	profile_set_like(profile, old);
	for (size_t i = 0; i < old->samples.n; i++) {
		for (size_t t = 0; t < old->ntypes; t++)
			totals[t] += old->samples.v[i].value[t];
	}
	location = profile_pseudo(profile, "[not written]");
	stack = profile_stack(profile, &location, 1);
	profile_add(profile, stack, 0, totals);
	profile_free(old);
	segment->profile = profile;
	segment->symbols = (struct symbol_stats){0};
}
