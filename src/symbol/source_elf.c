/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"
#include "symbol/index.h"
#include "symbol/source.h"

/*
 * Linkers put all of .dynsym into .symtab as well. With a .symtab of fewer symbols it
 * must have been taken apart since.
 */
static bool has_all(struct module *module)
{
	return module_symbols(module, MODULE_SYMTAB).n >=
	       module_symbols(module, MODULE_DYNSYM).n;
}

static void *elf_open(struct module *module)
{
	struct symbol_index *index = xcalloc(1, sizeof *index);
	size_t ncode;
	const struct module_range *code = module_code(module, &ncode);

	for (int which = 0; which < MODULE_NSYMTABS; which++) {
		struct module_symbols table = module_symbols(module, which);

		if (which == MODULE_DYNSYM && has_all(module))
			continue;
		symbol_index_add(index, &table, code, ncode);
	}
	symbol_index_build(index, code, ncode);
	return index;
}

static bool elf_find(void *state, uint64_t vaddr, struct symbol_answer *answer)
{
	const struct index_symbol *symbol = symbol_index_find(state, vaddr);

	if (!symbol)
		return false;
	answer->name = symbol->name;
	answer->distance = vaddr - symbol->start;
	return true;
}

static void elf_close(void *state)
{
	symbol_index_fini(state);
	free(state);
}

const struct symbol_source symbol_source_elf = {
        .name = "elf",
        .open = elf_open,
        .find = elf_find,
        .close = elf_close,
};
