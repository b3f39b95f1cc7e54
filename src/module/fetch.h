/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug files from a debuginfod server, by build id. Nothing is asked of anybody
 * unless DEBUGINFOD_URLS names servers (libdebuginfod's variable: addresses with
 * blanks between them). Inside of module/ alone. All may be called from any thread.
 *
 * A thread of its own asks, while sampling goes on. When somebody waits for a
 * profile (fetch_hurry) all waiting together ends after FETCH_PATIENCE_S; what has
 * not come by then is given up.
 */
#ifndef CPROF_MODULE_FETCH_H
#define CPROF_MODULE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#define FETCH_PATIENCE_S 10
/* One file takes no longer and is no larger. */
#define FETCH_MAX_S     120
#define FETCH_MAX_BYTES ((int64_t)1 << 30)
/* Not more in one run: a program could be made of thousands of files. */
#define FETCH_MAX_FILES 512

/* Whether this build can ask, and whether there is somebody to be asked. */
bool fetch_is_possible(void);

/* Asks for the debug file of a build id (lowercase hex). Returns the number of the
 * request, the same for the same build id, or -1: nobody will be asked. */
int fetch_want(const char *build_id);

/* Waits for an answer. A descriptor of the file, the caller's, or -1. */
int fetch_take(int request);

/* From now on somebody waits for a profile. */
void fetch_hurry(void);
/* From now on nobody does; what is being fetched is for the next one. */
void fetch_take_time(void);
/* Nobody ever will: whatever is still wanted is given up. */
void fetch_give_up(void);

#endif
