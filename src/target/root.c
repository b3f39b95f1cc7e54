/* SPDX-License-Identifier: Apache-2.0 */
#include "target/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int root_open(const struct target *target)
{
	int fd = openat(target->proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fd;
}

bool root_is_ours(int root)
{
	struct stat theirs, ours;

	return fstat(root, &theirs) == 0 && stat("/", &ours) == 0 &&
	       theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

int root_identify(const struct target *target, struct root_identity *identity)
{
	struct stat root, mounts;

	if (fstatat(target->proc_fd, "root", &root, 0) < 0 ||
	    fstatat(target->proc_fd, "ns/mnt", &mounts, 0) < 0)
		return -errno;
	*identity = (struct root_identity){root.st_dev, root.st_ino, mounts.st_ino};
	return 0;
}

int root_open_path(int root, const char *path, int flags)
{
	struct open_how how = {
	        .flags = (uint64_t)(O_PATH | O_CLOEXEC | flags),
	        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);

	return fd < 0 ? -errno : fd;
}

int root_reopen(int path_fd)
{
	char link[32];
	struct stat st;
	int fd;

	if (fstat(path_fd, &st) < 0) {
		fd = -errno;
	} else if (!S_ISREG(st.st_mode)) {
		fd = -ENOEXEC;
	} else {
		snprintf(link, sizeof link, "/proc/self/fd/%d", path_fd);
		/* O_NONBLOCK: do not wait for a lease to be broken. */
		fd = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			fd = -errno;
	}
	close(path_fd);
	return fd;
}

struct root_reader root_reader_of(const struct target *target)
{
	struct procfs_status status;
	char text[4096];
	ssize_t n = procfs_read_fixed(target->proc_fd, "status", text, sizeof text);

	if (n < 0 || procfs_parse_status(text, (size_t)n, &status) < 0)
		return (struct root_reader){(uid_t)-1, (gid_t)-1};
	return (struct root_reader){status.uid[3], status.gid[3]};
}

/* By the file's mode alone: other groups and access lists are not looked at. */
static bool may_read(const struct root_reader *reader, const struct stat *st)
{
	if (reader->uid == 0)
		return true;
	if (reader->uid == st->st_uid)
		return st->st_mode & S_IRUSR;
	return st->st_mode & (reader->gid == st->st_gid ? S_IRGRP : S_IROTH);
}

int root_open_file(int root, const char *path, enum root_follow follow,
                   const struct root_reader *reader)
{
	int fd = root_open_path(root, path, follow == ROOT_FOLLOW ? 0 : O_NOFOLLOW);
	struct stat st;

	if (fd == -ENOSYS && root_is_ours(root)) {
		fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
		fd = fd < 0 ? -errno : fd;
	}
	if (fd >= 0 && reader && (fstat(fd, &st) < 0 || !may_read(reader, &st))) {
		close(fd);
		return -EACCES;
	}
	return fd < 0 ? fd : root_reopen(fd);
}
