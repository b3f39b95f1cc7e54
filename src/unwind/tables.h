/* SPDX-License-Identifier: Apache-2.0 */
/* The unwind tables of the modules that stacks went through, opened when first met. */
#ifndef CPROF_UNWIND_TABLES_H
#define CPROF_UNWIND_TABLES_H

#include "base/hashmap.h"
#include "module/fde.h"

struct unwind_tables {
	struct hashmap map; /* struct module * -> struct fde_table * */
};

/* The module's table; owned by `tables`. Modules must outlive it. */
const struct fde_table *unwind_tables_find(struct unwind_tables *tables,
                                           struct module *module);
void unwind_tables_fini(struct unwind_tables *tables);

#endif
