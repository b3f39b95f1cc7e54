/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header (all words 8 bytes here):
 *
 *     u32 magic, u16 0, u8 smallest instruction, u8 word size,
 *     functions, files, text, offsets of: names, units, files, values, functions
 *
 * At the offset of functions, pairs of u32: where a function begins, counted from
 * `text`, and where its description lies, counted from there. A description:
 *
 *     u32 entry, i32 name, args, deferreturn, sp values, file values, line
 *     values, number of other values, unit, (since Go 1.20: first line), u8 id,
 *     u8 flags
 *
 * A file is given by its place in the unit's list, which begins at the unit'th u32
 * of the units and has offsets into the file names; all ones stand for none.
 *
 * Values by PC are runs: a signed difference of the value and the number of
 * instructions it holds for, both variable-length; the value begins at -1 and
 * the first difference may be 0, a later one ends the table.
 */
#include "module/pclntab.h"

#include <string.h>

#include "base/reader.h"

#define MAGIC_118 0xfffffff0u
#define MAGIC_120 0xfffffff1u

#define FLAG_TOP       1
#define FLAG_WRITES_SP 2

#define TEXT_WORD 24 /* where `text` is */

#define MAX_RUNS 20000 /* of values in one function */

bool pclntab_from_bytes(struct pclntab *table, const uint8_t *data, size_t len,
                        uint64_t text)
{
	struct reader r = reader_init(data, len);
	uint32_t magic = reader_u32(&r);
	uint64_t word[8];

	reader_skip(&r, 2);
	*table = (struct pclntab){.data = data, .len = len, .is_118 = magic == MAGIC_118};
	table->min_insn = reader_u8(&r);
	if ((magic != MAGIC_118 && magic != MAGIC_120) || reader_u8(&r) != 8)
		return false;
	for (size_t i = 0; i < 8; i++)
		word[i] = reader_u64(&r);
	table->text = text != 0 ? text : word[2];
	table->names = word[3];
	table->units = word[4];
	table->files = word[5];
	table->values = word[6];
	table->funcs = word[7];
	/* Each function takes 8 bytes, and the end of the last one 4 more. */
	if (r.failed || table->names >= len || table->values >= len ||
	    table->funcs >= len || word[0] == 0 || word[0] > (len - table->funcs) / 8)
		return false;
	table->nfuncs = word[0];
	return true;
}

/* In a position-independent program the table's own word waits to be relocated. */
static uint64_t find_text(struct module *module)
{
	struct module_symbols symbols = module_symbols(module, MODULE_SYMTAB);

	for (size_t i = 0; i < symbols.n; i++)
		if (symbols.v[i].st_name < symbols.strings_len &&
		    strcmp(symbols.strings + symbols.v[i].st_name, "runtime.text") == 0)
			return symbols.v[i].st_value;
	return 0;
}

static bool is_code(const struct module *module, uint64_t vaddr)
{
	size_t n;
	const struct module_range *code = module_code(module, &n);

	for (size_t i = 0; i < n; i++)
		if (vaddr >= code[i].start && vaddr < code[i].end)
			return true;
	return false;
}

bool pclntab_init(struct pclntab *table, struct module *module)
{
	struct module_view view = module_section(module, MODULE_GOPCLNTAB);

	if (view.data == NULL || !pclntab_from_bytes(table, view.data, view.len, 0))
		return false;
	if (!is_code(module, table->text))
		table->text = find_text(module);
	if (!is_code(module, table->text))
		table->text = module_relocation(module, view.vaddr + TEXT_WORD);
	return is_code(module, table->text);
}

static uint32_t word_at(const struct pclntab *table, size_t offset)
{
	struct reader r = reader_init(table->data, table->len);

	reader_seek(&r, offset);
	return reader_u32(&r);
}

static bool read_func(const struct pclntab *table, size_t offset, struct pclntab_func *func)
{
	struct reader r = reader_init(table->data, table->len);
	uint32_t name;
	uint8_t flags;

	reader_seek(&r, offset);
	func->entry = table->text + reader_u32(&r);
	name = reader_u32(&r);
	reader_skip(&r, 8);
	func->sp_table = reader_u32(&r);
	func->file_table = reader_u32(&r);
	func->line_table = reader_u32(&r);
	reader_skip(&r, 4);
	func->unit = reader_u32(&r);
	reader_skip(&r, table->is_118 ? 1 : 5);
	flags = reader_u8(&r);
	reader_seek(&r, table->names);
	reader_skip(&r, name);
	func->name = reader_cstr(&r);
	func->is_top = (flags & FLAG_TOP) != 0;
	func->writes_sp = (flags & FLAG_WRITES_SP) != 0;
	return !r.failed;
}

bool pclntab_find(const struct pclntab *table, uint64_t vaddr, struct pclntab_func *func)
{
	uint64_t into = vaddr - table->text;
	size_t lo = 0, hi = table->nfuncs;

	if (vaddr < table->text || into >= word_at(table, table->funcs + table->nfuncs * 8))
		return false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (word_at(table, table->funcs + mid * 8) <= into)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	return read_func(table,
	                 table->funcs + word_at(table, table->funcs + (lo - 1) * 8 + 4),
	                 func);
}

/* The value that one of the function's tables has for a PC; numbers of 32 bits. */
static bool value_at(const struct pclntab *table, const struct pclntab_func *func,
                     uint32_t runs, uint64_t vaddr, uint32_t *value)
{
	struct reader r = reader_init(table->data, table->len);
	uint64_t pc = func->entry;

	if (runs == 0)
		return false;
	reader_seek(&r, table->values);
	reader_skip(&r, runs);
	*value = UINT32_MAX;
	for (unsigned run = 0; run < MAX_RUNS; run++) {
		uint32_t difference = (uint32_t)reader_uleb(&r);
		uint64_t insns = reader_uleb(&r);

		if (r.failed || (difference == 0 && run > 0))
			return false;
		*value += difference >> 1 ^ -(difference & 1);
		pc += insns * table->min_insn;
		if (vaddr < pc)
			return *value <= INT32_MAX;
	}
	return false;
}

bool pclntab_sp_delta(const struct pclntab *table, const struct pclntab_func *func,
                      uint64_t vaddr, uint64_t *delta)
{
	uint32_t value;

	if (!value_at(table, func, func->sp_table, vaddr, &value) || value % 8 != 0)
		return false;
	*delta = value;
	return true;
}

bool pclntab_line(const struct pclntab *table, const struct pclntab_func *func,
                  uint64_t vaddr, const char **file, uint32_t *line)
{
	struct reader r = reader_init(table->data, table->len);
	uint32_t place, name;

	if (!value_at(table, func, func->file_table, vaddr, &place) ||
	    !value_at(table, func, func->line_table, vaddr, line))
		return false;
	reader_seek(&r, table->units);
	reader_skip(&r, ((uint64_t)func->unit + place) * 4);
	name = reader_u32(&r);
	reader_seek(&r, table->files);
	reader_skip(&r, name);
	*file = reader_cstr(&r);
	return !r.failed && name != UINT32_MAX;
}
