/* SPDX-License-Identifier: Apache-2.0 */
#include "module/functions.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/mem.h"

#define ENTRY_LEN 48

struct functions {
	ARRAY(struct module_range) ranges; /* sorted; of one start, the longest is last */
};

static void add_table(struct functions *functions, const struct module_symbols *symbols)
{
	for (size_t i = 0; i < symbols->n; i++) {
		const Elf64_Sym *sym = &symbols->v[i];
		struct module_range range = {sym->st_value, sym->st_value + sym->st_size};
		unsigned type = GELF_ST_TYPE(sym->st_info);

		if ((type == STT_FUNC || type == STT_GNU_IFUNC) && sym->st_shndx != 0 &&
		    range.end >= range.start)
			array_push(&functions->ranges, range);
	}
}

static int compare(const void *a, const void *b)
{
	const struct module_range *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

struct functions *functions_new(struct module *module)
{
	struct functions *functions = xcalloc(1, sizeof *functions);
	uint64_t entry = module_entry(module);

	/* Where a program begins is assembly; it is short. */
	if (entry != 0 && entry < UINT64_MAX - ENTRY_LEN)
		array_push(&functions->ranges,
		           ((struct module_range){entry, entry + ENTRY_LEN}));
	for (enum module_symtab which = 0; which < MODULE_NSYMTABS; which++) {
		struct module_symbols symbols = module_symbols(module, which);

		add_table(functions, &symbols);
	}
	if (functions->ranges.n > 0)
		qsort(functions->ranges.v, functions->ranges.n, sizeof(struct module_range),
		      compare);
	return functions;
}

void functions_free(struct functions *functions)
{
	if (functions == NULL)
		return;
	array_fini(&functions->ranges);
	free(functions);
}

bool functions_find(const struct functions *functions, uint64_t vaddr,
                    struct module_range *range)
{
	size_t lo = 0, hi = functions->ranges.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (functions->ranges.v[mid].start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	*range = functions->ranges.v[lo - 1];
	/* Assembly may not say how long it is: up to what comes next. */
	if (range->end == range->start)
		range->end = lo < functions->ranges.n ? functions->ranges.v[lo].start
		                                      : range->start + 4096;
	return vaddr < range->end;
}
