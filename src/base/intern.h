/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interning: each distinct string of bytes is kept once and named by a small
 * number, 0, 1, 2 … in order of first sight. The string table of a profile,
 * its stacks and its label sets are interned with this.
 */
#ifndef CPROF_BASE_INTERN_H
#define CPROF_BASE_INTERN_H

#include <stddef.h>
#include <stdint.h>

#include "base/array.h"

struct intern_entry {
	size_t offset; /* in bytes.v */
	size_t len;
	uint64_t hash;
};

/* All zeroes is an empty table. */
struct intern {
	ARRAY(uint8_t) bytes;
	ARRAY(struct intern_entry) entries;
	uint32_t *slots; /* entry number + 1, or 0 */
	size_t nslots;   /* a power of two, or 0 */
};

/* The number of these bytes, entered now if they are new. A copy is kept. */
uint32_t intern_add(struct intern *table, const void *data, size_t len);
/*
 * The bytes of entry `id` (which must exist), followed by a NUL that does not
 * count in *len (len may be NULL); aligned to 8 bytes; good until the next
 * intern_add.
 */
const void *intern_get(const struct intern *table, uint32_t id, size_t *len);
/* How many entries there are. */
size_t intern_count(const struct intern *table);
void intern_fini(struct intern *table);

#endif
