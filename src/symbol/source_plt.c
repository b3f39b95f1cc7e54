/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/mem.h"
#include "symbol/plt.h"
#include "symbol/source.h"

static void *plt_open(struct module *module)
{
	struct plt_tables tables = {
	        .code = {module_section(module, MODULE_PLT),
	                 module_section(module, MODULE_PLT_SEC),
	                 module_section(module, MODULE_PLT_GOT),
	                 module_section(module, MODULE_IPLT)},
	};
	struct plt *plt;

	if (!tables.code[0].data && !tables.code[1].data && !tables.code[2].data &&
	    !tables.code[3].data)
		return NULL;
	tables.rela[0] = module_section(module, MODULE_RELA_PLT);
	/* It may be large; .rela.plt knows all other slots. */
	if (tables.code[2].data || tables.code[3].data)
		tables.rela[1] = module_section(module, MODULE_RELA_DYN);
	tables.dynsym = module_symbols(module, MODULE_DYNSYM);
	tables.symtab = module_symbols(module, MODULE_SYMTAB);
	if (tables.symtab.n == 0)
		tables.symtab = module_symbols(module, MODULE_DEBUG_SYMTAB);
	plt = xcalloc(1, sizeof *plt);
	plt_read(plt, &tables);
	return plt;
}

static bool plt_answer(void *state, uint64_t vaddr, struct symbol_answer *answer)
{
	const struct plt_stub *stub = plt_find(state, vaddr);

	if (!stub)
		return false;
	answer->name = stub->name;
	answer->distance = vaddr - stub->start;
	return true;
}

static void plt_close(void *state)
{
	plt_fini(state);
	free(state);
}

const struct symbol_source symbol_source_plt = {
        .name = "plt",
        .open = plt_open,
        .find = plt_answer,
        .close = plt_close,
};
