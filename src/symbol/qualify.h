/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of functions together with the namespaces and classes they are in, for those
 * that have no mangled name to say so: GCC writes none for what no other file can
 * call. Inside of symbol/ alone.
 */
#ifndef CPROF_SYMBOL_QUALIFY_H
#define CPROF_SYMBOL_QUALIFY_H

#include <elfutils/libdw.h>

#include "base/array.h"
#include "base/hashmap.h"

/* All zeroes is empty. */
struct qualified {
	struct hashmap units;  /* that were walked over, by their entry's place */
	struct hashmap by_die; /* a function's entry, by its place -> index in names */
	ARRAY(char *) names;
	size_t len; /* of all names */
};

/* "zoo::(anonymous namespace)::hidden", or NULL if it has no name. Good as long as
 * both the table and the DWARF. */
const char *qualified_name(struct qualified *qualified, Dwarf_Die *function);
void qualified_fini(struct qualified *qualified);

#endif
