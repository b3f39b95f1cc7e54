/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which symbol an address belongs to, when symbols overlap, share addresses or
 * have no size. The answers, in this order:
 *
 *   1. Of the symbols whose size covers the address, the one that starts last
 *      (the innermost).
 *   2. Of those that start at the same address, the better name: global before
 *      weak before local, function before no type, fewer leading underscores,
 *      shorter, the table that was added first, then the alphabet. So two runs
 *      name an address alike.
 *   3. If none covers it, the last symbol before it that has no size, as
 *      hand-written assembly leaves them. It reaches to the next symbol or the
 *      end of its section. One in front of or inside a symbol with a size does
 *      not reach beyond that. And a symbol with a size never reaches beyond its
 *      size: in a stripped file the nearest exported name is mostly a wrong one.
 *
 * This is worked out once for all addresses, by sweeping over the symbols in
 * order of their start with a stack of those still open. The result is a list
 * of disjoint ranges, and a lookup is one binary search, whatever overlaps a
 * hostile table holds.
 */
#include "symbol/index.h"

#include <stdlib.h>
#include <string.h>

/* Longer names are told apart by their beginning. */
#define COMPARE_MAX  1024
#define RANK_MAX_LEN 0xffff

static bool names_code(const Elf64_Sym *sym)
{
	unsigned type = ELF64_ST_TYPE(sym->st_info);

	return sym->st_shndx != SHN_UNDEF && sym->st_shndx != SHN_COMMON &&
	       (type == STT_FUNC || type == STT_GNU_IFUNC ||
	        (type == STT_NOTYPE && sym->st_shndx != SHN_ABS));
}

/* Labels of assemblers and compilers (".L12", "$x.1"), and no name at all. */
static bool is_label(const char *name)
{
	return name[0] == '\0' || name[0] == '$' || (name[0] == '.' && name[1] == 'L');
}

/* Lower is better; the parts are in the order of the theory above. */
static unsigned rank_of(const Elf64_Sym *sym, const char *name)
{
	unsigned bind = ELF64_ST_BIND(sym->st_info), order;
	bool notype = ELF64_ST_TYPE(sym->st_info) == STT_NOTYPE;
	size_t len = strnlen(name, RANK_MAX_LEN), underscores = 0;

	order = bind == STB_GLOBAL || bind == STB_GNU_UNIQUE ? 0 : bind == STB_WEAK ? 1 : 2;
	while (underscores < 15 && name[underscores] == '_')
		underscores++;
	return order << 24 | (unsigned)notype << 20 | (unsigned)underscores << 16 |
	       (unsigned)len;
}

void symbol_index_add(struct symbol_index *index, const struct module_symbols *table,
                      const struct module_range *code, size_t ncode)
{
	index->ntables++;
	for (size_t i = 0; i < table->n; i++) {
		const Elf64_Sym *sym = &table->v[i];
		const struct module_range *range;
		struct index_symbol symbol;

		if (!names_code(sym) || sym->st_name >= table->strings_len)
			continue;
		symbol.name = table->strings + sym->st_name;
		if (is_label(symbol.name))
			continue;
		range = module_range_find(code, ncode, sym->st_value);
		if (!range)
			continue;
		symbol.start = sym->st_value;
		symbol.end = sym->st_size < range->end - symbol.start
		                     ? symbol.start + sym->st_size
		                     : range->end;
		symbol.rank = rank_of(sym, symbol.name);
		symbol.table = index->ntables;
		array_push(&index->symbols, symbol);
	}
}

/* By start; at one start the better one later, to lie on top of the stack. */
static int compare_symbols(const void *a, const void *b)
{
	const struct index_symbol *x = a, *y = b;
	int order;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	if (x->table != y->table)
		return x->table > y->table ? -1 : 1;
	order = strncmp(y->name, x->name, COMPARE_MAX);
	if (order != 0)
		return order;
	return (x->end < y->end) - (x->end > y->end);
}

struct sweep {
	struct symbol_index *index;
	ARRAY(uint32_t) open; /* symbols that began and may still cover; top last */
	uint32_t label;       /* a symbol without a size that may reach on */
	uint64_t label_end;
	uint64_t at; /* everything below is decided */
};

static void emit(struct sweep *sweep, uint64_t start, uint32_t symbol)
{
	struct symbol_index *index = sweep->index;
	struct index_range range = {.start = start, .symbol = symbol};

	if (index->ranges.n > 0) {
		struct index_range *last = &index->ranges.v[index->ranges.n - 1];

		if (last->symbol == symbol)
			return;
		if (last->start == start) {
			last->symbol = symbol;
			return;
		}
	}
	array_push(&index->ranges, range);
}

/* What no sized symbol covers from sweep->at up to `to`. */
static void emit_gap(struct sweep *sweep, uint64_t to)
{
	if (sweep->label != INDEX_NONE && sweep->at < sweep->label_end) {
		emit(sweep, sweep->at, sweep->label);
		if (sweep->label_end < to)
			emit(sweep, sweep->label_end, INDEX_NONE);
	} else {
		emit(sweep, sweep->at, INDEX_NONE);
	}
	sweep->at = to;
}

/* Drops the symbols that ended; whether one is left that covers sweep->at. */
static bool top_covers(struct sweep *sweep)
{
	const struct index_symbol *symbols = sweep->index->symbols.v;

	while (sweep->open.n > 0 &&
	       symbols[sweep->open.v[sweep->open.n - 1]].end <= sweep->at)
		sweep->open.n--;
	return sweep->open.n > 0;
}

/* Decides everything below `to`, where the next symbol begins. */
static void advance(struct sweep *sweep, uint64_t to)
{
	while (sweep->at < to) {
		uint32_t top;
		uint64_t end;

		if (!top_covers(sweep)) {
			emit_gap(sweep, to);
			return;
		}
		top = sweep->open.v[sweep->open.n - 1];
		end = sweep->index->symbols.v[top].end;
		emit(sweep, sweep->at, top);
		sweep->at = end < to ? end : to;
	}
}

static void begin_symbol(struct sweep *sweep, uint32_t number,
                         const struct module_range *code, size_t ncode)
{
	const struct index_symbol *symbol = &sweep->index->symbols.v[number];

	advance(sweep, symbol->start);
	if (symbol->end > symbol->start) {
		sweep->label = INDEX_NONE;
		array_push(&sweep->open, number);
	} else if (!top_covers(sweep)) {
		sweep->label = number;
		sweep->label_end = module_range_find(code, ncode, symbol->start)->end;
	}
}

void symbol_index_build(struct symbol_index *index, const struct module_range *code,
                        size_t ncode)
{
	struct sweep sweep = {.index = index, .label = INDEX_NONE};

	if (index->symbols.n == 0 || index->symbols.n >= INDEX_NONE)
		return;
	qsort(index->symbols.v, index->symbols.n, sizeof index->symbols.v[0],
	      compare_symbols);
	for (size_t i = 0; i < index->symbols.n; i++)
		begin_symbol(&sweep, (uint32_t)i, code, ncode);
	advance(&sweep, UINT64_MAX);
	array_fini(&sweep.open);
}

const struct index_symbol *symbol_index_find(const struct symbol_index *index,
                                             uint64_t vaddr)
{
	size_t low = 0, high = index->ranges.n;

	/* The last range that starts at or below the address. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (index->ranges.v[mid].start <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0 || index->ranges.v[low - 1].symbol == INDEX_NONE)
		return NULL;
	return &index->symbols.v[index->ranges.v[low - 1].symbol];
}

void symbol_index_fini(struct symbol_index *index)
{
	array_fini(&index->symbols);
	array_fini(&index->ranges);
}
