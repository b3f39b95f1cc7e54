/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts an output where the user wants it: whole or not at all. A file is
 * written without a name (O_TMPFILE) or under a temporary one in the same
 * directory, synced, and renamed over the old one. "-" is stdout. A name that
 * exists and is no regular file (/dev/null, a FIFO) is written in place.
 */
#ifndef CPROF_OUTPUT_FILE_H
#define CPROF_OUTPUT_FILE_H

#include <stddef.h>

#include "base/error.h"

/*
 * Whether output_file_write can be expected to work: the directory exists, is
 * writable and its file system has room; stdout is open, and no terminal when
 * `binary`. Nothing stays behind. 0, or -1 with *err filled (EXIT_CODE_FAILURE).
 */
int output_file_check(const char *name, int binary, struct error *err);

/* Writes all bytes. 0, or -1 with *err filled; then no partial file is left. */
int output_file_write(const char *name, const void *data, size_t len, struct error *err);

/* Removes a temporary file that is being written, if any; async-signal-safe,
 * for a handler that ends the program. */
void output_file_abandon(void);

#endif
