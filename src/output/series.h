/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of a run's files, where it writes more than one, and which of them are
 * kept.
 *
 * With --every the output is a pattern: conversions of strftime(3), in local time,
 * for the moment at which the file's part of the run began, and "%i", the file's
 * number in the run, from 000001 on; "%%" is a '%'. A name without any '%' gets the
 * number before its suffix: "web.pb.gz" makes "web.000001.pb.gz".
 *
 * Without --every a '%' means nothing. Parts that are written because memory is
 * limited get the number before the suffix, and the last one has the plain name.
 */
#ifndef CPROF_OUTPUT_SERIES_H
#define CPROF_OUTPUT_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct series_options {
	const char *output;  /* as given */
	double every_s;      /* 0: no row of files is asked for */
	size_t keep;         /* this many of the newest files; 0: all */
	uint64_t keep_bytes; /* as many of the newest as fit in this; 0: all */
	bool keeps_p;        /* "%p" is left for somebody else to replace */
};

struct series;

/*
 * `start_ns` is the run's beginning, since the epoch. NULL with *err
 * (EXIT_CODE_USAGE) when two files in a row would get one name, or the output is
 * no name for files. Keeps options->output.
 */
struct series *series_new(const struct series_options *options, int64_t start_ns,
                          struct error *err);
void series_free(struct series *series);

/* Whether the output can be more than one file: it is no pipe, device or stdout. */
bool series_is_possible(const struct series *series);

/*
 * The name of the next file, whose part began at `time_ns` since the epoch; to be
 * freed. Never that of a file which this run has written. NULL with *err when the
 * pattern gives no name.
 */
char *series_name(const struct series *series, int64_t time_ns, struct error *err);

/*
 * That file has been written: the next one has the next number. Removes what is no
 * longer to be kept: files of this run alone, and none that was replaced meanwhile.
 */
void series_wrote(struct series *series, const char *name);

/* The number of the next file, from 1 on. */
uint64_t series_index(const struct series *series);

/*
 * A name by a pattern; "%p" stays if `keeps_p`. NULL with *err when it is too long,
 * or a conversion ("%D") brings in a '/'.
 */
char *series_expand(const char *pattern, bool keeps_p, int64_t time_ns, uint64_t index,
                    struct error *err);

/* A name with the number before its suffix: "a/web.pb.gz" -> "a/web.000012.pb.gz". */
char *series_numbered(const char *name, uint64_t index);

#endif
