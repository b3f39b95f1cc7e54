/* SPDX-License-Identifier: Apache-2.0 */
#include "target/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define CMDLINE_MAX 4096

/* "redis-server\0*:6379\0" -> "redis-server *:6379"; NULL if it cannot be read. */
static char *read_cmdline(int proc_fd)
{
	char *text;
	ssize_t n = procfs_read(proc_fd, "cmdline", CMDLINE_MAX, &text);

	if (n < 0)
		return NULL;
	while (n > 0 && text[n - 1] == '\0')
		n--;
	for (ssize_t i = 0; i < n; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = ' ';
	}
	return text;
}

/* Takes a new text if there is one. */
static void renew(char **old, char *text)
{
	if (!text && *old)
		return;
	free(*old);
	*old = text ? text : xstrdup("");
}

void target_refresh(struct target *target)
{
	renew(&target->cmdline, read_cmdline(target->proc_fd));
	/* A process on its way out keeps the name it was opened with. */
	char comm[PROCFS_COMM_LEN];
	if (procfs_read_comm(target->proc_fd, "comm", comm) == 0)
		memcpy(target->comm, comm, sizeof comm);
}

bool target_runs(const struct target *target, const char *path)
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(path);
	char exe[PATH_MAX];
	ssize_t n = readlinkat(target->proc_fd, "exe", exe, sizeof exe - 1);

	if (n < 0 || (size_t)n < len || memcmp(exe, path, len) != 0)
		return false;
	exe[n] = '\0';
	return exe[len] == '\0' || strcmp(exe + len, deleted) == 0;
}

static int read_status(int proc_fd, struct procfs_status *status)
{
	char text[4096];
	ssize_t n = procfs_read_fixed(proc_fd, "status", text, sizeof text);

	return n < 0 ? (int)n : procfs_parse_status(text, (size_t)n, status);
}

/* A number that /proc shows may still be a thread's: /proc/TID exists, unlisted. */
static int check_leader(const struct target *target, const struct procfs_status *status,
                        struct error *err)
{
	if (status->tgid == target->pid)
		return 0;
	return error_set(
	        err, EXIT_CODE_NO_PROCESS,
	        "%d is a thread of process %d, not a process: use -p %d, or -t %d for "
	        "this thread alone",
	        target->pid, status->tgid, status->tgid, target->pid);
}

static bool has_ended(char state)
{
	return state == 'Z' || state == 'X';
}

/* A thread of the process that has not ended; 0 if there is none. */
static pid_t find_live_thread(const struct target *target)
{
	int fd = openat(target->task_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	pid_t found = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (!found && (entry = readdir(dir))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		struct procfs_stat stat;
		char path[64], text[1024];
		ssize_t n;

		if (tid <= 0)
			continue;
		snprintf(path, sizeof path, "%d/stat", tid);
		n = procfs_read_fixed(target->task_fd, path, text, sizeof text);
		if (n >= 0 && procfs_parse_stat(text, (size_t)n, &stat) == 0 &&
		    !has_ended(stat.state))
			found = tid;
	}
	closedir(dir);
	return found;
}

/* With that of another pid namespace we would read of one process and trace another. */
static bool proc_is_ours(void)
{
	char link[16];
	ssize_t n = readlink("/proc/self", link, sizeof link - 1);

	if (n <= 0)
		return false;
	link[n] = '\0';
	return strtol(link, NULL, 10) == getpid();
}

static int open_proc(pid_t pid, struct error *err)
{
	char path[32];
	int fd;

	if (!proc_is_ours())
		return error_set(err, EXIT_CODE_FAILURE,
		                 "no /proc of this pid namespace is mounted here, and "
		                 "everything is read from it: mount -t proc proc /proc");
	snprintf(path, sizeof path, "/proc/%d", pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT)
		return error_set(err, EXIT_CODE_FAILURE, "cannot open %s: %s", path,
		                 strerror(errno));
	if (kill(pid, 0) == 0 || errno == EPERM)
		return error_set(
		        err, EXIT_CODE_REFUSED,
		        "process %d exists but /proc hides it: /proc is mounted with "
		        "hidepid, so run as root or as the process's owner",
		        pid);
	return error_set(err, EXIT_CODE_NO_PROCESS, "there is no process %d", pid);
}

/* Why a part of /proc/PID cannot be read that was there a moment ago. */
static int explain_loss(pid_t pid, int errnum, struct error *err)
{
	if (errnum == ENOENT || errnum == ESRCH)
		return error_set(err, EXIT_CODE_NO_PROCESS,
		                 "there is no process %d: it has just ended", pid);
	return error_set(err, EXIT_CODE_FAILURE, "cannot read from /proc/%d: %s", pid,
	                 strerror(errnum));
}

/* For a process whose first thread has ended. */
static void read_by_live_thread(struct target *target)
{
	pid_t tid = find_live_thread(target);
	char path[32];
	int fd;

	snprintf(path, sizeof path, "/proc/%d", tid);
	fd = tid ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	close(target->proc_fd);
	target->proc_fd = fd;
	atomic_store(target->memory_tid, tid);
}

struct target *target_open(pid_t pid, struct error *err)
{
	struct target *target = xcalloc(1, sizeof *target);
	struct procfs_status status;
	int r;

	target->pid = pid;
	target->memory_tid = xcalloc(1, sizeof *target->memory_tid);
	target->task_fd = target->pid_fd = -1;
	target->proc_fd = open_proc(pid, err);
	if (target->proc_fd < 0)
		goto fail;
	target->task_fd = openat(target->proc_fd, "task",
	                         O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (target->task_fd < 0) {
		explain_loss(pid, errno, err);
		goto fail;
	}
	r = read_status(target->proc_fd, &status);
	if (r < 0) {
		explain_loss(pid, -r, err);
		goto fail;
	}
	if (check_leader(target, &status, err) < 0)
		goto fail;
	atomic_store(target->memory_tid, pid);
	if (has_ended(status.state))
		read_by_live_thread(target);
	target->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	target->have_cpu_clock = clock_getcpuclockid(pid, &target->cpu_clock) == 0;
	target_refresh(target);
	return target;
fail:
	target_free(target);
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void target_release(struct target *target)
{
	close_fd(&target->pid_fd);
	close_fd(&target->task_fd);
	close_fd(&target->proc_fd);
	/* Its number may be another's by now. */
	atomic_store(target->memory_tid, -1);
	target->have_cpu_clock = false;
	free(target->cmdline);
	target->cmdline = xstrdup("");
}

void target_free(struct target *target)
{
	if (!target)
		return;
	target_release(target);
	free(target->cmdline);
	free((void *)(uintptr_t)target->memory_tid);
	free(target);
}

bool target_alive(const struct target *target)
{
	struct pollfd p = {.fd = target->pid_fd, .events = POLLIN};

	if (target->pid_fd >= 0)
		return poll(&p, 1, 0) == 0;
	return find_live_thread(target) != 0;
}

int target_cpu_ns(const struct target *target, uint64_t *ns)
{
	struct timespec ts;

	if (!target->have_cpu_clock)
		return -ENOTSUP;
	if (clock_gettime(target->cpu_clock, &ts) < 0)
		return -errno;
	*ns = (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
	return 0;
}

/* Opened anew each time: a descriptor would keep to the memory before an exec. */
static ssize_t read_proc_mem(const struct target *target, uint64_t addr, void *buf,
                             size_t len)
{
	ssize_t n;
	int saved, fd = openat(target->proc_fd, "mem", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = pread(fd, buf, len, (off_t)addr);
	saved = errno;
	close(fd);
	return n < 0 ? -saved : n;
}

static ssize_t read_by(const struct target *target, pid_t tid, uint64_t addr, void *buf,
                       size_t len)
{
	struct iovec local = {buf, len};
	struct iovec remote = {(void *)(uintptr_t)addr, len};
	ssize_t n = process_vm_readv(tid, &local, 1, &remote, 1, 0);

	if (n >= 0)
		return n;
	/* Some seccomp filters forbid the call but not the file. */
	if (errno == ENOSYS || errno == EPERM)
		return read_proc_mem(target, addr, buf, len);
	return -errno;
}

ssize_t target_read_memory(const struct target *target, uint64_t addr, void *buf,
                           size_t len)
{
	pid_t tid = atomic_load(target->memory_tid);
	ssize_t n = read_by(target, tid, addr, buf, len);

	if (n != -ESRCH)
		return n;
	tid = find_live_thread(target);
	if (tid == 0)
		return -ESRCH;
	atomic_store(target->memory_tid, tid);
	return read_by(target, tid, addr, buf, len);
}
