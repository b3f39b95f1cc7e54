/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files by the names that the target has for them. Its root may be another than
 * ours (a container, a chroot), and whoever controls it may have put symlinks,
 * FIFOs and devices anywhere: names are resolved within the root, and only what
 * proves to be a regular file is opened for reading. Nor may he have us read what he
 * could not read himself: a name in his hands can lead to a file of root's.
 */
#ifndef CPROF_TARGET_ROOT_H
#define CPROF_TARGET_ROOT_H

#include "target/target.h"

/*
 * The target's root directory as an O_PATH descriptor, or -errno. Names can be
 * looked up in it also when the target has ended.
 */
int root_open(const struct target *target) __attribute__((warn_unused_result));
/* Whether a root is the one that our own paths begin at. */
bool root_is_ours(int root);

/* What two targets have in common for which a path means the same file: the root
 * directory, and the mounts that are seen below it. */
struct root_identity {
	uint64_t dev;
	uint64_t inode;
	uint64_t mounts;
};
/* 0, or -errno if it cannot be told. */
int root_identify(const struct target *target, struct root_identity *identity)
        __attribute__((warn_unused_result));

/*
 * An O_PATH descriptor of an absolute path within a root; `flags` may be
 * O_NOFOLLOW. -errno: -ENOSYS before Linux 5.6, which cannot confine symlinks.
 */
int root_open_path(int root, const char *path, int flags)
        __attribute__((warn_unused_result));
/* Turns an O_PATH descriptor, which is closed, into one for reading a regular
 * file; -ENOEXEC if it is none, or another -errno. */
int root_reopen(int path_fd) __attribute__((warn_unused_result));

/* On whose behalf a file is read. */
struct root_reader {
	uid_t uid;
	gid_t gid;
};
/* The user of a target; of one that is gone, somebody without any rights. */
struct root_reader root_reader_of(const struct target *target);

enum root_follow {
	ROOT_FOLLOW,    /* a symlink at the end is followed, within the root */
	ROOT_NO_FOLLOW, /* it is refused */
};

/*
 * A regular file for reading, by its absolute path in a root, or -errno: -EACCES if its
 * mode is not for `reader` (NULL: ourselves). On Linux before 5.6 only in our own root,
 * and without following.
 */
int root_open_file(int root, const char *path, enum root_follow follow,
                   const struct root_reader *reader) __attribute__((warn_unused_result));

#endif
