/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which functions of a DWARF unit an address is in: the concrete one, and those
 * inlined there (DWARF 5, 3.3). Read in one walk over the unit, which takes no
 * more time and memory than the limits in scopes.c allow, whatever the unit says.
 * Inside of symbol/ alone.
 */
#ifndef CPROF_SYMBOL_SCOPES_H
#define CPROF_SYMBOL_SCOPES_H

#include <stdbool.h>
#include <stdint.h>

#include <elfutils/libdw.h>

#include "base/array.h"
#include "symbol/spans.h"

struct scope {
	Dwarf_Die die;
	uint32_t parent; /* SPANS_NONE: it is in no other function */
	bool inlined;    /* into the parent */
};

struct scopes {
	ARRAY(struct scope) v;
	struct spans spans; /* -> index in v, of the innermost */
};

enum scopes_visit {
	SCOPES_PASS,  /* what is below is of no interest */
	SCOPES_ENTER, /* go on below */
};
/* Of an entry; *state is what was left there for the one above, and becomes that for
 * those below. */
typedef enum scopes_visit (*scopes_visitor)(void *ctx, Dwarf_Die *die, size_t *state);

/* Visits the entries of a unit from the top, with a *state of 0, within limits. */
void scopes_walk(Dwarf_Die *unit, scopes_visitor visitor, void *ctx);

/* Of all functions in a unit; what is in all zeroes before. */
void scopes_read(struct scopes *scopes, Dwarf_Die *unit);
void scopes_fini(struct scopes *scopes);

#endif
