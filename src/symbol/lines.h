/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DWARF, versions 4 and 5, as far as it says where an address comes from in the
 * source: by libdw, whose tables are asked for unit by unit, when a unit's first
 * address is looked up. Inside of symbol/ alone.
 */
#ifndef CPROF_SYMBOL_LINES_H
#define CPROF_SYMBOL_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "module/module.h"

/* Deeper inlining is cut at its innermost end. */
#define LINES_MAX_FRAMES 64

/* A function in which an address is. Strings are good as long as the lines. */
struct line_frame {
	const char *name; /* mangled if it has such a one; NULL: unknown */
	const char *file; /* with its directory; NULL: unknown */
	uint32_t line;    /* 0: unknown */
	uint32_t start_line;
};

struct lines;

/* NULL if the module has no DWARF. */
struct lines *lines_new(struct module *module, bool inlines);
void lines_free(struct lines *lines);

/*
 * The functions that an address is in: those inlined, innermost first, each with
 * the place where the one before was inlined, then the one whose code it is.
 * Fills LINES_MAX_FRAMES at most; the number, 0 if nothing is known. Without
 * inlines, the one frame has no name.
 */
size_t lines_find(struct lines *lines, uint64_t vaddr, struct line_frame *frames);

#endif
