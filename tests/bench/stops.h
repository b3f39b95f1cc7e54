/* SPDX-License-Identifier: Apache-2.0 */
/* Stops of a real process, one thread after another, for programs that measure. */
#ifndef TESTS_BENCH_STOPS_H
#define TESTS_BENCH_STOPS_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "capture/snapshot.h"
#include "module/space.h"
#include "target/target.h"
#include "target/tracer.h"
#include "unwind/unwind.h"

#define STOPS_MAX_THREADS 256
#define STOPS_MAX_FRAMES  1024

struct subject {
	struct target *target;
	struct module_cache *cache;
	struct space *space;
	pid_t tids[STOPS_MAX_THREADS];
	size_t ntids;
	size_t next;
};

/* A thread that stands still. */
struct stopped {
	struct tracer_stop stop;
	struct arch_prstatus raw;
};

__attribute__((noreturn, unused)) static void die(const char *why)
{
	fprintf(stderr, "%s\n", why);
	exit(1);
}

__attribute__((unused)) static void subject_open(struct subject *subject, pid_t pid)
{
	struct error err;

	memset(subject, 0, sizeof *subject);
	subject->target = target_open(pid, &err);
	if (subject->target == NULL)
		die("no such process");
	subject->cache = module_cache_new();
	subject->space = space_new(subject->target, subject->cache);
}

__attribute__((unused)) static void subject_close(struct subject *subject)
{
	space_free(subject->space);
	module_cache_free(subject->cache);
	target_free(subject->target);
}

__attribute__((unused)) static void subject_read_tids(struct subject *subject)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/task", (int)subject->target->pid);
	dir = opendir(path);
	subject->ntids = 0;
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)atoi(entry->d_name);

		if (tid > 0 && subject->ntids < STOPS_MAX_THREADS)
			subject->tids[subject->ntids++] = tid;
	}
	if (dir != NULL)
		closedir(dir);
}

/* Whether the thread runs or waits for a processor. */
__attribute__((unused)) static bool is_running(const struct subject *subject, pid_t tid)
{
	char path[96], text[256] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", (int)subject->target->pid,
	         (int)tid);
	f = fopen(path, "r");
	if (f == NULL)
		return false;
	if (fgets(text, sizeof text, f) == NULL)
		text[0] = '\0';
	fclose(f);
	return strncmp(text, "running", 7) == 0;
}

__attribute__((unused)) static bool stop_thread(pid_t tid, struct stopped *stopped)
{
	const struct timespec pause = {0, 20000};
	int r;

	while ((r = tracer_request(tid)) == -EINTR)
		(void)tracer_next(&stopped->stop);
	if (r != 0)
		return false;
	while (tracer_next(&stopped->stop) == TRACER_NONE)
		nanosleep(&pause, NULL);
	if (stopped->stop.event != TRACER_STOPPED)
		return false;
	if (tracer_get_regs(&stopped->stop, &stopped->raw) == 0)
		return true;
	(void)tracer_release(&stopped->stop);
	return false;
}

__attribute__((unused)) static void release_thread(struct stopped *stopped)
{
	(void)!tracer_undo_eintr(&stopped->stop, &stopped->raw);
	(void)tracer_release(&stopped->stop);
}

/* The next thread that runs is stopped; of sleeping ones, each tenth. False: none. */
__attribute__((unused)) static bool stop_next(struct subject *subject,
                                              struct stopped *stopped)
{
	if (subject->next % 64 == 0)
		subject_read_tids(subject);
	for (size_t i = 0; i < subject->ntids; i++) {
		pid_t tid = subject->tids[subject->next++ % subject->ntids];

		if (is_running(subject, tid) || rand() % 10 == 0)
			return stop_thread(tid, stopped);
	}
	return false;
}

/* Fills the snapshot (bytes: SNAPSHOT_MAX_BYTES of room) of a stopped thread. */
__attribute__((unused)) static bool take(const struct subject *subject,
                                         const struct stopped *stopped, size_t window,
                                         struct snapshot *snap)
{
	uint64_t from;
	ssize_t n;

	if (arch_regs_from_prstatus(&stopped->raw, &snap->regs) != 0)
		return false;
	from = snap->regs.r[ARCH_REG_SP] - ARCH_RED_ZONE;
	n = target_read_memory(subject->target, from, snap->bytes, window);
	snap->tid = stopped->stop.tid;
	snap->nsegments = 1;
	snap->nbytes = n < 0 ? 0 : (size_t)n;
	snap->segment[0] = (struct snapshot_segment){from, snap->nbytes, 0};
	return true;
}

/* For struct unwind_demand, with the target as `ctx`. */
__attribute__((unused)) static bool read_target(void *ctx, uint64_t addr, void *buf,
                                                size_t len)
{
	return target_read_memory(ctx, addr, buf, len) == (ssize_t)len;
}

#endif
