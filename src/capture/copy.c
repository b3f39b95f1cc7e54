/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a thread's memory to copy, and the copy; whether it stands or sleeps. */
#include "base/clock.h"
#include "capture/sampler_impl.h"

#include <string.h>

/* A name is read again when it may have been changed (pthread_setname_np). */
#define COMM_AGE_NS (1 * NS_PER_SEC)

struct sampler_hint *sampler_hint_of(struct sampler *sampler, const struct thread *thread)
{
	struct sampler_hint *hint = &sampler->hints[(unsigned)thread->tid % SAMPLER_NHINTS];

	return atomic_load(&hint->tid) == thread->tid ? hint : NULL;
}

/* How much of its stack to copy, and whether that alone has proved too little. */
static size_t window_of(struct sampler *sampler, const struct thread *thread,
                        bool *elsewhere)
{
	struct sampler_hint *hint = sampler_hint_of(sampler, thread);
	size_t len = hint ? atomic_load(&hint->stack_len) : 0;

	if (len > 0) {
		*elsewhere = atomic_load(&hint->elsewhere);
		return len;
	}
	/* A thread not seen before starts with what its siblings needed. */
	*elsewhere = atomic_load(&sampler->any_elsewhere);
	return atomic_load(&sampler->widest);
}

static void copy_stack(const struct target *target, struct snapshot *snap, size_t window)
{
	uint64_t sp = snap->regs.r[ARCH_REG_SP];
	uint64_t start = sp - ARCH_RED_ZONE;
	ssize_t n = target_read_memory(target, start, snap->bytes, window);

	if (n <= 0) {
		/* SP may stand at the very bottom of its mapping. */
		start = sp;
		n = target_read_memory(target, start, snap->bytes, window);
	}
	if (n <= 0)
		return;
	snap->segment[0] = (struct snapshot_segment){start, (size_t)n, 0};
	snap->nsegments = 1;
	snap->nbytes = (size_t)n;
}

void sampler_copy(struct sampler *sampler, struct thread *thread, struct snapshot *snap,
                  uint64_t stopped_ns)
{
	struct budget *budget = &sampler->stats.budget;
	struct sampler_hint *hint = sampler_hint_of(sampler, thread);
	bool elsewhere;
	size_t window;

	snap->target = thread->target;
	/* Leaf and root are enough, and the root does not change. */
	if (sampler->options.no_traceback && hint && atomic_load(&hint->rooted))
		return;
	window = window_of(sampler, thread, &elsewhere);
	if (stopped_ns > 0)
		window = budget_window(budget, window);
	copy_stack(sampler_target_of(sampler, thread), snap, window);
	if (stopped_ns > 0 && elsewhere &&
	    !budget_may_follow(budget, clock_monotonic_ns() - stopped_ns))
		return;
	if (elsewhere && sampler->options.extend)
		sampler->options.extend(sampler->options.extend_ctx, snap);
}

void sampler_hand_over(struct sampler *sampler, struct thread *thread,
                       struct snapshot *snap, uint64_t now_ns)
{
	if (thread->comm_read_ns == 0 || now_ns - thread->comm_read_ns > COMM_AGE_NS) {
		thread_read_comm(sampler_target_of(sampler, thread), thread);
		thread->comm_read_ns = now_ns;
	}
	snap->target = thread->target;
	snap->tid = thread->tid;
	snap->thread_serial = thread->serial;
	memcpy(snap->comm, thread->comm, sizeof snap->comm);
	snap->time_ns = now_ns;
	if (!snap->replaces)
		atomic_fetch_add(&sampler->stats.samples, 1);
	queue_commit(sampler->queue);
}
