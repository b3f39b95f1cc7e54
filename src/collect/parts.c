/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one part of a run to the next. All sums, stacks, addresses and threads are the
 * part's, and go with it. What stays: the tables of the code, what the stacks of
 * threads need, and the places where threads sleep.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "collect/collector.h"
#include "collect/collector_impl.h"

/* A thread that had no sample for so long is not carried into the next part. */
#define THREAD_AGE_NS (10 * NS_PER_SEC)

void collector_open_space(struct collector *collector, struct process *process)
{
	process->space = tables_space(collector->tables, process->target);
	process->maps_read_ns = process->exec_checked_ns = clock_monotonic_ns();
	(void)collector_notice_exec(process);
}

/* Those that have been met and have not ended; NULL: not one of them. */
static struct process *living(const struct collector *collector, size_t index)
{
	struct process *process = collector->processes[index];

	return process && !process->released ? process : NULL;
}

/* What a process that loads and unloads code all day leaves behind. */
static void renew_tables(struct collector *collector)
{
	struct tables *tables = tables_new(collector->options->unwinder,
	                                   &collector->options->symbols);

	log_verbose("the tables of the code have grown: they are made anew");
	tables_release(collector->tables);
	collector->tables = tables;
	for (size_t i = 0; i < roster_count(collector->roster); i++) {
		struct process *process = living(collector, i);

		if (process)
			collector_open_space(collector, process);
	}
}

/* The last sleep of a thread goes on in the next part, which has another profile. */
static void carry_sleep(struct collector *collector, const struct segment *before,
                        struct sampled_thread *thread)
{
	struct tally *tally = collector->segment->tally;
	const struct weights none = {0};
	uint32_t stack, wait;

	if (thread->root)
		thread->root = profile_take_location(collector->segment->profile,
		                                     before->profile, thread->root);
	if (thread->sleep_tally == NO_TALLY)
		return;
	stack = profile_take_stack(collector->segment->profile, before->profile,
	                           tally_stack(before->tally, thread->sleep_tally));
	wait = waits_take(tally_waits(tally), tally_waits(before->tally),
	                  tally_wait(before->tally, thread->sleep_tally));
	thread->sleep_tally = tally_add(tally, stack, &thread->who, wait, &none);
	thread->sleep = none;
	thread->sleep_carried = true;
}

/* Most of those that have no sample for a while have ended. */
static void carry_threads(struct collector *collector, const struct segment *before)
{
	struct sampled_thread *old = collector->threads.v;
	size_t nold = collector->threads.n;
	uint64_t now_ns = clock_monotonic_ns();

	memset(&collector->threads, 0, sizeof collector->threads);
	hashmap_fini(&collector->thread_index);
	for (size_t i = 0; i < nold; i++) {
		if (now_ns - old[i].last_ns > THREAD_AGE_NS)
			continue;
		hashmap_put(&collector->thread_index,
		            collector_thread_key(old[i].who.target, old[i].who.serial),
		            collector->threads.n);
		carry_sleep(collector, before, &old[i]);
		array_push(&collector->threads, old[i]);
	}
	free(old);
}

/* Ids of mappings are those of a profile, and the next part has another. */
static void begin_segment(struct collector *collector, const struct segment *before)
{
	pthread_mutex_lock(&collector->tables_lock);
	if (tables_are_worn(collector->tables))
		renew_tables(collector);
	tables_forget_ids(collector->tables);
	pthread_mutex_unlock(&collector->tables_lock);
	collector->segment = segment_new(&collector->options->types,
	                                 tables_hold(collector->tables));
	for (size_t i = 0; i < roster_count(collector->roster); i++) {
		struct process *process = living(collector, i);

		if (process)
			collector_enter_main(collector, process);
	}
	carry_threads(collector, before);
}

static void tell_unwinding(const struct collector *collector)
{
	struct unwind_stats stats = unwinder_stats(collector->tables->unwinder);

	for (size_t i = 0; i < UNWIND_MAX_BACKENDS; i++)
		if (stats.backend[i].nframes > 0)
			log_verbose("unwinding: %s found %" PRIu64 " callers",
			            stats.backend[i].name, stats.backend[i].nframes);
	log_verbose("unwinding: %" PRIu64 " of %" PRIu64 " stacks were walked again with "
	            "all registers",
	            stats.nagain, stats.nstacks);
}

/* Gives a part the account that came with its last mark. */
static struct segment *end_segment(struct collector *collector,
                                   struct sampler_segment *account, unsigned why)
{
	struct segment *segment = collector->segment;

	if (collector->carried) {
		sampler_segment_add(collector->carried, account);
		sampler_segment_free(account);
		account = collector->carried;
	}
	segment->account = account;
	segment->why = why;
	collector->segment = NULL;
	collector->carried = NULL;
	tell_unwinding(collector);
	return segment;
}

void collector_take_mark(struct collector *collector, struct sampler_segment *account)
{
	unsigned why = atomic_exchange(&collector->why, 0);
	struct segment *segment;

	if (why == 0) {
		/* Asked for twice, it was made twice: the first was enough. */
		if (!collector->carried)
			collector->carried = xcalloc(1, sizeof *collector->carried);
		sampler_segment_add(collector->carried, account);
		sampler_segment_free(account);
		return;
	}
	segment = end_segment(collector, account, why);
	begin_segment(collector, segment);
	collector->options->give(collector->options->give_ctx, segment);
}

/* What has grown since the last cut, and what is held for the next file. */
static bool is_full(const struct collector *collector)
{
	size_t bytes = segment_bytes(collector->segment) +
	               collector->threads.cap * sizeof *collector->threads.v +
	               collector->thread_index.nslots * sizeof(struct hashmap_slot);

	return bytes + collector->options->held(collector->options->give_ctx) >
	       collector->options->share_bytes;
}

void collector_mind_memory(struct collector *collector)
{
	if ((atomic_load(&collector->why) & SEGMENT_MEMORY) || !is_full(collector))
		return;
	if (collector->options->can_cut) {
		collector_cut(collector, SEGMENT_MEMORY);
		return;
	}
	atomic_fetch_or(&collector->why, SEGMENT_MEMORY);
	log_error("--memory-limit is reached, and the output can take one profile alone: "
	          "the run ends here");
	sampler_stop(collector->sampler);
}

void collector_cut(struct collector *collector, enum segment_end why)
{
	atomic_fetch_or(&collector->why, (unsigned)why);
	sampler_cut(collector->sampler);
}

void collector_add_ended(struct collector *collector, size_t parent, uint64_t cpu_ns)
{
	segment_add_ended(collector->segment, parent, cpu_ns);
}

struct segment *collector_last(struct collector *collector)
{
	return end_segment(collector, sampler_last_segment(collector->sampler),
	                   SEGMENT_LAST);
}
