/* SPDX-License-Identifier: Apache-2.0 */
/* Jitdump files: records, what is in one's place, files that end anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "symbol/jitdump.h"

/* A file that is put together. */
struct file {
	uint8_t bytes[1 << 20];
	size_t len;
	size_t piece; /* reads give no more than this at once */
};

static struct file file;

static void put(const void *bytes, size_t len)
{
	assert_true(file.len + len <= sizeof file.bytes);
	memcpy(file.bytes + file.len, bytes, len);
	file.len += len;
}

static void put_u32(uint32_t value)
{
	put(&value, sizeof value);
}

static void put_u64(uint64_t value)
{
	put(&value, sizeof value);
}

static void put_header(void)
{
	file.len = 0;
	file.piece = sizeof file.bytes;
	put_u32(0x4a695444);
	put_u32(1);
	put_u32(40);
	put_u32(62);
	put_u64(0);
	put_u64(0);
	put_u64(0);
}

static void put_head(uint32_t id, size_t len)
{
	put_u32(id);
	put_u32((uint32_t)(16 + len));
	put_u64(0);
}

static void put_load(uint64_t address, uint64_t size, uint64_t index, const char *name,
                     size_t code)
{
	static const uint8_t nops[1 << 18];

	put_head(0, 40 + strlen(name) + 1 + code);
	put_u64(0);
	put_u64(address);
	put_u64(address);
	put_u64(size);
	put_u64(index);
	put(name, strlen(name) + 1);
	put(nops, code);
}

static void put_move(uint64_t from, uint64_t to, uint64_t size, uint64_t index)
{
	put_head(1, 48);
	put_u64(0);
	put_u64(to);
	put_u64(from);
	put_u64(to);
	put_u64(size);
	put_u64(index);
}

static size_t read_file(void *ctx, uint64_t offset, void *buf, size_t len)
{
	const struct file *f = ctx;
	size_t n;

	if (offset >= f->len)
		return 0;
	n = f->len - (size_t)offset;
	n = n < len ? n : len;
	n = n < f->piece ? n : f->piece;
	memcpy(buf, f->bytes + offset, n);
	return n;
}

static struct jitdump *read_it(void)
{
	struct jitdump *dump = jitdump_read(read_file, &file);

	assert_non_null(dump);
	return dump;
}

static void expect(const struct jitdump *dump, uint64_t address, const char *name)
{
	const struct code_entry *entry = jitdump_find(dump, address);

	if (!name) {
		assert_null(entry);
		return;
	}
	assert_non_null(entry);
	assert_string_equal(entry->name, name);
}

static void expect_line(const struct jitdump *dump, uint64_t address, const char *name,
                        uint32_t line)
{
	const struct code_entry *entry = jitdump_find(dump, address);
	const char *found = "";

	assert_non_null(entry);
	assert_int_equal(jitdump_line(dump, entry, address, &found), line);
	assert_string_equal(found, name);
}

static void test_loads(void **state)
{
	struct jitdump *dump;

	(void)state;
	put_header();
	put_load(0x1000, 0x100, 1, "f", 0x100);
	put_load(0x2000, 0x100, 2, "g", 200000); /* beyond any window */
	put_load(0x1080, 0x10, 3, "h", 0x10);    /* in the place of a part of f */
	put_load(0x3000, 0, 4, "empty", 0);
	put_load(UINT64_MAX - 1, 16, 5, "around", 0);
	put_load(0x4000, 16, 6, "", 0);
	for (file.piece = 1; file.piece < 400000; file.piece = file.piece * 7 + 3) {
		dump = read_it();
		expect(dump, 0xfff, NULL);
		expect(dump, 0x1000, "f");
		expect(dump, 0x107f, "f");
		expect(dump, 0x1080, "h");
		expect(dump, 0x108f, "h");
		expect(dump, 0x1090, "f");
		expect(dump, 0x1100, NULL);
		expect(dump, 0x20ff, "g");
		expect(dump, 0x3000, NULL);
		expect(dump, 0x4000, NULL);
		jitdump_free(dump);
	}
}

static void test_moves(void **state)
{
	struct jitdump *dump;

	(void)state;
	put_header();
	put_load(0x1000, 0x100, 1, "f", 16);
	put_move(0x1000, 0x5000, 0x100, 1);
	put_load(0x1000, 0x80, 2, "g", 16);
	put_move(0x5000, 0x6000, 0x40, 1);
	put_move(0x5000, 0x7000, 0x40, 99); /* nobody knows it */
	put_head(3, 0);
	put_load(0x8000, 0x10, 3, "after the end", 0);
	dump = read_it();
	expect(dump, 0x1000, "g");
	expect(dump, 0x1080, "f"); /* for samples from before */
	expect(dump, 0x50ff, "f");
	expect(dump, 0x603f, "f");
	expect(dump, 0x6040, NULL);
	expect(dump, 0x7000, NULL);
	expect(dump, 0x8000, NULL);
	jitdump_free(dump);
}

static void put_line(uint64_t address, uint32_t line, const char *name)
{
	put_u64(address);
	put_u32(line);
	put_u32(0);
	put(name, strlen(name) + 1);
}

static void test_debug_info(void **state)
{
	struct jitdump *dump;

	(void)state;
	put_header();
	put_head(2, 16 + 3 * 16 + 5 + 2 + 5);
	put_u64(0x1000);
	put_u64(3);
	put_line(0x1000, 10, "a.js");
	put_line(0x1008, 11, "\xff");
	put_line(0x1010, 3, "b.js");
	put_load(0x1000, 0x100, 1, "f", 16);
	put_load(0x2000, 0x100, 2, "g", 16);
	put_move(0x1000, 0x5000, 0x100, 1);
	dump = read_it();
	expect_line(dump, 0x1000, "a.js", 10);
	expect_line(dump, 0x100f, "a.js", 11);
	expect_line(dump, 0x10ff, "b.js", 3);
	expect_line(dump, 0x2000, "", 0);
	expect_line(dump, 0x5008, "a.js", 11);
	jitdump_free(dump);
}

/* Being written still, or no jitdump: every length, every single byte changed. */
static void test_damaged(void **state)
{
	size_t len;

	(void)state;
	put_header();
	put_load(0x1000, 0x100, 1, "f", 3);
	put_load(0x2000, 0x100, 2, "g", 3);
	len = file.len;
	for (file.len = 0; file.len < len; file.len++) {
		struct jitdump *dump = jitdump_read(read_file, &file);

		assert_int_equal(dump != NULL, file.len >= 40);
		if (!dump)
			continue;
		expect(dump, 0x1000, file.len >= 40 + 61 ? "f" : NULL);
		expect(dump, 0x2000, NULL);
		jitdump_free(dump);
	}
	for (size_t i = 0; i < len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			file.bytes[i] ^= (uint8_t)(1u << bit);
			jitdump_free(jitdump_read(read_file, &file));
			file.bytes[i] ^= (uint8_t)(1u << bit);
		}
	}
	file.bytes[0] = 'J'; /* of a machine of the other byte order */
	assert_null(jitdump_read(read_file, &file));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_loads),
	        cmocka_unit_test(test_moves),
	        cmocka_unit_test(test_debug_info),
	        cmocka_unit_test(test_damaged),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
