/* SPDX-License-Identifier: Apache-2.0 */
#include "base/intern.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/hashmap.h"

#define INTERN_FIRST_SLOTS 64
#define INTERN_ALIGN       8

static bool same(const struct intern *table, uint32_t id, uint64_t hash, const void *data,
                 size_t len)
{
	const struct intern_entry *entry = &table->entries.v[id];

	return entry->hash == hash && entry->len == len &&
	       (len == 0 || memcmp(table->bytes.v + entry->offset, data, len) == 0);
}

/* The slot of equal bytes, or the free one where they would go. */
static size_t find_slot(const struct intern *table, uint64_t hash, const void *data,
                        size_t len)
{
	size_t i = hash & (table->nslots - 1);

	while (table->slots[i] != 0 && !same(table, table->slots[i] - 1, hash, data, len))
		i = (i + 1) & (table->nslots - 1);
	return i;
}

static void grow(struct intern *table)
{
	size_t nslots = table->nslots > 0 ? table->nslots * 2 : INTERN_FIRST_SLOTS;

	free(table->slots);
	table->slots = xcalloc(nslots, sizeof *table->slots);
	table->nslots = nslots;
	for (size_t id = 0; id < table->entries.n; id++) {
		size_t i = table->entries.v[id].hash & (nslots - 1);

		while (table->slots[i] != 0)
			i = (i + 1) & (nslots - 1);
		table->slots[i] = (uint32_t)id + 1;
	}
}

/* Copies the bytes to the end of the pool; returns where they are. */
static size_t keep(struct intern *table, const void *data, size_t len)
{
	size_t room = (len + 1 + INTERN_ALIGN - 1) / INTERN_ALIGN * INTERN_ALIGN;
	size_t offset = table->bytes.n;
	uintptr_t from = (uintptr_t)data;
	uintptr_t pool = (uintptr_t)table->bytes.v;
	bool ours = pool != 0 && from >= pool && from - pool < offset;

	array_reserve(&table->bytes, room);
	if (ours) /* part of an older entry, which may just have moved */
		data = table->bytes.v + (from - pool);
	if (len > 0)
		memcpy(table->bytes.v + offset, data, len);
	memset(table->bytes.v + offset + len, 0, room - len);
	table->bytes.n += room;
	return offset;
}

uint32_t intern_add(struct intern *table, const void *data, size_t len)
{
	uint64_t hash = hash_bytes(data, len, hash_seed());

	if (table->entries.n + 1 > table->nslots / 4 * 3)
		grow(table);
	size_t slot = find_slot(table, hash, data, len);
	if (table->slots[slot] != 0)
		return table->slots[slot] - 1;

	assert(table->entries.n < UINT32_MAX - 1);
	uint32_t id = (uint32_t)table->entries.n;
	struct intern_entry entry = {
	        .offset = keep(table, data, len),
	        .len = len,
	        .hash = hash,
	};
	array_push(&table->entries, entry);
	table->slots[slot] = id + 1;
	return id;
}

const void *intern_get(const struct intern *table, uint32_t id, size_t *len)
{
	assert(id < table->entries.n);
	const struct intern_entry *entry = &table->entries.v[id];

	if (len)
		*len = entry->len;
	return table->bytes.v + entry->offset;
}

size_t intern_count(const struct intern *table)
{
	return table->entries.n;
}

void intern_fini(struct intern *table)
{
	array_fini(&table->bytes);
	array_fini(&table->entries);
	free(table->slots);
	*table = (struct intern){0};
}
