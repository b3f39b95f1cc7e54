/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/tables.h"

#include <stdlib.h>

#include "base/mem.h"

/* So many mappings and modules that are gone are no matter. */
#define WORN_MAPS    4096
#define WORN_MODULES 256

struct tables *tables_new(enum unwind_method method, const struct symbol_options *symbols)
{
	struct tables *tables = xcalloc(1, sizeof *tables);

	tables->modules = module_cache_new();
	tables->unwinder = unwinder_new(method);
	tables->live_unwinder = unwinder_new(method);
	tables->symbolizer = symbolizer_new(symbols);
	/* Without its thread, names are looked up when a file is written. */
	(void)symbolizer_start(tables->symbolizer, NULL);
	atomic_store(&tables->holders, 1);
	return tables;
}

struct tables *tables_hold(struct tables *tables)
{
	atomic_fetch_add(&tables->holders, 1);
	return tables;
}

void tables_release(struct tables *tables)
{
	if (!tables || atomic_fetch_sub(&tables->holders, 1) > 1)
		return;
	/* Who knows modules and spaces by address goes before them. */
	symbolizer_free(tables->symbolizer);
	unwinder_free(tables->unwinder);
	unwinder_free(tables->live_unwinder);
	for (size_t i = 0; i < tables->spaces.n; i++)
		space_free(tables->spaces.v[i]);
	array_fini(&tables->spaces);
	module_cache_free(tables->modules);
	free(tables);
}

bool tables_are_worn(const struct tables *tables)
{
	size_t mapped = 0, entered = 0, n;

	for (size_t i = 0; i < tables->spaces.n; i++) {
		(void)space_maps(tables->spaces.v[i], &n);
		mapped += n;
		entered += space_entered(tables->spaces.v[i]);
	}
	return entered > 2 * mapped + WORN_MAPS ||
	       module_cache_count(tables->modules) > 2 * mapped + WORN_MODULES;
}

void tables_forget_ids(struct tables *tables)
{
	for (size_t i = 0; i < tables->spaces.n; i++)
		space_forget_ids(tables->spaces.v[i]);
}

struct space *tables_space(struct tables *tables, const struct target *target)
{
	struct space *space = space_new(target, tables->modules);

	array_push(&tables->spaces, space);
	return space;
}

void tables_drop_space(struct tables *tables, struct space *space)
{
	for (size_t i = 0; i < tables->spaces.n; i++) {
		if (tables->spaces.v[i] != space)
			continue;
		tables->spaces.v[i] = tables->spaces.v[--tables->spaces.n];
		break;
	}
	unwinder_forget(tables->unwinder, space);
	unwinder_forget(tables->live_unwinder, space);
	space_free(space);
}
