/* SPDX-License-Identifier: Apache-2.0 */
/* The memory map's text, and the patterns of machine code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "target/arch.h"
#include "target/maps.h"

static struct maps parse(const char *text, size_t *nbad)
{
	struct maps maps;

	maps_parse(text, strlen(text), &maps, nbad);
	return maps;
}

static void test_lines(void **state)
{
	size_t nbad;
	struct maps maps = parse(
	        "00400000-0040b000 r-xp 00001000 fe:01 1234567   /usr/bin/a b\n"
	        "7f0000000000-7f0000001000 rw-p 00000000 00:00 0\n"
	        "7f0000002000-7f0000003000 r--s 00000000 00:05 12 /memfd:x (deleted)\n"
	        "7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0                  [stack]\n"
	        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0          "
	        "[vsyscall]\n",
	        &nbad);

	(void)state;
	assert_int_equal(nbad, 0);
	assert_int_equal(maps.n, 5);
	assert_int_equal(maps.v[0].start, 0x400000);
	assert_int_equal(maps.v[0].end, 0x40b000);
	assert_int_equal(maps.v[0].offset, 0x1000);
	assert_int_equal(maps.v[0].dev_major, 0xfe);
	assert_int_equal(maps.v[0].dev_minor, 1);
	assert_int_equal(maps.v[0].inode, 1234567);
	assert_int_equal(maps.v[0].perms, MAP_PERM_READ | MAP_PERM_EXEC);
	assert_string_equal(maps.v[0].path, "/usr/bin/a b");
	assert_string_equal(maps.v[1].path, "");
	assert_true(maps.v[2].deleted);
	assert_int_equal(maps.v[2].perms, MAP_PERM_READ | MAP_PERM_SHARED);
	assert_string_equal(maps.v[2].path, "/memfd:x");
	assert_string_equal(maps.v[3].path, "[stack]");
	assert_int_equal(maps.v[4].perms, MAP_PERM_EXEC);
	maps_fini(&maps);
}

static void test_odd_paths(void **state)
{
	struct maps maps = parse("1000-2000 r-xp 0 0:0 1 /a\\012b\\134c\n"
	                         "2000-3000 r-xp 0 0:0 1 /a\\999 (deleted)\n"
	                         "3000-4000 r-xp 0 0:0 1 /a\\01\n"
	                         "4000-5000 r-xp 0 0:0 1  (deleted)\n",
	                         NULL);

	(void)state;
	assert_int_equal(maps.n, 4);
	assert_string_equal(maps.v[0].path, "/a\nb\\c");
	assert_string_equal(maps.v[1].path, "/a\\999");
	assert_true(maps.v[1].deleted);
	assert_string_equal(maps.v[2].path, "/a\\01");
	maps_fini(&maps);
}

static void test_bad_lines(void **state)
{
	static const char *const lines[] = {
	        "",
	        "1000",
	        "1000-",
	        "1000-1000 r-xp 0 0:0 1 /empty",
	        "2000-1000 r-xp 0 0:0 1 /backwards",
	        "1000-2000 r-x",
	        "1000-2000 r-xp 0 00 1 /no colon",
	        "11111111111111111-2 r-xp 0 0:0 1 /too long",
	        "1000-2000 r-xp 0 0:0 /no inode",
	        "g000-2000 r-xp 0 0:0 1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		char text[256] = "500-600 r-xp 0 0:0 1 /good\n";
		struct maps maps;
		size_t nbad;

		strcat(text, lines[i]);
		maps = parse(text, &nbad);
		assert_int_equal(maps.n, 1);
		assert_int_equal(nbad, lines[i][0] ? 1 : 0);
		maps_fini(&maps);
	}
}

/* A list that changed while it was read may repeat or go back. */
static void test_overlap(void **state)
{
	size_t nbad;
	struct maps maps = parse("1000-3000 r-xp 0 0:0 1 /a\n2000-4000 r-xp 0 0:0 1 /b\n"
	                         "3000-4000 r-xp 0 0:0 1 /c\n500-600 r-xp 0 0:0 1 /d\n",
	                         &nbad);

	(void)state;
	assert_int_equal(maps.n, 2);
	assert_int_equal(nbad, 2);
	assert_string_equal(maps.v[1].path, "/c");
	maps_fini(&maps);
}

static void test_find(void **state)
{
	struct maps maps = parse("1000-2000 r-xp 0 0:0 1 /a\n2000-3000 r-xp 0 0:0 1 /b\n"
	                         "5000-6000 r-xp 0 0:0 1 /c\n",
	                         NULL);
	struct maps empty = {0};

	(void)state;
	assert_null(maps_find(&maps, 0xfff));
	assert_ptr_equal(maps_find(&maps, 0x1000), &maps.v[0]);
	assert_ptr_equal(maps_find(&maps, 0x1fff), &maps.v[0]);
	assert_ptr_equal(maps_find(&maps, 0x2000), &maps.v[1]);
	assert_null(maps_find(&maps, 0x3000));
	assert_ptr_equal(maps_find(&maps, 0x5fff), &maps.v[2]);
	assert_null(maps_find(&maps, UINT64_MAX));
	assert_null(maps_find(&empty, 0));
	maps_fini(&maps);
}

static void test_our_own(void **state)
{
	int fd = open("/proc/self", O_RDONLY | O_DIRECTORY);
	struct maps maps, again;
	const struct map *here;

	(void)state;
	assert_int_equal(maps_read(fd, &maps), 0);
	here = maps_find(&maps, (uint64_t)(uintptr_t)test_our_own);
	assert_non_null(here);
	assert_true(here->perms & MAP_PERM_EXEC);
	assert_int_equal(maps_read(fd, &again), 0);
	assert_true(maps_equal(&maps, &maps));
	if (again.n == maps.n && maps_equal(&maps, &again)) {
		again.v[0].inode++;
		assert_false(maps_equal(&maps, &again));
	}
	maps_fini(&again);
	maps_fini(&maps);
	close(fd);
	assert_true(maps_read(fd, &maps) < 0);
}

static void test_calls(void **state)
{
	static const struct {
		uint8_t bytes[8];
		bool is_call;
	} cases[] = {
	        {{0x90, 0x90, 0x90, 0xe8, 1, 2, 3, 4}, true},             /* call rel32 */
	        {{0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0}, true}, /* call *%rax */
	        {{0x90, 0x90, 0x90, 0x90, 0x90, 0x41, 0xff, 0xd7}, true}, /* call *%r15 */
	        {{0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0x10}, true}, /* call *(%rax) */
	        {{0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0x50, 0x18},
	         true},                                       /* call *24(%rax) */
	        {{0x90, 0x90, 0xff, 0x15, 1, 2, 3, 4}, true}, /* call *rip-relative */
	        {{0x90, 0x90, 0xff, 0x90, 1, 2, 3, 4}, true}, /* call *disp32(%rax) */
	        {{0x90, 0xff, 0x94, 0xc8, 1, 2, 3, 4}, true}, /* disp32 with SIB */
	        {{0x90, 0x90, 0x90, 0x90, 0xff, 0x54, 0xc8, 8}, true}, /* disp8 with SIB */
	        {{0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0x14, 0xc8}, true},  /* SIB alone */
	        {{0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xe0}, false}, /* jmp *%rax */
	        {{0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0x50}, false}, /* cut off */
	        {{0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc3}, false},
	        {{0xe8, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90}, false}, /* too early */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(arch_is_after_call(cases[i].bytes, 8), cases[i].is_call);
		assert_false(arch_is_after_call(cases[i].bytes, 1));
		assert_false(arch_is_after_call(cases[i].bytes, 0));
	}
}

static void test_newborn(void **state)
{
	static const struct {
		uint8_t bytes[8];
		bool is_newborn;
	} cases[] = {
	        {{0x90, 0xb8, 56, 0, 0, 0, 0x0f, 0x05}, true},          /* clone */
	        {{0x90, 0xb8, 0xb3, 1, 0, 0, 0x0f, 0x05}, true},        /* clone3 */
	        {{0x31, 0xc0, 0xb0, 56, 0x90, 0x90, 0x0f, 0x05}, true}, /* as musl does */
	        {{0x90, 0xb8, 0, 0, 0, 0, 0x0f, 0x05}, false},          /* read */
	        {{0x90, 0x90, 0xb8, 56, 0, 0, 0, 0x90}, false},
	};
	struct regs regs = {0};

	(void)state;
	regs_set(&regs, ARCH_REG_PC, 0x1234);
	for (unsigned reg = 0; reg <= 2; reg += 2) {
		assert_false(arch_is_newborn(&regs, cases[0].bytes, 8));
		regs_set(&regs, reg, reg == 2 ? 0x1234 : 0); /* RAX, then RCX */
	}
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(arch_is_newborn(&regs, cases[i].bytes, 8),
		                 cases[i].is_newborn);
		assert_false(arch_is_newborn(&regs, cases[i].bytes, 1));
	}
	regs_set(&regs, 0, 4711); /* its creator */
	assert_false(arch_is_newborn(&regs, cases[0].bytes, 8));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_lines),     cmocka_unit_test(test_odd_paths),
	        cmocka_unit_test(test_bad_lines), cmocka_unit_test(test_overlap),
	        cmocka_unit_test(test_find),      cmocka_unit_test(test_our_own),
	        cmocka_unit_test(test_calls),     cmocka_unit_test(test_newborn),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
