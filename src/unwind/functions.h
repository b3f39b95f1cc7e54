/* SPDX-License-Identifier: Apache-2.0 */
/* Where the functions of a module begin and end, by its symbol tables. */
#ifndef CPROF_UNWIND_FUNCTIONS_H
#define CPROF_UNWIND_FUNCTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "module/module.h"

struct functions;

struct functions *functions_new(struct module *module);
void functions_free(struct functions *functions);

/* The function that covers a vaddr; false if no symbol says so. */
bool functions_find(const struct functions *functions, uint64_t vaddr,
                    struct module_range *range);

/*
 * Where the function that covers a vaddr seems to begin, for code without symbols:
 * at a multiple of 16, behind an instruction that does not go on and no more than
 * padding, with an instruction that makes room on the stack. (Loops are aligned
 * in the same way, but do not begin so.) False if that is not near.
 */
bool functions_guess(struct module *module, uint64_t vaddr, uint64_t *start);

/* Where the next one seems to begin: the same, behind vaddr. Always above it. */
uint64_t functions_guess_end(struct module *module, uint64_t vaddr);

#endif
