/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values below 16 have a bucket each. A larger one, whose highest set bit is
 * number e, goes by its next four bits: 16 buckets for each e of 4 … 63.
 */
#include "base/quantile.h"

#include <stddef.h>

#define SUB_BITS 4
#define SUB      (1u << SUB_BITS)

_Static_assert((64 - SUB_BITS + 1) * SUB <= QUANTILE_BUCKETS, "every value has a bucket");

static size_t bucket_of(uint64_t value)
{
	if (value < SUB)
		return (size_t)value;
	unsigned exponent = 63 - (unsigned)__builtin_clzll(value);
	unsigned shift = exponent - SUB_BITS;
	return (size_t)(shift + 1) * SUB + (size_t)(value >> shift & (SUB - 1));
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(size_t bucket)
{
	if (bucket < SUB)
		return bucket;
	unsigned shift = (unsigned)(bucket / SUB) - 1;
	uint64_t low = (uint64_t)(SUB + bucket % SUB) << shift;
	return low + ((UINT64_C(1) << shift) - 1);
}

void quantile_add(struct quantile *q, uint64_t value)
{
	q->count++;
	q->sum += value;
	if (value > q->max)
		q->max = value;
	q->bucket[bucket_of(value)]++;
}

uint64_t quantile_get(const struct quantile *q, double p)
{
	double rank = p * (double)q->count;
	uint64_t seen = 0;

	for (size_t i = 0; i < QUANTILE_BUCKETS; i++) {
		seen += q->bucket[i];
		if (seen > 0 && (double)seen >= rank)
			return bucket_top(i) < q->max ? bucket_top(i) : q->max;
	}
	return q->max;
}

void quantile_merge(struct quantile *q, const struct quantile *from)
{
	q->count += from->count;
	q->sum += from->sum;
	if (from->max > q->max)
		q->max = from->max;
	for (size_t i = 0; i < QUANTILE_BUCKETS; i++)
		q->bucket[i] += from->bucket[i];
}
