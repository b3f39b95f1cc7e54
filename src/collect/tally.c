/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/tally.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/hashmap.h"
#include "base/log.h"
#include "base/mem.h"

/* A thread in one of its states. */
struct who {
	uint32_t thread; /* index */
	uint32_t wait;   /* of waits */
};

/* What the samples of one of these and a stack add up to. */
struct sum {
	uint32_t stack;
	uint32_t who; /* index */
	struct weights weights;
};

struct tally {
	ARRAY(struct tally_thread) threads;
	struct hashmap thread_index; /* target and serial -> index */
	ARRAY(struct who) whos;
	struct hashmap who_index; /* thread and wait -> index */
	ARRAY(struct sum) sums;
	struct hashmap sum_index; /* stack and who -> index */
	struct waits *waits;
};

void weights_add(struct weights *to, const struct weights *more, int sign)
{
	to->count += sign * more->count;
	to->cpu_ns += sign * more->cpu_ns;
	to->wall_ns += sign * more->wall_ns;
	to->sleeps += sign * more->sleeps;
}

struct tally *tally_new(void)
{
	struct tally *tally = xcalloc(1, sizeof *tally);

	tally->waits = waits_new();
	return tally;
}

void tally_free(struct tally *tally)
{
	if (!tally)
		return;
	array_fini(&tally->threads);
	array_fini(&tally->whos);
	array_fini(&tally->sums);
	hashmap_fini(&tally->thread_index);
	hashmap_fini(&tally->who_index);
	hashmap_fini(&tally->sum_index);
	waits_free(tally->waits);
	free(tally);
}

static uint64_t thread_key(const struct tally_thread *thread)
{
	return (uint64_t)thread->target << 48 | thread->serial;
}

static uint32_t enter_thread(struct tally *tally, const struct tally_thread *thread)
{
	uint64_t key = thread_key(thread), index;

	if (!hashmap_get(&tally->thread_index, key, &index)) {
		index = tally->threads.n;
		array_push(&tally->threads, *thread);
		hashmap_put(&tally->thread_index, key, index);
	}
	tally->threads.v[index] = *thread;
	return (uint32_t)index;
}

static uint32_t enter_who(struct tally *tally, uint32_t thread, uint32_t wait)
{
	uint64_t key = (uint64_t)thread << 32 | wait, index;

	if (!hashmap_get(&tally->who_index, key, &index)) {
		struct who who = {thread, wait};

		index = tally->whos.n;
		array_push(&tally->whos, who);
		hashmap_put(&tally->who_index, key, index);
	}
	return (uint32_t)index;
}

size_t tally_add(struct tally *tally, uint32_t stack, const struct tally_thread *thread,
                 uint32_t wait, const struct weights *weights)
{
	uint32_t who = enter_who(tally, enter_thread(tally, thread), wait);
	uint64_t key = (uint64_t)stack << 32 | who, index;

	if (!hashmap_get(&tally->sum_index, key, &index)) {
		struct sum sum = {.stack = stack, .who = who};

		index = tally->sums.n;
		array_push(&tally->sums, sum);
		hashmap_put(&tally->sum_index, key, index);
	}
	weights_add(&tally->sums.v[index].weights, weights, 1);
	return index;
}

void tally_adjust(struct tally *tally, size_t sum, const struct weights *weights, int sign)
{
	weights_add(&tally->sums.v[sum].weights, weights, sign);
}

uint32_t tally_stack(const struct tally *tally, size_t sum)
{
	return tally->sums.v[sum].stack;
}

uint32_t tally_wait(const struct tally *tally, size_t sum)
{
	return tally->whos.v[tally->sums.v[sum].who].wait;
}

struct waits *tally_waits(const struct tally *tally)
{
	return tally->waits;
}

void tally_rename(struct tally *tally, const struct tally_thread *thread)
{
	uint64_t index;

	if (hashmap_get(&tally->thread_index, thread_key(thread), &index))
		memcpy(tally->threads.v[index].comm, thread->comm, sizeof thread->comm);
}

uint32_t tally_labels(const struct tally *tally, struct profile *profile,
                      const struct tally_types *types, const struct tally_thread *thread,
                      uint32_t wait)
{
	const struct roster_member *member = roster_get(types->roster, thread->target);
	struct profile_label labels[4 + WAITS_MAX_LABELS];
	size_t n = waits_labels(tally->waits, wait, profile, labels);

	if (thread->tid) {
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "thread_name"),
		        .str = profile_string(profile, thread->comm)};
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "thread_id"), .num = thread->tid};
	}
	if (types->label_processes) {
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "process_id"),
		        .num = member->target->pid,
		};
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "process_name"),
		        .str = profile_string(profile, roster_name(member)),
		};
	}
	return profile_labels(profile, labels, n);
}

void tally_add_types(struct profile *profile, const struct tally_types *types)
{
	int64_t period = (int64_t)((double)NS_PER_SEC / types->frequency_hz);
	const char *last = types->last_mode == MODE_CPU ? "cpu" : "wall";

	switch (types->last_mode) {
	case MODE_CPU:
	case MODE_WALL:
		profile_add_type(profile, "samples", "count");
		if (types->modes & MODE_WALL)
			profile_add_type(profile,
			                 types->last_mode == MODE_CPU ? "wall" : "cpu",
			                 "nanoseconds");
		profile_add_type(profile, last, "nanoseconds");
		profile_set_period(profile, last, "nanoseconds", period);
		break;
	case MODE_BLOCK:
		profile_add_type(profile, "contentions", "count");
		profile_add_type(profile, "delay", "nanoseconds");
		profile_set_period(profile, "contentions", "count", 1);
		break;
	case MODE_THREADS:
		profile_add_type(profile, "threads", "count");
		profile_set_period(profile, "threads", "count", 1);
		break;
	}
}

void tally_add_sample(struct profile *profile, const struct tally_types *types,
                      uint32_t stack, uint32_t labels, const struct weights *sum)
{
	int64_t values[PROFILE_MAX_TYPES] = {sum->count};

	switch (types->last_mode) {
	case MODE_CPU:
		values[1] = types->modes & MODE_WALL ? sum->wall_ns : sum->cpu_ns;
		values[2] = sum->cpu_ns;
		break;
	case MODE_WALL:
		values[1] = sum->cpu_ns;
		values[2] = sum->wall_ns;
		break;
	case MODE_BLOCK:
		values[0] = sum->sleeps;
		values[1] = sum->wall_ns;
		break;
	case MODE_THREADS:
		values[0] = 1;
		break;
	}
	for (size_t i = 0; i < profile->ntypes; i++) {
		if (values[i] != 0) {
			profile_add(profile, stack, labels, values);
			return;
		}
	}
}

void tally_enter(const struct tally *tally, struct profile *profile,
                 const struct tally_types *types)
{
	for (size_t i = 0; i < tally->sums.n; i++) {
		const struct sum *sum = &tally->sums.v[i];
		const struct who *who = &tally->whos.v[sum->who];

		/* One whose place a better one has taken, or that nothing was added to. */
		if (sum->weights.count == 0 && sum->weights.wall_ns == 0 &&
		    sum->weights.cpu_ns == 0)
			continue;
		tally_add_sample(profile, types, sum->stack,
		                 tally_labels(tally, profile, types,
		                              &tally->threads.v[who->thread], who->wait),
		                 &sum->weights);
	}
}

void tally_tell(const struct tally *tally, const struct tally_types *types)
{
	struct {
		int64_t count, cpu_ns;
	} *totals = xcalloc(tally->threads.n, sizeof *totals);

	for (size_t i = 0; i < tally->sums.n; i++) {
		const struct sum *sum = &tally->sums.v[i];
		uint32_t thread = tally->whos.v[sum->who].thread;

		totals[thread].count += sum->weights.count;
		totals[thread].cpu_ns += sum->weights.cpu_ns;
	}
	for (size_t i = 0; i < tally->threads.n; i++) {
		const struct tally_thread *thread = &tally->threads.v[i];

		log_verbose("thread %d (%s) of process %d: %" PRId64
		            " samples, %.3f s of CPU time",
		            thread->tid, thread->comm,
		            roster_get(types->roster, thread->target)->target->pid,
		            totals[i].count, (double)totals[i].cpu_ns / 1e9);
	}
	free(totals);
}

size_t tally_bytes(const struct tally *tally)
{
	return tally->threads.cap * sizeof *tally->threads.v +
	       tally->whos.cap * sizeof *tally->whos.v +
	       tally->sums.cap * sizeof *tally->sums.v +
	       (tally->thread_index.nslots + tally->who_index.nslots +
	        tally->sum_index.nslots) *
	               sizeof(struct hashmap_slot) +
	       waits_bytes(tally->waits);
}
