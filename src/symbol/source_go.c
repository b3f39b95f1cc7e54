/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/mem.h"
#include "module/pclntab.h"
#include "symbol/source.h"

static void *go_open(struct module *module)
{
	struct pclntab *table = xcalloc(1, sizeof *table);

	if (module_is_go(module) && pclntab_init(table, module))
		return table;
	free(table);
	return NULL;
}

static bool go_find(void *state, uint64_t vaddr, struct symbol_answer *answer)
{
	const struct pclntab *table = state;
	struct pclntab_func func;

	if (!pclntab_find(table, vaddr, &func) || func.name[0] == '\0')
		return false;
	answer->name = func.name;
	answer->distance = vaddr - func.entry;
	if (!pclntab_line(table, &func, vaddr, &answer->file, &answer->line))
		answer->file = NULL;
	return true;
}

static void go_close(void *state)
{
	free(state);
}

const struct symbol_source symbol_source_go = {
        .name = "go",
        .open = go_open,
        .find = go_find,
        .close = go_close,
};
