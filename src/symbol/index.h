/* SPDX-License-Identifier: Apache-2.0 */
/* Symbol tables turned into a map from addresses to names. */
#ifndef CPROF_SYMBOL_INDEX_H
#define CPROF_SYMBOL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/array.h"
#include "module/module.h"

/* A symbol that may name code. */
struct index_symbol {
	uint64_t start;
	uint64_t end;     /* one past the last; == start if the size is unknown */
	const char *name; /* in the module's string table */
	unsigned rank;    /* lower is better among names of one address */
	unsigned table;   /* how many were added before its own */
};

/* From `start` to the next one's start, symbol number `symbol` has it. */
struct index_range {
	uint64_t start;
	uint32_t symbol; /* INDEX_NONE: nobody */
};
#define INDEX_NONE UINT32_MAX

/* All zeroes is empty: add tables, build, then find. */
struct symbol_index {
	ARRAY(struct index_symbol) symbols;
	ARRAY(struct index_range) ranges;
	unsigned ntables;
};

/*
 * Takes the symbols of a table that name code. `code` says where code is; the
 * names stay where they are.
 */
void symbol_index_add(struct symbol_index *index, const struct module_symbols *table,
                      const struct module_range *code, size_t ncode);
/* Sorts; once, after the last table. */
void symbol_index_build(struct symbol_index *index, const struct module_range *code,
                        size_t ncode);
/* The symbol of an address, or NULL. */
const struct index_symbol *symbol_index_find(const struct symbol_index *index,
                                             uint64_t vaddr);
void symbol_index_fini(struct symbol_index *index);

#endif
