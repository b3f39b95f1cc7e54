/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Meeting threads where they run.
 *
 * A stop that is asked for from another processor comes late. The interrupt
 * takes some microseconds; a virtual machine may deliver it only when the thread
 * does something that leaves the machine, hundreds of microseconds later. The
 * thread runs on meanwhile, already marked, and stops at the end of the first
 * system call that it makes. So a program that makes many would seem to spend its
 * time in them, and the code between would hardly be seen.
 *
 * An interrupt by a timer of the processor's own is exact. So we wait for the tick
 * on the processor where the thread was last, with a real-time priority: the
 * timer that wakes us also takes the processor from whoever runs there, at a
 * moment that has nothing to do with what it does. A thread whose count of
 * involuntary switches has gone up has lost it so. It is asked to stop while it
 * waits for us to leave, and stops where it was. One that sleeps is left alone, and
 * so is one that wakes just now; its CPU time waits for its next sample.
 *
 * A round goes to every processor on which a thread has been lately, one after the
 * other within one period, so that each thread has its tick. Priority is raised
 * while waiting and meeting, and while a few threads are looked at: on a machine with
 * more to do than processors a look without it takes as long as everybody else lets
 * it. It is never raised while many are looked at.
 *
 * Only who may have real-time priority can do this. Others ask from afar.
 */
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/sampler_impl.h"

/* So many threads are few: looking at them takes a millisecond or two. */
#define FEW 64

static bool set_realtime(struct sampler *sampler, bool on)
{
	struct sched_param param = {.sched_priority = on ? sampler->priority : 0};

	if (sampler->level == param.sched_priority)
		return true;
	if (sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &param) < 0)
		return false;
	sampler->level = param.sched_priority;
	if (!on)
		atomic_store(&sampler->awake_by_ns, 0);
	return true;
}

/* To one processor; -1: to any. */
static bool move_to(struct sampler *sampler, int cpu)
{
	cpu_set_t there = sampler->cpus;
	int before = sampler->home;

	if (before == cpu)
		return true;
	if (cpu >= 0) {
		CPU_ZERO(&there);
		CPU_SET(cpu, &there);
	}
	sampler->home = cpu; /* we may not come back from there */
	if (sched_setaffinity(0, sizeof there, &there) == 0)
		return true;
	sampler->home = before;
	return false;
}

/* Without a claim on any processor. */
static void step_back(struct sampler *sampler)
{
	(void)set_realtime(sampler, false);
	(void)move_to(sampler, -1);
}

/* Whether one of that priority (procfs.h) gives way to us; our own follows. */
static bool gives_way(struct sampler *sampler, int priority)
{
	int level = -priority; /* one above it: -2 is real-time priority 1 */

	if (level > sched_get_priority_max(SCHED_FIFO))
		return false;
	if (level > sampler->priority)
		sampler->priority = level;
	return true;
}

/* Before it matters, if there are few. */
static void learn_priorities(struct sampler *sampler, const struct sampler_target *st)
{
	int priority;

	for (size_t i = 0; i < st->threads.list.n && i < FEW; i++) {
		if (activity_processor(st->target, st->threads.list.v[i], &priority) >= 0)
			(void)gives_way(sampler, priority);
	}
}

void sampler_prepare_visits(struct sampler *sampler)
{
	sampler->priority = 1;
	for (size_t i = 0; i < sampler->live.n; i++)
		learn_priorities(sampler, &sampler->targets[sampler->live.v[i]]);
	sampler->can_visit = sampler->options.cpu_source == CPU_SOURCE_SCHEDSTAT &&
	                     sched_getaffinity(0, sizeof sampler->cpus, &sampler->cpus) ==
	                             0 &&
	                     set_realtime(sampler, true) && set_realtime(sampler, false);
}

bool sampler_plan_visit(struct sampler *sampler, struct thread *thread)
{
	int priority;

	if (!sampler->can_visit)
		return false;
	thread->cpu = activity_processor(sampler_target_of(sampler, thread), thread,
	                                 &priority);
	if (thread->cpu >= 0 && !gives_way(sampler, priority))
		return false;
	if (thread->cpu < 0 || thread->cpu >= CPU_SETSIZE ||
	    !CPU_ISSET(thread->cpu, &sampler->cpus))
		return false;
	array_push(&sampler->visits, thread);
	return true;
}

/*
 * Where somebody runs who does not give way, a thread with a higher real-time priority
 * that never sleeps, we would wait on that processor for ever, and with us whoever has
 * been stopped meanwhile. Threads of the target are no danger, since we raise our own
 * priority above theirs. Of others nothing is known; but the profiler, which has no
 * claim on any processor, sees that the tracer is overdue, and takes it away.
 */
#define OVERDUE_NS (100 * NS_PER_MS)

/* All of ours but that one, if there are others. */
static cpu_set_t without(const struct sampler *sampler, int cpu)
{
	cpu_set_t rest = sampler->cpus;

	if (cpu >= 0 && CPU_COUNT(&rest) > 1)
		CPU_CLR(cpu, &rest);
	return rest;
}

void sampler_free_tracer(struct sampler *sampler, pid_t tracer)
{
	const struct sched_param none = {0};
	uint64_t by_ns = atomic_load(&sampler->awake_by_ns), now_ns = clock_monotonic_ns();
	cpu_set_t rest;

	if (tracer <= 0 || by_ns == 0 || now_ns < by_ns + OVERDUE_NS)
		return;
	/* Seen twice: both of us may have been stopped. */
	if (sampler->overdue.by_ns != by_ns) {
		sampler->overdue.by_ns = by_ns;
		sampler->overdue.seen_ns = now_ns;
	}
	if (now_ns < sampler->overdue.seen_ns + OVERDUE_NS)
		return;
	rest = without(sampler, sampler->home);
	(void)sched_setscheduler(tracer, SCHED_OTHER, &none);
	(void)sched_setaffinity(tracer, sizeof rest, &rest);
	atomic_store(&sampler->was_freed, true);
}

/* In the tracer: it does not go there again. */
static void note_freed(struct sampler *sampler)
{
	if (!atomic_exchange(&sampler->was_freed, false))
		return;
	if (CPU_COUNT(&sampler->cpus) > 1)
		sampler->cpus = without(sampler, sampler->home);
	else
		sampler->can_visit = false;
	sampler->visits.n = 0;
	sampler->level = -1; /* whatever was left of it */
	sampler->home = sampler->cpu = -1;
	step_back(sampler);
}

void sampler_begin_round(struct sampler *sampler)
{
	cpu_set_t round;

	CPU_ZERO(&round);
	for (size_t i = 0; i < sampler->visits.n; i++)
		CPU_SET(sampler->visits.v[i]->cpu, &round);
	sampler->nround = CPU_COUNT(&round) > 0 ? (size_t)CPU_COUNT(&round) : 1;
}

void sampler_go(struct sampler *sampler)
{
	struct thread *first;

	note_freed(sampler);
	if (sampler->visits.n == 0) {
		/* Who stops late would stand still for as long as others have work to do. */
		if (sampler->nstops_open == 0)
			step_back(sampler);
		return;
	}
	first = sampler->visits.v[(sampler->random >> 16) % sampler->visits.n];
	atomic_store(&sampler->awake_by_ns, clock_monotonic_ns());
	/* Not behind the back of one that does not give way otherwise. */
	if (sampler->priority > 1)
		(void)set_realtime(sampler, true);
	if (!move_to(sampler, first->cpu))
		return;
	sampler->cpu = first->cpu;
	for (size_t i = 0; i < sampler->visits.n; i++) {
		struct thread *thread = sampler->visits.v[i];
		bool runnable;

		/* Of one that was met the last time the count is known. */
		if (thread->cpu == sampler->cpu && !thread->was_met &&
		    activity_preemptions(sampler_target_of(sampler, thread), thread,
		                         &thread->preemptions, &runnable) < 0)
			thread->preemptions = UINT64_MAX;
	}
	(void)set_realtime(sampler, true);
}

static void meet(struct sampler *sampler, struct thread *thread)
{
	uint64_t preemptions;
	bool runnable;

	thread->was_met = false;
	if (thread->stop_open || thread->preemptions == UINT64_MAX ||
	    activity_preemptions(sampler_target_of(sampler, thread), thread, &preemptions,
	                         &runnable) < 0 ||
	    preemptions == thread->preemptions || !runnable)
		return;
	thread->blocked = false;
	sampler_request(sampler, thread);
	sampler_await(sampler, thread);
	thread->was_met = !thread->stop_open;
	thread->preemptions = preemptions;
}

void sampler_meet(struct sampler *sampler)
{
	size_t kept = 0;

	for (size_t i = 0; i < sampler->visits.n; i++) {
		struct thread *thread = sampler->visits.v[i];

		if (sampler->cpu < 0 || thread->cpu == sampler->cpu)
			meet(sampler, thread);
		else
			sampler->visits.v[kept++] = thread;
	}
	sampler->visits.n = kept;
	if (sampler->cpu < 0)
		return;
	sampler->cpu = -1;
	if (atomic_load(&sampler->stats.threads) > FEW)
		step_back(sampler);
}
