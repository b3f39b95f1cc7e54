/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address ranges that lie within each other, as those of scopes do, turned into
 * disjoint ones: at each address the range that starts last has it, of those that
 * start there the one that was added last. Whatever overlaps a hostile file holds,
 * a lookup is one binary search. Inside of symbol/ alone.
 */
#ifndef CPROF_SYMBOL_SPANS_H
#define CPROF_SYMBOL_SPANS_H

#include <stddef.h>
#include <stdint.h>

#include "base/array.h"

#define SPANS_NONE UINT32_MAX

struct span {
	uint64_t start;
	uint64_t end; /* one past the last */
	uint32_t value;
	uint32_t order;
};

/* From `start` to the next one's start. */
struct span_edge {
	uint64_t start;
	uint32_t value; /* SPANS_NONE: nobody */
};

/* All zeroes is empty: add, build once, then find. */
struct spans {
	ARRAY(struct span) spans;
	ARRAY(struct span_edge) edges;
};

/* An empty range is left out. */
void spans_add(struct spans *spans, uint64_t start, uint64_t end, uint32_t value);
void spans_build(struct spans *spans);
/* The value of the range that has an address, or SPANS_NONE. */
uint32_t spans_find(const struct spans *spans, uint64_t address);
void spans_fini(struct spans *spans);

#endif
