/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source of names for the code of a module. The symbolizer asks its sources
 * in order and takes the first answer. Inside of symbol/ alone.
 */
#ifndef CPROF_SYMBOL_SOURCE_H
#define CPROF_SYMBOL_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "module/module.h"

struct symbol_answer {
	const char *name;  /* as the file spells it; good until close */
	uint64_t distance; /* from the symbol's start */
	const char *file;  /* where the source knows lines; NULL: it does not */
	uint32_t line;
};

struct symbol_source {
	const char *name;
	/* Reads what it needs of a module; NULL if it can name nothing in it. */
	void *(*open)(struct module *module);
	bool (*find)(void *state, uint64_t vaddr, struct symbol_answer *answer);
	void (*close)(void *state);
};

/* The symbol tables of the module and of its debug file. */
extern const struct symbol_source symbol_source_elf;
/* The functions of Go's own table, which stripping leaves in a program. */
extern const struct symbol_source symbol_source_go;
/* The stubs of its procedure linkage table, as "name@plt". */
extern const struct symbol_source symbol_source_plt;

#endif
