/* SPDX-License-Identifier: Apache-2.0 */
/* Stubs of the procedure linkage table, in each form that linkers write. What the
 * linkers of this machine write is compared in tests/integration/names.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "symbol/plt.h"

#define CODE_AT UINT64_C(0x1000)
#define SLOT_AT UINT64_C(0x3000)

static const char strings[] = "\0first\0second\0own";

static const Elf64_Sym dynsym[] = {
        {0}, {.st_name = 1}, {.st_name = 7}, {.st_name = 4000}, /* outside */
};

static const Elf64_Sym symtab[] = {
        {0},
        {.st_name = 14,
         .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_GNU_IFUNC),
         .st_shndx = 1,
         .st_value = 0x1800},
};

static const Elf64_Rela rela[] = {
        {SLOT_AT, ELF64_R_INFO(1, R_X86_64_JUMP_SLOT), 0},
        {SLOT_AT + 8, ELF64_R_INFO(2, R_X86_64_JUMP_SLOT), 0},
        {SLOT_AT + 16, ELF64_R_INFO(3, R_X86_64_JUMP_SLOT), 0},
        {SLOT_AT + 24, ELF64_R_INFO(0, R_X86_64_IRELATIVE), 0x1800},
        {SLOT_AT + 32, ELF64_R_INFO(0, R_X86_64_IRELATIVE), 0x1804},
        {SLOT_AT + 40, ELF64_R_INFO(9, R_X86_64_GLOB_DAT), 0},
};

static const Elf64_Rela dyn[] = {
        {SLOT_AT + 48, ELF64_R_INFO(2, R_X86_64_GLOB_DAT), 0},
        {SLOT_AT + 56, ELF64_R_INFO(2, R_X86_64_RELATIVE), 0},
};

/* Code under construction. */
struct code {
	uint8_t bytes[256];
	size_t len;
};

static void put(struct code *code, const char *bytes, size_t len)
{
	memcpy(code->bytes + code->len, bytes, len);
	code->len += len;
}

static void put_i32(struct code *code, int32_t value)
{
	memcpy(code->bytes + code->len, &value, sizeof value);
	code->len += sizeof value;
}

/* jmp *slot(%rip) */
static void put_jump(struct code *code, uint64_t slot)
{
	put(code, "\xff\x25", 2);
	put_i32(code, (int32_t)(slot - (CODE_AT + code->len + 4)));
}

static void fill(struct code *code, size_t multiple)
{
	while (code->len % multiple != 0)
		code->bytes[code->len++] = 0x90;
}

static struct plt_tables tables_of(const struct code *code)
{
	return (struct plt_tables){
	        .code = {{code->bytes, code->len, CODE_AT}},
	        .rela = {{(const uint8_t *)rela, sizeof rela, 0},
	                 {(const uint8_t *)dyn, sizeof dyn, 0}},
	        .dynsym = {dynsym, sizeof dynsym / sizeof dynsym[0], strings,
	                   sizeof strings},
	        .symtab = {symtab, sizeof symtab / sizeof symtab[0], strings,
	                   sizeof strings},
	};
}

static void expect(const struct plt *plt, uint64_t offset, const char *name)
{
	const struct plt_stub *stub = plt_find(plt, CODE_AT + offset);

	if (!name) {
		assert_null(stub);
		return;
	}
	assert_non_null(stub);
	assert_string_equal(stub->name, name);
}

static void test_lazy(void **state)
{
	struct code code = {0};
	struct plt plt = {0};
	struct plt_tables tables;

	(void)state;
	/* push; jmp: the first stub has no function. */
	put(&code, "\xff\x35\x02\x2f\0\0", 6);
	put_jump(&code, 0x3f08);
	fill(&code, 16);
	for (int i = 0; i < 2; i++) {
		put_jump(&code, SLOT_AT + 8 * (uint64_t)i);
		put(&code, "\x68", 1);
		put_i32(&code, i);
		put(&code, "\xe9", 1);
		put_i32(&code, -100);
	}
	tables = tables_of(&code);
	plt_read(&plt, &tables);
	assert_int_equal(plt.stubs.n, 2);
	expect(&plt, 0, NULL);
	expect(&plt, 15, NULL);
	expect(&plt, 16, "first@plt");
	expect(&plt, 31, "first@plt");
	expect(&plt, 32, "second@plt");
	expect(&plt, 47, "second@plt");
	expect(&plt, 48, NULL);
	plt_fini(&plt);
}

static void test_marked(void **state)
{
	struct code code = {0};
	struct plt plt = {0};
	struct plt_tables tables;

	(void)state;
	/* endbr64; push $1; bnd jmp: the number is a relocation's */
	put(&code, "\xf3\x0f\x1e\xfa\x68\1\0\0\0\xf2\xe9\0\0\0\0\x90", 16);
	/* … of which there are not so many */
	put(&code, "\xf3\x0f\x1e\xfa\x68\x63\0\0\0\xf2\xe9\0\0\0\0\x90", 16);
	put(&code, "\xf3\x0f\x1e\xfa\x68\xff\xff\xff\xff\xf2\xe9\0\0\0\0\x90", 16);
	/* endbr64; bnd jmp *slot */
	put(&code, "\xf3\x0f\x1e\xfa\xf2", 5);
	put_jump(&code, SLOT_AT);
	fill(&code, 16);
	/* endbr64; mov $1, %r11d; jmp *slot */
	put(&code, "\xf3\x0f\x1e\xfa\x41\xbb\1\0\0\0", 10);
	put_jump(&code, SLOT_AT + 8);
	tables = tables_of(&code);
	plt_read(&plt, &tables);
	assert_int_equal(plt.stubs.n, 3);
	expect(&plt, 0, "second@plt");
	expect(&plt, 16, NULL);
	expect(&plt, 32, NULL);
	expect(&plt, 48, "first@plt");
	expect(&plt, 64, "second@plt");
	plt_fini(&plt);
}

static void test_not_lazy(void **state)
{
	struct code code = {0};
	struct plt plt = {0};
	struct plt_tables tables;

	(void)state;
	for (uint64_t slot = SLOT_AT; slot <= SLOT_AT + 56; slot += 8) {
		put_jump(&code, slot);
		put(&code, "\x66\x90", 2);
	}
	tables = tables_of(&code);
	plt_read(&plt, &tables);
	expect(&plt, 0, "first@plt");
	expect(&plt, 7, "first@plt");
	expect(&plt, 8, "second@plt");
	expect(&plt, 24, "own@plt");
	expect(&plt, 48, "second@plt");
	/* Names outside of their table, IFUNCs and symbols nobody knows, and what is
	 * no function: what is left of the stub before reaches over them, not far. */
	assert_int_equal(plt.stubs.n, 4);
	plt_fini(&plt);
	tables.rela[0] = tables.rela[1] = (struct module_view){0};
	plt_read(&plt, &tables);
	assert_int_equal(plt.stubs.n, 0);
	plt_fini(&plt);
}

/* Any bytes: no stub without a name, none outside. */
static void test_noise(void **state)
{
	(void)state;
	srand(4711);
	for (int round = 0; round < 2000; round++) {
		struct code code = {.len = (size_t)rand() % sizeof code.bytes};
		struct plt plt = {0};
		struct plt_tables tables;

		for (size_t i = 0; i < code.len; i++)
			code.bytes[i] =
			        "\xf3\x0f\x1e\xfa\x68\xf2\xff\x25\x41\xbb\0\x1f"[rand() %
			                                                         12];
		tables = tables_of(&code);
		plt_read(&plt, &tables);
		for (size_t i = 0; i < plt.stubs.n; i++) {
			assert_true(strlen(plt.stubs.v[i].name) > 4);
			assert_true(plt.stubs.v[i].end <= CODE_AT + code.len);
		}
		plt_fini(&plt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_lazy),
	        cmocka_unit_test(test_marked),
	        cmocka_unit_test(test_not_lazy),
	        cmocka_unit_test(test_noise),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
