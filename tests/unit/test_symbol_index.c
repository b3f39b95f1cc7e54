/* SPDX-License-Identifier: Apache-2.0 */
/* Which symbol an address belongs to: overlaps, aliases, missing sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "symbol/index.h"

#define TEXT 0x1000u
#define FINI 0x3000u

static const struct module_range code[] = {{TEXT, 0x2000}, {FINI, 0x3010}};

struct row {
	const char *name;
	uint64_t value;
	uint64_t size;
	unsigned bind;
	unsigned type;
	unsigned shndx; /* 0 here means 1, a defined one */
};

struct fixture {
	Elf64_Sym syms[64];
	char strings[4096];
	struct module_symbols table;
	struct symbol_index index;
};

static void fixture_build(struct fixture *f, const struct row *rows, size_t n)
{
	size_t used = 1;

	memset(f, 0, sizeof *f);
	assert_true(n <= 64);
	for (size_t i = 0; i < n; i++) {
		f->syms[i].st_name = (Elf64_Word)used;
		f->syms[i].st_value = rows[i].value;
		f->syms[i].st_size = rows[i].size;
		f->syms[i].st_info = ELF64_ST_INFO(rows[i].bind, rows[i].type);
		f->syms[i].st_shndx = (Elf64_Half)(rows[i].shndx ? rows[i].shndx : 1);
		used += (size_t)(stpcpy(f->strings + used, rows[i].name) + 1 -
		                 (f->strings + used));
	}
	f->table = (struct module_symbols){f->syms, n, f->strings, used};
	symbol_index_add(&f->index, &f->table, code, 2);
	symbol_index_build(&f->index, code, 2);
}

static const char *name_at(struct fixture *f, uint64_t vaddr)
{
	const struct index_symbol *symbol = symbol_index_find(&f->index, vaddr);

	return symbol ? symbol->name : "-";
}

#define BUILD(f, rows) fixture_build((f), (rows), sizeof(rows) / sizeof(rows)[0])

static void test_sizes_bound_symbols(void **state)
{
	static const struct row rows[] = {
	        {"second", TEXT + 0x40, 0x10, STB_GLOBAL, STT_FUNC, 0},
	        {"first", TEXT + 0x10, 0x20, STB_GLOBAL, STT_FUNC, 0},
	};
	struct fixture f;

	(void)state;
	BUILD(&f, rows);
	assert_string_equal(name_at(&f, 0), "-");
	assert_string_equal(name_at(&f, TEXT + 0x0f), "-");
	assert_string_equal(name_at(&f, TEXT + 0x10), "first");
	assert_string_equal(name_at(&f, TEXT + 0x2f), "first");
	assert_string_equal(name_at(&f, TEXT + 0x30), "-");
	assert_string_equal(name_at(&f, TEXT + 0x3f), "-");
	assert_string_equal(name_at(&f, TEXT + 0x40), "second");
	assert_string_equal(name_at(&f, TEXT + 0x4f), "second");
	assert_string_equal(name_at(&f, TEXT + 0x50), "-");
	assert_string_equal(name_at(&f, UINT64_MAX), "-");
	symbol_index_fini(&f.index);
}

static void test_innermost_wins(void **state)
{
	static const struct row rows[] = {
	        {"outer", TEXT, 0x100, STB_GLOBAL, STT_FUNC, 0},
	        {"inner", TEXT + 0x40, 0x20, STB_LOCAL, STT_FUNC, 0},
	        {"innest", TEXT + 0x48, 0x08, STB_LOCAL, STT_NOTYPE, 0},
	        {"across", TEXT + 0xf0, 0x20, STB_LOCAL, STT_FUNC, 0},
	};
	struct fixture f;

	(void)state;
	BUILD(&f, rows);
	assert_string_equal(name_at(&f, TEXT + 0x3f), "outer");
	assert_string_equal(name_at(&f, TEXT + 0x47), "inner");
	assert_string_equal(name_at(&f, TEXT + 0x48), "innest");
	assert_string_equal(name_at(&f, TEXT + 0x50), "inner");
	assert_string_equal(name_at(&f, TEXT + 0x60), "outer");
	assert_string_equal(name_at(&f, TEXT + 0xf0), "across");
	assert_string_equal(name_at(&f, TEXT + 0x10f), "across");
	assert_string_equal(name_at(&f, TEXT + 0x110), "-");
	symbol_index_fini(&f.index);
}

static void test_alias_order(void **state)
{
	/* Each pair: the better one first, in every regard the theory names. */
	static const struct row pairs[][2] = {
	        {{"z_global", TEXT, 8, STB_GLOBAL, STT_FUNC, 0},
	         {"a_weak", TEXT, 8, STB_WEAK, STT_FUNC, 0}},
	        {{"__weak", TEXT, 8, STB_WEAK, STT_NOTYPE, 0},
	         {"local", TEXT, 8, STB_LOCAL, STT_FUNC, 0}},
	        {{"__function", TEXT, 8, STB_GLOBAL, STT_FUNC, 0},
	         {"notype", TEXT, 8, STB_GLOBAL, STT_NOTYPE, 0}},
	        {{"glob_long_name", TEXT, 8, STB_GLOBAL, STT_FUNC, 0},
	         {"_glob", TEXT, 8, STB_GLOBAL, STT_FUNC, 0}},
	        {{"zlob", TEXT, 8, STB_GLOBAL, STT_FUNC, 0},
	         {"alob64", TEXT, 8, STB_GLOBAL, STT_FUNC, 0}},
	        {{"abc", TEXT, 8, STB_GLOBAL, STT_FUNC, 0},
	         {"abd", TEXT, 8, STB_GLOBAL, STT_FUNC, 0}},
	        {{"__sized", TEXT, 8, STB_LOCAL, STT_NOTYPE, 0},
	         {"sizeless", TEXT, 0, STB_GLOBAL, STT_FUNC, 0}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		const struct row swapped[2] = {pairs[i][1], pairs[i][0]};
		struct fixture f;

		BUILD(&f, pairs[i]);
		assert_string_equal(name_at(&f, TEXT + 4), pairs[i][0].name);
		symbol_index_fini(&f.index);
		BUILD(&f, swapped);
		assert_string_equal(name_at(&f, TEXT + 4), pairs[i][0].name);
		symbol_index_fini(&f.index);
	}
}

static void test_alias_of_other_size(void **state)
{
	static const struct row rows[] = {
	        {"_longer", TEXT, 0x20, STB_LOCAL, STT_FUNC, 0},
	        {"better", TEXT, 0x10, STB_GLOBAL, STT_FUNC, 0},
	};
	struct fixture f;

	(void)state;
	BUILD(&f, rows);
	assert_string_equal(name_at(&f, TEXT + 0x0f), "better");
	assert_string_equal(name_at(&f, TEXT + 0x10), "_longer");
	assert_string_equal(name_at(&f, TEXT + 0x20), "-");
	symbol_index_fini(&f.index);
}

static void test_sizeless(void **state)
{
	static const struct row rows[] = {
	        {"asm_one", TEXT + 0x10, 0, STB_GLOBAL, STT_FUNC, 0},
	        {"asm_two", TEXT + 0x20, 0, STB_GLOBAL, STT_NOTYPE, 0},
	        {"sized", TEXT + 0x30, 0x10, STB_GLOBAL, STT_FUNC, 0},
	        {"inside", TEXT + 0x38, 0, STB_LOCAL, STT_NOTYPE, 0},
	        {"last", TEXT + 0x80, 0, STB_LOCAL, STT_NOTYPE, 0},
	        {"_fini", FINI, 0, STB_GLOBAL, STT_FUNC, 0},
	};
	struct fixture f;

	(void)state;
	BUILD(&f, rows);
	assert_string_equal(name_at(&f, TEXT + 0x0f), "-");
	assert_string_equal(name_at(&f, TEXT + 0x1f), "asm_one");
	assert_string_equal(name_at(&f, TEXT + 0x2f), "asm_two");
	assert_string_equal(name_at(&f, TEXT + 0x3f), "sized");
	/* Neither the label before `sized` nor the one in it reaches beyond. */
	assert_string_equal(name_at(&f, TEXT + 0x40), "-");
	assert_string_equal(name_at(&f, TEXT + 0x80), "last");
	assert_string_equal(name_at(&f, 0x1fff), "last");
	assert_string_equal(name_at(&f, 0x2000), "-");
	assert_string_equal(name_at(&f, 0x2fff), "-");
	assert_string_equal(name_at(&f, FINI + 0x0f), "_fini");
	assert_string_equal(name_at(&f, FINI + 0x10), "-");
	symbol_index_fini(&f.index);
}

static void test_what_names_no_code(void **state)
{
	static const struct row rows[] = {
	        {"object", TEXT, 8, STB_GLOBAL, STT_OBJECT, 0},
	        {"tls", TEXT, 8, STB_GLOBAL, STT_TLS, 0},
	        {"section", TEXT, 8, STB_LOCAL, STT_SECTION, 0},
	        {"file.c", TEXT, 8, STB_LOCAL, STT_FILE, SHN_ABS},
	        {"$x.0", TEXT, 8, STB_LOCAL, STT_NOTYPE, 0},
	        {".L42", TEXT, 8, STB_LOCAL, STT_NOTYPE, 0},
	        {"", TEXT, 8, STB_LOCAL, STT_FUNC, 0},
	        {"constant", TEXT, 8, STB_GLOBAL, STT_NOTYPE, SHN_ABS},
	        {"common", TEXT, 8, STB_GLOBAL, STT_NOTYPE, SHN_COMMON},
	        {"data", 0x5000, 8, STB_GLOBAL, STT_FUNC, 0},
	        {"etext", 0x2000, 0, STB_GLOBAL, STT_NOTYPE, 0},
	};
	struct fixture f;

	(void)state;
	BUILD(&f, rows);
	assert_int_equal(f.index.symbols.n, 0);
	assert_string_equal(name_at(&f, TEXT + 4), "-");
	symbol_index_fini(&f.index);
	/* And one that is not defined here, which `row` cannot say. */
	f.syms[0].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
	f.syms[0].st_shndx = SHN_UNDEF;
	symbol_index_add(&f.index, &f.table, code, 2);
	assert_int_equal(f.index.symbols.n, 0);
	symbol_index_fini(&f.index);
}

static void test_ifunc_and_hostile_values(void **state)
{
	static const struct row rows[] = {
	        {"resolver", TEXT + 0x10, 0x10, STB_GLOBAL, STT_GNU_IFUNC, 0},
	        {"endless", TEXT + 0x100, UINT64_MAX, STB_GLOBAL, STT_FUNC, 0},
	};
	struct fixture f;

	(void)state;
	BUILD(&f, rows);
	assert_string_equal(name_at(&f, TEXT + 0x1f), "resolver");
	assert_string_equal(name_at(&f, 0x1fff), "endless");
	assert_string_equal(name_at(&f, 0x2000), "-");
	symbol_index_fini(&f.index);
	/* A name outside of the strings is none. */
	f.syms[0].st_name = (Elf64_Word)f.table.strings_len;
	f.syms[1].st_name = UINT32_MAX;
	symbol_index_add(&f.index, &f.table, code, 2);
	assert_int_equal(f.index.symbols.n, 0);
	symbol_index_fini(&f.index);
}

/* The innermost sized symbol that covers an address, by looking at all. */
static uint64_t slow_start(const Elf64_Sym *syms, size_t n, uint64_t vaddr)
{
	uint64_t best = 0;

	for (size_t i = 0; i < n; i++) {
		if (vaddr >= syms[i].st_value &&
		    vaddr - syms[i].st_value < syms[i].st_size && syms[i].st_value > best)
			best = syms[i].st_value;
	}
	return best;
}

static void test_against_slow_search(void **state)
{
	(void)state;
	srandom(1);
	for (int round = 0; round < 300; round++) {
		struct row rows[40];
		struct fixture f;

		for (size_t i = 0; i < 40; i++)
			rows[i] = (struct row){"f",
			                       TEXT + (uint64_t)random() % 0x200,
			                       1 + (uint64_t)random() %
			                                       (round % 2 ? 0x20 : 0x180),
			                       STB_GLOBAL,
			                       STT_FUNC,
			                       0};
		BUILD(&f, rows);
		for (uint64_t at = TEXT; at < TEXT + 0x400; at++) {
			const struct index_symbol *symbol = symbol_index_find(&f.index, at);

			assert_int_equal(symbol ? symbol->start : 0,
			                 slow_start(f.syms, 40, at));
		}
		symbol_index_fini(&f.index);
	}
}

static void test_empty(void **state)
{
	struct symbol_index index = {0};

	(void)state;
	symbol_index_build(&index, NULL, 0);
	assert_null(symbol_index_find(&index, TEXT));
	symbol_index_fini(&index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_sizes_bound_symbols),
	        cmocka_unit_test(test_innermost_wins),
	        cmocka_unit_test(test_alias_order),
	        cmocka_unit_test(test_alias_of_other_size),
	        cmocka_unit_test(test_sizeless),
	        cmocka_unit_test(test_what_names_no_code),
	        cmocka_unit_test(test_ifunc_and_hostile_values),
	        cmocka_unit_test(test_against_slow_search),
	        cmocka_unit_test(test_empty),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
