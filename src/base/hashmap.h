/* SPDX-License-Identifier: Apache-2.0 */
/* A hash map from 64-bit keys to 64-bit values, open addressing. */
#ifndef CPROF_BASE_HASHMAP_H
#define CPROF_BASE_HASHMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashmap_slot {
	uint64_t key;
	uint64_t value;
	bool used;
};

/* All zeroes is an empty map. */
struct hashmap {
	struct hashmap_slot *slots;
	size_t nslots; /* a power of two, or 0 */
	size_t n;      /* entries */
};

/* Returns whether the key is there; if so *value is set (value may be NULL). */
bool hashmap_get(const struct hashmap *map, uint64_t key, uint64_t *value);
/* Sets or replaces. */
void hashmap_put(struct hashmap *map, uint64_t key, uint64_t value);
/* Takes the key away; returns whether it was there. */
bool hashmap_remove(struct hashmap *map, uint64_t key);
void hashmap_fini(struct hashmap *map);

/* A well-mixed 64-bit hash of bytes, for keys made of more than 64 bits. */
uint64_t hash_bytes(const void *data, size_t len, uint64_t seed);
/* Another in each run, so that keys chosen by a target cannot be made to collide. */
uint64_t hash_seed(void);

#endif
