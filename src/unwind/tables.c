/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/tables.h"

const struct fde_table *unwind_tables_find(struct unwind_tables *tables,
                                           struct module *module)
{
	uint64_t value;

	if (!hashmap_get(&tables->map, (uintptr_t)module, &value)) {
		value = (uintptr_t)fde_table_new(module);
		hashmap_put(&tables->map, (uintptr_t)module, value);
	}
	return (const struct fde_table *)(uintptr_t)value;
}

void unwind_tables_fini(struct unwind_tables *tables)
{
	for (size_t i = 0; i < tables->map.nslots; i++)
		if (tables->map.slots[i].used)
			fde_table_free(
			        (struct fde_table *)(uintptr_t)tables->map.slots[i].value);
	hashmap_fini(&tables->map);
}
