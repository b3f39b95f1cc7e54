/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of code that were made at run time, each with a name. Memory is used
 * again for other code: of the pieces that cover an address the last one added
 * is right.
 */
#ifndef CPROF_SYMBOL_CODE_MAP_H
#define CPROF_SYMBOL_CODE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/array.h"

struct code_entry {
	uint64_t start;
	uint64_t end; /* one past the last */
	const char *name;
};

/* From `start` to the next one's start, entry number `entry` has it. */
struct code_range {
	uint64_t start;
	uint32_t entry; /* UINT32_MAX: nobody */
};

/* All zeroes is empty: add in order of time, build, then find. */
struct code_map {
	ARRAY(struct code_entry) entries;
	ARRAY(struct code_range) ranges;
};

/* The name is kept as it is, not copied. A piece that wraps around, or is empty,
 * is passed over. */
void code_map_add(struct code_map *map, uint64_t start, uint64_t size, const char *name);
/* Once, after the last piece. */
void code_map_build(struct code_map *map);
/* The last piece that covers an address, or NULL. */
const struct code_entry *code_map_find(const struct code_map *map, uint64_t address);
void code_map_fini(struct code_map *map);
/* How much memory it takes, without the names. */
size_t code_map_bytes(const struct code_map *map);

#endif
