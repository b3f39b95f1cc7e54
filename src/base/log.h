/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the program says on stderr goes through here, so that messages
 * and the updating progress line do not tear each other. Safe to call from
 * any thread.
 */
#ifndef CPROF_BASE_LOG_H
#define CPROF_BASE_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_QUIET,   /* errors alone */
	LOG_LEVEL_NORMAL,  /* and what a user wants to know */
	LOG_LEVEL_VERBOSE, /* and what happened to each thread and module */
};

/* Sets what is printed from now on; LOG_LEVEL_NORMAL before the first call. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* "cprof-attach: " + message + newline, at every level. */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same at LOG_LEVEL_NORMAL and above. */
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same at LOG_LEVEL_VERBOSE. */
void log_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Replaces the progress line. Does nothing unless stderr is a terminal and the
 * level is at least normal. Messages printed meanwhile appear above it.
 */
void log_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Takes the progress line away. */
void log_progress_end(void);

#endif
