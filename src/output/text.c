/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report to read in a terminal: how the profile was got, and the functions by
 * the value of the last sample type; or, of one instant, the threads.
 */
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "output/dump.h"
#include "output/words.h"
#include "output/writer.h"
#include "profile/top.h"

static void write_comments(const struct profile *profile, struct bytes *out)
{
	for (size_t i = 0; i < profile->comments.n; i++) {
		const char *comment = profile_text(profile, profile->comments.v[i]);

		if (*comment == '#') /* readers of pprof hide those, too */
			continue;
		bytes_printf(out, "%s\n", comment);
	}
	if (out->n > 0)
		bytes_append(out, "\n", 1);
}

static void write_time(const struct profile *profile, struct bytes *out)
{
	time_t seconds = (time_t)(profile->time_ns / (int64_t)NS_PER_SEC);
	struct tm tm;
	char text[64];

	if (profile->time_ns == 0 || !gmtime_r(&seconds, &tm))
		return;
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
	bytes_printf(out, "Started:  %s\n", text);
}

static void write_duration(const struct profile *profile, struct bytes *out)
{
	if (profile->duration_ns > 0)
		bytes_printf(out, "Lasted:   %.2fs\n",
		             (double)profile->duration_ns / (double)NS_PER_SEC);
}

/* "Total:    1.20s in 119 samples", where samples are among the types. */
static void write_total(struct profile *profile, const struct top *top,
                        struct words_scale scale, struct bytes *out)
{
	size_t last = profile->ntypes - 1;
	const struct profile_value_type *type = &profile->types[last];
	int64_t count = 0;
	char number[64];

	bytes_printf(out, "Measured: %s in %s\n", profile_text(profile, type->type),
	             profile_text(profile, type->unit));
	words_number(number, sizeof number, top->total, scale);
	bytes_printf(out, "Total:    %s", number);
	if (last > 0) {
		for (size_t i = 0; i < profile->samples.n; i++)
			count += profile->samples.v[i].value[0];
		bytes_printf(out, " in %" PRId64 " %s", count,
		             profile_text(profile, profile->types[0].type));
	}
	bytes_printf(out, "\n");
}

static void write_row(const struct profile *profile, const struct top_row *row, int64_t sum,
                      int64_t total, struct words_scale scale, struct bytes *out)
{
	char flat[64], cum[64];

	words_number(flat, sizeof flat, row->flat, scale);
	words_number(cum, sizeof cum, row->cum, scale);
	bytes_printf(out, "%10s %6.2f%% %6.2f%% %10s %6.2f%%  %s\n", flat,
	             words_percent(row->flat, total), words_percent(sum, total), cum,
	             words_percent(row->cum, total), profile_text(profile, row->name));
}

static int text_write(struct profile *profile, struct bytes *out, struct error *err)
{
	size_t type = profile->ntypes - 1;
	struct top top;
	int64_t sum = 0;

	(void)err;
	if (dump_suits(profile)) {
		write_comments(profile, out);
		write_time(profile, out);
		bytes_append(out, "\n", 1);
		dump_write(profile, out);
		return 0;
	}
	top_compute(profile, type, &top);
	struct words_scale scale = words_scale(
	        profile_text(profile, profile->types[type].unit), top.total);

	write_comments(profile, out);
	write_time(profile, out);
	write_duration(profile, out);
	write_total(profile, &top, scale, out);
	bytes_printf(out, "\n%10s %7s %7s %10s %7s  %s\n", "flat", "flat%", "sum%", "cum",
	             "cum%", "function");
	for (size_t i = 0; i < top.nrows; i++) {
		sum += top.rows[i].flat;
		write_row(profile, &top.rows[i], sum, top.total, scale, out);
	}
	top_fini(&top);
	return 0;
}

static const char *const suffixes[] = {".txt", ".text", NULL};

const struct writer writer_text = {
        .name = "text",
        .suffixes = suffixes,
        .description = "a table of functions, hottest first",
        .write = text_write,
};
