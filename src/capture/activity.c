/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to know about a thread without stopping it.
 *
 * schedstat tells the CPU time a thread has used and how many times it was put
 * on a CPU. The second number moves at once; the first, while the thread runs,
 * only at the scheduler's ticks. So for a thread that was last seen asleep,
 * three unchanged numbers prove that it still sleeps where it slept. For one
 * last seen running they prove nothing: it may have been on its CPU all the
 * time. Then `syscall` decides: it says "running" of every thread that is
 * runnable, and names the call of every one that sleeps.
 *
 * schedstat is read first. A thread that runs and falls asleep between the two
 * reads has other numbers at the next look, and is looked at again.
 *
 * Without schedstat (a kernel without CONFIG_SCHED_INFO) the clock ticks of `stat`
 * and the counts of switches in `status` must do; without `syscall`, the state in
 * `stat`.
 */
#include "capture/activity.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"

const char *activity_cpu_file(enum cpu_source source)
{
	return source == CPU_SOURCE_SCHEDSTAT ? "schedstat" : "stat";
}

static enum activity from_errno(ssize_t error)
{
	return error == -EPERM || error == -EACCES ? ACTIVITY_DENIED : ACTIVITY_GONE;
}

static int read_schedstat(const struct target *target, const struct thread *thread,
                          struct procfs_schedstat *out)
{
	char text[128];
	ssize_t n = thread_read(target, thread, thread->cpu_fd, "schedstat", text,
	                        sizeof text);

	return n < 0 ? (int)n : procfs_parse_schedstat(text, (size_t)n, out);
}

static int read_stat(const struct target *target, const struct thread *thread, int fd,
                     struct procfs_stat *out)
{
	char text[1024];
	ssize_t n = thread_read(target, thread, fd, "stat", text, sizeof text);

	return n < 0 ? (int)n : procfs_parse_stat(text, (size_t)n, out);
}

/* The same in the shape of schedstat: the third number moves when it must, if the
 * kernel counts switches. */
static int read_stat_account(const struct target *target, const struct thread *thread,
                             struct procfs_schedstat *out, char *state)
{
	struct procfs_status status;
	struct procfs_stat stat;
	char text[4096];
	int r = read_stat(target, thread, thread->cpu_fd, &stat);
	ssize_t n;

	if (r < 0)
		return r;
	*state = stat.state;
	*out = (struct procfs_schedstat){
	        .run_ns = (stat.utime_ticks + stat.stime_ticks) *
	                  (NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK)),
	};
	n = thread_read(target, thread, -1, "status", text, sizeof text);
	if (n < 0)
		return (int)n;
	if (procfs_parse_status(text, (size_t)n, &status) < 0)
		return -EINVAL;
	out->timeslices = status.voluntary_switches + status.involuntary_switches;
	return 0;
}

/* Whether a thread that has run sleeps now, and where; `state` is that of stat. */
static enum activity look_by_syscall(const struct target *target, struct thread *thread,
                                     char state)
{
	char text[256];
	ssize_t n = thread_read(target, thread, thread->syscall_fd, "syscall", text,
	                        sizeof text);

	thread->call = (struct procfs_syscall){.running = true};
	if (n == -ENOENT) {
		struct procfs_stat stat;
		int r = state ? 0 : read_stat(target, thread, -1, &stat);

		if (r < 0)
			return from_errno(r);
		thread->blocked = (state ? state : stat.state) != 'R';
	} else if (n < 0) {
		return from_errno(n);
	} else {
		if (procfs_parse_syscall(text, (size_t)n, &thread->call) < 0)
			return ACTIVITY_GONE;
		thread->blocked = !thread->call.running;
	}
	return thread->blocked ? ACTIVITY_BLOCKED : ACTIVITY_RUNNING;
}

enum activity activity_look(const struct target *target, struct thread *thread,
                            enum cpu_source source)
{
	struct procfs_schedstat now;
	char state = '\0';
	int r = source == CPU_SOURCE_SCHEDSTAT
	                ? read_schedstat(target, thread, &now)
	                : read_stat_account(target, thread, &now, &state);

	if (r < 0)
		return from_errno(r);
	if (thread->blocked && sleep_is_same(&now, &thread->seen))
		return ACTIVITY_ASLEEP;
	thread->seen = now;
	return look_by_syscall(target, thread, state);
}

int activity_account(const struct target *target, const struct thread *thread,
                     enum cpu_source source, struct procfs_schedstat *out)
{
	char state;

	if (source == CPU_SOURCE_SCHEDSTAT)
		return read_schedstat(target, thread, out);
	return read_stat_account(target, thread, out, &state);
}

int activity_status(const struct target *target, const struct thread *thread, int fd,
                    struct procfs_status *out)
{
	char text[4096];
	ssize_t len = thread_read(target, thread, fd, "status", text, sizeof text);

	if (len < 0)
		return (int)len;
	return procfs_parse_status(text, (size_t)len, out) < 0 ? -EINVAL : 0;
}

int activity_preemptions(const struct target *target, struct thread *thread, uint64_t *n,
                         bool *runnable)
{
	int fd = thread_keep(target, thread, &thread->status_fd, "status");
	struct procfs_status status;
	int r = activity_status(target, thread, fd, &status);

	if (r < 0)
		return r;
	*n = status.involuntary_switches;
	*runnable = status.state == 'R';
	return 0;
}

bool activity_under_seccomp(const struct target *target, const struct thread *thread)
{
	struct procfs_status status;

	return activity_status(target, thread, -1, &status) < 0 || status.seccomp != 0;
}

int activity_processor(const struct target *target, struct thread *thread, int *priority)
{
	int fd = thread_keep(target, thread, &thread->stat_fd, "stat");
	struct procfs_stat stat;

	if (read_stat(target, thread, fd, &stat) < 0)
		return -1;
	*priority = stat.priority;
	return stat.processor;
}

int activity_cpu_ns(const struct target *target, const struct thread *thread,
                    enum cpu_source source, uint64_t *ns)
{
	struct procfs_schedstat account;
	int r = activity_account(target, thread, source, &account);

	if (r == 0)
		*ns = account.run_ns;
	return r;
}
