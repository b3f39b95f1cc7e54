/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory map of a process, from the text of /proc/PID/maps (proc(5)):
 *
 * 7f2a1c628000-7f2a1c7bd000 r-xp 00028000 fe:01 1234567   /usr/lib/…/libc.so.6
 */
#ifndef CPROF_TARGET_MAPS_H
#define CPROF_TARGET_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum map_perm {
	MAP_PERM_READ = 1,
	MAP_PERM_WRITE = 2,
	MAP_PERM_EXEC = 4,
	MAP_PERM_SHARED = 8,
};

struct map {
	uint64_t start;  /* first byte */
	uint64_t end;    /* one past the last */
	uint64_t offset; /* in the file, bytes */
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t inode; /* 0: no file */
	unsigned perms; /* enum map_perm */
	bool deleted;   /* the kernel said " (deleted)" */
	char *path;     /* "" when anonymous; octal escapes decoded, " (deleted)"
			   taken off; also "[stack]", "[vdso]", "/memfd:…" */
};

/* Sorted by address, without overlap. */
struct maps {
	struct map *v;
	size_t n;
};

/*
 * Parses the whole text. Lines that make no sense, or that overlap an earlier one
 * (the list changed while it was read), are skipped and counted in *nbad (which
 * may be NULL). The result is freed with maps_fini.
 */
void maps_parse(const char *text, size_t len, struct maps *out, size_t *nbad);

/* Reads /proc/PID/maps under its directory fd; 0 or -errno. */
int maps_read(int proc_fd, struct maps *out) __attribute__((warn_unused_result));

/* The mapping that holds the address, or NULL. */
const struct map *maps_find(const struct maps *maps, uint64_t addr);

/* Whether two lists are the same in every field. */
bool maps_equal(const struct maps *a, const struct maps *b);

void maps_fini(struct maps *maps);

#endif
