/* SPDX-License-Identifier: Apache-2.0 */
/* Text that grows, and numbers as a reader wants them. Part of report alone. */
#ifndef CPROF_REPORT_TEXT_H
#define CPROF_REPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/report.h"

/* All zeroes is empty; `v` is NULL or NUL-terminated, and to be freed. */
struct text {
	char *v;
	size_t n;
	size_t cap;
};

void text_add(struct text *text, const char *fmt, ...)
        __attribute__((format(printf, 2, 3)));

/* In place: C0, DEL, and C1 as UTF-8 spells it (0xc2 0x80 … 0xc2 0x9f). */
void text_defuse(char *s);

/* "7.4 us", "310 us", "2.30 ms", "10.0 s": three digits say enough. */
const char *text_duration(char buf[32], uint64_t ns);

double text_percent(double part, double whole);

/* "s", but not of one. */
const char *text_plural(uint64_t n);

/* Those that stand for ticks in which a thread slept on are samples, too. */
static inline uint64_t report_samples(const struct sampler_stats *stats)
{
	return stats->samples + stats->credited;
}

static inline uint64_t report_run_ns(const struct sampler_stats *stats)
{
	return stats->end_ns > stats->start_ns ? stats->end_ns - stats->start_ns : 0;
}

/* One fact of a run: nothing is added where there is nothing to tell. */
struct report_fact {
	const char *key;
	void (*tell)(struct text *text, const struct receipt *receipt);
	bool in_summary;
};

/* In the order of the summary; ends with a NULL key. */
extern const struct report_fact report_facts[];

#endif
