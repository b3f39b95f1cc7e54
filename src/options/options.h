/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, understood. Every message about wrong use comes from here. */
#ifndef CPROF_OPTIONS_OPTIONS_H
#define CPROF_OPTIONS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/array.h"
#include "base/error.h"
#include "output/writer.h"
#include "unwind/unwind.h"

/* Bits: cpu and wall may be asked for together. */
enum profile_mode {
	MODE_CPU = 1,
	MODE_WALL = 2,
	MODE_BLOCK = 4,
	MODE_THREADS = 8,
};

enum accounting {
	ACCOUNTING_AUTO,      /* schedstat where the kernel has it */
	ACCOUNTING_SCHEDSTAT, /* /proc/PID/task/TID/schedstat: nanoseconds */
	ACCOUNTING_STAT,      /* /proc/PID/task/TID/stat: clock ticks */
};

enum options_action {
	OPTIONS_RUN,
	OPTIONS_HELP,    /* print help on stdout, exit 0 */
	OPTIONS_VERSION, /* print the version and features, exit 0 */
};

struct options {
	enum options_action action;
	ARRAY(pid_t) pids;     /* -p, without doubles */
	ARRAY(pid_t) tids;     /* -t, without doubles; empty: all threads */
	char *name;            /* -n: an extended regular expression, or NULL */
	bool all;              /* all processes that have such a name */
	char *cgroup;          /* --cgroup, or NULL */
	bool children;         /* the processes below the targets, too */
	bool split;            /* a file for each process */
	char **command;        /* after --, NULL-terminated, or NULL */
	double duration_s;     /* 30 unless said; 0: until the target ends */
	bool duration_ignored; /* one was given, and the mode has no use for it */
	double frequency_hz;   /* 99 */
	double max_overhead;   /* a part: 0.01; 1: without limit */
	uint64_t max_pause_ns; /* 0: without limit */
	char *output;          /* "profile.pb.gz", or as the format says; "-" is stdout */
	const struct writer *format;
	unsigned modes;              /* enum profile_mode, or-ed */
	enum profile_mode last_mode; /* the one named last: what readers show first */
	bool wait_detail;
	bool kernel_stacks;
	bool no_traceback;
	enum accounting accounting;
	enum unwind_method unwinder;
	size_t max_depth;       /* frames of one stack: 512 */
	bool no_lines;          /* no files and lines, and so no inlined functions */
	bool no_inlines;        /* no inlined functions */
	bool no_demangle;       /* names as the linker knows them */
	const char *debuginfod; /* servers in place of DEBUGINFOD_URLS's, or NULL */
	double every_s;         /* a file for each so many seconds; 0: one file */
	size_t keep;            /* so many of those files; 0: all */
	uint64_t keep_bytes;    /* files of so many bytes; 0: all */
	uint64_t memory_limit;  /* bytes: 256 MiB */
	bool quiet;
	bool verbose;
	char *command_line; /* all of argv, for the profile's comment */
};

/*
 * 0, or -1 with *err filled (EXIT_CODE_USAGE). Freed with options_fini; refers
 * to argv until then. With an action other than OPTIONS_RUN, `format` and
 * `output` may be NULL.
 */
int options_parse(int argc, char **argv, struct options *options, struct error *err);
void options_fini(struct options *options);

void options_print_help(void);
void options_print_version(void);

#endif
