/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go's own table of its functions (.gopclntab), which stripping a binary leaves
 * in it: for each PC the function, file and line, and how far SP is below the
 * return address. Of the format's revisions those of Go 1.18 and 1.20 are read
 * (the second is still current in Go 1.25). Its only description is Go's source,
 * src/runtime/symtab.go.
 *
 * All bytes are hostile: what does not fit is as if it were not there.
 */
#ifndef CPROF_MODULE_PCLNTAB_H
#define CPROF_MODULE_PCLNTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "module/module.h"

struct pclntab {
	const uint8_t *data;
	size_t len;
	bool is_118;   /* the older of the two formats */
	uint64_t text; /* vaddr that the functions' offsets count from */
	uint64_t min_insn;
	size_t nfuncs;
	size_t names;  /* offset of the function names */
	size_t units;  /* offset of the units' lists of files */
	size_t files;  /* offset of the file names */
	size_t values; /* offset of the tables of values by PC */
	size_t funcs;  /* offset of the functions, sorted by address */
};

struct pclntab_func {
	uint64_t entry;   /* vaddr */
	const char *name; /* "runtime.goexit", in place; never NULL */
	bool is_top;      /* nothing calls it: a stack ends here */
	bool writes_sp;   /* it moves SP to another stack */
	/* For the functions below: tables of values by PC, and the unit's list. */
	uint32_t sp_table;
	uint32_t file_table;
	uint32_t line_table;
	uint32_t unit;
};

/* False if there is no table, or none of a known format. */
bool pclntab_init(struct pclntab *table, struct module *module);
/* The same from the bytes and the vaddr of Go's first function. */
bool pclntab_from_bytes(struct pclntab *table, const uint8_t *data, size_t len,
                        uint64_t text);

/* The function that covers a vaddr. */
bool pclntab_find(const struct pclntab *table, uint64_t vaddr, struct pclntab_func *func);

/* How many bytes above SP the return address lies at a PC of this function. */
bool pclntab_sp_delta(const struct pclntab *table, const struct pclntab_func *func,
                      uint64_t vaddr, uint64_t *delta);

/*
 * The source line of a PC of this function; the file's name is in place. Where
 * another function was inlined, the line is of that one. False if it is not known.
 */
bool pclntab_line(const struct pclntab *table, const struct pclntab_func *func,
                  uint64_t vaddr, const char **file, uint32_t *line);

#endif
