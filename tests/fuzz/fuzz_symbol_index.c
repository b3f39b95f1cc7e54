/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any symbol table, in any code: what is found has a name, covers the address or
 * has no size and begins before it. An input is
 *
 *     u8 number of code ranges; for each u16 distance from the one before, u16 length
 *     u8 number of symbols; for each u8 type and binding, u8 place of its name,
 *     u8 whether it is undefined, absolute or in a section, u32 value, u16 size
 *
 * and the names.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/reader.h"
#include "symbol/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct module_range ranges[UINT8_MAX];

static size_t read_code(struct reader *r)
{
	size_t n = reader_u8(r);
	uint64_t at = 0;

	for (size_t i = 0; i < n; i++) {
		ranges[i].start = at + reader_u16(r);
		ranges[i].end = ranges[i].start + reader_u16(r) + 1;
		at = ranges[i].end;
	}
	return n;
}

static size_t read_symbols(struct reader *r, Elf64_Sym *syms)
{
	size_t n = reader_u8(r);

	for (size_t i = 0; i < n; i++) {
		syms[i].st_info = reader_u8(r);
		syms[i].st_name = reader_u8(r);
		switch (reader_u8(r) % 3) {
		case 0:
			syms[i].st_shndx = SHN_UNDEF;
			break;
		case 1:
			syms[i].st_shndx = SHN_ABS;
			break;
		default:
			syms[i].st_shndx = 1;
		}
		syms[i].st_value = reader_u32(r);
		syms[i].st_size = reader_u16(r);
	}
	return n;
}

static bool is_code(size_t ncode, uint64_t vaddr)
{
	for (size_t i = 0; i < ncode; i++) {
		if (vaddr >= ranges[i].start && vaddr < ranges[i].end)
			return true;
	}
	return false;
}

static void try(const struct symbol_index *index, size_t ncode, uint64_t vaddr)
{
	const struct index_symbol *symbol = symbol_index_find(index, vaddr);

	if (!symbol)
		return;
	if (symbol->start > vaddr || strlen(symbol->name) == 0 || !is_code(ncode, vaddr))
		abort();
	if (symbol->end > symbol->start && vaddr >= symbol->end)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	size_t ncode = read_code(&r);
	Elf64_Sym syms[UINT8_MAX] = {0};
	struct module_symbols table = {.v = syms, .n = read_symbols(&r, syms)};
	size_t left = reader_left(&r);
	char *strings = xcalloc(1, left + 1);
	struct symbol_index index = {0};

	if (!r.failed && left > 0) {
		memcpy(strings, data + r.pos, left);
		table.strings = strings;
		table.strings_len = left + 1;
		symbol_index_add(&index, &table, ranges, ncode);
		symbol_index_build(&index, ranges, ncode);
		for (size_t i = 0; i < table.n; i++) {
			uint64_t start = syms[i].st_value, end = start + syms[i].st_size;

			try(&index, ncode, start - 1);
			try(&index, ncode, start);
			try(&index, ncode, end - 1);
			try(&index, ncode, end);
		}
		for (size_t i = 0; i < ncode; i++) {
			try(&index, ncode, ranges[i].start);
			try(&index, ncode, ranges[i].end);
		}
	}
	symbol_index_fini(&index);
	free(strings);
	return 0;
}
