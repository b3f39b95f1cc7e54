/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that a JIT compiler gives to the code it made: /tmp/perf-PID.map, a
 * convention of Linux's perf (tools/perf/Documentation/jit-interface.txt) that
 * many runtimes keep when asked to (node --perf-basic-prof, java, php, python
 * -X perf). A line for each piece of code, in hexadecimal its address and size,
 * then its name, up to the end of the line:
 *
 *     7fd9f4042c40 1a8 JS:*fib /srv/app/fib.js:3:13
 *
 * Code is thrown away and its memory used again, and nothing in the file says
 * so. Of the lines that cover an address the last one is therefore right.
 */
#ifndef CPROF_SYMBOL_PERF_MAP_H
#define CPROF_SYMBOL_PERF_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "symbol/code_map.h"

/* Of a longer text only so many lines are taken, the last ones. */
#define PERF_MAP_MAX_LINES ((size_t)2 << 20)

struct perf_map;

/*
 * Takes over a malloc'ed text of len bytes. Lines that make no sense are passed
 * over, and so is a last one without a newline: it is still being written.
 */
struct perf_map *perf_map_parse(char *text, size_t len);
void perf_map_free(struct perf_map *map);
/* How much memory it takes. Of NULL, 0. */
size_t perf_map_bytes(const struct perf_map *map);

/* The last line that covers an address, or NULL; its name is not empty. Good as
 * long as the map. */
const struct code_entry *perf_map_find(const struct perf_map *map, uint64_t address);

#endif
