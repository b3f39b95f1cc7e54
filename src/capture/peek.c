/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that sleep are looked at, never stopped: /proc tells where in its code
 * such a thread waits and where its stack is, and its memory does not change as long
 * as it does not run. Whether it has is read before and after.
 *
 * That gives two registers, SP and PC. Most code needs no more, since unwind data
 * says where the others were saved. Code without optimisation keeps its place in a
 * frame pointer; when a stack needs one that nobody saved, the collector says so, and
 * if the call that the thread sleeps in restarts without a trace in the program
 * (target/syscalls.h), the thread is stopped once for all of this sleep. It sleeps
 * on in the same call; that it ran for a moment is our doing and does not count.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/activity.h"
#include "capture/sampler_impl.h"
#include "target/descriptor.h"
#include "target/syscalls.h"

/* A thread that ran while it was looked at is looked at again, so many times. */
#define PEEK_TRIES 3

/* How often the stack of one sleep is read anew because it was not complete. */
#define MAX_RETRIES 5

/* No thread that sleeps is left without a look for longer. */
#define LOOK_AGE_NS (100 * NS_PER_MS)

/* Credits that go into one snapshot's bytes. */
#define CREDITS_AT_ONCE (SNAPSHOT_MAX_BYTES / sizeof(struct snapshot_credit))

/* Credits wait for each other until there are so many. */
#define CREDITS_ENOUGH 64

/* How long the end waits for the collector to make room. */
#define ROOM_WAIT_NS (5 * NS_PER_SEC)

static enum snapshot_state state_of(const struct procfs_status *status,
                                    const struct procfs_syscall *call)
{
	if (status->state == 'T' || status->state == 't')
		return SNAPSHOT_JOB_STOP;
	if (call->running)
		return SNAPSHOT_UNKNOWN;
	return call->nr < 0 ? SNAPSHOT_FAULT : SNAPSHOT_SYSCALL;
}

/* A call that goes on after a stop has lost its number; it is the same as before. */
static long number_of(const struct thread *thread)
{
	if (syscall_is_restart(thread->call.nr) &&
	    syscall_is_continued(&thread->sleep.call, &thread->call))
		return thread->sleep.call.nr;
	return thread->call.nr;
}

static bool read_word(const struct target *target, uint64_t addr, void *buf, size_t len)
{
	return target_read_memory(target, addr, buf, len) == (ssize_t)len;
}

static void name_descriptor(const struct target *target, int fd, struct snapshot *snap)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof path, "fd/%d", fd);
	n = readlinkat(target->proc_fd, path, snap->wait_object,
	               sizeof snap->wait_object - 1);
	snap->wait_object[n > 0 ? n : 0] = '\0';
}

/* A pthread_mutex_t begins so (glibc's struct __pthread_mutex_s; the futex is the
 * first word, 2 when somebody waits for it). */
struct pthread_mutex_head {
	int32_t lock;
	uint32_t count;
	int32_t owner;
};

#define FUTEX_COMMAND(op)  ((op)&0x7f)
#define FUTEX_WAIT         0
#define FUTEX_LOCK_PI      6
#define FUTEX_LOCK_PI2     13
#define FUTEX_TID_MASK     0x3fffffff
#define MUTEX_WITH_WAITERS 2

/* The thread that holds the mutex a futex belongs to; 0 when it is none. */
static pid_t mutex_owner(struct sampler *sampler, const struct thread *thread,
                         const struct procfs_syscall *call)
{
	const struct thread_table *threads = &sampler->targets[thread->target].threads;
	struct pthread_mutex_head mutex;
	int command = FUTEX_COMMAND((int)call->args[1]);
	pid_t owner;

	if (!read_word(sampler_target_of(sampler, thread), call->args[0], &mutex,
	               sizeof mutex))
		return 0;
	if (command == FUTEX_LOCK_PI || command == FUTEX_LOCK_PI2)
		owner = mutex.lock & FUTEX_TID_MASK;
	else if (command == FUTEX_WAIT && (int)call->args[2] == MUTEX_WITH_WAITERS &&
	         mutex.lock == MUTEX_WITH_WAITERS)
		owner = mutex.owner;
	else
		return 0;
	return owner != thread->tid && threads_find(threads, owner) ? owner : 0;
}

static void tell_object(struct sampler *sampler, const struct thread *thread,
                        struct snapshot *snap)
{
	const struct target *target = sampler_target_of(sampler, thread);
	const struct procfs_syscall *call = &thread->call;
	int fd;

	switch (syscall_object(snap->syscall)) {
	case SYSCALL_OBJECT_FD:
		name_descriptor(target, (int)call->args[0], snap);
		break;
	case SYSCALL_OBJECT_POLL:
		if (call->args[1] == 1 && read_word(target, call->args[0], &fd, sizeof fd))
			name_descriptor(target, fd, snap);
		break;
	case SYSCALL_OBJECT_FUTEX:
		snap->wait_owner = mutex_owner(sampler, thread, call);
		snprintf(snap->wait_object, sizeof snap->wait_object, "%s 0x%llx",
		         snap->wait_owner ? "mutex" : "futex",
		         (unsigned long long)call->args[0]);
		break;
	case SYSCALL_OBJECT_NONE:
		break;
	}
}

/* Behind what has been copied of the stack. */
static void copy_kernel_stack(struct sampler *sampler, const struct thread *thread,
                              struct snapshot *snap)
{
	size_t room = SNAPSHOT_MAX_BYTES - snap->nbytes;
	ssize_t n;

	if (room < 2)
		return;
	n = thread_read(sampler_target_of(sampler, thread), thread, -1, "stack",
	                (char *)snap->bytes + snap->nbytes, room < 8192 ? room : 8192);
	if (n < 0) {
		sampler->stats.kernel_denied++;
		return;
	}
	snap->kernel_offset = snap->nbytes;
	snap->kernel_len = (size_t)n;
	snap->nbytes += (size_t)n;
}

/* A first thread that has ended stays, as a zombie, until the last one does. */
static bool has_ended(const struct procfs_status *status)
{
	return status->state == 'Z' || status->state == 'X';
}

/* Reads all that is told of it. False: it ran meanwhile. */
static bool peek(struct sampler *sampler, struct thread *thread, struct snapshot *snap,
                 struct procfs_status *status)
{
	const struct target *target = sampler_target_of(sampler, thread);
	struct procfs_schedstat after;

	snap->kind = thread->call.running ? SNAPSHOT_NO_STACK : SNAPSHOT_PEEKED;
	if (activity_status(target, thread, -1, status) < 0 || has_ended(status))
		return false;
	/* It has just woken: its account does not show that before the next tick. */
	if (status->state == 'R' && snap->kind == SNAPSHOT_PEEKED)
		return false;
	snap->state = state_of(status, &thread->call);
	snap->syscall = number_of(thread);
	if (snap->kind == SNAPSHOT_PEEKED) {
		regs_set(&snap->regs, ARCH_REG_SP, thread->call.sp);
		regs_set(&snap->regs, ARCH_REG_PC, thread->call.pc);
		sampler_copy(sampler, thread, snap, 0);
		if (sampler->options.wait_detail)
			tell_object(sampler, thread, snap);
		if (sampler->options.kernel_stacks)
			copy_kernel_stack(sampler, thread, snap);
	}
	return activity_account(target, thread, sampler->options.cpu_source, &after) == 0 &&
	       sleep_is_same(&after, &thread->seen);
}

/* What goes along with the next snapshot of the thread. */
static void take_credit(struct thread *thread, struct snapshot *snap)
{
	struct sleep *sleep = &thread->sleep;

	snap->before = (struct snapshot_credit){.count = sleep->credit_count,
	                                        .wall_ns = sleep->credit_ns};
	sleep->credit_count = sleep->credit_ns = 0;
}

static void hand_over_sleep(struct sampler *sampler, struct thread *thread,
                            struct snapshot *snap, const struct procfs_status *status,
                            uint64_t now_ns)
{
	struct sleep *sleep = &thread->sleep;
	long nr = snap->syscall;

	snap->replaces = sleep->holds && sleep_is_same(&thread->seen, &sleep->at);
	if (snap->replaces) {
		sleep_credit(sleep, &thread->seen, now_ns, sampler->tick);
		sleep->retries++;
	} else {
		struct sleep_weight weight = sleep_observed(
		        sleep, &thread->seen, &thread->call, now_ns, sampler->tick);

		snap->wall_ns = weight.wall_ns;
		snap->count = weight.count;
		snap->sleeps = sleep_count(sleep, status->voluntary_switches);
		sleep->call.nr = nr;
	}
	take_credit(thread, snap);
	thread->is_done = true;
	sampler->stats.peeks++;
	sampler_hand_over(sampler, thread, snap, now_ns);
}

/* Its stack is still to be read: now if there is room for it. */
static void observe(struct sampler *sampler, struct sampler_target *st,
                    struct thread *thread, uint64_t now_ns)
{
	struct procfs_status status = {0};
	struct sampler_hint *hint = sampler_hint_of(sampler, thread);

	for (int i = 0; i < PEEK_TRIES; i++) {
		struct snapshot *snap;

		if (queue_room(sampler->queue) <= sampler->nstops_open)
			break;
		snap = queue_reserve(sampler->queue);
		if (hint)
			atomic_store(&hint->wish, SAMPLER_WISH_NOTHING);
		if (peek(sampler, thread, snap, &status)) {
			hand_over_sleep(sampler, thread, snap, &status, now_ns);
			return;
		}
		if (has_ended(&status)) {
			thread->sleep.next_tick = UINT64_MAX;
			return;
		}
		sampler->stats.peeks_failed++;
		if (activity_look(st->target, thread, sampler->options.cpu_source) >
		    ACTIVITY_BLOCKED)
			break;
	}
	st->unobserved = true;
	thread->sleep.next_tick = 0;
}

/* Whether what is known of this sleep is not all that could be. */
static enum sampler_wish wish_of(struct sampler *sampler, const struct thread *thread)
{
	struct sampler_hint *hint = sampler_hint_of(sampler, thread);

	if (!hint || thread->sleep.retries >= MAX_RETRIES)
		return SAMPLER_WISH_NOTHING;
	return (enum sampler_wish)atomic_load(&hint->wish);
}

bool sampler_has_wish(struct sampler *sampler, const struct thread *thread)
{
	enum sampler_wish wish = thread->sleep.holds ? wish_of(sampler, thread)
	                                             : SAMPLER_WISH_NOTHING;

	return wish == SAMPLER_WISH_MEMORY || (wish == SAMPLER_WISH_REGISTERS &&
	                                       syscall_may_be_stopped(&thread->sleep.call));
}

static void stop_asleep(struct sampler *sampler, struct thread *thread)
{
	thread->sleep.retries = MAX_RETRIES; /* once a sleep */
	if (!syscall_may_be_stopped(&thread->sleep.call))
		return;
	if (!descriptor_may_be_left(sampler_target_of(sampler, thread),
	                            &thread->sleep.call))
		return;
	/* There the call would start anew, and sleep for its whole timeout again. */
	if (activity_under_seccomp(sampler_target_of(sampler, thread), thread))
		return;
	if (queue_room(sampler->queue) <= sampler->nstops_open)
		return;
	sampler->stats.sleepers_stopped++;
	sampler_request_asleep(sampler, thread);
}

void sampler_asleep(struct sampler *sampler, struct sampler_target *st,
                    struct thread *thread, uint64_t now_ns)
{
	struct sleep *sleep = &thread->sleep;

	if (!sleep_goes_on(sleep, &thread->seen, &thread->call)) {
		observe(sampler, st, thread, now_ns);
		return;
	}
	switch (wish_of(sampler, thread)) {
	case SAMPLER_WISH_MEMORY:
		observe(sampler, st, thread, now_ns);
		return;
	case SAMPLER_WISH_REGISTERS:
		stop_asleep(sampler, thread);
		break;
	case SAMPLER_WISH_NOTHING:
		break;
	}
	if (!sampler->options.once)
		atomic_fetch_add(&sampler->stats.credited,
		                 sampler->tick - sleep->look_tick);
	sleep_credit(sleep, &thread->seen, now_ns, sampler->tick);
	sleep_back_off(sleep, now_ns, sampler->period_ns, sampler->tick,
	               LOOK_AGE_NS / sampler->period_ns, sampler->random >> 20);
	/* So that it differs from thread to thread. */
	sampler->random = sampler->random * 6364136223846793005u + 1442695040888963407u;
}

void sampler_awake(struct sampler *sampler, struct thread *thread, uint64_t now_ns)
{
	sleep_end(&thread->sleep, &thread->seen, now_ns, sampler->tick);
	thread->sleep.next_tick = 0;
}

void sampler_caught_asleep(struct sampler *sampler, struct thread *thread,
                           struct snapshot *snap, uint64_t now_ns)
{
	struct sleep *sleep = &thread->sleep;

	thread->stop_is_of_sleeper = false;
	/* It has woken by itself before our stop, or sleeps elsewhere by now. */
	if (!sleep->holds || snap->syscall < 0 ||
	    snap->regs.r[ARCH_REG_SP] != sleep->call.sp ||
	    (snap->syscall != sleep->call.nr && !syscall_is_restart(snap->syscall)))
		return;
	sleep->disturbed = true;
	sleep->own_switches += 2; /* into the stop, and into the call again */
	snap->state = SNAPSHOT_SYSCALL;
	snap->syscall = sleep->call.nr;
	snap->replaces = true;
	take_credit(thread, snap);
	sampler_hand_over(sampler, thread, snap, now_ns);
}

/* What is owed to the last observation of a thread so far. */
static void hand_credit(struct sampler *sampler, struct thread *thread)
{
	struct sleep *sleep = &thread->sleep;
	struct snapshot_credit credit = {
	        .target = thread->target,
	        .thread_serial = thread->serial,
	        .count = sleep->credit_count,
	        .wall_ns = sleep->credit_ns,
	};

	if (!sleep->has_stack || (credit.wall_ns == 0 && credit.count == 0))
		return;
	sleep->credit_count = sleep->credit_ns = 0;
	array_push(&sampler->credits, credit);
}

void sampler_settle_sleep(struct sampler *sampler, struct thread *thread, uint64_t now_ns)
{
	if (!thread->sleep.has_stack)
		return;
	sleep_credit(&thread->sleep, &thread->seen, now_ns, sampler->tick);
	hand_credit(sampler, thread);
}

void sampler_hand_credits(struct sampler *sampler)
{
	for (size_t i = 0; i < sampler->live.n; i++) {
		struct sampler_target *st = &sampler->targets[sampler->live.v[i]];

		for (size_t t = 0; t < st->threads.list.n; t++)
			hand_credit(sampler, st->threads.list.v[t]);
	}
	sampler_flush_credits(sampler, true);
}

bool sampler_wait_for_room(const struct sampler *sampler)
{
	const struct timespec nap = {.tv_nsec = NS_PER_MS};
	uint64_t until = clock_monotonic_ns() + ROOM_WAIT_NS;

	while (queue_room(sampler->queue) == 0 && clock_monotonic_ns() < until)
		nanosleep(&nap, NULL);
	return queue_room(sampler->queue) > 0;
}

void sampler_flush_credits(struct sampler *sampler, bool all)
{
	size_t done = 0;

	while (done < sampler->credits.n && (all || sampler->credits.n >= CREDITS_ENOUGH)) {
		size_t n = sampler->credits.n - done;
		struct snapshot *snap;

		if (queue_room(sampler->queue) <= sampler->nstops_open &&
		    (!all || !sampler_wait_for_room(sampler)))
			break;
		if (n > CREDITS_AT_ONCE)
			n = CREDITS_AT_ONCE;
		snap = queue_reserve(sampler->queue);
		snap->kind = SNAPSHOT_CREDITS;
		snap->count = n;
		snap->nbytes = n * sizeof sampler->credits.v[0];
		memcpy(snap->bytes, sampler->credits.v + done, snap->nbytes);
		queue_commit(sampler->queue);
		done += n;
	}
	if (done == 0)
		return;
	memmove(sampler->credits.v, sampler->credits.v + done,
	        (sampler->credits.n - done) * sizeof sampler->credits.v[0]);
	sampler->credits.n -= done;
}
