/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of a run, which grow in number while it lasts. One thread adds
 * to the list; others see what was added without a lock, each when it suits
 * them. A place in the list is never used again, so its index names a process for
 * good, as its pid does not.
 */
#ifndef CPROF_TARGET_ROSTER_H
#define CPROF_TARGET_ROSTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/target.h"

#define ROSTER_MAX      65536 /* in one run */
#define ROSTER_MAX_OPEN 4096  /* at once: each has descriptors of ours */

struct roster_member {
	struct target *target; /* owned by the roster */
	bool born;             /* it began within the run: all it used counts */
	_Atomic bool closed;   /* the capture process has done with it */
	/* Its comm, which an exec changes: the one that is not shown is written. */
	char names[2][PROCFS_COMM_LEN];
	_Atomic unsigned shown;
};

struct roster {
	struct roster_member *members[ROSTER_MAX];
	_Atomic size_t n;
	/* How often it was looked whether there are more. When all have ended, those
	 * that they left behind are found by the next look that begins. */
	_Atomic uint64_t looks;
	bool endless; /* more may come when all have ended */
};

/* What came of looking for more processes. */
struct roster_stats {
	uint64_t joined;  /* during the run */
	uint64_t at_once; /* the most that were open at a time */
	uint64_t refused; /* could not be attached to; the first one's reason: */
	struct error first_refusal;
	uint64_t beyond_limits; /* more than ROSTER_MAX_OPEN or ROSTER_MAX */
	uint64_t ended_ns;      /* CPU time of children that ended unseen */
};

struct roster *roster_new(void);
/* Frees the targets too. */
void roster_free(struct roster *roster);

/* Takes the target over. Its index, or -1 when ROSTER_MAX are there: then not. */
ssize_t roster_add(struct roster *roster, struct target *target, bool born);

size_t roster_count(const struct roster *roster);
/* Of an index below a roster_count that was seen. */
struct roster_member *roster_get(const struct roster *roster, size_t index);

/* By who adds. Nothing is done if the name is the same. */
void roster_rename(struct roster_member *member, const char *comm);
/* Its name now; good until it has been renamed twice. */
const char *roster_name(const struct roster_member *member);

#endif
