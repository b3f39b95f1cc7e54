/* SPDX-License-Identifier: Apache-2.0 */
#include "target/by_name.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "target/procfs.h"

#define CMDLINE_MAX     256 /* of which a line is shown */
#define MAX_GENERATIONS 64

/* The last part of a path. A title such as "postgres: checkpointer /x" that a
 * program has put in the place of its argv is no path. */
static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && !memchr(path, ' ', (size_t)(slash - path)) ? slash + 1 : path;
}

static bool is_match(const regex_t *pattern, const char *name)
{
	return name[0] && regexec(pattern, name, 0, NULL, 0) == 0;
}

bool by_name_matches(const regex_t *pattern, const char *comm, const char *exe,
                     const char *argv0)
{
	return is_match(pattern, comm) || is_match(pattern, base_of(exe)) ||
	       is_match(pattern, base_of(argv0));
}

/* Ourselves and those we descend from: the shell, sudo, the session. */
static void list_ancestors(struct pids *ancestors)
{
	pid_t pid = getpid();

	for (int i = 0; i < MAX_GENERATIONS && pid > 1; i++) {
		struct procfs_stat stat;
		char path[32];

		array_push(ancestors, pid);
		snprintf(path, sizeof path, "/proc/%d", pid);
		if (procfs_read_stat(AT_FDCWD, path, &stat) < 0)
			return;
		pid = stat.ppid;
	}
}

static bool is_listed(const struct pids *pids, pid_t pid)
{
	for (size_t i = 0; i < pids->n; i++) {
		if (pids->v[i] == pid)
			return true;
	}
	return false;
}

/* Arguments end in NUL each; in place, to one printable line. */
static void make_line(char *text, size_t len)
{
	while (len > 0 && text[len - 1] == '\0')
		len--;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = ' ';
	}
}

static void consider(const regex_t *pattern, pid_t pid, struct name_matches *matches)
{
	char path[64], exe[PATH_MAX], cmdline[CMDLINE_MAX];
	struct procfs_stat stat;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d", pid);
	if (procfs_read_stat(AT_FDCWD, path, &stat) < 0 ||
	    (stat.flags & PROCFS_PF_KTHREAD) != 0 || stat.state == 'Z')
		return;
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof exe - 1);
	exe[n > 0 ? n : 0] = '\0';
	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	n = procfs_read_fixed(AT_FDCWD, path, cmdline, sizeof cmdline);
	if (!by_name_matches(pattern, stat.comm, exe, cmdline))
		return;
	make_line(cmdline, n > 0 ? (size_t)n : 0);
	struct name_match match = {pid, xstrdup(stat.comm), xstrdup(cmdline)};
	make_line(match.name, strlen(match.name));
	array_push(matches, match);
}

void by_name_find(const regex_t *pattern, struct name_matches *matches)
{
	struct pids ancestors = {0};
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	*matches = (struct name_matches){0};
	if (!dir)
		return;
	list_ancestors(&ancestors);
	while ((entry = readdir(dir))) { /* in the order of pids */
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && !is_listed(&ancestors, pid))
			consider(pattern, pid, matches);
	}
	closedir(dir);
	array_fini(&ancestors);
}

void name_matches_fini(struct name_matches *matches)
{
	for (size_t i = 0; i < matches->n; i++) {
		free(matches->v[i].name);
		free(matches->v[i].cmdline);
	}
	array_fini(matches);
}
