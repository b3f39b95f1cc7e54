/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups: the unit that containers and services are; see cgroups(7).
 * Which directory a path means, and which processes are in it and below.
 */
#ifndef CPROF_TARGET_CGROUP_H
#define CPROF_TARGET_CGROUP_H

#include <stddef.h>
#include <sys/types.h>

#include "base/array.h"
#include "base/error.h"
#include "target/procfs.h"

/* A file system of control groups, from a line of /proc/self/mountinfo:
 * "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw" (proc(5)) */
struct cgroup_mount {
	char *dir;
	int version; /* 1 or 2 */
};

struct cgroup_mounts {
	struct cgroup_mount *v; /* version 2 first */
	size_t n;
	size_t cap;
};

/* Of other lines nothing is taken. Freed with cgroup_mounts_fini. */
void cgroup_parse_mounts(const char *text, size_t len, struct cgroup_mounts *mounts);
void cgroup_mounts_fini(struct cgroup_mounts *mounts);

/*
 * The directory that a path may mean, one candidate after the other: the path
 * itself where it lies in a mount; else below each mount, as /proc/PID/cgroup
 * and systemctl show paths. To be freed; NULL when there are no more.
 */
char *cgroup_candidate(const struct cgroup_mounts *mounts, const char *path, size_t i);

/* The directory of a control group, to be freed; NULL with *err
 * (EXIT_CODE_NO_PROCESS) when there is none. */
char *cgroup_find(const char *path, struct error *err);

/* Appends the processes in the group and those below it. -errno when the
 * directory itself cannot be read; those below may go meanwhile. */
int cgroup_list(const char *dir, struct pids *pids) __attribute__((warn_unused_result));

#endif
