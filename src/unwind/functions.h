/* SPDX-License-Identifier: Apache-2.0 */
/* Where functions of a module begin and end that no symbol names. */
#ifndef CPROF_UNWIND_FUNCTIONS_H
#define CPROF_UNWIND_FUNCTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "module/module.h"

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
