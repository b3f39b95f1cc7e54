/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receipt: how a profile was got, told on stderr and in its comments. Pure
 * data in, text out, so the wording is tested without a run.
 */
#ifndef CPROF_REPORT_REPORT_H
#define CPROF_REPORT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capture/sampler.h"
#include "profile/profile.h"
#include "target/roster.h"
#include "unwind/unwind.h"

struct report_target {
	pid_t pid;
	const char *comm;
	struct sampler_target_result result;
	bool have_status; /* it was a command of ours and has ended: */
	int wait_status;
};

/* A part of a run that was written as a file of its own. */
struct report_part {
	uint64_t index;   /* from 1 on; 0: the run has one part */
	uint64_t from_ns; /* since the run's beginning */
	uint64_t to_ns;
	bool is_last;
	bool for_memory; /* it ends because of --memory-limit */
};

struct receipt {
	const char *command_line;
	const char *version;
	const char *output;  /* file name, or "-" */
	size_t nfiles;       /* that were written in its place; 0: it is one */
	char *first_file;    /* of those; the owner is who made it */
	const char *format;  /* writer's name */
	double frequency_hz; /* asked for */
	bool interrupted;    /* ended early by a signal */
	bool sleeping;       /* threads that sleep were sampled */
	bool not_running;    /* threads that run were not, or not for their CPU time */
	bool once;           /* one instant's threads */
	bool cpu_from_stat;  /* weights come in clock ticks: no schedstat here */
	const struct sampler_stats *stats;
	const struct report_target *targets;
	size_t ntargets;
	bool following; /* more processes could join: */
	struct roster_stats discovery;
	struct report_part part;
	uint64_t nparts;                   /* that the run was written in; 0: 1 */
	bool is_command;                   /* targets[0] was started by us */
	uint64_t stack_ends[UNWIND_NENDS]; /* samples by how their stack ended */
	size_t locations_resolved;
	size_t locations_unresolved;
	unsigned columns; /* of the terminal that shows the summary; 0: 80 */
};

/* Adds the receipt to the profile as comments, a fact a line. */
void report_comments(struct profile *profile, const struct receipt *receipt);

/*
 * The closing summary with the ten hottest functions: whole lines, fit for a
 * terminal whatever the names in it; freed by the caller.
 */
char *report_summary(struct profile *profile, const struct receipt *receipt);

/* How a command ended, in words: "exited with status 3", "was ended by signal 9
 * (SIGKILL)". `wait_status` is waitpid's. */
void report_command_status(char *buf, size_t size, int wait_status);

/* The progress line: elapsed / total, samples, threads, missed, files if any. */
void report_progress(char *buf, size_t size, uint64_t elapsed_ns, uint64_t duration_ns,
                     const struct sampler_stats *stats, uint64_t nfiles);

#endif
