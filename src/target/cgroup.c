/* SPDX-License-Identifier: Apache-2.0 */
#include "target/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define MOUNTINFO_MAX (1u << 20)
#define PROCS_MAX     (1u << 20)

/* Who may make groups may make many: what one look takes has an end. */
#define MAX_DEPTH  32
#define MAX_GROUPS 4096

/* "\040" is a blank; so mountinfo has blanks, tabs, newlines and backslashes. */
static char *unescape(const char *text, size_t len)
{
	char *out = xmalloc(len + 1), *to = out;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\\' && i + 3 < len && text[i + 1] >= '0' &&
		    text[i + 1] <= '3' && text[i + 2] >= '0' && text[i + 2] <= '7' &&
		    text[i + 3] >= '0' && text[i + 3] <= '7') {
			*to++ = (char)((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 |
			               (text[i + 3] - '0'));
			i += 3;
		} else {
			*to++ = text[i];
		}
	}
	*to = '\0';
	return out;
}

/* The next word of a line; its length, 0 at the end. */
static size_t next_word(const char **at, const char *end, const char **word)
{
	while (*at < end && **at == ' ')
		(*at)++;
	*word = *at;
	while (*at < end && **at != ' ')
		(*at)++;
	return (size_t)(*at - *word);
}

static void parse_line(const char *line, const char *end, struct cgroup_mounts *mounts)
{
	const char *word, *dir = NULL;
	size_t len, dir_len = 0, n = 0;
	struct cgroup_mount mount = {0};

	while ((len = next_word(&line, end, &word)) > 0) {
		if (n++ == 4) {
			dir = word;
			dir_len = len;
		}
		/* Optional fields, of any number, end in a dash; then comes the type. */
		if (n > 6 && len == 1 && *word == '-')
			break;
	}
	len = next_word(&line, end, &word);
	if (!dir || dir_len == 0)
		return;
	if (len == 7 && memcmp(word, "cgroup2", 7) == 0)
		mount.version = 2;
	else if (len == 6 && memcmp(word, "cgroup", 6) == 0)
		mount.version = 1;
	else
		return;
	mount.dir = unescape(dir, dir_len);
	array_push(mounts, mount);
	if (mount.version == 2 && mounts->n > 1) {
		mounts->v[mounts->n - 1] = mounts->v[0];
		mounts->v[0] = mount;
	}
}

void cgroup_parse_mounts(const char *text, size_t len, struct cgroup_mounts *mounts)
{
	const char *end = text + len;

	*mounts = (struct cgroup_mounts){0};
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));

		parse_line(text, nl ? nl : end, mounts);
		text = nl ? nl + 1 : end;
	}
}

void cgroup_mounts_fini(struct cgroup_mounts *mounts)
{
	for (size_t i = 0; i < mounts->n; i++)
		free(mounts->v[i].dir);
	array_fini(mounts);
}

static bool lies_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

char *cgroup_candidate(const struct cgroup_mounts *mounts, const char *path, size_t i)
{
	for (size_t m = 0; m < mounts->n; m++) {
		if (lies_in(path, mounts->v[m].dir))
			return i == 0 ? xstrdup(path) : NULL;
	}
	if (i >= mounts->n)
		return NULL;
	while (*path == '/')
		path++;
	return xasprintf("%s%s%s", mounts->v[i].dir, *path ? "/" : "", path);
}

/* Of any other directory nothing is read. */
static bool is_group(const char *dir)
{
	char *procs = xasprintf("%s/cgroup.procs", dir);
	bool is = access(procs, R_OK) == 0;

	free(procs);
	return is;
}

char *cgroup_find(const char *path, struct error *err)
{
	struct cgroup_mounts mounts;
	char *text, *dir = NULL;
	ssize_t n = procfs_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text);
	size_t i = 0;

	cgroup_parse_mounts(n < 0 ? "" : text, n < 0 ? 0 : (size_t)n, &mounts);
	while ((dir = cgroup_candidate(&mounts, path, i++)) && !is_group(dir))
		free(dir);
	if (!dir && mounts.n == 0)
		error_set(err, EXIT_CODE_NO_PROCESS,
		          "no control groups are mounted here: mount cgroup2, or name "
		          "processes with -p");
	else if (!dir)
		error_set(err, EXIT_CODE_NO_PROCESS,
		          "there is no control group '%.200s': give a directory below %s, "
		          "or a path as /proc/PID/cgroup shows it",
		          path, mounts.v[0].dir);
	cgroup_mounts_fini(&mounts);
	if (n >= 0)
		free(text);
	return dir;
}

static int list_procs(int fd, struct pids *pids)
{
	char *text;
	ssize_t n = procfs_read(fd, "cgroup.procs", PROCS_MAX, &text);

	/* A threaded group's processes are listed by the one above it. */
	if (n == -EOPNOTSUPP)
		return 0;
	if (n < 0)
		return (int)n;
	procfs_parse_pids(text, (size_t)n, pids);
	free(text);
	return 0;
}

static int list_below(int fd, unsigned depth, unsigned *left, struct pids *pids)
{
	int r = list_procs(fd, pids);
	struct dirent *entry;
	DIR *dir = NULL;

	if (r == 0 && depth < MAX_DEPTH)
		dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return r;
	}
	while (*left > 0 && (entry = readdir(dir))) {
		int below;

		if (entry->d_name[0] == '.' ||
		    (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
			continue;
		below = openat(dirfd(dir), entry->d_name,
		               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below < 0)
			continue;
		(*left)--;
		(void)list_below(below, depth + 1, left, pids);
	}
	closedir(dir);
	return 0;
}

int cgroup_list(const char *dir, struct pids *pids)
{
	unsigned left = MAX_GROUPS;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : list_below(fd, 0, &left, pids);
}
