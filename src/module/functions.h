/* SPDX-License-Identifier: Apache-2.0 */
/* Where the functions of a module begin and end, by its symbol tables. */
#ifndef CPROF_MODULE_FUNCTIONS_H
#define CPROF_MODULE_FUNCTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "module/module.h"

struct functions;

/* Reads all symbol tables of the module. */
struct functions *functions_new(struct module *module);
void functions_free(struct functions *functions);

/* The function that covers a vaddr; false if no symbol says so. */
bool functions_find(const struct functions *functions, uint64_t vaddr,
                    struct module_range *range);

#endif
