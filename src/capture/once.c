/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instant's stacks of all threads. Nobody waits for one thread: sleeping ones
 * are peeked at, running ones asked to stop, and each is handed over as it comes.
 * One that does not get a processor in time is still told of, without a stack.
 */
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "capture/sampler_impl.h"

/* How long it goes on without any thread having been added. */
#define PATIENCE_NS (1 * NS_PER_SEC)

#define PAUSE_MS 2

/* A thread is told of once; later only what was missing of the same sleep. */
static bool has_more(struct sampler *sampler, struct thread *thread)
{
	if (!sampler_has_wish(sampler, thread))
		return false;
	if (!sleep_goes_on(&thread->sleep, &thread->seen, &thread->call))
		thread->sleep.holds = false;
	return thread->sleep.holds;
}

/* One look at each thread that has not been handed over as well as it can be. */
static void look_round(struct sampler *sampler, uint64_t now_ns)
{
	sampler->tick++;
	for (size_t i = 0; i < sampler->ntargets; i++) {
		struct sampler_target *st = &sampler->targets[i];

		for (size_t t = 0; t < st->threads.list.n; t++) {
			struct thread *thread = st->threads.list.v[t];

			if (!sampler_wants(sampler, thread->tid) || thread->stop_open)
				continue;
			switch (activity_look(st->target, thread,
			                      sampler->options.cpu_source)) {
			case ACTIVITY_RUNNING:
				if (!thread->is_done)
					sampler_request(sampler, thread);
				thread->sleep.holds = false;
				break;
			case ACTIVITY_BLOCKED:
			case ACTIVITY_ASLEEP:
				if (!thread->is_done || has_more(sampler, thread))
					sampler_asleep(sampler, st, thread, now_ns);
				break;
			case ACTIVITY_DENIED:
			case ACTIVITY_GONE:
				break;
			}
			(void)sampler_drain(sampler);
		}
	}
	sampler_drain_briefly(sampler);
}

static size_t count_done(const struct sampler *sampler, size_t *nthreads)
{
	size_t n = 0;

	*nthreads = 0;
	for (size_t i = 0; i < sampler->ntargets; i++) {
		const struct sampler_target *st = &sampler->targets[i];

		for (size_t t = 0; t < st->threads.list.n; t++) {
			const struct thread *thread = st->threads.list.v[t];

			if (!sampler_wants(sampler, thread->tid))
				continue;
			(*nthreads)++;
			n += thread->is_done;
		}
	}
	return n;
}

/* Whether the collector has seen all, and wishes for no more of a sleeping thread. */
static bool is_content(struct sampler *sampler)
{
	if (queue_room(sampler->queue) < sampler->queue_capacity ||
	    sampler->nstops_open > 0)
		return false;
	for (size_t i = 0; i < sampler->ntargets; i++) {
		const struct sampler_target *st = &sampler->targets[i];

		for (size_t t = 0; t < st->threads.list.n; t++)
			if (sampler_has_wish(sampler, st->threads.list.v[t]))
				return false;
	}
	return true;
}

/* Those that could not be had: named, with what they are doing. */
static void tell_the_rest(struct sampler *sampler, uint64_t now_ns)
{
	for (size_t i = 0; i < sampler->ntargets; i++) {
		const struct sampler_target *st = &sampler->targets[i];

		for (size_t t = 0; t < st->threads.list.n; t++) {
			struct thread *thread = st->threads.list.v[t];
			struct snapshot *snap;

			if (thread->is_done || !sampler_wants(sampler, thread->tid) ||
			    !sampler_wait_for_room(sampler))
				continue;
			snap = queue_reserve(sampler->queue);
			snap->kind = SNAPSHOT_NO_STACK;
			snap->state = thread->blocked ? SNAPSHOT_UNKNOWN
			                              : SNAPSHOT_RUNNABLE;
			snap->count = 1;
			sampler_hand_over(sampler, thread, snap, now_ns);
		}
	}
}

void sampler_run_once(struct sampler *sampler)
{
	struct pollfd fds[2] = {
	        {.fd = sampler->child_fd, .events = POLLIN},
	        {.fd = sampler->stop_fd, .events = POLLIN},
	};
	size_t done = 0, n, nthreads;
	uint64_t now = clock_monotonic_ns(), until = now + PATIENCE_NS;

	for (; now < until && !fds[1].revents && !apart_is_orphan();
	     now = clock_monotonic_ns()) {
		look_round(sampler, now);
		n = count_done(sampler, &nthreads);
		atomic_store(&sampler->stats.threads, nthreads);
		if (n == nthreads && is_content(sampler))
			return;
		if (n > done)
			until = clock_monotonic_ns() + PATIENCE_NS;
		done = n;
		(void)poll(fds, 2, PAUSE_MS);
		sampler_clear_child(sampler);
		(void)sampler_drain(sampler);
	}
	if (!apart_is_orphan())
		tell_the_rest(sampler, now);
}
