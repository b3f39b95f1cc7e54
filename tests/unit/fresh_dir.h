/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fresh directory for each test of outputs, which is the working directory while it
 * lasts. cmocka's headers come before this one.
 */
#ifndef TESTS_FRESH_DIR_H
#define TESTS_FRESH_DIR_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/file.h"

static char fresh_dir[PATH_MAX];
static struct error err;

static inline int fresh_dir_setup(void **state)
{
	(void)state;
	umask(022);
	strcpy(fresh_dir, "/tmp/cprof-output-XXXXXX");
	if (!mkdtemp(fresh_dir) || chdir(fresh_dir) != 0)
		return -1;
	memset(&err, 0, sizeof err);
	return 0;
}

static inline void empty_directory(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char name[PATH_MAX];

	while (d && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(name, sizeof name, "%.2000s/%s", path, e->d_name);
		if (unlink(name) != 0 && errno == EISDIR) {
			chmod(name, 0700);
			empty_directory(name);
			rmdir(name);
		}
	}
	if (d)
		closedir(d);
}

static inline int fresh_dir_teardown(void **state)
{
	(void)state;
	output_file_forget();
	empty_directory(fresh_dir);
	return chdir("/") != 0 || rmdir(fresh_dir) != 0 ? -1 : 0;
}

static inline void make(const char *name, const char *content, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static inline void assert_content(const char *name, const char *content)
{
	char buf[256];
	int fd = open(name, O_RDONLY);

	assert_true(fd >= 0);
	ssize_t n = read(fd, buf, sizeof buf - 1);
	assert_true(n >= 0);
	buf[n] = '\0';
	assert_string_equal(buf, content);
	close(fd);
}

/* Of at most some dozens. It may be called in a signal handler, unlike readdir(3). */
static inline size_t entries_in(const char *path)
{
	_Alignas(struct dirent64) char buf[4096];
	int fd = open(path, O_RDONLY | O_DIRECTORY);
	ssize_t len = getdents64(fd, buf, sizeof buf);
	size_t n = 0;

	/* One that was removed does not even hold itself. */
	if (len < 0 && errno == ENOENT) {
		close(fd);
		return 0;
	}
	assert_true(len > 0);
	for (ssize_t at = 0; at < len; n++)
		at += ((struct dirent64 *)(void *)(buf + at))->d_reclen;
	close(fd);
	return n - 2;
}

#endif
