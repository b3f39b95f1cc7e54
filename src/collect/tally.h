/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the samples of one part of a run add up to, by stack, thread and what that
 * was doing. Stacks are those of a profile, which gets the sums in the end.
 */
#ifndef CPROF_COLLECT_TALLY_H
#define CPROF_COLLECT_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collect/waits.h"
#include "options/options.h"
#include "profile/profile.h"
#include "target/procfs.h"
#include "target/roster.h"

struct tally;

/* A thread in words that outlive it. */
struct tally_thread {
	size_t target;
	pid_t tid; /* 0: the process as a whole */
	uint64_t serial;
	char comm[PROCFS_COMM_LEN];
};

/* What one observation adds, and what later ones may take away again. */
struct weights {
	int64_t count;
	int64_t cpu_ns;
	int64_t wall_ns;
	int64_t sleeps;
};

/* What is counted, and so the sample types of a profile. */
struct tally_types {
	unsigned modes; /* enum profile_mode */
	enum profile_mode last_mode;
	double frequency_hz;
	const struct roster *roster; /* the processes, by index */
	bool label_processes;        /* there may be more than one */
};

void weights_add(struct weights *to, const struct weights *more, int sign);

/* Gives a new profile its sample types. */
void tally_add_types(struct profile *profile, const struct tally_types *types);

/* Adds a sample of these weights, in the order of the types; nothing if all that
 * these tell of it is 0. */
void tally_add_sample(struct profile *profile, const struct tally_types *types,
                      uint32_t stack, uint32_t labels, const struct weights *sum);

struct tally *tally_new(void);
void tally_free(struct tally *tally);

/*
 * Adds to the sum of this stack, thread and number of tally_waits. The thread's
 * newest name is that which counts. Returns the sum's number.
 */
size_t tally_add(struct tally *tally, uint32_t stack, const struct tally_thread *thread,
                 uint32_t wait, const struct weights *weights);

/* Adds to a sum, or takes away again (sign -1). */
void tally_adjust(struct tally *tally, size_t sum, const struct weights *weights, int sign);

/* The stack of a sum, and what its thread was doing. */
uint32_t tally_stack(const struct tally *tally, size_t sum);
uint32_t tally_wait(const struct tally *tally, size_t sum);

/* What its threads were doing, by number. */
struct waits *tally_waits(const struct tally *tally);

/* Gives a thread that has samples another name. */
void tally_rename(struct tally *tally, const struct tally_thread *thread);

/* Adds all sums to the profile. */
void tally_enter(const struct tally *tally, struct profile *profile,
                 const struct tally_types *types);

/* The labels of a thread's samples. */
uint32_t tally_labels(const struct tally *tally, struct profile *profile,
                      const struct tally_types *types, const struct tally_thread *thread,
                      uint32_t wait);

/* Says of each thread what it comes to, for --verbose. */
void tally_tell(const struct tally *tally, const struct tally_types *types);

/* How many bytes it holds. */
size_t tally_bytes(const struct tally *tally);

#endif
