/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that a person will read, and the exit statuses they end in.
 *
 * There are three tiers of errors in this program:
 *   - out of memory, or a bug: the program ends at once (base/mem.h, assert);
 *   - what the target caused (it exited, a page is gone): a negative errno,
 *     counted by the caller and never printed once per sample;
 *   - what the user caused: one sentence with a remedy, in a struct error.
 */
#ifndef CPROF_BASE_ERROR_H
#define CPROF_BASE_ERROR_H

enum exit_code {
	EXIT_CODE_OK = 0,         /* a profile was written */
	EXIT_CODE_FAILURE = 1,    /* anything not named below */
	EXIT_CODE_USAGE = 2,      /* the command line is wrong */
	EXIT_CODE_REFUSED = 3,    /* the process exists but cannot be attached to */
	EXIT_CODE_NO_PROCESS = 4, /* there is no such process */
};

struct error {
	enum exit_code code;
	char text[1024]; /* one sentence, without "cprof-attach: " and newline */
};

/*
 * Fills *err (which may be NULL) and returns -1, so that callers can write
 * `return error_set(err, EXIT_CODE_USAGE, "…")`. A later call overwrites.
 */
int error_set(struct error *err, enum exit_code code, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

#endif
