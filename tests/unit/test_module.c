/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files, made by hand and real ones, whole and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "elf_build.h"
#include "module/module.h"
#include "symbol/symbol.h"

static const struct symbol_options everything;

static struct module *open_bytes(struct module_cache *cache, const void *bytes, size_t len,
                                 bool memory)
{
	uint8_t *copy;

	if (!memory)
		return module_open_fd(cache, elf_build_file(bytes, len), "elf");
	copy = xmalloc(len + 1);
	memcpy(copy, bytes, len);
	return module_open_memory(cache, copy, len, "elf");
}

static struct module *open_build(struct module_cache *cache, const struct elf_build *b,
                                 bool memory)
{
	return open_bytes(cache, b->u.bytes, sizeof b->u.bytes, memory);
}

static void check_whole(struct module *m)
{
	struct module_symbols symbols;
	struct module_view view;
	const struct module_range *code;
	uint64_t vaddr;
	size_t n;
	uint8_t buf[64];

	assert_non_null(m);
	assert_string_equal(module_path(m), "elf");
	assert_string_equal(module_build_id(m), "000102030405060708090a0b0c0d0e0f10111213");
	assert_false(module_is_vdso(m));
	assert_false(module_is_go(m));
	assert_int_equal(module_entry(m), 0x401000);
	code = module_code(m, &n);
	assert_int_equal(n, 1);
	assert_int_equal(code[0].start, 0x401000);
	assert_int_equal(code[0].end, 0x401000 + ELF_BUILD_TEXT);

	view = module_section(m, MODULE_EH_FRAME);
	assert_int_equal(view.len, 0x20);
	assert_int_equal(view.vaddr, 0x402020);
	assert_int_equal(view.data[0], 0xee);
	view = module_section(m, MODULE_EH_FRAME_HDR);
	assert_int_equal(view.len, 12);
	assert_int_equal(view.vaddr, 0x402000);
	view = module_section(m, MODULE_DEBUG_FRAME);
	assert_int_equal(view.data[0x1f], 0xdd);
	assert_null(module_section(m, MODULE_GOPCLNTAB).data);

	symbols = module_symbols(m, MODULE_SYMTAB);
	assert_int_equal(symbols.n, 3);
	assert_string_equal(symbols.strings + symbols.v[2].st_name, "beta");
	assert_int_equal(module_symbols(m, MODULE_DYNSYM).n, 0);

	assert_true(module_offset_to_vaddr(m, 0x1000, &vaddr));
	assert_int_equal(vaddr, 0x401000);
	assert_false(module_offset_to_vaddr(m, 0x3000, &vaddr));
	assert_int_equal(module_read(m, 0x4017f8, buf, sizeof buf), 8);
	assert_int_equal(buf[7], 0x90);
	assert_int_equal(module_read(m, 0x401800, buf, sizeof buf), 0);
	assert_int_equal(module_read(m, 0x402010, buf, 0x20), 0x20);
	assert_int_equal(buf[0x0f], 0);
	assert_int_equal(buf[0x10], 0xee);
}

static void test_file_and_memory(void **state)
{
	struct module_cache *cache = module_cache_new();
	struct elf_build b;

	(void)state;
	elf_build(&b);
	check_whole(open_build(cache, &b, false));
	check_whole(open_build(cache, &b, true));
	module_cache_free(cache);
	module_cache_free(NULL);
}

static void test_without_section_headers(void **state)
{
	(void)state;
	for (int memory = 0; memory < 2; memory++) {
		struct module_cache *cache = module_cache_new();
		struct module_view view;
		struct module *m;
		struct elf_build b;
		size_t n;

		elf_build(&b);
		b.u.ehdr.e_shoff = 0;
		b.u.ehdr.e_shnum = 0;
		b.u.ehdr.e_shstrndx = 0;
		m = open_build(cache, &b, memory);
		assert_non_null(m);
		assert_int_equal(strlen(module_build_id(m)), 40);
		view = module_section(m, MODULE_EH_FRAME_HDR);
		assert_int_equal(view.len, 12);
		assert_int_equal(view.data[1], 0x1b);
		/* The header says where it begins; it ends with its segment. */
		view = module_section(m, MODULE_EH_FRAME);
		assert_int_equal(view.vaddr, 0x402020);
		assert_int_equal(view.len, 0x40);
		assert_int_equal(view.data[0], 0xee);
		assert_int_equal(module_code(m, &n)[0].start, 0x401000);
		assert_int_equal(module_symbols(m, MODULE_SYMTAB).n, 0);
		module_cache_free(cache);
	}
}

static void test_not_ours(void **state)
{
	struct module_cache *cache = module_cache_new();
	struct elf_build b;
	static const struct {
		size_t offset;
		uint8_t value;
	} edits[] = {
	        {0, 'E'},                                      /* no ELF */
	        {EI_CLASS, ELFCLASS32},                        /* 32 bits */
	        {EI_DATA, ELFDATA2MSB},                        /* big endian */
	        {offsetof(Elf64_Ehdr, e_machine), EM_AARCH64}, /* another processor */
	        {offsetof(Elf64_Ehdr, e_type), ET_REL},        /* an object file */
	        {offsetof(Elf64_Ehdr, e_phnum), 0},            /* nothing to map */
	};

	(void)state;
	for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
		elf_build(&b);
		b.u.bytes[edits[i].offset] = edits[i].value;
		assert_null(open_build(cache, &b, false));
		assert_null(open_build(cache, &b, true));
	}
	assert_null(open_bytes(cache, "#!/bin/sh\n", 10, false));
	assert_null(open_bytes(cache, "", 0, false));
	assert_null(module_open_fd(cache, open("/dev/zero", O_RDONLY), "/dev/zero"));
	assert_null(module_open_fd(cache, open("/", O_RDONLY), "/"));
	module_cache_free(cache);
}

/* lld without -z separate-code: two segments share page 0x1000 of the file. */
static void test_shared_page(void **state)
{
	struct module_cache *cache = module_cache_new();
	struct elf_build b;
	struct module *m;
	uint64_t vaddr;

	(void)state;
	elf_build(&b);
	b.ph[ELF_BUILD_PH_HEAD].p_filesz = b.ph[ELF_BUILD_PH_HEAD].p_memsz = 0x1234;
	b.ph[ELF_BUILD_PH_TEXT].p_offset = 0x1240;
	b.ph[ELF_BUILD_PH_TEXT].p_vaddr = 0x502240;
	m = open_build(cache, &b, false);
	assert_true(module_offset_to_vaddr(m, 0x1000, &vaddr));
	assert_int_equal(vaddr, 0x502000);
	assert_true(module_offset_to_vaddr(m, 0, &vaddr));
	assert_int_equal(vaddr, 0x400000);
	module_cache_free(cache);
}

static void test_odd_symbol_tables(void **state)
{
	struct module_cache *cache = module_cache_new();
	struct elf_build b;
	struct module_symbols symbols;

	(void)state;
	/* Strings that do not end with a NUL are used up to their last. */
	elf_build(&b);
	b.sh[ELF_BUILD_SCN_STRTAB].sh_size = 9;
	symbols = module_symbols(open_build(cache, &b, false), MODULE_SYMTAB);
	assert_int_equal(symbols.n, 3);
	assert_int_equal(symbols.strings_len, 7);
	/* Entries of another size, a link to nowhere, and beyond the file: none. */
	elf_build(&b);
	b.sh[ELF_BUILD_SCN_SYMTAB].sh_entsize = 16;
	assert_int_equal(module_symbols(open_build(cache, &b, false), MODULE_SYMTAB).n, 0);
	elf_build(&b);
	b.sh[ELF_BUILD_SCN_SYMTAB].sh_link = 99;
	assert_int_equal(module_symbols(open_build(cache, &b, true), MODULE_SYMTAB).n, 0);
	elf_build(&b);
	b.sh[ELF_BUILD_SCN_SYMTAB].sh_size = UINT64_MAX - 7;
	assert_int_equal(module_symbols(open_build(cache, &b, true), MODULE_SYMTAB).n, 0);
	/* An image in memory may hold them misaligned. */
	elf_build(&b);
	memmove(b.u.bytes + 0x3001, b.u.bytes + 0x3000, 3 * sizeof(Elf64_Sym));
	b.sh[ELF_BUILD_SCN_SYMTAB].sh_offset = 0x3001;
	symbols = module_symbols(open_build(cache, &b, true), MODULE_SYMTAB);
	assert_int_equal(symbols.v[2].st_value, 0x401020);
	module_cache_free(cache);
}

/* `len` (< 64 KiB) bytes as a zlib stream of one stored block (RFC 1950, 1951). */
static size_t deflate_stored(uint8_t *out, const uint8_t *bytes, size_t len)
{
	uint32_t a = 1, b = 0;
	uint8_t *p = out;

	for (size_t i = 0; i < len; i++) {
		a = (a + bytes[i]) % 65521;
		b = (b + a) % 65521;
	}
	*p++ = 0x78;
	*p++ = 0x01;
	*p++ = 1; /* the last block, stored */
	*p++ = (uint8_t)len;
	*p++ = (uint8_t)(len >> 8);
	*p++ = (uint8_t)~len;
	*p++ = (uint8_t)(~len >> 8);
	memcpy(p, bytes, len);
	p += len;
	*p++ = (uint8_t)(b >> 8);
	*p++ = (uint8_t)b;
	*p++ = (uint8_t)(a >> 8);
	*p++ = (uint8_t)a;
	return (size_t)(p - out);
}

static void test_compressed(void **state)
{
	struct module_cache *cache = module_cache_new();
	Elf64_Chdr chdr = {.ch_type = ELFCOMPRESS_ZLIB, .ch_size = 0x20, .ch_addralign = 1};
	struct elf_build b;
	struct module_view view;
	Elf64_Shdr *shdr;
	uint8_t bytes[0x20];

	(void)state;
	elf_build(&b);
	memset(bytes, 0xcc, sizeof bytes);
	shdr = &b.sh[ELF_BUILD_SCN_DEBUG];
	shdr->sh_offset = 0x2100;
	shdr->sh_flags = SHF_COMPRESSED;
	shdr->sh_size = sizeof chdr + deflate_stored(b.u.bytes + 0x2100 + sizeof chdr,
	                                             bytes, sizeof bytes);
	memcpy(b.u.bytes + 0x2100, &chdr, sizeof chdr);
	view = module_section(open_build(cache, &b, false), MODULE_DEBUG_FRAME);
	assert_int_equal(view.len, sizeof bytes);
	assert_memory_equal(view.data, bytes, sizeof bytes);
	/* A bomb: what it claims to unfold to is more than is ever taken. */
	chdr.ch_size = UINT64_C(1) << 40;
	memcpy(b.u.bytes + 0x2100, &chdr, sizeof chdr);
	assert_null(module_section(open_build(cache, &b, false), MODULE_DEBUG_FRAME).data);
	chdr.ch_size = UINT64_MAX;
	memcpy(b.u.bytes + 0x2100, &chdr, sizeof chdr);
	assert_null(module_section(open_build(cache, &b, true), MODULE_DEBUG_FRAME).data);
	module_cache_free(cache);
}

static void test_go_marks(void **state)
{
	struct module_cache *cache = module_cache_new();
	struct elf_build b;
	char *name;

	(void)state;
	elf_build(&b);
	name = (char *)b.u.bytes + 0x3180 + b.sh[ELF_BUILD_SCN_DEBUG].sh_name;
	memcpy(name, ".gopclntab\0", 12);
	assert_true(module_is_go(open_build(cache, &b, false)));
	elf_build(&b);
	memcpy(b.u.bytes + 0x800, "\4\0\0\0\5\0\0\0\4\0\0\0Go\0", 16);
	assert_true(module_is_go(open_build(cache, &b, false)));
	module_cache_free(cache);
}

/* A sparse file can claim sections of any size; no such memory may be taken. */
static void test_huge_claims(void **state)
{
	struct module_cache *cache = module_cache_new();
	struct elf_build b;
	struct module *m;
	int fd;

	(void)state;
	elf_build(&b);
	b.sh[ELF_BUILD_SCN_STRTAB].sh_size = UINT64_C(1) << 40;
	b.sh[ELF_BUILD_SCN_EH].sh_size = UINT64_C(1) << 40;
	fd = elf_build_file(b.u.bytes, sizeof b.u.bytes);
	assert_int_equal(ftruncate(fd, (off_t)1 << 41), 0);
	m = module_open_fd(cache, fd, "elf");
	assert_non_null(m);
	assert_int_equal(module_symbols(m, MODULE_SYMTAB).n, 0);
	assert_int_equal(module_section(m, MODULE_EH_FRAME).len, 0x40);
	/* More sections than e_shnum can say are counted in section 0. */
	elf_build(&b);
	b.u.ehdr.e_shnum = 0;
	b.sh[0].sh_size = 1 << 17;
	fd = elf_build_file(b.u.bytes, sizeof b.u.bytes);
	assert_int_equal(ftruncate(fd, (off_t)1 << 24), 0);
	assert_null(module_open_fd(cache, fd, "elf"));
	module_cache_free(cache);
}

/* What was not read before is gone, and nothing dies of it. */
static void test_truncated_while_open(void **state)
{
	struct module_cache *cache = module_cache_new();
	struct elf_build b;
	struct module *m;
	uint8_t buf[16];
	int fd, other;

	(void)state;
	elf_build(&b);
	fd = elf_build_file(b.u.bytes, sizeof b.u.bytes);
	other = dup(fd);
	m = module_open_fd(cache, fd, "elf");
	assert_non_null(m);
	assert_int_equal(ftruncate(other, 0), 0);
	assert_null(module_section(m, MODULE_EH_FRAME).data);
	assert_int_equal(module_symbols(m, MODULE_SYMTAB).n, 0);
	assert_int_equal(module_read(m, 0x401000, buf, sizeof buf), 0);
	close(other);
	module_cache_free(cache);
}

/* Asks for everything that a module can tell; whether there was one. */
static bool use_module(struct module *m)
{
	struct symbolizer *symbolizer;
	uint64_t vaddr, distance, sum = 0;
	const struct module_range *code;
	uint8_t buf[256];
	size_t n;

	if (!m)
		return false;
	symbolizer = symbolizer_new(&everything);
	for (int i = 0; i < MODULE_NSECTIONS; i++) {
		struct module_view view = module_section(m, i);

		for (size_t j = 0; j < view.len; j += 64)
			sum += view.data[j];
	}
	code = module_code(m, &n);
	for (size_t i = 0; i < n && i < 64; i++) {
		symbolizer_lookup(symbolizer, m, code[i].start, &distance);
		symbolizer_lookup(symbolizer, m, code[i].end - 1, &distance);
		sum += module_read(m, code[i].start, buf, sizeof buf);
	}
	for (uint64_t offset = 0; offset < 0x10000; offset += 0x1000) {
		if (module_offset_to_vaddr(m, offset, &vaddr))
			sum += module_read(m, vaddr, buf, sizeof buf);
	}
	symbolizer_free(symbolizer);
	return sum != 1; /* always, but the compiler does not know that */
}

static bool use_bytes(const uint8_t *bytes, size_t len, bool memory)
{
	struct module_cache *cache = module_cache_new();
	bool opened = use_module(open_bytes(cache, bytes, len, memory));

	module_cache_free(cache);
	return opened;
}

static uint8_t *read_whole(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *bytes;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	bytes = xmalloc((size_t)st.st_size);
	*len = (size_t)read(fd, bytes, (size_t)st.st_size);
	close(fd);
	return bytes;
}

/* Hand-made bytes, and a real stripped program. */
static const char *const subjects[] = {NULL, "/bin/true"};

static uint8_t *subject(const char *path, size_t *len)
{
	struct elf_build b;
	uint8_t *bytes;

	if (path)
		return read_whole(path, len);
	elf_build(&b);
	bytes = xmalloc(sizeof b.u.bytes);
	memcpy(bytes, b.u.bytes, sizeof b.u.bytes);
	*len = sizeof b.u.bytes;
	return bytes;
}

static void test_cut_anywhere(void **state)
{
	size_t opened = 0;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		size_t len;
		uint8_t *bytes = subject(subjects[i], &len);

		for (size_t cut = 0; cut < len; cut += 64) {
			opened += use_bytes(bytes, cut, false);
			opened += use_bytes(bytes, cut, true);
		}
		free(bytes);
	}
	/* Else all of this looked at nothing. */
	assert_true(opened > 100);
}

/* Where damage tells: headers, tables and, less often, anywhere. */
static size_t damaged_offset(const uint8_t *bytes, size_t len)
{
	const Elf64_Ehdr *ehdr = (const void *)bytes;
	size_t sections = (size_t)ehdr->e_shoff;
	size_t nsections = ehdr->e_shnum * sizeof(Elf64_Shdr);

	switch (random() % 4) {
	case 0:
		return (size_t)random() % sizeof *ehdr;
	case 1:
		return sizeof *ehdr + (size_t)random() % (8 * sizeof(Elf64_Phdr));
	case 2:
		return sections + (size_t)random() % nsections;
	default:
		return (size_t)random() % len;
	}
}

static void test_damaged_anywhere(void **state)
{
	size_t opened = 0;

	(void)state;
	srandom(2024);
	for (int round = 0; round < 2000; round++) {
		static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
		size_t len;
		uint8_t *bytes = subject(subjects[round % 2], &len);
		uint8_t *broken = xmalloc(len);
		int edits = 1 + (int)(random() % 4);

		memcpy(broken, bytes, len);
		for (int i = 0; i < edits; i++) {
			uint8_t *at = broken + damaged_offset(bytes, len);

			*at = random() % 2 ? (uint8_t)random()
			                   : values[(size_t)random() % sizeof values];
		}
		opened += use_bytes(broken, len, round / 2 % 2);
		free(broken);
		free(bytes);
	}
	assert_true(opened > 500);
}

static void test_real_files(void **state)
{
	static const char *const paths[] = {"/proc/self/exe", "/bin/true",
	                                    "/lib/x86_64-linux-gnu/libc.so.6",
	                                    "/lib64/libc.so.6"};
	struct module_cache *cache = module_cache_new();
	size_t opened = 0;

	(void)state;
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		struct module *m;

		if (fd < 0)
			continue;
		opened++;
		m = module_open_fd(cache, fd, paths[i]);
		assert_non_null(m);
		assert_non_null(module_section(m, MODULE_EH_FRAME).data);
		assert_non_null(module_section(m, MODULE_EH_FRAME_HDR).data);
		assert_true(use_module(m));
	}
	assert_true(opened >= 2);
	module_cache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_file_and_memory),
	        cmocka_unit_test(test_without_section_headers),
	        cmocka_unit_test(test_not_ours),
	        cmocka_unit_test(test_shared_page),
	        cmocka_unit_test(test_odd_symbol_tables),
	        cmocka_unit_test(test_compressed),
	        cmocka_unit_test(test_go_marks),
	        cmocka_unit_test(test_huge_claims),
	        cmocka_unit_test(test_truncated_while_open),
	        cmocka_unit_test(test_cut_anywhere),
	        cmocka_unit_test(test_damaged_anywhere),
	        cmocka_unit_test(test_real_files),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
