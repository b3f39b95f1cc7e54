/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mapping names a file by device, inode and a path, and each of them can
 * mislead:
 *
 *   - the path may be gone (a deleted binary), lead to another file by now (an
 *     upgraded one), or mean another file here than in the target's root;
 *   - the device of /proc/PID/maps is that of the superblock, which on btrfs
 *     and overlayfs is not the one stat() tells;
 *   - a symlink in a root that the target controls may point anywhere.
 *
 * So four ways are tried, each as good as it can be made:
 *
 *   map_files  the kernel's own link to the mapped file: right by
 *              construction, but wants CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN;
 *   root       the path in the target's root, without leaving it; the inode has
 *              to be the mapping's, and the device too, or else the code;
 *   here       the path in our own root: maps tells a chrooted process's paths
 *              as we see them. Device and inode have to be the mapping's;
 *   exe        /proc/PID/exe, for the main binary: right also when deleted.
 *
 * Each opens with O_PATH first: opening a device or a FIFO for real may already
 * do something, or wait for ever.
 */
#include "module/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "target/root.h"

enum identity {
	IDENTITY_OTHER,
	IDENTITY_INODE, /* same inode, on a device that looks different */
	IDENTITY_SAME,
};

static enum identity compare(const struct stat *st, const struct map *map)
{
	if (st->st_ino != map->inode || (uint64_t)st->st_size <= map->offset)
		return IDENTITY_OTHER;
	if (major(st->st_dev) != map->dev_major || minor(st->st_dev) != map->dev_minor)
		return IDENTITY_INODE;
	return IDENTITY_SAME;
}

/*
 * Whether the first page of the mapping is what the file has there. Inodes of two
 * devices have the same numbers, mostly small ones; code is not the same by chance.
 * Of a target that is gone nothing can be said.
 */
static bool same_code(const struct target *target, const struct map *map, int fd)
{
	uint8_t ours[4096], theirs[sizeof ours];
	ssize_t n = pread(fd, ours, sizeof ours, (off_t)map->offset);
	ssize_t m = target_read_memory(target, map->start, theirs, sizeof theirs);

	if (m <= 0)
		return true;
	if (m < n)
		n = m;
	return n > 0 && memcmp(ours, theirs, (size_t)n) == 0;
}

/* Turns an O_PATH descriptor, which is closed, into one for reading; or -errno. */
static int reopen(const struct target *target, int path_fd, const struct map *map,
                  enum identity least)
{
	enum identity identity;
	struct stat st;
	int fd;

	if (path_fd < 0)
		return path_fd;
	if (fstat(path_fd, &st) < 0) {
		fd = -errno;
		close(path_fd);
		return fd;
	}
	identity = compare(&st, map);
	if (identity < least) {
		close(path_fd);
		return S_ISREG(st.st_mode) ? -ESTALE : -ENOEXEC;
	}
	fd = root_reopen(path_fd);
	if (fd >= 0 && least == IDENTITY_INODE && identity < IDENTITY_SAME &&
	    !same_code(target, map, fd)) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

static int or_errno(int fd)
{
	return fd < 0 ? -errno : fd;
}

static int open_map_files(const struct target *target, const struct map *map)
{
	char link[64];

	snprintf(link, sizeof link, "map_files/%" PRIx64 "-%" PRIx64, map->start, map->end);
	return reopen(target, or_errno(openat(target->proc_fd, link, O_PATH | O_CLOEXEC)),
	              map, IDENTITY_OTHER);
}

static int open_in_root(const struct target *target, const struct map *map)
{
	enum identity least = map->deleted ? IDENTITY_SAME : IDENTITY_INODE;
	int root = root_open(target), fd;

	if (root < 0)
		return root;
	fd = root_open_path(root, map->path, 0);
	if (fd == -ENOSYS) {
		/* A symlink may lead out of the root, so nothing less than the
		 * same file will do. */
		least = IDENTITY_SAME;
		fd = or_errno(openat(root, map->path + 1, O_PATH | O_CLOEXEC));
	}
	fd = reopen(target, fd, map, least);
	close(root);
	return fd;
}

static int open_here(const struct target *target, const struct map *map)
{
	return reopen(target, or_errno(open(map->path, O_PATH | O_CLOEXEC)), map,
	              IDENTITY_SAME);
}

static int open_exe(const struct target *target, const struct map *map)
{
	bool named = target_runs(target, map->path);

	return reopen(target, or_errno(openat(target->proc_fd, "exe", O_PATH | O_CLOEXEC)),
	              map, named ? IDENTITY_INODE : IDENTITY_SAME);
}

int file_open_mapped(const struct target *target, const struct map *map)
{
	static int (*const ways[])(const struct target *, const struct map *) = {
	        open_map_files,
	        open_in_root,
	        open_here,
	        open_exe,
	};
	int first = 0;

	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		int fd = ways[i](target, map);

		if (fd >= 0)
			return fd;
		/* map_files refuses whoever lacks the capability: what the path
		 * says is more telling. */
		if (i <= 1)
			first = fd;
	}
	return first;
}
