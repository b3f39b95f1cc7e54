/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hashmap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/mem.h"

#define HASHMAP_FIRST_SLOTS 16

/* Two odd constants whose bits look random (fractions of sqrt 2 and sqrt 3). */
#define MIX_A UINT64_C(0x6a09e667f3bcc909)
#define MIX_B UINT64_C(0xbb67ae8584caa73b)

/* Both halves of the 128-bit product, so that every bit in moves every bit out. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = a;

	product *= b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load_bytes(const uint8_t *p, size_t len)
{
	uint64_t word = 0;

	memcpy(&word, p, len);
	return word;
}

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t h = mix(seed ^ MIX_A, len ^ MIX_B);

	for (; len >= 8; p += 8, len -= 8)
		h = mix(h ^ load_bytes(p, 8) ^ MIX_A, h + MIX_B);
	if (len > 0)
		h = mix(h ^ load_bytes(p, len) ^ MIX_A, h + MIX_B);
	return mix(h ^ MIX_B, MIX_A);
}

uint64_t hash_seed(void)
{
	static _Atomic uint64_t seed;
	uint64_t value = atomic_load_explicit(&seed, memory_order_relaxed);

	if (value == 0) {
		/* 16 random bytes that the kernel gives each program at its start. */
		unsigned long at = getauxval(AT_RANDOM);

		/* NOLINTNEXTLINE(performance-no-int-to-ptr): that is how it is given */
		value = at ? load_bytes((const uint8_t *)at, 8) | 1 : MIX_A;
		atomic_store_explicit(&seed, value, memory_order_relaxed);
	}
	return value;
}

static size_t home_slot(const struct hashmap *map, uint64_t key)
{
	return mix(key ^ hash_seed(), MIX_A) & (map->nslots - 1);
}

/* The slot that holds the key, or the free one where it would go. */
static struct hashmap_slot *find_slot(const struct hashmap *map, uint64_t key)
{
	size_t i = home_slot(map, key);

	while (map->slots[i].used && map->slots[i].key != key)
		i = (i + 1) & (map->nslots - 1);
	return &map->slots[i];
}

static void grow(struct hashmap *map)
{
	struct hashmap old = *map;

	map->nslots = old.nslots > 0 ? old.nslots * 2 : HASHMAP_FIRST_SLOTS;
	map->slots = xcalloc(map->nslots, sizeof *map->slots);
	for (size_t i = 0; i < old.nslots; i++)
		if (old.slots[i].used)
			*find_slot(map, old.slots[i].key) = old.slots[i];
	free(old.slots);
}

bool hashmap_get(const struct hashmap *map, uint64_t key, uint64_t *value)
{
	if (map->nslots == 0)
		return false;
	const struct hashmap_slot *slot = find_slot(map, key);
	if (slot->used && value)
		*value = slot->value;
	return slot->used;
}

void hashmap_put(struct hashmap *map, uint64_t key, uint64_t value)
{
	if (map->n + 1 > map->nslots / 4 * 3)
		grow(map);
	struct hashmap_slot *slot = find_slot(map, key);
	if (!slot->used)
		map->n++;
	*slot = (struct hashmap_slot){.key = key, .value = value, .used = true};
}

/*
 * Entries behind the hole move up into it, if they may stand there, so that
 * no search ends too early. Tombstones instead would fill a map that lives long.
 */
bool hashmap_remove(struct hashmap *map, uint64_t key)
{
	if (!hashmap_get(map, key, NULL))
		return false;
	size_t mask = map->nslots - 1;
	size_t hole = (size_t)(find_slot(map, key) - map->slots);

	for (size_t i = (hole + 1) & mask; map->slots[i].used; i = (i + 1) & mask) {
		size_t home = home_slot(map, map->slots[i].key);

		/* Its search starts at or before the hole, going round. */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			map->slots[hole] = map->slots[i];
			hole = i;
		}
	}
	map->slots[hole] = (struct hashmap_slot){0};
	map->n--;
	return true;
}

void hashmap_fini(struct hashmap *map)
{
	free(map->slots);
	*map = (struct hashmap){0};
}
