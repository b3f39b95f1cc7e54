/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pattern without "%i" gives two files one name when it tells too little of the
 * time, when the clock is set back, or when summer time ends. The first is refused
 * before the run. Of the others nothing needs to be remembered: a file that exists,
 * and was last written after the run began, is taken for one of its files.
 */
#include "output/series.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "output/writer.h"

#define NAME_MAX_BYTES 4096

/* How many files in a row are compared before the run. */
#define NCOMPARED 100

/* What the kernel stamps files with lags behind the clock that we read. */
#define STAMP_LAG_NS (20 * (int64_t)NS_PER_MS)

/* A file of this run; another file of its name would have another identity. */
struct written {
	char *name;
	dev_t dev;
	ino_t ino;
	uint64_t bytes;
};

struct series {
	struct series_options options;
	int64_t start_ns;
	uint64_t index; /* of the next file */
	bool possible;
	ARRAY(struct written) written; /* oldest first; only if some are to go */
	uint64_t bytes;                /* of those */
};

/* Where a name's suffix begins: one that means a format, or else its last dot. */
static size_t suffix_at(const char *name)
{
	const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
	const char *dot = strrchr(base, '.');
	size_t len = strlen(name), at = dot && dot > base ? (size_t)(dot - name) : len;

	for (const struct writer *const *w = writers; *w; w++) {
		for (const char *const *s = (*w)->suffixes; *s; s++) {
			size_t n = strlen(*s);

			if (n < strlen(base) && strcmp(name + len - n, *s) == 0 &&
			    len - n < at)
				at = len - n;
		}
	}
	return at;
}

char *series_numbered(const char *name, uint64_t index)
{
	size_t at = suffix_at(name);

	return xasprintf("%.*s.%06" PRIu64 "%s", (int)at, name, index, name + at);
}

static size_t count_slashes(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '/';
	return n;
}

/* The pattern with its numbers in place, for strftime; NULL: too long. */
static char *put_numbers(const char *pattern, bool keeps_p, uint64_t index)
{
	char *out = xmalloc(NAME_MAX_BYTES), number[24];
	size_t n = 0;

	snprintf(number, sizeof number, "%06" PRIu64, index);
	while (*pattern && n + sizeof number + 2 < NAME_MAX_BYTES) {
		if (pattern[0] == '%' && pattern[1] == 'i') {
			memcpy(out + n, number, strlen(number));
			n += strlen(number);
			pattern += 2;
			continue;
		}
		if (keeps_p && pattern[0] == '%' && pattern[1] == 'p')
			out[n++] = '%';
		else if (pattern[0] == '%' && pattern[1] != '\0')
			out[n++] = *pattern++;
		out[n++] = *pattern++;
	}
	out[n] = '\0';
	if (*pattern == '\0')
		return out;
	free(out);
	return NULL;
}

/* The format is the user's, and so is what becomes of it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static size_t put_time(char *name, const char *format, int64_t time_ns)
{
	time_t seconds = (time_t)(time_ns / (int64_t)NS_PER_SEC);
	struct tm tm;

	if (!localtime_r(&seconds, &tm))
		return 0;
	return strftime(name, NAME_MAX_BYTES, format, &tm);
}
#pragma GCC diagnostic pop

char *series_expand(const char *pattern, bool keeps_p, int64_t time_ns, uint64_t index,
                    struct error *err)
{
	char *numbered = put_numbers(pattern, keeps_p, index);
	char *name = xmalloc(NAME_MAX_BYTES);
	size_t n = numbered ? put_time(name, numbered, time_ns) : 0;

	free(numbered);
	if (n > 0 && count_slashes(name) == count_slashes(pattern))
		return name;
	if (n == 0)
		error_set(err, EXIT_CODE_USAGE,
		          "--output '%.60s' gives no name, or one that is too long: give a "
		          "pattern such as web.%%Y%%m%%d-%%H%%M%%S.pb.gz",
		          pattern);
	else
		error_set(err, EXIT_CODE_USAGE,
		          "--output '%.60s' would put a / into the name, '%.60s': use "
		          "conversions without one, as %%F for %%D",
		          pattern, name);
	free(name);
	return NULL;
}

/* Whether the number is among what a pattern tells. */
static bool has_index(const char *pattern)
{
	for (; *pattern; pattern++) {
		if (pattern[0] == '%' && pattern[1] == 'i')
			return true;
		if (pattern[0] == '%' && pattern[1] != '\0')
			pattern++;
	}
	return false;
}

/* Whether files in a row have names of their own. */
static int check_pattern(const struct series *series, struct error *err)
{
	const char *pattern = series->options.output;
	int64_t every_ns = (int64_t)(series->options.every_s * (double)NS_PER_SEC);
	char *before = series_expand(pattern, series->options.keeps_p, series->start_ns, 1,
	                             err),
	     *name;

	for (int64_t i = 1; before && i < NCOMPARED; i++) {
		name = series_expand(pattern, series->options.keeps_p,
		                     series->start_ns + i * every_ns, (uint64_t)i + 1, err);
		if (name && strcmp(name, before) == 0) {
			error_set(err, EXIT_CODE_USAGE,
			          "--output '%.60s' gives two files the name '%.60s' when "
			          "there is one every %g s: add %%i, the file's number",
			          pattern, name, series->options.every_s);
			free(name);
			name = NULL;
		}
		free(before);
		before = name;
	}
	free(before);
	return before ? 0 : -1;
}

/* A pipe, a device or a directory is there under that name. */
static bool is_no_file(const char *output)
{
	struct stat st;

	return strcmp(output, "-") == 0 || (stat(output, &st) == 0 && !S_ISREG(st.st_mode));
}

static int check_output(struct series *series, struct error *err)
{
	const char *output = series->options.output;

	series->possible = !is_no_file(output);
	if (series->options.every_s <= 0)
		return 0;
	if (!series->possible)
		return error_set(err, EXIT_CODE_USAGE,
		                 "--every writes files, and --output '%.60s' is none: give "
		                 "a name such as web.%%i.pb.gz",
		                 output);
	return strchr(output, '%') ? check_pattern(series, err) : 0;
}

struct series *series_new(const struct series_options *options, int64_t start_ns,
                          struct error *err)
{
	struct series *series = xcalloc(1, sizeof *series);

	series->options = *options;
	series->start_ns = start_ns;
	series->index = 1;
	if (check_output(series, err) < 0) {
		series_free(series);
		return NULL;
	}
	return series;
}

void series_free(struct series *series)
{
	if (!series)
		return;
	for (size_t i = 0; i < series->written.n; i++)
		free(series->written.v[i].name);
	array_fini(&series->written);
	free(series);
}

bool series_is_possible(const struct series *series)
{
	return series->possible;
}

uint64_t series_index(const struct series *series)
{
	return series->index;
}

/* Whether there is a file of that name that this run may have written. */
static bool is_ours(const struct series *series, const char *name)
{
	struct stat st;

	if (series->index == 1 || stat(name, &st) < 0)
		return false;
	return (int64_t)st.st_mtim.tv_sec * (int64_t)NS_PER_SEC + st.st_mtim.tv_nsec >=
	       series->start_ns - STAMP_LAG_NS;
}

char *series_name(const struct series *series, int64_t time_ns, struct error *err)
{
	const char *output = series->options.output;
	char *name, *numbered;

	if (series->options.every_s <= 0 || !strchr(output, '%'))
		return series_numbered(output, series->index);
	name = series_expand(output, series->options.keeps_p, time_ns, series->index, err);
	if (!name || has_index(output) || !is_ours(series, name))
		return name;
	numbered = series_numbered(name, series->index);
	log_info("this run has written '%s' already: the next file is '%s'", name,
	         numbered);
	free(name);
	return numbered;
}

/* The oldest file goes, if it is still the one that we wrote. */
static void drop_oldest(struct series *series)
{
	struct written oldest = series->written.v[0];
	struct stat st;

	privilege_begin_output();
	if (lstat(oldest.name, &st) == 0 && st.st_dev == oldest.dev &&
	    st.st_ino == oldest.ino && unlink(oldest.name) < 0)
		log_info("cannot remove '%s': %s", oldest.name, strerror(errno));
	privilege_end_output();
	free(oldest.name);
	series->bytes -= oldest.bytes;
	series->written.n--;
	memmove(series->written.v, series->written.v + 1,
	        series->written.n * sizeof *series->written.v);
}

void series_wrote(struct series *series, const char *name)
{
	const struct series_options *options = &series->options;
	struct written file = {0};
	struct stat st;

	series->index++;
	if ((options->keep == 0 && options->keep_bytes == 0) || lstat(name, &st) < 0)
		return;
	file = (struct written){
	        .name = xstrdup(name),
	        .dev = st.st_dev,
	        .ino = st.st_ino,
	        .bytes = (uint64_t)st.st_size,
	};
	array_push(&series->written, file);
	series->bytes += file.bytes;
	while ((options->keep > 0 && series->written.n > options->keep) ||
	       (options->keep_bytes > 0 && series->bytes > options->keep_bytes &&
	        series->written.n > 1))
		drop_oldest(series);
}
