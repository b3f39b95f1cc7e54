/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and writes the parts of a run as they end, in a thread of its own, so that
 * sampling goes on meanwhile.
 *
 * A part that cannot be written is kept, and the next one added to it. So is one
 * that was written because somebody asked for it in a run that makes one file:
 * what comes later is added, and the file written anew. What is kept counts as
 * memory, and if that gets too much, only its totals remain.
 */
#ifndef CPROF_SCRIBE_H
#define CPROF_SCRIBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "collect/segment.h"
#include "options/options.h"
#include "output/series.h"
#include "report/report.h"
#include "target/roster.h"

struct scribe_options {
	const struct options *options;
	struct roster *roster;
	bool cpu_from_stat;
	bool is_command;
	size_t share_bytes; /* of what is kept, the most */
};

/* How the run ended. */
struct scribe_end {
	bool interrupted; /* by a signal */
	bool following;   /* more processes could join: */
	struct roster_stats discovery;
	bool have_status; /* the command has ended: */
	int wait_status;
};

struct scribe;

/* Keeps what it is given. NULL with *err when the files cannot be named, or the
 * first of them cannot be written. */
struct scribe *scribe_new(const struct scribe_options *options, struct error *err);
void scribe_free(struct scribe *scribe);

/* Whether root needs more than its user id to write the files. */
bool scribe_needs_privilege(const struct scribe *scribe);

int scribe_start(struct scribe *scribe, struct error *err);

/* Whether parts can be files of their own. */
bool scribe_can_split(const struct scribe *scribe);

/* Takes over a part that has ended; waits as long as another one waits already. */
void scribe_give(struct scribe *scribe, struct segment *segment);

/* Whether one waits already. */
bool scribe_is_behind(struct scribe *scribe);

/* How many bytes the parts hold that are kept. */
size_t scribe_held_bytes(struct scribe *scribe);

/* How many files have been written. */
uint64_t scribe_files(struct scribe *scribe);

/* Waits until all that was given so far is written, or has failed. */
void scribe_join(struct scribe *scribe);

/* After the join: writes the last part. 0, or -1 with *err. */
int scribe_finish(struct scribe *scribe, struct segment *last, const struct scribe_end *end,
                  struct error *err);

/* After that: the whole run's summary, to be freed. */
char *scribe_summary(struct scribe *scribe, const struct scribe_end *end, unsigned columns);

#endif
