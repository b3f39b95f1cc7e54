/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines are turned into disjoint ranges by sweeping over them in order of
 * their addresses. Those that cover the place of the sweep are in a heap with
 * the latest line on top; one that ended is taken out when it comes up. So the
 * work is n log n, however a hostile file piles its lines up.
 */
#include "symbol/perf_map.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/mem.h"

#define NONE UINT32_MAX

/* From `start` to the next one's start, entry number `entry` has it; or NONE. */
struct range {
	uint64_t start;
	uint32_t entry;
};

struct perf_map {
	char *text;
	ARRAY(struct perf_map_entry) entries; /* in order of the lines */
	ARRAY(struct range) ranges;
};

/* A hexadecimal number, with or without 0x, and the space behind it. */
static bool parse_hex(char **at, const char *end, uint64_t *value)
{
	char *s = *at;
	size_t ndigits = 0;

	if (end - s > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	*value = 0;
	for (; s < end; s++, ndigits++) {
		char c = *s;
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (unsigned)((c | 0x20) - 'a') + 10;
		else
			break;
		if (*value >> 60 != 0)
			return false;
		*value = *value << 4 | digit;
	}
	if (ndigits == 0 || s == end || *s != ' ')
		return false;
	while (s < end && *s == ' ')
		s++;
	*at = s;
	return true;
}

/* One line; `end` is its newline, which becomes the end of the name. */
static void parse_line(struct perf_map *map, char *line, char *end)
{
	struct perf_map_entry entry;
	uint64_t size;

	if (!parse_hex(&line, end, &entry.start) || !parse_hex(&line, end, &size))
		return;
	if (end > line && end[-1] == '\r')
		end--;
	*end = '\0';
	if (size == 0 || size > UINT64_MAX - entry.start || *line == '\0')
		return;
	entry.end = entry.start + size;
	entry.name = line;
	array_push(&map->entries, entry);
}

/* Where the last PERF_MAP_MAX_LINES lines begin. */
static char *last_lines(char *text, size_t len)
{
	size_t lines = 0;

	for (size_t i = len; i > 0; i--) {
		if (text[i - 1] == '\n' && lines++ == PERF_MAP_MAX_LINES)
			return text + i;
	}
	return text;
}

struct sweep {
	struct perf_map *map;
	uint32_t *order;      /* entries by their start */
	ARRAY(uint32_t) heap; /* those open, the latest line first */
	uint64_t at;
};

static void heap_push(struct sweep *sweep, uint32_t entry)
{
	size_t i = sweep->heap.n;

	array_push(&sweep->heap, entry);
	for (; i > 0 && sweep->heap.v[(i - 1) / 2] < entry; i = (i - 1) / 2)
		sweep->heap.v[i] = sweep->heap.v[(i - 1) / 2];
	sweep->heap.v[i] = entry;
}

static void heap_pop(struct sweep *sweep)
{
	uint32_t *v = sweep->heap.v, last = v[--sweep->heap.n];
	size_t n = sweep->heap.n, i = 0, child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && v[child + 1] > v[child])
			child++;
		if (v[child] < last)
			break;
		v[i] = v[child];
		i = child;
	}
	v[i] = last;
}

static void drop_ended(struct sweep *sweep)
{
	const struct perf_map_entry *entries = sweep->map->entries.v;

	while (sweep->heap.n > 0 && entries[sweep->heap.v[0]].end <= sweep->at)
		heap_pop(sweep);
}

static void emit(struct sweep *sweep, uint32_t entry)
{
	struct perf_map *map = sweep->map;
	struct range range = {sweep->at, entry};

	if (map->ranges.n > 0 && map->ranges.v[map->ranges.n - 1].start == range.start)
		map->ranges.v[map->ranges.n - 1] = range;
	else
		array_push(&map->ranges, range);
}

static void sweep_all(struct sweep *sweep)
{
	const struct perf_map_entry *entries = sweep->map->entries.v;
	size_t n = sweep->map->entries.n, next = 0;

	for (;;) {
		uint64_t until;

		drop_ended(sweep);
		if (sweep->heap.n == 0) {
			emit(sweep, NONE);
			if (next == n)
				return;
			sweep->at = entries[sweep->order[next]].start;
		}
		while (next < n && entries[sweep->order[next]].start <= sweep->at)
			heap_push(sweep, sweep->order[next++]);
		emit(sweep, sweep->heap.v[0]);
		until = entries[sweep->heap.v[0]].end;
		if (next < n && entries[sweep->order[next]].start < until)
			until = entries[sweep->order[next]].start;
		sweep->at = until;
	}
}

static int compare_starts(const void *a, const void *b, void *arg)
{
	const struct perf_map_entry *entries = arg;
	uint64_t x = entries[*(const uint32_t *)a].start;
	uint64_t y = entries[*(const uint32_t *)b].start;

	return (x > y) - (x < y);
}

static void build_ranges(struct perf_map *map)
{
	struct sweep sweep = {.map = map};
	size_t n = map->entries.n;

	if (n == 0)
		return;
	sweep.order = xreallocarray(NULL, n, sizeof *sweep.order);
	for (size_t i = 0; i < n; i++)
		sweep.order[i] = (uint32_t)i;
	qsort_r(sweep.order, n, sizeof *sweep.order, compare_starts, map->entries.v);
	sweep_all(&sweep);
	array_fini(&sweep.heap);
	free(sweep.order);
}

struct perf_map *perf_map_parse(char *text, size_t len)
{
	struct perf_map *map = xcalloc(1, sizeof *map);
	char *line = last_lines(text, len), *end = text + len, *newline;

	map->text = text;
	while (line < end && (newline = memchr(line, '\n', (size_t)(end - line)))) {
		parse_line(map, line, newline);
		line = newline + 1;
	}
	build_ranges(map);
	return map;
}

void perf_map_free(struct perf_map *map)
{
	if (!map)
		return;
	array_fini(&map->entries);
	array_fini(&map->ranges);
	free(map->text);
	free(map);
}

const struct perf_map_entry *perf_map_find(const struct perf_map *map, uint64_t address)
{
	size_t low = 0, high = map->ranges.n;
	const struct range *range;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (map->ranges.v[mid].start <= address)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return NULL;
	range = &map->ranges.v[low - 1];
	return range->entry == NONE ? NULL : &map->entries.v[range->entry];
}
