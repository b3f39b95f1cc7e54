/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go's tables in a file that does not name them: when the system's linker links a
 * position-independent Go program, its .gopclntab becomes a part of .data.rel.ro.
 */
#ifndef CPROF_MODULE_GO_SEARCH_H
#define CPROF_MODULE_GO_SEARCH_H

#include "module/elf_image.h"

/*
 * Where a table of functions (pclntab.h) seems to be, and the end of its segment:
 * by what its header begins with, in all data. False if there is none.
 */
bool go_search_pclntab(struct elf_image *image, struct module_range *range);

/* What the dynamic linker adds the load bias to and writes at a vaddr; or 0. */
uint64_t go_search_relocation(struct elf_image *image, uint64_t vaddr);

#endif
