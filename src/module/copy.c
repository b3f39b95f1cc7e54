/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers made from one image have files of their own with the same bytes, and
 * the tables of one can stand for all. But tables are read little by little: a file
 * that was the same when it was compared can be another when it is read. So the one
 * that is read must not be in the hands of somebody who could not as well write to
 * the other: its owner is root, ourselves or the other's owner; nobody else may
 * write to it; and its file system is not a program of some user's, which may say
 * one thing now and another later.
 */
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "module/elf_image.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

#define CHUNK ((size_t)128 << 10)

bool elf_image_is_one(const struct elf_image *a, const struct elf_image *b)
{
	return !a->mem && !b->mem && a->dev == b->dev && a->inode == b->inode;
}

static bool is_safe(const struct elf_image *held, const struct elf_image *other)
{
	struct statfs fs;
	struct stat mine, theirs;

	if (fstat(held->fd, &mine) < 0 || fstat(other->fd, &theirs) < 0 ||
	    fstatfs(held->fd, &fs) < 0)
		return false;
	if (mine.st_uid != 0 && mine.st_uid != geteuid() && mine.st_uid != theirs.st_uid)
		return false;
	return !(mine.st_mode & (S_IWGRP | S_IWOTH)) && fs.f_type != FUSE_SUPER_MAGIC;
}

static bool have_same_bytes(int a, int b, uint64_t size)
{
	uint8_t *bytes = xmalloc(2 * CHUNK);
	uint64_t done = 0;
	bool same = true;

	while (same && done < size) {
		ssize_t n = pread(a, bytes, CHUNK, (off_t)done);
		ssize_t m = pread(b, bytes + CHUNK, CHUNK, (off_t)done);

		same = n > 0 && n == m && memcmp(bytes, bytes + CHUNK, (size_t)n) == 0;
		if (same)
			done += (uint64_t)n;
	}
	free(bytes);
	return same;
}

bool elf_image_is_copy(const struct elf_image *held, const struct elf_image *other,
                       uint64_t *budget)
{
	if (elf_image_is_one(held, other))
		return true;
	if (held->build_id[0] == '\0' || strcmp(held->build_id, other->build_id) != 0 ||
	    held->size != other->size)
		return false;
	/* Of memory we have copies, which nobody changes. */
	if (held->mem || other->mem)
		return held->mem && other->mem &&
		       memcmp(held->mem, other->mem, (size_t)held->size) == 0;
	if (!is_safe(held, other) || held->size > *budget / 2)
		return false;
	*budget -= 2 * held->size;
	return have_same_bytes(held->fd, other->fd, held->size);
}
