/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for the procedure linkage table: the stubs through which a program calls
 * the functions of libraries, and its own that are chosen at start (IFUNC). No
 * symbol names them; "memcpy@plt" is what debuggers call them.
 */
#ifndef CPROF_SYMBOL_PLT_H
#define CPROF_SYMBOL_PLT_H

#include <stddef.h>
#include <stdint.h>

#include "base/array.h"
#include "module/module.h"

struct plt_stub {
	uint64_t start;
	uint64_t end;
	char *name; /* the function's, with "@plt" behind it */
};

/* All zeroes is empty. Sorted by address once it is read. */
struct plt {
	ARRAY(struct plt_stub) stubs;
	size_t names_len; /* bytes of their names */
};

/* What stubs are made of. A view without data is of a section that is not there. */
struct plt_tables {
	struct module_view code[4]; /* .plt, .plt.sec, .plt.got, .iplt */
	struct module_view rela[2]; /* .rela.plt, .rela.dyn; the first counts stubs */
	struct module_symbols dynsym;
	struct module_symbols symtab; /* for IFUNCs of the program's own */
};

void plt_read(struct plt *plt, const struct plt_tables *tables);
/* The stub that holds an address, or NULL. */
const struct plt_stub *plt_find(const struct plt *plt, uint64_t vaddr);
void plt_fini(struct plt *plt);

#endif
