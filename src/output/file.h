/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts an output where the user wants it: whole or not at all. A file is
 * written without a name (O_TMPFILE) or under a temporary one in the same
 * directory, synced, and renamed over the old one. "-" is stdout. A name that
 * exists and is no regular file (/dev/null, a FIFO) is written in place.
 */
#ifndef CPROF_OUTPUT_FILE_H
#define CPROF_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * Whether output_file_write can be expected to work: the directory exists, is
 * writable and its file system has room; stdout is open, and no terminal when
 * `binary`. No file is made. The directory is kept open, and what is written
 * under this name later goes there, even if the name leads elsewhere by then.
 * 0, or -1 with *err filled (EXIT_CODE_FAILURE).
 */
int output_file_check(const char *name, int binary, struct error *err);

/*
 * After output_file_check of this name: whether root needs more for that than its
 * user id: the directory, or the file that is replaced or written to, is another
 * user's.
 */
bool output_file_needs_privilege(const char *name);

/* Closes what output_file_check keeps open. */
void output_file_forget(void);

/* Writes all bytes. 0, or -1 with *err filled; then no partial file is left. */
int output_file_write(const char *name, const void *data, size_t len, struct error *err);

/* Removes a temporary file that is being written, if any; async-signal-safe,
 * for a handler that ends the program. */
void output_file_abandon(void);

#endif
