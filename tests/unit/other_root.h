/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process whose root is a directory of its own and which is process 1 of its
 * own pid namespace, as in a container. Files are put there from outside. For
 * cmocka tests: setup and teardown, and need() skips where none may be had.
 */
#ifndef TESTS_OTHER_ROOT_H
#define TESTS_OTHER_ROOT_H

#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "module/module.h"
#include "target/root.h"
#include "target/target.h"

struct other_root {
	char dir[64];
	pid_t parent; /* of the process */
	pid_t pid;
	struct target *target; /* NULL: there is no process */
	struct module_cache *cache;
};

static inline bool other_root_enter(const char *dir)
{
	if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
		return false;
	return chroot(dir) == 0 && chdir("/") == 0;
}

static inline void other_root_child(const char *dir, int ready)
{
	pid_t pid;

	if (!other_root_enter(dir))
		_exit(1);
	/* A test that fails may not come to its teardown. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (true)
			pause();
	}
	if (pid < 0 || write(ready, &pid, sizeof pid) != sizeof pid)
		_exit(1);
	close(ready);
	waitpid(pid, NULL, 0);
	_exit(0);
}

/* Before Linux 5.6, and under valgrind, no path is looked up in another root. */
static inline bool other_root_is_confined(void)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = root_open_path(root, "/", 0);

	close(root);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static inline int other_root_setup(void **state)
{
	struct other_root *f = xcalloc(1, sizeof *f);
	int pipe_fds[2];
	bool ready;

	strcpy(f->dir, "/tmp/cprof_other_root.XXXXXX");
	if (!mkdtemp(f->dir) || pipe(pipe_fds) < 0)
		return -1;
	f->parent = fork();
	if (f->parent == 0) {
		close(pipe_fds[0]);
		other_root_child(f->dir, pipe_fds[1]);
	}
	close(pipe_fds[1]);
	ready = read(pipe_fds[0], &f->pid, sizeof f->pid) == sizeof f->pid;
	close(pipe_fds[0]);
	f->cache = module_cache_new();
	f->target = ready && other_root_is_confined() ? target_open(f->pid, NULL) : NULL;
	*state = f;
	return 0;
}

/* Ends the process; its files stay. */
static inline void other_root_end(struct other_root *f)
{
	if (f->pid > 0)
		kill(f->pid, SIGKILL);
	if (f->parent > 0)
		waitpid(f->parent, NULL, 0);
	f->pid = f->parent = 0;
}

static inline int other_root_remove(const char *path, const struct stat *st, int type,
                                    struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int other_root_teardown(void **state)
{
	struct other_root *f = *state;

	other_root_end(f);
	target_free(f->target);
	module_cache_free(f->cache);
	nftw(f->dir, other_root_remove, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* Our name for a path of the process, to be freed; its directories are made. */
static inline char *other_root_path(const struct other_root *f, const char *path)
{
	char *name = xasprintf("%s%s", f->dir, path);

	for (char *s = name + strlen(f->dir) + 1; (s = strchr(s, '/')); s++) {
		*s = '\0';
		(void)mkdir(name, 0755);
		*s = '/';
	}
	return name;
}

static inline void other_root_put(const struct other_root *f, const char *path,
                                  const void *bytes, size_t len)
{
	char *name = other_root_path(f, path);
	FILE *file = fopen(name, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	free(name);
}

#endif
