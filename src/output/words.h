/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as the outputs for people show them. */
#ifndef CPROF_OUTPUT_WORDS_H
#define CPROF_OUTPUT_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* What a unit is shown in: "12.34s" of nanoseconds, "3.20MB" of bytes, "17" of counts. */
struct words_scale {
	double divisor;
	const char *suffix;
	int decimals;
};

/* The scale that suits a number this large, for all numbers of one table. */
struct words_scale words_scale(const char *unit, int64_t largest);
void words_number(char *buf, size_t size, int64_t value, struct words_scale scale);

/* 100 * part / whole; 0 when the whole is. */
double words_percent(int64_t part, int64_t whole);

#endif
