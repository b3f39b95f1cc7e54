/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look reads, of each process there is, /proc/PID/stat (its parent, its name,
 * the account of its children) and its threads' lists of children, and lists the
 * control group. Looks follow each other at INTERVAL_NS, or at so long a distance
 * that they take a twentieth of a processor at most.
 *
 * What the kernel lists is a hint: a pid may be another process's by the time it
 * is opened. That is noticed by its parent, or does not matter: whoever has the
 * number when the control group is listed next is found then.
 *
 * A process that nobody may attach to (a setuid program) is remembered by its pid
 * and start time, counted, and not asked again.
 */
#include "discover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hashmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "target/cgroup.h"
#include "target/lineage.h"
#include "target/refusal.h"

#define INTERVAL_NS     (20 * NS_PER_MS)
#define INTERVAL_MAX_NS (1 * NS_PER_SEC)
#define INTERVAL_PART   20

/* Descriptors are kept for so long after a process's end, for snapshots that are
 * still on their way. */
#define RELEASE_AFTER_NS (1 * NS_PER_SEC)

#define CHILDREN_MAX (1u << 20) /* bytes of one list */
#define REFUSED_MAX  65536      /* remembered */
#define SETTLE_TRIES 5

/* What is known of one member of the roster, by its index. */
struct kin {
	pid_t pid;
	size_t parent; /* an index, or LINEAGE_NONE */
	bool reaped;   /* it has ended, and somebody has waited for it */
	uint64_t ended_ns;
	bool have_account; /* these are known: */
	uint64_t waited0_ns;
	uint64_t waited_ns;
};

struct discovery {
	bool children;
	char *cgroup; /* directory, or NULL */
	pid_t command;
	struct roster *roster;
	struct collector *collector;
	ARRAY(struct kin) kin;
	ARRAY(size_t) open;     /* indexes of those not given back yet */
	struct hashmap by_pid;  /* of those not reaped -> index */
	struct hashmap refused; /* pid -> start in ticks */
	uint64_t tick_ns;
	uint64_t start_ticks; /* since boot; UINT64_MAX: the run has not begun */
	struct roster_stats stats;
	int stop_fd;
	pthread_t thread;
	bool started;
};

static uint64_t boot_ticks(const struct discovery *discovery)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ((uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec) /
	       discovery->tick_ns;
}

/* Enters who is on the roster and not known here yet. */
static void enter_members(struct discovery *discovery)
{
	for (size_t i = discovery->kin.n; i < roster_count(discovery->roster); i++) {
		const struct roster_member *member = roster_get(discovery->roster, i);
		struct kin kin = {.pid = member->target->pid, .parent = LINEAGE_NONE};

		/* What its children used before they were born to the run: nothing. */
		kin.have_account = member->born;
		array_push(&discovery->kin, kin);
		array_push(&discovery->open, i);
		hashmap_put(&discovery->by_pid, (uint64_t)kin.pid, i);
	}
	if (discovery->open.n > discovery->stats.at_once)
		discovery->stats.at_once = discovery->open.n;
}

/* Ourselves, and our tracer. */
static bool is_ours(const struct discovery *discovery, const struct procfs_stat *stat)
{
	return stat->pid != discovery->command &&
	       (stat->pid == getpid() || stat->ppid == getpid());
}

static bool was_refused(const struct discovery *discovery, const struct procfs_stat *stat)
{
	uint64_t start;

	return hashmap_get(&discovery->refused, (uint64_t)stat->pid, &start) &&
	       start == stat->start_ticks;
}

/* Not asked again. Who makes processes without end makes us forget some. */
static void remember(struct discovery *discovery, const struct procfs_stat *stat)
{
	if (discovery->refused.n >= REFUSED_MAX)
		hashmap_fini(&discovery->refused);
	hashmap_put(&discovery->refused, (uint64_t)stat->pid, stat->start_ticks);
}

static void count_refusal(struct discovery *discovery, const struct procfs_stat *stat,
                          const struct error *err)
{
	if (discovery->stats.refused++ == 0)
		discovery->stats.first_refusal = *err;
	log_verbose("not followed: %s", err->text);
	remember(discovery, stat);
}

/* Opens a process for good, or counts why not. A zombie has nothing to attach to,
 * but its CPU time can still be read. */
static void take_in(struct discovery *discovery, const struct procfs_stat *stat)
{
	bool born = stat->start_ticks >= discovery->start_ticks;
	struct target *target;
	struct error err;

	if (discovery->open.n >= ROSTER_MAX_OPEN || discovery->kin.n >= ROSTER_MAX) {
		discovery->stats.beyond_limits++;
		remember(discovery, stat);
		return;
	}
	target = target_open(stat->pid, &err);
	if (!target) {
		if (err.code != EXIT_CODE_NO_PROCESS)
			count_refusal(discovery, stat, &err);
		return;
	}
	if (target_alive(target) && refusal_check(target, &err) < 0 &&
	    target_alive(target)) {
		count_refusal(discovery, stat, &err);
		target_free(target);
		return;
	}
	(void)roster_add(discovery->roster, target, born);
	enter_members(discovery);
	if (discovery->start_ticks != UINT64_MAX)
		discovery->stats.joined++;
	log_verbose("process %d (%s) joins the run", target->pid, target->comm);
}

static void consider(struct discovery *discovery, pid_t pid)
{
	struct procfs_stat stat;
	char path[32];

	if (hashmap_get(&discovery->by_pid, (uint64_t)pid, NULL))
		return;
	snprintf(path, sizeof path, "/proc/%d", pid);
	if (procfs_read_stat(AT_FDCWD, path, &stat) < 0 ||
	    (stat.flags & PROCFS_PF_KTHREAD) != 0 || is_ours(discovery, &stat) ||
	    was_refused(discovery, &stat))
		return;
	take_in(discovery, &stat);
}

static void consider_all(struct discovery *discovery, const struct pids *pids)
{
	for (size_t i = 0; i < pids->n; i++)
		consider(discovery, pids->v[i]);
}

/* Appends a process's children: each thread has a list of those it forked. */
static void list_children(const struct target *target, struct pids *pids)
{
	int fd = openat(target->task_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		char path[NAME_MAX + 16], *text;
		ssize_t n;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/children", entry->d_name);
		n = procfs_read(target->task_fd, path, CHILDREN_MAX, &text);
		if (n < 0)
			continue;
		procfs_parse_pids(text, (size_t)n, pids);
		free(text);
	}
	closedir(dir);
}

static void note_end(struct discovery *discovery, size_t index)
{
	struct kin *kin = &discovery->kin.v[index];
	uint64_t by_pid;

	kin->reaped = true;
	kin->ended_ns = clock_monotonic_ns();
	if (hashmap_get(&discovery->by_pid, (uint64_t)kin->pid, &by_pid) && by_pid == index)
		hashmap_remove(&discovery->by_pid, (uint64_t)kin->pid);
}

/* Reads what its line in /proc says now. */
static void look_at(struct discovery *discovery, size_t index)
{
	struct roster_member *member = roster_get(discovery->roster, index);
	struct kin *kin = &discovery->kin.v[index];
	struct procfs_stat stat;
	uint64_t parent;

	if (kin->reaped)
		return;
	if (procfs_read_stat(member->target->proc_fd, ".", &stat) < 0) {
		note_end(discovery, index);
		return;
	}
	if (stat.state != 'Z')
		roster_rename(member, stat.comm);
	kin->waited_ns = stat.children_ticks * discovery->tick_ns;
	if (!kin->have_account)
		kin->waited0_ns = kin->waited_ns;
	kin->have_account = true;
	kin->parent = LINEAGE_NONE;
	if (hashmap_get(&discovery->by_pid, (uint64_t)stat.ppid, &parent))
		kin->parent = parent;
}

/* Gives back what those that ended a while ago still have. */
static void release_ended(struct discovery *discovery)
{
	uint64_t now = clock_monotonic_ns();
	size_t kept = 0;

	for (size_t i = 0; i < discovery->open.n; i++) {
		size_t index = discovery->open.v[i];
		const struct kin *kin = &discovery->kin.v[index];

		if (discovery->collector && kin->reaped &&
		    now - kin->ended_ns >= RELEASE_AFTER_NS &&
		    atomic_load(&roster_get(discovery->roster, index)->closed))
			collector_release(discovery->collector, index);
		else
			discovery->open.v[kept++] = index;
	}
	discovery->open.n = kept;
}

/* Those found are looked at in the same round: a whole tree is taken in at once. */
static void look(struct discovery *discovery)
{
	struct pids pids = {0};

	if (discovery->cgroup && cgroup_list(discovery->cgroup, &pids) == 0)
		consider_all(discovery, &pids);
	for (size_t i = 0; i < discovery->open.n; i++) {
		size_t index = discovery->open.v[i];

		look_at(discovery, index);
		if (!discovery->children || discovery->kin.v[index].reaped)
			continue;
		pids.n = 0;
		list_children(roster_get(discovery->roster, index)->target, &pids);
		consider_all(discovery, &pids);
	}
	array_fini(&pids);
	release_ended(discovery);
	atomic_fetch_add(&discovery->roster->looks, 1);
}

static void *discovery_main(void *arg)
{
	struct discovery *discovery = arg;
	struct pollfd p = {.fd = discovery->stop_fd, .events = POLLIN};

	do {
		uint64_t start = clock_monotonic_ns(), pause;
		struct timespec ts;

		look(discovery);
		pause = (clock_monotonic_ns() - start) * INTERVAL_PART;
		if (pause < INTERVAL_NS)
			pause = INTERVAL_NS;
		if (pause > INTERVAL_MAX_NS)
			pause = INTERVAL_MAX_NS;
		ts = (struct timespec){.tv_sec = (time_t)(pause / NS_PER_SEC),
		                       .tv_nsec = (long)(pause % NS_PER_SEC)};
		(void)ppoll(&p, 1, &ts, NULL);
	} while (!p.revents);
	return NULL;
}

static int check_children(struct error *err)
{
	if (access("/proc/thread-self/children", R_OK) == 0)
		return 0;
	return error_set(err, EXIT_CODE_FAILURE,
	                 "this kernel does not list children (/proc/PID/task/TID/children, "
	                 "CONFIG_PROC_CHILDREN): leave out --children");
}

/* Exactly who is there now, before anything starts. */
static int look_first(struct discovery *discovery, const struct options *options,
                      struct error *err)
{
	if (discovery->children && check_children(err) < 0)
		return -1;
	if (options->cgroup) {
		discovery->cgroup = cgroup_find(options->cgroup, err);
		if (!discovery->cgroup)
			return -1;
	}
	enter_members(discovery);
	look(discovery);
	if (roster_count(discovery->roster) > 0)
		return 0;
	if (discovery->stats.refused > 0) {
		*err = discovery->stats.first_refusal;
		return -1;
	}
	return error_set(err, EXIT_CODE_NO_PROCESS,
	                 "there is no process in the control group '%.200s'",
	                 options->cgroup);
}

struct discovery *discovery_new(const struct options *options, pid_t command,
                                struct roster *roster, struct error *err)
{
	struct discovery *discovery = xcalloc(1, sizeof *discovery);

	discovery->children = options->children;
	discovery->command = command;
	discovery->roster = roster;
	discovery->tick_ns = NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);
	discovery->start_ticks = UINT64_MAX;
	discovery->stop_fd = -1;
	/* A service that starts anew comes back. */
	roster->endless = options->cgroup != NULL;
	if (look_first(discovery, options, err) == 0)
		return discovery;
	discovery_free(discovery);
	return NULL;
}

int discovery_start(struct discovery *discovery, struct collector *collector,
                    struct error *err)
{
	int r;

	discovery->collector = collector;
	discovery->start_ticks = boot_ticks(discovery);
	discovery->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (discovery->stop_fd < 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot follow processes: %s",
		                 strerror(errno));
	r = pthread_create(&discovery->thread, NULL, discovery_main, discovery);
	if (r != 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot start a thread: %s",
		                 strerror(r));
	discovery->started = true;
	return 0;
}

static uint64_t sum_of_accounts(const struct discovery *discovery)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < discovery->kin.n; i++)
		sum += discovery->kin.v[i].waited_ns + discovery->kin.v[i].reaped;
	return sum;
}

/* A child that is waited for between the look at its parent and the look at itself
 * would count in one place and not in the other: until nothing moves. */
static void look_last(struct discovery *discovery)
{
	uint64_t before;
	int tries = SETTLE_TRIES;

	do {
		before = sum_of_accounts(discovery);
		for (size_t i = 0; i < discovery->open.n; i++)
			look_at(discovery, discovery->open.v[i]);
	} while (sum_of_accounts(discovery) != before && --tries > 0);
}

void discovery_stop(struct discovery *discovery)
{
	if (!discovery || !discovery->started)
		return;
	(void)eventfd_write(discovery->stop_fd, 1);
	pthread_join(discovery->thread, NULL);
	discovery->started = false;
	look_last(discovery);
}

void discovery_settle(struct discovery *discovery, const struct sampler *sampler,
                      struct collector *collector)
{
	size_t n = sampler_ntargets(sampler);
	struct lineage_member *members = xcalloc(discovery->kin.n, sizeof *members);

	if (n > discovery->kin.n)
		n = discovery->kin.n;
	for (size_t i = 0; i < n; i++) {
		const struct kin *kin = &discovery->kin.v[i];
		const struct sampler_target_result *result = sampler_result(sampler, i);

		members[i] = (struct lineage_member){
		        .parent = kin->parent,
		        .reaped = kin->reaped,
		        .own_ns = result->life_ns,
		        .waited0_ns = kin->waited0_ns,
		        .waited_ns = kin->waited_ns,
		};
	}
	lineage_settle(members, n);
	for (size_t i = 0; i < n; i++) {
		if (members[i].unseen_ns == 0)
			continue;
		discovery->stats.ended_ns += members[i].unseen_ns;
		collector_add_ended(collector, i, members[i].unseen_ns);
	}
	free(members);
}

struct roster_stats discovery_stats(const struct discovery *discovery)
{
	return discovery ? discovery->stats : (struct roster_stats){0};
}

void discovery_free(struct discovery *discovery)
{
	if (!discovery)
		return;
	discovery_stop(discovery);
	if (discovery->stop_fd >= 0)
		close(discovery->stop_fd);
	free(discovery->cgroup);
	array_fini(&discovery->kin);
	array_fini(&discovery->open);
	hashmap_fini(&discovery->by_pid);
	hashmap_fini(&discovery->refused);
	free(discovery);
}
