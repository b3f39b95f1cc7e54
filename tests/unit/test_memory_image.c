/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF files read from memory: those of this process against the files they are of,
 * and such as no linker makes. And whether a mapping is still the one it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "elf_build.h"
#include "module/memory_image.h"
#include "module/space.h"
#include "own.h"

#define NO_LIMIT ((size_t)1 << 30)

/* ---- files of this process ---- */

static int setup(void **state)
{
	struct own *own = xcalloc(1, sizeof *own);

	own_open(own);
	*state = own;
	return 0;
}

static int teardown(void **state)
{
	own_close(*state);
	free(*state);
	return 0;
}

static void compare_sections(struct module *file, struct module *memory,
                             enum module_section which)
{
	struct module_view a = module_section(file, which);
	struct module_view b = module_section(memory, which);

	assert_non_null(a.data);
	assert_non_null(b.data);
	assert_int_equal(a.vaddr, b.vaddr);
	assert_true(b.len >= a.len);
	assert_memory_equal(a.data, b.data, a.len);
}

static void compare_symbols(struct module *file, struct module *memory)
{
	struct module_symbols a = module_symbols(file, MODULE_DYNSYM);
	struct module_symbols b = module_symbols(memory, MODULE_DYNSYM);

	assert_true(a.n > 1);
	assert_int_equal(a.n, b.n);
	for (size_t i = 0; i < a.n; i++) {
		assert_memory_equal(&a.v[i], &b.v[i], sizeof a.v[i]);
		assert_true(a.v[i].st_name < a.strings_len &&
		            a.v[i].st_name < b.strings_len);
		assert_string_equal(a.strings + a.v[i].st_name, b.strings + b.v[i].st_name);
	}
}

static void compare_with_file(struct own *own, uint64_t address)
{
	struct space_map *map = space_find(own->space, address);
	struct module *memory;
	uint8_t *bytes, code[2][64];
	uint64_t vaddr = 0;
	size_t len;

	assert_non_null(map);
	assert_non_null(map->module);
	bytes = memory_image_of(own->target, &map->map, NO_LIMIT, &len);
	assert_non_null(bytes);
	memory = module_open_memory(own->cache, bytes, len, map->map.path);
	assert_non_null(memory);
	assert_string_equal(module_build_id(memory), module_build_id(map->module));
	assert_true(module_offset_to_vaddr(memory, map->map.offset, &vaddr));
	assert_int_equal(map->map.start - vaddr, map->bias);
	vaddr = address - map->bias;
	assert_int_equal(module_read(memory, vaddr, code[0], 64), 64);
	assert_int_equal(module_read(map->module, vaddr, code[1], 64), 64);
	assert_memory_equal(code[0], code[1], 64);
	compare_sections(map->module, memory, MODULE_EH_FRAME_HDR);
	compare_sections(map->module, memory, MODULE_EH_FRAME);
	compare_symbols(map->module, memory);
}

static void test_own(void **state)
{
	struct own *own = *state;

	compare_with_file(own, (uint64_t)(uintptr_t)test_own);
	compare_with_file(own, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "getenv"));
	compare_with_file(own, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "elf_begin"));
}

/* Another file mapped at the same place: the kernel is asked for the one mapping. */
static void test_is_current(void **state)
{
	struct own *own = *state;
	struct elf_build b;
	struct space_map *map;
	int one, two;
	void *at;

	elf_build(&b);
	one = elf_build_file(b.u.bytes, sizeof b.u.bytes);
	two = elf_build_file(b.u.bytes, sizeof b.u.bytes);
	at = mmap(NULL, 0x1000, PROT_READ | PROT_EXEC, MAP_PRIVATE, one, 0x1000);
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(space_refresh(own->space), 1);
	map = space_find(own->space, (uint64_t)(uintptr_t)at);
	assert_non_null(map);
	assert_true(space_is_current(own->space, map));
	assert_ptr_equal(mmap(at, 0x1000, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
	                      two, 0x1000),
	                 at);
	if (space_is_current(own->space, map)) {
		print_message("# this kernel cannot be asked for one mapping\n");
		munmap(at, 0x1000);
		skip();
	}
	assert_int_equal(space_refresh(own->space), 1);
	assert_ptr_not_equal(space_find(own->space, (uint64_t)(uintptr_t)at), map);
	assert_true(space_is_current(own->space,
	                             space_find(own->space, (uint64_t)(uintptr_t)at)));
	map = space_find(own->space, (uint64_t)(uintptr_t)at);
	munmap(at, 0x1000);
	assert_false(space_is_current(own->space, map));
	close(one);
	close(two);
}

/* ---- made by hand ---- */

#define MEMORY_AT UINT64_C(0x555500000000)

/* The program, its segments where they are loaded; and what was read of it. */
struct memory {
	struct elf_build b;
	uint64_t missing; /* a page that is not there, by its offset; 0: all are */
	uint64_t nread;
};

static size_t read_memory(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct memory *memory = ctx;
	uint64_t at = addr - MEMORY_AT;
	size_t n = 0;

	while (n < len && at + n < ELF_BUILD_SIZE &&
	       (memory->missing == 0 || (at + n) / 4096 != memory->missing / 4096)) {
		((uint8_t *)buf)[n] = memory->b.u.bytes[at + n];
		n++;
	}
	memory->nread += n;
	return n;
}

/* .symtab becomes what PT_DYNAMIC points to; hash tables lie behind it. */
static void make_dynamic(struct memory *memory, uint64_t bias)
{
	const Elf64_Dyn dynamic[] = {
	        {DT_SYMTAB, {bias + ELF_BUILD_BASE + 0x3000}},
	        {DT_STRTAB, {bias + ELF_BUILD_BASE + 0x3100}},
	        {DT_STRSZ, {12}},
	        {DT_HASH, {bias + ELF_BUILD_BASE + 0x3f00}},
	        {DT_NULL, {0}},
	};
	const uint32_t hash[] = {1, 3};

	memset(memory, 0, sizeof *memory);
	elf_build(&memory->b);
	memory->b.ph[ELF_BUILD_PH_DATA].p_filesz = 0x2000;
	memory->b.ph[ELF_BUILD_PH_DATA].p_memsz = 0x2000;
	memory->b.ph[ELF_BUILD_PH_HDR] = (Elf64_Phdr){.p_type = PT_DYNAMIC,
	                                              .p_vaddr = ELF_BUILD_BASE + 0x3e00};
	memcpy(memory->b.u.bytes + 0x3e00, dynamic, sizeof dynamic);
	memcpy(memory->b.u.bytes + 0x3f00, hash, sizeof hash);
}

/* How many symbols the file has that is made of it; -1: none is made. */
static int count_symbols(struct memory *memory, size_t max)
{
	struct module_cache *cache = module_cache_new();
	struct module *module;
	size_t len;
	uint8_t *bytes = memory_image_make(read_memory, memory, MEMORY_AT, max, &len);
	int n = -1;

	if (bytes) {
		assert_true(len <= max);
		module = module_open_memory(cache, bytes, len, "/a");
		n = module ? (int)module_symbols(module, MODULE_DYNSYM).n : -1;
	}
	module_cache_free(cache);
	return n;
}

static void test_pointers(void **state)
{
	struct memory memory;

	(void)state;
	/* As musl leaves them, and as glibc does. */
	make_dynamic(&memory, 0);
	assert_int_equal(count_symbols(&memory, NO_LIMIT), 3);
	make_dynamic(&memory, MEMORY_AT - ELF_BUILD_BASE);
	assert_int_equal(count_symbols(&memory, NO_LIMIT), 3);
	/* A hash table that lies. */
	memory.b.u.bytes[0x3f07] = 0xff;
	assert_in_range(count_symbols(&memory, NO_LIMIT), 3, 0x1000 / sizeof(Elf64_Sym));
	/* Pointers to nowhere. */
	make_dynamic(&memory, 0x1234567000);
	assert_int_equal(count_symbols(&memory, NO_LIMIT), 0);
}

static void test_missing_pages(void **state)
{
	struct memory memory;

	(void)state;
	make_dynamic(&memory, 0);
	memory.missing = 0x1000;
	assert_int_equal(count_symbols(&memory, NO_LIMIT), 3);
	memory.missing = 0x3000;
	assert_int_equal(count_symbols(&memory, NO_LIMIT), 0);
	memory.missing = 1; /* the header's */
	assert_int_equal(count_symbols(&memory, NO_LIMIT), -1);
}

/* No more is read, or allocated, than a file may have. */
static void test_limits(void **state)
{
	struct memory memory;

	(void)state;
	make_dynamic(&memory, 0);
	assert_int_equal(count_symbols(&memory, 0x4000), -1);
	make_dynamic(&memory, 0);
	memory.b.ph[ELF_BUILD_PH_DATA].p_filesz = UINT64_MAX;
	assert_int_equal(count_symbols(&memory, NO_LIMIT), -1);
	make_dynamic(&memory, 0);
	memory.b.ph[ELF_BUILD_PH_DATA].p_offset = UINT64_MAX - 0x100;
	assert_int_equal(count_symbols(&memory, NO_LIMIT), -1);
	/* Every program header the same segment: it is not read so often. */
	make_dynamic(&memory, 0);
	for (int i = 0; i < ELF_BUILD_NPHS; i++)
		elf_build_load(&memory.b.ph[i], 0, 0x3000, PF_R);
	assert_int_equal(count_symbols(&memory, 0x8000), -1);
	assert_true(memory.nread < 0x4000);
	make_dynamic(&memory, 0);
	memory.b.u.ehdr.e_phnum = 0xfffe;
	assert_int_equal(count_symbols(&memory, NO_LIMIT), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_own, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_is_current, setup, teardown),
	        cmocka_unit_test(test_pointers),
	        cmocka_unit_test(test_missing_pages),
	        cmocka_unit_test(test_limits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
