/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads at rest.
 *
 * A look costs a microsecond or two, and a process may have thousands of threads that
 * hardly ever do anything. So a thread that some looks in a row have found asleep is at
 * rest: of these, only so many have their turn at one tick.
 *
 * One of them may begin to work at any time, and its samples must not come late. What
 * threads have used is known from the looks, what the process has used from its
 * clock. When the clock runs ahead of what the threads that are awake can account
 * for, somebody at rest has worked: then all are looked at, some hundreds at a tick.
 * Whoever has run is awake again. Time that threads used who have ended by then stays a
 * difference for ever; the next one counts from there.
 */
#include "base/clock.h"
#include "capture/sampler_impl.h"

/* Looks in a row that find a thread asleep until it is at rest. */
#define LOOKS_TO_REST 4

/* How many at rest are looked at at a tick, by turns and in search of who works;
 * and how many may be passed over who have backed off (sleep.c). */
#define LOOKS_BY_TURNS  32
#define LOOKS_IN_SEARCH 512
#define PASSED          8 /* times that */

/* CPU time that nobody awake can account for, before a search. */
#define HIDDEN_NS (10 * NS_PER_MS)

void sampler_note_cpu(struct sampler_target *st, struct thread *thread, uint64_t run_ns)
{
	if (run_ns > thread->known_ns)
		st->known_ns += run_ns - thread->known_ns;
	thread->known_ns = run_ns;
}

/* Whether somebody at rest has worked, as far as the clock was read. */
static bool is_hidden_work(const struct sampler *sampler, struct sampler_target *st)
{
	int64_t ahead = (int64_t)(st->cpu_ns - st->known_ns);
	size_t running = sampler->nprocessors;

	/* Those who were not asked for may work as they like. */
	if (st->clock_tick != sampler->tick || sampler->options.nonly_tids > 0)
		return false;
	if (running > st->threads.nawake)
		running = st->threads.nawake;
	if (ahead < st->ahead_ns)
		st->ahead_ns = ahead;
	return ahead - st->ahead_ns >
	       (int64_t)(HIDDEN_NS + running * SAMPLER_ACCOUNT_LAG_NS);
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

		if (sampler_look(sampler, st, thread, now_ns) && may_rest(sampler, thread))
			threads_rest(&st->threads, i);
	}
}

/* The next of those at rest; whether there was one to be looked at. */
static bool look_at_next(struct sampler *sampler, struct sampler_target *st,
                         uint64_t now_ns)
{
	struct thread_table *threads = &st->threads;
	size_t i = st->next_at_rest;
	struct thread *thread;

	if (i < threads->nawake || i >= threads->list.n)
		i = threads->nawake;
	st->next_at_rest = i + 1;
	thread = threads->list.v[i];
	if (!sampler_look(sampler, st, thread, now_ns))
		return false;
	if (!may_rest(sampler, thread))
		threads_wake(threads, i);
	return true;
}

static void look_at_resting(struct sampler *sampler, struct sampler_target *st,
                            uint64_t now_ns)
{
	size_t nresting = st->threads.list.n - st->threads.nawake;
	size_t most = st->search > 0 ? LOOKS_IN_SEARCH : LOOKS_BY_TURNS;
	size_t passed = 0;

	for (size_t looks = 0; nresting > 0 && looks < most && passed < PASSED * most;
	     nresting--, passed++)
		looks += look_at_next(sampler, st, now_ns);
	if (st->search == 0)
		return;
	st->search = st->search > passed ? st->search - passed : 0;
	/* What is hidden still was used by those who are gone. */
	if (st->search == 0)
		st->ahead_ns = (int64_t)(st->cpu_ns - st->known_ns);
}

void sampler_look_at_all(struct sampler *sampler, struct sampler_target *st,
                         uint64_t now_ns)
{
	look_at_awake(sampler, st, now_ns);
	if (st->search == 0 && is_hidden_work(sampler, st))
		st->search = st->threads.list.n - st->threads.nawake;
	look_at_resting(sampler, st, now_ns);
}
