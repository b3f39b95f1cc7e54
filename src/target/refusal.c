/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel asks one question for an attach and for reading memory with
 * process_vm_readv (ptrace(2), "Ptrace access mode checking"), so a byte of the
 * target's memory is the oracle: if it can be read, nothing but the state of the
 * target or a filter on ptrace itself stands in the way. If it cannot, the
 * reason is looked for in the order in which removing it would help:
 *
 *   1. what no right overcomes: our own process, a kernel thread, a zombie, a
 *      32-bit program, another tracer;
 *   2. what holds for every target: no ptrace for us, Yama 3;
 *   3. whose it is: another user namespace, another user, a setuid start, more
 *      capabilities, not dumpable. CAP_SYS_PTRACE overcomes these and Yama, so
 *      they come before Yama, whose remedies would not be enough;
 *   4. Yama 2 and 1;
 *   5. security modules, which cannot be asked and are named last.
 *
 * One remedy must not lead to the next refusal: "as that user" is only said
 * where Yama would let that user.
 */
#include "target/refusal.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target/maps.h"
#include "target/tracer.h"

#define CAP_BIT              (UINT64_C(1) << CAP_SYS_PTRACE)
#define INITIAL_USERNS_INODE 4026531837u /* PROC_USER_INIT_INO */
#define MAX_GENERATIONS      1000
#define TRACER_LOOKS         5
#define TRACER_LOOK_PAUSE_US 4000

/*
 * Gathering
 */

static bool read_status(int proc_fd, struct procfs_status *status)
{
	char text[8192];
	ssize_t n = procfs_read_fixed(proc_fd, "status", text, sizeof text);

	return n >= 0 && procfs_parse_status(text, (size_t)n, status) == 0;
}

static bool is_thread_of(pid_t pid, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/task/%d", pid, tid);
	return access(path, F_OK) == 0;
}

/*
 * A profiler of our kind traces for microseconds at a time; only a tracer that
 * stays is in the way.
 */
static void gather_tracer(const struct target *target, struct refusal_facts *facts)
{
	char path[32];

	for (int i = 0; i < TRACER_LOOKS && facts->target.tracer_pid != 0; i++) {
		usleep(TRACER_LOOK_PAUSE_US);
		if (!read_status(target->proc_fd, &facts->target))
			return;
	}
	if (facts->target.tracer_pid == 0)
		return;
	snprintf(path, sizeof path, "/proc/%d/comm", facts->target.tracer_pid);
	(void)!procfs_read_comm(AT_FDCWD, path, facts->tracer_comm);
	facts->tracer_is_thread_of_ours = is_thread_of(getpid(), facts->target.tracer_pid);
}

static void gather_exe(const struct target *target, struct refusal_facts *facts)
{
	unsigned char ident[EI_NIDENT];
	int fd = openat(target->proc_fd, "exe", O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		facts->exe_unreadable = true;
		return;
	}
	facts->is_32bit = pread(fd, ident, sizeof ident, 0) == sizeof ident &&
	                  memcmp(ident, ELFMAG, SELFMAG) == 0 &&
	                  ident[EI_CLASS] == ELFCLASS32;
	close(fd);
}

/* Not getpwuid: a directory service that hangs must not hang us. */
static void gather_owner(struct refusal_facts *facts)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *entry;

	if (!file)
		return;
	while ((entry = fgetpwent(file)) != NULL) {
		if (entry->pw_uid == facts->target.uid[0]) {
			snprintf(facts->owner, sizeof facts->owner, "%s", entry->pw_name);
			break;
		}
	}
	fclose(file);
}

static bool is_descendant(pid_t pid, pid_t ancestor)
{
	struct procfs_stat stat;
	char path[32], text[1024];

	for (int i = 0; i < MAX_GENERATIONS && pid > 1; i++) {
		ssize_t n;

		snprintf(path, sizeof path, "/proc/%d/stat", pid);
		n = procfs_read_fixed(AT_FDCWD, path, text, sizeof text);
		if (n < 0 || procfs_parse_stat(text, (size_t)n, &stat) < 0)
			return false;
		if (stat.ppid == ancestor)
			return true;
		pid = stat.ppid;
	}
	return false;
}

/* "docker-default (enforce)\n", "system_u:system_r:httpd_t:s0\0", "unconfined\n" */
static void read_label(int dirfd, const char *path, char label[128])
{
	if (procfs_read_fixed(dirfd, path, label, 128) < 0)
		label[0] = '\0';
	label[strcspn(label, "\n")] = '\0';
	if (strcmp(label, "unconfined") == 0 || strcmp(label, "kernel") == 0 ||
	    strstr(label, ":unconfined_t:"))
		label[0] = '\0';
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * Whether a capability that we have in our user namespace holds in that of `fd`,
 * which is closed: it does in ours and all below it, and the user who made one
 * has all capabilities in it (user_namespaces(7)).
 */
static bool capable_in(int fd, const struct stat *ours, bool have_cap)
{
	bool capable = false;

	for (;;) {
		struct stat st, above;
		uid_t owner;
		int parent;

		if (fstat(fd, &st) < 0)
			break;
		if (same_file(&st, ours)) {
			capable = have_cap;
			break;
		}
		parent = ioctl(fd, NS_GET_PARENT);
		if (parent < 0)
			break;
		if (fstat(parent, &above) == 0 && same_file(&above, ours) &&
		    ioctl(fd, NS_GET_OWNER_UID, &owner) == 0 && owner == geteuid()) {
			capable = true;
			close(parent);
			break;
		}
		close(fd);
		fd = parent;
	}
	close(fd);
	return capable;
}

/* The link cannot be read where an attach is refused, but the map can. */
static bool same_uid_map(const struct target *target)
{
	char ours[4096], theirs[4096];

	return procfs_read_fixed(AT_FDCWD, "/proc/self/uid_map", ours, sizeof ours) < 0 ||
	       procfs_read_fixed(target->proc_fd, "uid_map", theirs, sizeof theirs) < 0 ||
	       strcmp(ours, theirs) == 0;
}

static void gather_namespaces(const struct target *target, struct refusal_facts *facts,
                              bool have_cap)
{
	struct stat ours, theirs;
	int fd;

	facts->same_user_namespace = true;
	facts->have_cap_sys_ptrace = have_cap;
	if (stat("/proc/self/ns/user", &ours) < 0)
		return;
	facts->in_user_namespace = ours.st_ino != INITIAL_USERNS_INODE;
	fd = openat(target->proc_fd, "ns/user", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		facts->same_user_namespace = same_uid_map(target);
		/* Ours is not above the target's, or it could have been opened. */
		facts->have_cap_sys_ptrace = have_cap && facts->same_user_namespace;
		return;
	}
	facts->same_user_namespace = fstat(fd, &theirs) == 0 && same_file(&ours, &theirs);
	facts->have_cap_sys_ptrace = capable_in(fd, &ours, have_cap);
}

static void gather_ourselves(const struct target *target, struct refusal_facts *facts)
{
	struct procfs_status self = {0};
	int fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	facts->our_uid = getuid();
	facts->our_gid = getgid();
	if (fd >= 0) {
		(void)!read_status(fd, &self);
		close(fd);
	}
	facts->is_ourselves = facts->target.tgid == getpid();
	facts->our_cap_prm = self.cap_prm;
	facts->our_seccomp = self.seccomp;
	facts->cap_in_bounding_set = prctl(PR_CAPBSET_READ, CAP_SYS_PTRACE) == 1;
	read_label(AT_FDCWD, "/proc/self/attr/current", facts->our_lsm_label);
	gather_namespaces(target, facts, (self.cap_eff & CAP_BIT) != 0);
}

static int read_yama_scope(void)
{
	char text[16];

	if (procfs_read_fixed(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", text,
	                      sizeof text) <= 0 ||
	    !isdigit((unsigned char)text[0]))
		return -1;
	return (int)strtol(text, NULL, 10);
}

/* The errno of reading one byte of memory that is there; 0 also when it has just
 * gone, since then the reading was permitted. */
static int probe_memory(const struct target *target)
{
	struct maps maps;
	ssize_t n = maps_read(target->proc_fd, &maps);
	unsigned char byte;

	if (n < 0)
		return (int)-n;
	for (size_t i = 0; i < maps.n; i++) {
		/* Device memory and the like cannot be read by anybody. */
		if (!(maps.v[i].perms & MAP_PERM_READ) || maps.v[i].path[0] == '[')
			continue;
		n = target_read_memory(target, maps.v[i].start, &byte, 1);
		if (n != -EFAULT && n != -EIO)
			break;
		n = 0;
	}
	maps_fini(&maps);
	return n < 0 ? (int)-n : 0;
}

/* Permission to trace is asked for when it is read; to open it takes that of files. */
static int probe_file(const struct target *target)
{
	int fd = openat(target->proc_fd, "syscall", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

void refusal_gather(const struct target *target, struct refusal_facts *facts)
{
	struct procfs_stat stat = {0};
	struct stat st;
	char text[1024];
	ssize_t n;

	*facts = (struct refusal_facts){0};
	facts->target.pid = facts->target.tgid = target->pid;
	(void)!read_status(target->proc_fd, &facts->target);
	gather_tracer(target, facts);
	gather_owner(facts);
	gather_exe(target, facts);
	facts->all_ended = strchr("ZX", facts->target.state) && !target_alive(target);
	n = procfs_read_fixed(target->proc_fd, "stat", text, sizeof text);
	facts->kernel_thread = n >= 0 && procfs_parse_stat(text, (size_t)n, &stat) == 0 &&
	                       (stat.flags & PROCFS_PF_KTHREAD) != 0;
	facts->not_dumpable = fstatat(target->proc_fd, "status", &st, 0) == 0 &&
	                      st.st_uid != facts->target.uid[1];
	facts->is_descendant = is_descendant(target->pid, getpid());
	read_label(target->proc_fd, "attr/current", facts->lsm_label);
	gather_ourselves(target, facts);
	facts->yama_scope = read_yama_scope();
	facts->ptrace_probe_errno = tracer_probe(target->pid);
	facts->memory_probe_errno = probe_memory(target);
	facts->file_probe_errno = probe_file(target);
}

/*
 * Judging: each function answers whether its rule is the one, and if so says so.
 */

struct verdict {
	const struct refusal_facts *facts;
	struct error *err;
	char name[64]; /* "process 4711 (redis-server)" */
};

#define refuse(v, ...) (error_set((v)->err, EXIT_CODE_REFUSED, __VA_ARGS__), true)

/* How to get CAP_SYS_PTRACE, which overcomes most rules. */
static const char *how_to_get_rights(const struct refusal_facts *facts)
{
	if (!facts->cap_in_bounding_set || facts->our_uid == 0)
		return "give this container the capability SYS_PTRACE (docker, podman: "
		       "--cap-add=SYS_PTRACE; Kubernetes: "
		       "securityContext.capabilities.add)";
	return "run cprof-attach as root (sudo)";
}

static bool check_ourselves(const struct verdict *v)
{
	return v->facts->is_ourselves &&
	       refuse(v,
	              "%s is cprof-attach itself, which cannot stop its own threads: give "
	              "another process",
	              v->name);
}

static bool check_kernel_thread(const struct verdict *v)
{
	return v->facts->kernel_thread &&
	       refuse(v,
	              "%s is a kernel thread, which has no user code to sample: use perf "
	              "for the kernel",
	              v->name);
}

static bool check_ended(const struct verdict *v)
{
	return v->facts->all_ended &&
	       refuse(v,
	              "%s is a zombie: it has ended and only waits for its parent to take "
	              "its exit status, so give a process that still runs",
	              v->name);
}

static bool check_32bit(const struct verdict *v)
{
	return v->facts->is_32bit &&
	       refuse(v,
	              "%s runs a 32-bit program, whose registers and stacks cprof-attach "
	              "does not know: profile a 64-bit build of it",
	              v->name);
}

static bool check_traced(const struct verdict *v)
{
	const struct procfs_status *target = &v->facts->target;

	return target->tracer_pid != 0 && !v->facts->tracer_is_thread_of_ours &&
	       refuse(v,
	              "%s is already traced by process %d (%s), and a process has one "
	              "tracer at a time: end or detach that one first",
	              v->name, target->tracer_pid,
	              v->facts->tracer_comm[0] ? v->facts->tracer_comm : "?");
}

static bool check_ptrace_callable(const struct verdict *v)
{
	int error = v->facts->ptrace_probe_errno;

	if (error == 0 || error == ESRCH)
		return false;
	if (v->facts->our_seccomp != 0)
		return refuse(v,
		              "cprof-attach may not call ptrace here: a seccomp filter "
		              "forbids it (%s), so start it without that filter (docker, "
		              "podman: --cap-add=SYS_PTRACE, or --security-opt "
		              "seccomp=unconfined)",
		              strerror(error));
	return refuse(v,
	              "cprof-attach may not call ptrace here (%s), though no seccomp "
	              "filter is set: this kernel or sandbox does not offer it, so run "
	              "cprof-attach outside of it",
	              strerror(error));
}

static bool check_yama_3(const struct verdict *v)
{
	return v->facts->yama_scope >= 3 &&
	       refuse(v,
	              "%s cannot be attached to, nor any other: kernel.yama.ptrace_scope "
	              "is %d, which forbids it even to root until a reboot with a lower "
	              "value",
	              v->name, v->facts->yama_scope);
}

static bool check_namespace(const struct verdict *v)
{
	const struct refusal_facts *facts = v->facts;

	if (facts->same_user_namespace || facts->have_cap_sys_ptrace)
		return false;
	if (facts->in_user_namespace)
		return refuse(v,
		              "%s is in another user namespace than cprof-attach, whose "
		              "rights end at its own: run cprof-attach outside of this "
		              "container or sandbox, or in the one of the process",
		              v->name);
	return refuse(v,
	              "%s is in a user namespace (a rootless container or sandbox) that is "
	              "not yours: run cprof-attach as root (sudo), or inside of it",
	              v->name);
}

static bool check_owner(const struct verdict *v)
{
	const struct refusal_facts *facts = v->facts;
	const char *owner = facts->owner[0] ? facts->owner : "another user";
	const char *or_as = ", or run it as ", *that_user = facts->owner;

	if (facts->have_cap_sys_ptrace || facts->target.uid[0] == facts->our_uid)
		return false;
	if (facts->yama_scope > 0 || facts->target.uid[0] == 0)
		or_as = that_user = "";
	else if (that_user[0] == '\0')
		that_user = "that user";
	return refuse(v, "%s belongs to %s (uid %u) and not to you (uid %u): %s%s%s",
	              v->name, owner, facts->target.uid[0], facts->our_uid,
	              how_to_get_rights(facts), or_as, that_user);
}

static bool same_ids(const unsigned id[4], unsigned ours)
{
	return id[0] == ours && id[1] == ours && id[2] == ours;
}

static bool check_setuid(const struct verdict *v)
{
	const struct refusal_facts *facts = v->facts;
	bool uid_differs = !same_ids(facts->target.uid, facts->our_uid);
	bool gid_differs = !same_ids(facts->target.gid, facts->our_gid);

	if (facts->have_cap_sys_ptrace || (!uid_differs && !gid_differs))
		return false;
	return refuse(v, "%s runs with %s than yours, as a %s program does: %s", v->name,
	              uid_differs ? "other user ids" : "other group ids",
	              uid_differs ? "setuid" : "setgid", how_to_get_rights(facts));
}

static bool check_capabilities(const struct verdict *v)
{
	const struct refusal_facts *facts = v->facts;

	return !facts->have_cap_sys_ptrace &&
	       (facts->target.cap_prm & ~facts->our_cap_prm) != 0 &&
	       refuse(v,
	              "%s holds capabilities that cprof-attach does not (0x%llx), as from "
	              "setcap on its file: %s",
	              v->name,
	              (unsigned long long)(facts->target.cap_prm & ~facts->our_cap_prm),
	              how_to_get_rights(facts));
}

static bool check_dumpable(const struct verdict *v)
{
	return !v->facts->have_cap_sys_ptrace && v->facts->not_dumpable &&
	       refuse(v,
	              "%s is yours but not dumpable (by prctl PR_SET_DUMPABLE, a change of "
	              "user ids, or a program file that you may not read), which closes it "
	              "to its own user: %s",
	              v->name, how_to_get_rights(v->facts));
}

static bool check_yama_2(const struct verdict *v)
{
	return !v->facts->have_cap_sys_ptrace && v->facts->yama_scope == 2 &&
	       refuse(v,
	              "%s cannot be attached to without CAP_SYS_PTRACE, because "
	              "kernel.yama.ptrace_scope is 2: %s, or set it to 0 as root (sysctl "
	              "kernel.yama.ptrace_scope=0)",
	              v->name, how_to_get_rights(v->facts));
}

static bool check_yama_1(const struct verdict *v)
{
	return !v->facts->have_cap_sys_ptrace && v->facts->yama_scope == 1 &&
	       !v->facts->is_descendant &&
	       refuse(v,
	              "%s was not started by cprof-attach, and kernel.yama.ptrace_scope is "
	              "1, "
	              "which permits children alone: %s, start the program with "
	              "cprof-attach -- COMMAND, or set the sysctl to 0 as root",
	              v->name, how_to_get_rights(v->facts));
}

static bool check_security_module(const struct verdict *v)
{
	const char *label = v->facts->lsm_label[0] ? v->facts->lsm_label
	                                           : v->facts->our_lsm_label;

	if (label[0] == '\0')
		return false;
	/* An SELinux context has colons: user:role:type:level. */
	if (strchr(label, ':') && !strchr(label, '/'))
		return refuse(
		        v,
		        "%s may not be attached to (%s), most likely by SELinux (%s): "
		        "see ausearch -m avc, and setsebool deny_ptrace off",
		        v->name, strerror(v->facts->memory_probe_errno), label);
	return refuse(
	        v,
	        "%s may not be attached to (%s), most likely by AppArmor (profile %s): "
	        "allow ptrace in that profile (docker: --security-opt "
	        "apparmor=unconfined); the kernel log tells",
	        v->name, strerror(v->facts->memory_probe_errno), label);
}

static bool undetermined(const struct verdict *v)
{
	return refuse(v,
	              "%s may not be attached to (%s), for a reason that could not be "
	              "determined: %s",
	              v->name, strerror(v->facts->memory_probe_errno),
	              v->facts->have_cap_sys_ptrace
	                      ? "run cprof-attach outside of any container or sandbox"
	                      : how_to_get_rights(v->facts));
}

static bool check_files(const struct verdict *v)
{
	return v->facts->memory_probe_errno == 0 && v->facts->file_probe_errno == EACCES &&
	       refuse(v,
	              "%s may be traced, but what /proc tells of its threads may not be "
	              "read: for another user's process that takes CAP_DAC_READ_SEARCH "
	              "besides CAP_SYS_PTRACE (docker, podman: "
	              "--cap-add=DAC_READ_SEARCH), or run cprof-attach as root (sudo)",
	              v->name);
}

typedef bool (*check)(const struct verdict *v);

/* Whatever our rights are. */
static const check absolute[] = {
        check_ourselves, check_kernel_thread,   check_ended, check_32bit,
        check_traced,    check_ptrace_callable, check_files,
};

/* Why memory could not be read. The last always answers. */
static const check denied[] = {
        check_yama_3,          check_namespace, check_owner,  check_setuid,
        check_capabilities,    check_dumpable,  check_yama_2, check_yama_1,
        check_security_module, undetermined,
};

static bool any(const check *checks, size_t n, const struct verdict *v)
{
	for (size_t i = 0; i < n; i++) {
		if (checks[i](v))
			return true;
	}
	return false;
}

int refusal_judge(pid_t pid, const struct refusal_facts *facts, struct error *err)
{
	struct verdict v = {.facts = facts, .err = err};
	int error = facts->memory_probe_errno;

	snprintf(v.name, sizeof v.name,
	         facts->target.name[0] ? "process %d (%s)" : "process %d", pid,
	         facts->target.name);
	if (any(absolute, sizeof absolute / sizeof absolute[0], &v))
		return -1;
	/* Anything else (ESRCH, ENOMEM) is no question of rights. */
	if (error != EPERM && error != EACCES && error != ENOSYS)
		return 0;
	return any(denied, sizeof denied / sizeof denied[0], &v) ? -1 : 0;
}

int refusal_check(const struct target *target, struct error *err)
{
	struct refusal_facts facts;

	refusal_gather(target, &facts);
	return refusal_judge(target->pid, &facts, err);
}
