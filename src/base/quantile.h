/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantiles of durations without keeping them: a histogram with 16 buckets to
 * each power of two, so a quantile is right to about 6 %; the maximum is exact.
 */
#ifndef CPROF_BASE_QUANTILE_H
#define CPROF_BASE_QUANTILE_H

#include <stdint.h>

#define QUANTILE_BUCKETS 1024

/* All zeroes is empty. */
struct quantile {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t bucket[QUANTILE_BUCKETS];
};

void quantile_add(struct quantile *q, uint64_t value);
/* The value that the fraction `p` (0..1) of the values do not exceed; 0 if empty. */
uint64_t quantile_get(const struct quantile *q, double p);
/* Adds the values of `from` to `q`. */
void quantile_merge(struct quantile *q, const struct quantile *from);

#endif
