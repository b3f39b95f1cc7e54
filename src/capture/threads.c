/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"

/* Descriptors that are left to everybody else: modules, maps, the output. */
#define DESCRIPTORS_KEPT 1024

/* A file that nobody has asked for yet. */
#define NOT_TRIED (-2)

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void thread_free(struct thread *thread)
{
	close_fd(thread->cpu_fd);
	close_fd(thread->syscall_fd);
	close_fd(thread->stat_fd);
	close_fd(thread->status_fd);
	free(thread);
}

struct thread *threads_find(const struct thread_table *table, pid_t tid)
{
	uint64_t value;

	if (!hashmap_get(&table->by_tid, (uint64_t)tid, &value))
		return NULL;
	return (struct thread *)(uintptr_t)value;
}

/* Whether there are descriptors to spare, given one that was just opened. */
static bool is_spare(int fd)
{
	struct rlimit limit;
	rlim_t kept;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return true;
	kept = limit.rlim_cur / 4 < DESCRIPTORS_KEPT ? limit.rlim_cur / 4
	                                             : DESCRIPTORS_KEPT;
	return (rlim_t)fd < limit.rlim_cur - kept;
}

/* -1 also when the process has few descriptors left: reads then open by name. */
static int open_file(const struct target *target, pid_t tid, const char *file)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "%d/%s", tid, file);
	fd = openat(target->task_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || is_spare(fd))
		return fd;
	close(fd);
	return -1;
}

static void add_thread(struct thread_table *table, const struct target *target,
                       size_t target_index, pid_t tid, const char *cpu_file)
{
	struct thread *thread = xcalloc(1, sizeof *thread);

	thread->tid = tid;
	thread->target = target_index;
	thread->serial = ++table->next_serial;
	thread->cpu_fd = open_file(target, tid, cpu_file);
	thread->syscall_fd = open_file(target, tid, "syscall");
	thread->stat_fd = thread->status_fd = NOT_TRIED;
	thread->generation = table->generation;
	memcpy(thread->comm, target->comm, sizeof thread->comm);
	array_push(&table->list, thread);
	hashmap_put(&table->by_tid, (uint64_t)tid, (uint64_t)(uintptr_t)thread);
}

/* Those that the scan of this generation did not meet have ended. */
static void drop_unlisted(struct thread_table *table)
{
	size_t kept = 0, nawake = 0;

	for (size_t i = 0; i < table->list.n; i++) {
		struct thread *thread = table->list.v[i];

		if (thread->generation == table->generation || thread->stop_open) {
			nawake += i < table->nawake;
			table->list.v[kept++] = thread;
		} else {
			hashmap_remove(&table->by_tid, (uint64_t)thread->tid);
			array_push(&table->dropped, thread);
		}
	}
	table->list.n = kept;
	table->nawake = nawake;
}

static void swap(struct thread **a, struct thread **b)
{
	struct thread *was = *a;

	*a = *b;
	*b = was;
}

void threads_wake(struct thread_table *table, size_t i)
{
	swap(&table->list.v[i], &table->list.v[table->nawake]);
	table->nawake++;
}

void threads_rest(struct thread_table *table, size_t i)
{
	table->nawake--;
	swap(&table->list.v[i], &table->list.v[table->nawake]);
}

void threads_free_dropped(struct thread_table *table)
{
	for (size_t i = 0; i < table->dropped.n; i++)
		thread_free(table->dropped.v[i]);
	table->dropped.n = 0;
}

int threads_scan(struct thread_table *table, const struct target *target,
                 size_t target_index, const char *cpu_file, struct thread_scan *scan)
{
	size_t before = table->list.n;
	struct dirent *entry;
	int fd, error;
	DIR *dir;

	*scan = (struct thread_scan){0};
	fd = openat(target->task_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	table->generation++;
	errno = 0;
	while ((entry = readdir(dir))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		struct thread *thread = tid > 0 ? threads_find(table, tid) : NULL;

		if (tid <= 0)
			continue;
		if (thread)
			thread->generation = table->generation;
		else
			add_thread(table, target, target_index, tid, cpu_file);
		scan->nthreads++;
		errno = 0;
	}
	error = errno;
	closedir(dir);
	scan->nnew = table->list.n - before;
	drop_unlisted(table);
	return scan->nthreads > 0 ? 0 : error ? -error : -ESRCH;
}

void threads_fini(struct thread_table *table)
{
	for (size_t i = 0; i < table->list.n; i++)
		thread_free(table->list.v[i]);
	threads_free_dropped(table);
	array_fini(&table->dropped);
	array_fini(&table->list);
	hashmap_fini(&table->by_tid);
}

ssize_t thread_read(const struct target *target, const struct thread *thread, int fd,
                    const char *file, char *buf, size_t size)
{
	char path[64];
	ssize_t n;

	if (fd < 0) {
		snprintf(path, sizeof path, "%d/%s", thread->tid, file);
		return procfs_read_fixed(target->task_fd, path, buf, size);
	}
	do
		n = pread(fd, buf, size - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

int thread_keep(const struct target *target, const struct thread *thread, int *fd,
                const char *file)
{
	if (*fd == NOT_TRIED)
		*fd = open_file(target, thread->tid, file);
	return *fd;
}

void thread_read_comm(const struct target *target, struct thread *thread)
{
	char path[64], comm[PROCFS_COMM_LEN];

	snprintf(path, sizeof path, "%d/comm", thread->tid);
	/* A thread that has just ended keeps the name it had. */
	if (procfs_read_comm(target->task_fd, path, comm) == 0)
		memcpy(thread->comm, comm, sizeof comm);
}
