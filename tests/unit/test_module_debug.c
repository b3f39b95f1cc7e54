/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Separate debug files, found in the root of another process: by build id and by
 * .gnu_debuglink, the right ones and those that must not be taken for it.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef HAVE_LZMA
#include <lzma.h>
#endif

#include "elf_build.h"
#include "module/debug.h"
#include "module/module.h"
#include "module/unxz.h"
#include "other_root.h"
#include "target/root.h"

#define NOBODY 65534

#define BUILD_ID_DIR "/usr/lib/debug/.build-id/00"
/* The fixture's id is 00 01 02 … 13. */
#define BUILD_ID_FILE BUILD_ID_DIR "/0102030405060708090a0b0c0d0e0f10111213.debug"

/* The fixture, or the test is skipped: no other root may be had. */
static struct other_root *need(void **state)
{
	struct other_root *f = *state;

	if (!f->target)
		skip();
	return f;
}

/* ---- a program and its debug file ---- */

/* `id` is the first byte of the build id; -1: it has none. */
static void build(struct elf_build *b, int id)
{
	elf_build(b);
	b->u.bytes[0x800 + 40] = (uint8_t)id;
	if (id < 0)
		b->ph[ELF_BUILD_PH_NOTE].p_type = PT_NULL;
}

static struct module *open_program(struct other_root *f, struct elf_build *b,
                                   const char *path)
{
	struct module *module;
	char *name;

	b->sh[ELF_BUILD_SCN_SYMTAB].sh_type = SHT_PROGBITS;
	other_root_put(f, path, b->u.bytes, sizeof b->u.bytes);
	name = other_root_path(f, path);
	module = module_open_fd(f->cache, open(name, O_RDONLY | O_CLOEXEC), path);
	free(name);
	assert_non_null(module);
	assert_int_equal(module_symbols(module, MODULE_SYMTAB).n, 0);
	return module;
}

/* A section that takes the place of .debug_frame; its bytes are at 0x2200. */
static void add_section(struct elf_build *b, const char *name, size_t size)
{
	Elf64_Shdr *names = &b->sh[ELF_BUILD_SCN_NAMES];
	size_t len = strlen(name) + 1;

	assert_true(names->sh_size + len <= 0x80 && 0x2200 + size <= 0x3000);
	memcpy(b->u.bytes + names->sh_offset + names->sh_size, name, len);
	elf_build_section(b, ELF_BUILD_SCN_DEBUG, SHT_PROGBITS, 0, 0x2200, size);
	b->sh[ELF_BUILD_SCN_DEBUG].sh_name = (Elf64_Word)names->sh_size;
	names->sh_size += len;
}

static void add_link(struct elf_build *b, const char *name, uint32_t crc)
{
	size_t len = strlen(name) + 1, padded = (len + 3) & ~(size_t)3;

	add_section(b, ".gnu_debuglink", padded + 4);
	memcpy(b->u.bytes + 0x2200, name, len);
	memcpy(b->u.bytes + 0x2200 + padded, &crc, sizeof crc);
}

static uint32_t crc_of(const struct elf_build *b)
{
	return debug_crc32(0, b->u.bytes, sizeof b->u.bytes);
}

static bool has_names(const struct other_root *f, struct module *module)
{
	struct module_symbols symbols;

	module_find_debug(module, f->target);
	symbols = module_symbols(module, MODULE_DEBUG_SYMTAB);
	if (symbols.n == 0)
		return false;
	assert_int_equal(symbols.n, 3);
	assert_string_equal(symbols.strings + symbols.v[1].st_name, "alpha");
	return true;
}

/* ---- the tests ---- */

static void test_crc(void **state)
{
	const uint8_t *digits = (const uint8_t *)"123456789";

	(void)state;
	assert_int_equal(debug_crc32(0, digits, 9), 0xcbf43926);
	assert_int_equal(debug_crc32(debug_crc32(0, digits, 4), digits + 4, 5), 0xcbf43926);
	assert_int_equal(debug_crc32(0, digits, 0), 0);
}

static bool parse(const void *bytes, size_t len, struct debug_link *link)
{
	return debug_link_parse((struct module_view){bytes, len, 0}, link);
}

static void test_link(void **state)
{
	char longest[264] = "";
	struct debug_link link;

	(void)state;
	assert_true(parse("abc\0\x78\x56\x34\x12", 8, &link));
	assert_string_equal(link.name, "abc");
	assert_int_equal(link.crc, 0x12345678);
	assert_true(parse("a.debug\0\x01\0\0\0more", 16, &link));
	assert_true(parse("ab\0?\x01\0\0\0", 8, &link));
	assert_int_equal(link.crc, 1);
	assert_false(parse("abc\0\x78\x56\x34", 7, &link));
	assert_false(parse("abcd", 4, &link));
	assert_false(parse("\0\0\0\0\x78\x56\x34\x12", 8, &link));
	assert_false(parse("a/b\0\x78\x56\x34\x12", 8, &link));
	assert_false(parse(NULL, 0, &link));
	memset(longest, 'x', 255);
	assert_true(parse(longest, 260, &link));
	memset(longest, 'x', 256);
	assert_false(parse(longest, 264, &link));
}

static void test_build_id(void **state)
{
	struct other_root *f = need(state);
	struct elf_build program, debug;
	struct module *module;

	build(&program, 0);
	module = open_program(f, &program, "/bin/prog");
	build(&debug, 0);
	other_root_put(f, BUILD_ID_FILE, debug.u.bytes, sizeof debug.u.bytes);
	/* Not before it is looked for. */
	assert_int_equal(module_symbols(module, MODULE_DEBUG_SYMTAB).n, 0);
	assert_true(has_names(f, module));
	/* It is looked for once, and stays open. */
	other_root_put(f, BUILD_ID_FILE, "", 0);
	assert_true(has_names(f, module));
	assert_false(has_names(f, open_program(f, &program, "/bin/again")));
}

static void test_build_id_refused(void **state)
{
	struct other_root *f = need(state);
	struct elf_build program, debug;
	char *name = other_root_path(f, BUILD_ID_FILE);
	int ids[] = {1, -1};

	build(&program, 0);
	assert_false(has_names(f, open_program(f, &program, "/bin/a")));
	/* Of another build, of none, without symbols. */
	for (size_t i = 0; i < 2; i++) {
		build(&debug, ids[i]);
		other_root_put(f, BUILD_ID_FILE, debug.u.bytes, sizeof debug.u.bytes);
		assert_false(has_names(f, open_program(f, &program, "/bin/b")));
	}
	other_root_put(f, BUILD_ID_FILE, program.u.bytes, sizeof program.u.bytes);
	assert_false(has_names(f, open_program(f, &program, "/bin/c")));
	other_root_put(f, BUILD_ID_FILE, "text", 4);
	assert_false(has_names(f, open_program(f, &program, "/bin/d")));
	/* A FIFO is not opened: it would wait for its writer. */
	assert_int_equal(unlink(name), 0);
	assert_int_equal(mkfifo(name, 0644), 0);
	assert_false(has_names(f, open_program(f, &program, "/bin/e")));
	free(name);
}

/* A note in a section is found where the program headers point nowhere. */
static void test_build_id_in_section(void **state)
{
	struct other_root *f = need(state);
	struct elf_build program, debug;

	build(&program, 0);
	build(&debug, 0);
	debug.ph[ELF_BUILD_PH_NOTE].p_offset = 0x400;
	elf_build_section(&debug, ELF_BUILD_SCN_DEBUG, SHT_NOTE, SHF_ALLOC, 0x800, 60);
	other_root_put(f, BUILD_ID_FILE, debug.u.bytes, sizeof debug.u.bytes);
	assert_true(has_names(f, open_program(f, &program, "/bin/prog")));
}

static void test_link_places(void **state)
{
	static const char *const places[] = {
	        "/opt/bin/prog.debug",
	        "/opt/bin/.debug/prog.debug",
	        "/usr/lib/debug/opt/bin/prog.debug",
	};
	struct other_root *f = need(state);
	struct elf_build program, debug;

	build(&program, 7);
	build(&debug, 7);
	add_link(&program, "prog.debug", 0); /* the ids agree: no checksum is needed */
	for (size_t i = 0; i < 3; i++) {
		char *name = other_root_path(f, places[i]);

		other_root_put(f, places[i], debug.u.bytes, sizeof debug.u.bytes);
		assert_true(has_names(f, open_program(f, &program, "/opt/bin/prog")));
		assert_int_equal(unlink(name), 0);
		free(name);
		assert_false(has_names(f, open_program(f, &program, "/opt/bin/prog")));
	}
}

static void test_link_checksum(void **state)
{
	struct other_root *f = need(state);
	struct elf_build program, debug;

	build(&debug, -1);
	other_root_put(f, "/bin/prog.debug", debug.u.bytes, sizeof debug.u.bytes);
	build(&program, -1);
	add_link(&program, "prog.debug", crc_of(&debug));
	assert_true(has_names(f, open_program(f, &program, "/bin/prog")));
	build(&program, 7);
	add_link(&program, "prog.debug", crc_of(&debug));
	assert_true(has_names(f, open_program(f, &program, "/bin/prog")));
	build(&program, -1);
	add_link(&program, "prog.debug", crc_of(&debug) ^ 1);
	assert_false(has_names(f, open_program(f, &program, "/bin/prog")));
	/* Ids that differ are not outvoted by a checksum. */
	build(&debug, 8);
	other_root_put(f, "/bin/prog.debug", debug.u.bytes, sizeof debug.u.bytes);
	build(&program, 7);
	add_link(&program, "prog.debug", crc_of(&debug));
	assert_false(has_names(f, open_program(f, &program, "/bin/prog")));
}

static void test_symlinks_stay_inside(void **state)
{
	struct other_root *f = need(state);
	struct elf_build program, debug;
	char *name, *real;

	build(&program, 7);
	build(&debug, 7);
	add_link(&program, "prog.debug", 0);
	other_root_put(f, "/real.debug", debug.u.bytes, sizeof debug.u.bytes);
	name = other_root_path(f, "/bin/prog.debug");
	real = other_root_path(f, "/real.debug");
	/* Absolute in the process's root; then by what it is called in ours. */
	assert_int_equal(symlink("/real.debug", name), 0);
	assert_true(has_names(f, open_program(f, &program, "/bin/prog")));
	assert_int_equal(unlink(name), 0);
	assert_int_equal(symlink(real, name), 0);
	assert_false(has_names(f, open_program(f, &program, "/bin/prog")));
	free(name);
	free(real);
}

static void test_own_symbols_suffice(void **state)
{
	struct other_root *f = need(state);
	struct elf_build debug;
	struct module *module;

	build(&debug, 0);
	other_root_put(f, BUILD_ID_FILE, debug.u.bytes, sizeof debug.u.bytes);
	module = module_open_fd(f->cache,
	                        elf_build_file(debug.u.bytes, sizeof debug.u.bytes), "/x");
	assert_non_null(module);
	assert_false(has_names(f, module));
}

#ifdef HAVE_LZMA

struct packed {
	uint8_t bytes[0xe00];
	size_t len;
};

static void pack(struct packed *packed, const void *bytes, size_t len)
{
	packed->len = 0;
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, bytes, len,
	                                         packed->bytes, &packed->len,
	                                         sizeof packed->bytes),
	                 LZMA_OK);
}

static bool has_packed_names(const struct packed *packed)
{
	struct module_cache *cache = module_cache_new();
	struct module_symbols symbols;
	struct elf_build program;
	struct module *module;
	bool found;

	build(&program, 0);
	program.sh[ELF_BUILD_SCN_SYMTAB].sh_type = SHT_PROGBITS;
	add_section(&program, ".gnu_debugdata", packed->len);
	memcpy(program.u.bytes + 0x2200, packed->bytes, packed->len);
	module = module_open_fd(
	        cache, elf_build_file(program.u.bytes, sizeof program.u.bytes), "/x");
	assert_non_null(module);
	symbols = module_symbols(module, MODULE_MINI_SYMTAB);
	found = symbols.n == 3;
	if (found)
		assert_string_equal(symbols.strings + symbols.v[2].st_name, "beta");
	module_cache_free(cache);
	return found;
}

static void test_packed(void **state)
{
	struct elf_build debug;
	struct packed packed, damaged;
	size_t len;

	(void)state;
	build(&debug, 0);
	pack(&packed, debug.u.bytes, sizeof debug.u.bytes);
	assert_true(has_packed_names(&packed));
	assert_null(unxz(packed.bytes, packed.len, sizeof debug.u.bytes - 1, &len));
	/* It has checksums: no damaged byte goes unseen, and neither does a missing one. */
	for (size_t i = 0; i < packed.len; i += 3) {
		damaged = packed;
		damaged.bytes[i] ^= 0x55;
		assert_false(has_packed_names(&damaged));
		damaged = packed;
		damaged.len = i;
		assert_false(has_packed_names(&damaged));
	}
	pack(&packed, "text", 4);
	assert_false(has_packed_names(&packed));
	pack(&packed, "", 0);
	assert_false(has_packed_names(&packed));
}

#else

static void test_packed(void **state)
{
	(void)state;
	skip();
}

#endif

static void test_root_files(void **state)
{
	struct other_root *f = need(state);
	int root = root_open(f->target), ours = open("/", O_PATH | O_DIRECTORY);
	char *name = other_root_path(f, "/tmp/link");
	int fd;

	assert_true(root >= 0 && ours >= 0);
	assert_false(root_is_ours(root));
	assert_true(root_is_ours(ours));
	other_root_put(f, "/tmp/file", "text", 4);
	assert_int_equal(symlink("file", name), 0);
	fd = root_open_file(root, "/tmp/file", ROOT_NO_FOLLOW, NULL);
	assert_true(fd >= 0);
	close(fd);
	fd = root_open_file(root, "/tmp/link", ROOT_FOLLOW, NULL);
	assert_true(fd >= 0);
	close(fd);
	assert_true(root_open_file(root, "/tmp/link", ROOT_NO_FOLLOW, NULL) < 0);
	assert_true(root_open_file(root, "/tmp", ROOT_NO_FOLLOW, NULL) < 0);
	assert_true(root_open_file(root, "/tmp/none", ROOT_FOLLOW, NULL) < 0);
	/* The root outlives the process. */
	other_root_end(f);
	assert_true(root_open(f->target) < 0);
	fd = root_open_file(root, "/tmp/file", ROOT_NO_FOLLOW, NULL);
	assert_true(fd >= 0);
	close(fd);
	close(root);
	close(ours);
	free(name);
}

static int open_for(int root, uid_t uid, gid_t gid)
{
	const struct root_reader reader = {uid, gid};
	int fd = root_open_file(root, "/tmp/file", ROOT_FOLLOW, &reader);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* What the target's user could not read itself is not read for it. */
static void test_root_files_of_others(void **state)
{
	struct other_root *f = need(state);
	int root = root_open(f->target);
	struct root_reader reader = root_reader_of(f->target);
	char *name;
	struct stat st;

	other_root_put(f, "/tmp/file", "text", 4);
	name = other_root_path(f, "/tmp/file");
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(reader.uid, st.st_uid);
	assert_int_equal(reader.gid, st.st_gid);
	assert_int_equal(chmod(name, 0600), 0);
	assert_int_equal(open_for(root, st.st_uid, st.st_gid), 0);
	assert_int_equal(open_for(root, 0, 0), 0);
	assert_int_equal(open_for(root, NOBODY, st.st_gid), -EACCES);
	assert_int_equal(chmod(name, 0640), 0);
	assert_int_equal(open_for(root, NOBODY, st.st_gid), 0);
	assert_int_equal(open_for(root, NOBODY, NOBODY), -EACCES);
	assert_int_equal(chmod(name, 0604), 0);
	assert_int_equal(open_for(root, NOBODY, NOBODY), 0);
	assert_int_equal(open_for(root, NOBODY, st.st_gid), -EACCES);
	/* Nobody knows whose it was. */
	assert_int_equal(chmod(name, 0600), 0);
	other_root_end(f);
	reader = root_reader_of(f->target);
	assert_int_equal(open_for(root, reader.uid, reader.gid), -EACCES);
	close(root);
	free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_crc),
	        cmocka_unit_test(test_link),
	        cmocka_unit_test(test_packed),
	        cmocka_unit_test_setup_teardown(test_build_id, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_build_id_refused, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_build_id_in_section, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_link_places, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_link_checksum, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_symlinks_stay_inside, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_own_symbols_suffice, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_root_files_of_others, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_root_files, other_root_setup,
	                                        other_root_teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
