/* SPDX-License-Identifier: Apache-2.0 */
/* --split-by process: a file for each process of a finished profile. */
#ifndef CPROF_SPLIT_H
#define CPROF_SPLIT_H

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "output/writer.h"
#include "profile/profile.h"

/*
 * The name of a part's file: `id` in the place of each %p in the name; without one
 * before the end that says the format, or else the last point: "out.pb.gz" is
 * "out.4711.pb.gz". To be freed.
 */
char *split_name(const char *name, const struct writer *writer, const char *id);

/*
 * Writes a file for each process that the profile has samples of, by their label
 * process_id; for the first one also when it has none and there are no others.
 * Returns how many, or -1 with *err; those written before an error stay. *first, if
 * there is one, is the first one's name, to be freed.
 */
ssize_t split_write(struct profile *profile, const struct writer *writer, const char *name,
                    const pid_t *pids, size_t npids, char **first, struct error *err);

#endif
