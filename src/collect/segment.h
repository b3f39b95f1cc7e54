/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of a run on its way from the sampler to a file: what was sampled, and the
 * account of how. Most runs have one.
 */
#ifndef CPROF_COLLECT_SEGMENT_H
#define CPROF_COLLECT_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "capture/sampler.h"
#include "collect/tables.h"
#include "collect/tally.h"
#include "profile/profile.h"
#include "symbol/symbol.h"
#include "unwind/unwind.h"

/* Why a part ends; several may come together. */
enum segment_end {
	SEGMENT_TIME = 1 << 0,   /* --every */
	SEGMENT_MEMORY = 1 << 1, /* --memory-limit */
	SEGMENT_ASKED = 1 << 2,  /* SIGUSR1 */
	SEGMENT_LAST = 1 << 3,   /* the run ends */
};

struct segment {
	struct tally_types types;
	struct profile *profile;
	struct tally *tally;             /* until it is completed */
	struct tables *tables;           /* the same */
	struct sampler_segment *account; /* set when it ends */
	unsigned why;                    /* the same: of enum segment_end */
	uint64_t stack_ends[UNWIND_NENDS];
	struct symbol_stats symbols;
};

/* Takes over a hold on the tables. */
struct segment *segment_new(const struct tally_types *types, struct tables *tables);
void segment_free(struct segment *segment);

/* How many bytes its stacks and sums hold. */
size_t segment_bytes(const struct segment *segment);

/*
 * Once it has ended: puts all sums into its profile, with the threads' last names,
 * and the CPU time that no sample claims as "[not sampled]", looks up all names,
 * and lets go of the tables.
 */
void segment_complete(struct segment *segment);

/* Adds CPU time of children of a process that ended without having been seen. Before
 * it is completed. */
void segment_add_ended(struct segment *segment, size_t parent, uint64_t cpu_ns);

/* Adds a completed part to the completed one before it, and frees it. */
void segment_merge(struct segment *segment, struct segment *next);

/*
 * Of a completed part, leaves the totals alone, in one sample called
 * "[not written]".
 */
void segment_collapse(struct segment *segment);

#endif
