/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From "stop, please" to a snapshot in the queue. Between a thread's stop and
 * its release nothing is done that is not needed for the copy: the account, the
 * name and the hand-over come after it runs again.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "capture/activity.h"
#include "capture/sampler_impl.h"

/* How long a tick stays with the threads it has asked, rather than sleep until
 * SIGCHLD: one that is on a CPU reports sooner than we could fall asleep. */
#define LINGER_NS (30 * NS_PER_US)

/* How long to stay with a thread that was met and asked to stop. */
#define AWAIT_NS (200 * NS_PER_US)

/* How often a request that reports keep interrupting is made again. */
#define REQUEST_TRIES 8

/* The kernel's account of a running thread lags by a scheduler tick. */
#define ACCOUNT_SLACK_NS (20 * NS_PER_MS)

static void count_missed(struct sampler *sampler, uint64_t *reason)
{
	(*reason)++;
	atomic_fetch_add(&sampler->stats.missed, 1);
}

static void request(struct sampler *sampler, struct thread *thread)
{
	int r;

	if (thread->stop_open || apart_is_orphan())
		return;
	if (queue_room(sampler->queue) <= sampler->nstops_open) {
		count_missed(sampler, &sampler->stats.missed_queue_full);
		return;
	}
	thread->stop_asked_ns = clock_monotonic_ns();
	r = tracer_request(thread->tid);
	for (int i = 0; r == -EINTR && i < REQUEST_TRIES; i++) {
		(void)sampler_drain(sampler);
		r = tracer_request(thread->tid);
	}
	if (r == -ESRCH || r == -EINTR) {
		sampler->targets[thread->target].rescan = true;
	} else if (r < 0) {
		count_missed(sampler, &sampler->stats.missed_refused);
	} else {
		thread->stop_open = true;
		sampler->nstops_open++;
	}
}

void sampler_request(struct sampler *sampler, struct thread *thread)
{
	if (!thread->stop_open)
		thread->stop_is_of_sleeper = false;
	request(sampler, thread);
}

void sampler_request_asleep(struct sampler *sampler, struct thread *thread)
{
	if (!thread->stop_open)
		thread->stop_is_of_sleeper = true;
	request(sampler, thread);
}

static struct thread *find_thread(struct sampler *sampler, pid_t tid)
{
	for (size_t i = 0; i < sampler->live.n; i++) {
		struct sampler_target *st = &sampler->targets[sampler->live.v[i]];
		struct thread *thread = threads_find(&st->threads, tid);

		if (thread)
			return thread;
	}
	return NULL;
}

static void close_stop(struct sampler *sampler, struct thread *thread)
{
	if (!thread->stop_open)
		return;
	thread->stop_open = false;
	sampler->nstops_open--;
}

/* What the stop did to a system call that it met. */
static void undo(struct sampler *sampler, const struct thread *thread,
                 const struct tracer_stop *stop, const struct arch_prstatus *raw)
{
	int r = tracer_undo_eintr(stop, raw);

	if (r == 0 && arch_syscall_suspended(raw) &&
	    activity_under_seccomp(sampler_target_of(sampler, thread), thread))
		r = tracer_undo_suspension(stop, raw);
	if (r > 0)
		sampler->stats.eintr_undone++;
}

/* All that happens while the thread stands still. Returns why nothing was copied, as the
 * count of what is missed; or NULL. */
static uint64_t *copy_thread(struct sampler *sampler, struct thread *thread,
                             const struct tracer_stop *stop, uint64_t seen_ns,
                             struct snapshot *snap)
{
	struct sampler_stats *stats = &sampler->stats;
	struct arch_prstatus raw;

	if (tracer_get_regs(stop, &raw) < 0)
		return &stats->missed_unreadable;
	undo(sampler, thread, stop, &raw);
	if (!snap)
		return &stats->missed_queue_full;
	if (arch_regs_from_prstatus(&raw, &snap->regs) < 0)
		return &stats->missed_32bit;
	snap->syscall = arch_syscall_nr(&raw);
	sampler_copy(sampler, thread, snap, seen_ns);
	return NULL;
}

/*
 * What the thread has used since its last sample becomes this one's weight. A
 * thread cannot use more than the time that went by: if its account says so,
 * another thread has taken over its tid with an exec, and brought its own.
 */
static uint64_t claim(uint64_t *claimed_ns, uint64_t used_ns, uint64_t elapsed_ns)
{
	uint64_t weight = used_ns > *claimed_ns ? used_ns - *claimed_ns : 0;

	if (weight > elapsed_ns + ACCOUNT_SLACK_NS)
		weight = elapsed_ns;
	*claimed_ns = used_ns;
	return weight;
}

static void hand_over_running(struct sampler *sampler, struct thread *thread,
                              struct snapshot *snap, uint64_t now_ns)
{
	struct sampler_target *st = &sampler->targets[thread->target];
	uint64_t elapsed = now_ns - thread->claimed_at_ns;
	struct procfs_schedstat account;

	if (activity_account(st->target, thread, sampler->options.cpu_source, &account) < 0)
		account = thread->seen; /* it has just ended */
	thread->seen = account;
	sampler_note_cpu(st, thread, account.run_ns);
	snap->count = 1;
	snap->cpu_ns = claim(&thread->claimed_ns, account.run_ns, elapsed);
	snap->wait_ns = claim(&thread->waited_ns, account.wait_ns, elapsed);
	/* Where one sample is all, most of its time says what it did. */
	if (sampler->options.once && snap->wait_ns > snap->cpu_ns)
		snap->state = SNAPSHOT_RUNNABLE;
	thread->claimed_at_ns = now_ns;
	st->result.sampled_ns += snap->cpu_ns;
	thread->is_done = true;
	sampler_hand_over(sampler, thread, snap, now_ns);
}

/* A thread has stopped: copies it, lets it go, and hands the copy over. */
static void handle_stopped(struct sampler *sampler, struct thread *thread,
                           struct tracer_stop *stop)
{
	struct sampler_stats *stats = &sampler->stats;
	uint64_t seen_ns = clock_monotonic_ns(), gone_ns;
	/* For whom, if nobody is left? */
	bool wanted = thread && !apart_is_orphan();
	struct snapshot *snap = wanted ? queue_reserve(sampler->queue) : NULL;
	uint64_t *missed = NULL;

	/* It was seen to run just before it was asked. */
	if (thread && thread->stop_open)
		stop->asleep_ns = seen_ns - thread->stop_asked_ns;
	if (thread)
		missed = copy_thread(sampler, thread, stop, seen_ns, snap);
	(void)tracer_release(stop);
	gone_ns = clock_monotonic_ns();
	quantile_add(&stats->pause_ns, gone_ns - seen_ns);
	budget_pause(&stats->budget, gone_ns - seen_ns);
	if (stop->signal)
		stats->signals_passed++;
	if (stop->group_stop)
		stats->group_stops++;
	/* A stop nobody asked for is one whose thread took another's tid by exec. */
	if (!thread || !thread->stop_open)
		return;
	quantile_add(&stats->latency_ns, seen_ns - thread->stop_asked_ns);
	close_stop(sampler, thread);
	if (missed)
		count_missed(sampler, missed);
	else if (thread->stop_is_of_sleeper)
		sampler_caught_asleep(sampler, thread, snap, seen_ns);
	else
		hand_over_running(sampler, thread, snap, seen_ns);
}

void sampler_lose_stop(struct sampler *sampler, struct thread *thread)
{
	/* Of a sleeper, no tick is missed: its time is counted without the stop. */
	if (thread->stop_open && !thread->stop_is_of_sleeper)
		count_missed(sampler, &sampler->stats.missed_unstopped);
	close_stop(sampler, thread);
}

/* A tracee is gone. */
static void handle_ended(struct sampler *sampler, struct tracer_stop *stop)
{
	struct thread *thread = find_thread(sampler, stop->tid);
	struct sampler_target *st;

	if (thread) {
		/* A zombie's clock still tells its total, until its parent takes its
		 * status. */
		st = &sampler->targets[thread->target];
		(void)!target_cpu_ns(st->target, &st->cpu_ns);
	}
	tracer_take_end(stop);
	if (!thread)
		return;
	st->rescan = true;
	sampler_lose_stop(sampler, thread);
}

size_t sampler_drain(struct sampler *sampler)
{
	struct tracer_stop stop;
	size_t n = 0;

	for (; tracer_next(&stop) != TRACER_NONE; n++) {
		if (stop.event == TRACER_STOPPED)
			handle_stopped(sampler, find_thread(sampler, stop.tid), &stop);
		else
			handle_ended(sampler, &stop);
	}
	return n;
}

void sampler_drain_briefly(struct sampler *sampler)
{
	uint64_t until = clock_monotonic_ns() + LINGER_NS;

	while (sampler->nstops_open > 0 && clock_monotonic_ns() < until) {
		if (sampler_drain(sampler) > 0)
			until = clock_monotonic_ns() + LINGER_NS;
	}
}

void sampler_await(struct sampler *sampler, const struct thread *thread)
{
	uint64_t until = clock_monotonic_ns() + AWAIT_NS, now;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	/* Asleep, so that the thread can run on this very processor, and stop. */
	while (thread->stop_open && (now = clock_monotonic_ns()) < until) {
		const struct timespec left = {.tv_nsec = (long)(until - now)};

		(void)sigtimedwait(&child, NULL, &left);
		(void)sampler_drain(sampler);
	}
}
