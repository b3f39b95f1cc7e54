/* SPDX-License-Identifier: Apache-2.0 */
#include "target/maps.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/mem.h"
#include "target/procfs.h"

/* Far above what a kernel allows by default (65,530 mappings). */
#define MAPS_MAX_BYTES (256u << 20)

struct map_list {
	struct map *v;
	size_t n;
	size_t cap;
};

static bool take_hex(const char **p, const char *end, char stop, uint64_t *value)
{
	const char *start = *p;

	*value = 0;
	for (; *p < end && *p - start <= 16; (*p)++) {
		char c = **p;

		if (c >= '0' && c <= '9')
			*value = *value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*value = *value << 4 | (uint64_t)(c - 'a' + 10);
		else
			break;
	}
	if (*p == start || *p - start > 16 || *p >= end || **p != stop)
		return false;
	(*p)++;
	return true;
}

static bool take_decimal(const char **p, const char *end, uint64_t *value)
{
	const char *start = *p;

	*value = 0;
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
		*value = *value * 10 + (uint64_t)(**p - '0');
	return *p > start;
}

/* "r-xp " */
static bool take_perms(const char **p, const char *end, unsigned *perms)
{
	const char *s = *p;

	if (end - s < 5 || s[4] != ' ')
		return false;
	*perms = (s[0] == 'r' ? MAP_PERM_READ : 0u) | (s[1] == 'w' ? MAP_PERM_WRITE : 0u) |
	         (s[2] == 'x' ? MAP_PERM_EXEC : 0u) | (s[3] == 's' ? MAP_PERM_SHARED : 0u);
	*p += 5;
	return true;
}

/*
 * The kernel writes newlines of a path as \012 (and, for some files, other bytes
 * likewise): a backslash and three octal digits.
 */
static char *decode_path(const char *s, size_t len)
{
	char *out = xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\' && len - i > 3 && s[i + 1] >= '0' && s[i + 1] <= '3' &&
		    s[i + 2] >= '0' && s[i + 2] <= '7' && s[i + 3] >= '0' &&
		    s[i + 3] <= '7') {
			out[n++] = (char)((s[i + 1] - '0') << 6 | (s[i + 2] - '0') << 3 |
			                  (s[i + 3] - '0'));
			i += 3;
		} else {
			out[n++] = s[i];
		}
	}
	out[n] = '\0';
	return out;
}

static void parse_path(struct map *map, const char *s, const char *end)
{
	static const char deleted[] = " (deleted)";
	size_t len, tail = sizeof deleted - 1;

	while (s < end && *s == ' ')
		s++;
	len = (size_t)(end - s);
	/* A live file may really be named so; the kernel does not tell them apart. */
	map->deleted = len > tail && memcmp(end - tail, deleted, tail) == 0;
	map->path = decode_path(s, map->deleted ? len - tail : len);
}

static bool parse_line(const char *p, const char *end, struct map *map)
{
	uint64_t major, minor;

	if (!take_hex(&p, end, '-', &map->start) || !take_hex(&p, end, ' ', &map->end) ||
	    !take_perms(&p, end, &map->perms) || !take_hex(&p, end, ' ', &map->offset) ||
	    !take_hex(&p, end, ':', &major) || !take_hex(&p, end, ' ', &minor) ||
	    !take_decimal(&p, end, &map->inode) || map->start >= map->end)
		return false;
	map->dev_major = (uint32_t)major;
	map->dev_minor = (uint32_t)minor;
	parse_path(map, p, end);
	return true;
}

void maps_parse(const char *text, size_t len, struct maps *out, size_t *nbad)
{
	const char *end = text + len;
	struct map_list list = {0};
	size_t bad = 0;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		const char *eol = nl ? nl : end;
		struct map map = {0};

		if (!parse_line(text, eol, &map)) {
			bad++;
		} else if (list.n > 0 && map.start < list.v[list.n - 1].end) {
			/* Out of order: read while the list changed under us. */
			free(map.path);
			bad++;
		} else {
			array_push(&list, map);
		}
		text = nl ? nl + 1 : end;
	}
	out->v = list.v;
	out->n = list.n;
	if (nbad)
		*nbad = bad;
}

int maps_read(int proc_fd, struct maps *out)
{
	char *text;
	ssize_t len = procfs_read(proc_fd, "maps", MAPS_MAX_BYTES, &text);

	*out = (struct maps){0};
	if (len < 0)
		return (int)len;
	maps_parse(text, (size_t)len, out, NULL);
	free(text);
	return 0;
}

const struct map *maps_find(const struct maps *maps, uint64_t addr)
{
	size_t low = 0, high = maps->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (addr < maps->v[mid].start)
			high = mid;
		else if (addr >= maps->v[mid].end)
			low = mid + 1;
		else
			return &maps->v[mid];
	}
	return NULL;
}

static bool map_equal(const struct map *a, const struct map *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset &&
	       a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       a->inode == b->inode && a->perms == b->perms && a->deleted == b->deleted &&
	       strcmp(a->path, b->path) == 0;
}

bool maps_equal(const struct maps *a, const struct maps *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (!map_equal(&a->v[i], &b->v[i]))
			return false;
	}
	return true;
}

void maps_fini(struct maps *maps)
{
	for (size_t i = 0; i < maps->n; i++)
		free(maps->v[i].path);
	free(maps->v);
	*maps = (struct maps){0};
}
