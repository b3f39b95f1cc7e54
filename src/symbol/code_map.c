/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces are turned into disjoint ranges by sweeping over them in order of
 * their addresses. Those that cover the place of the sweep are in a heap with
 * the latest on top; one that ended is taken out when it comes up. So the work
 * is n log n, however a hostile file piles its pieces up.
 */
#include "symbol/code_map.h"

#include <stdlib.h>

#include "base/mem.h"

#define NONE UINT32_MAX

void code_map_add(struct code_map *map, uint64_t start, uint64_t size, const char *name)
{
	struct code_entry entry = {.start = start, .end = start + size, .name = name};

	if (size > 0 && size <= UINT64_MAX - start && map->entries.n < NONE)
		array_push(&map->entries, entry);
}

struct sweep {
	struct code_map *map;
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
	const struct code_entry *entries = sweep->map->entries.v;

	while (sweep->heap.n > 0 && entries[sweep->heap.v[0]].end <= sweep->at)
		heap_pop(sweep);
}

static void emit(struct sweep *sweep, uint32_t entry)
{
	struct code_map *map = sweep->map;
	struct code_range range = {sweep->at, entry};

	if (map->ranges.n > 0 && map->ranges.v[map->ranges.n - 1].start == range.start)
		map->ranges.v[map->ranges.n - 1] = range;
	else
		array_push(&map->ranges, range);
}

static void sweep_all(struct sweep *sweep)
{
	const struct code_entry *entries = sweep->map->entries.v;
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
	const struct code_entry *entries = arg;
	uint64_t x = entries[*(const uint32_t *)a].start;
	uint64_t y = entries[*(const uint32_t *)b].start;

	return (x > y) - (x < y);
}

void code_map_build(struct code_map *map)
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

void code_map_fini(struct code_map *map)
{
	array_fini(&map->entries);
	array_fini(&map->ranges);
}

size_t code_map_bytes(const struct code_map *map)
{
	return map->entries.cap * sizeof map->entries.v[0] +
	       map->ranges.cap * sizeof map->ranges.v[0];
}

const struct code_entry *code_map_find(const struct code_map *map, uint64_t address)
{
	size_t low = 0, high = map->ranges.n;
	const struct code_range *range;

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
