/* SPDX-License-Identifier: Apache-2.0 */
/* Which writer a name means, bytes, and how numbers are shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "output/words.h"
#include "output/writer.h"

static void test_by_name(void **state)
{
	(void)state;
	assert_ptr_equal(writer_by_name("pprof"), &writer_pprof);
	assert_ptr_equal(writer_by_name("folded"), &writer_folded);
	assert_ptr_equal(writer_by_name("svg"), &writer_svg);
	assert_ptr_equal(writer_by_name("text"), &writer_text);
	assert_null(writer_by_name("perf"));
	assert_null(writer_by_name(""));
}

static void test_by_file(void **state)
{
	static const struct {
		const char *file;
		const struct writer *writer;
	} files[] = {
	        {"profile.pb.gz", &writer_pprof},
	        {"a.pb", &writer_pprof},
	        {"a.pprof", &writer_pprof},
	        {"/tmp/a.folded", &writer_folded},
	        {"a.collapsed", &writer_folded},
	        {"a.svg", &writer_svg},
	        {"A.SVG", &writer_svg},
	        {"a.txt", &writer_text},
	        {"a.text", &writer_text},
	        {"svg", &writer_pprof},
	        {"a.svg.bak", &writer_pprof},
	        {"-", &writer_pprof},
	        {"", &writer_pprof},
	        {"svg.d/profile", &writer_pprof},
	};

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		assert_ptr_equal(writer_by_file(files[i].file), files[i].writer);
}

/* --help prints these. */
static void test_writers_are_complete(void **state)
{
	(void)state;
	for (size_t i = 0; writers[i]; i++) {
		assert_true(writers[i]->name[0] && writers[i]->description[0]);
		assert_non_null(writers[i]->suffixes[0]);
		assert_non_null(writers[i]->write);
	}
}

static void test_bytes(void **state)
{
	struct bytes b = {0};
	char big[3000];

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	bytes_append(&b, NULL, 0);
	bytes_append(&b, "ab", 2);
	bytes_printf(&b, "%s", "");
	bytes_printf(&b, "-%d-%s", 7, big);
	assert_int_equal(b.n, 2 + 3 + sizeof big - 1);
	assert_memory_equal(b.v, "ab-7-xxx", 8);
	bytes_fini(&b);
	assert_int_equal(b.n, 0);
}

static const char *shown(const char *unit, int64_t largest, int64_t value)
{
	static char buf[64];

	words_number(buf, sizeof buf, value, words_scale(unit, largest));
	return buf;
}

static void test_numbers(void **state)
{
	(void)state;
	assert_string_equal(shown("nanoseconds", 0, 0), "0ns");
	assert_string_equal(shown("nanoseconds", 999, 7), "7ns");
	assert_string_equal(shown("nanoseconds", 1000, 1000), "1.00us");
	assert_string_equal(shown("nanoseconds", 1500000, 1500000), "1.50ms");
	assert_string_equal(shown("nanoseconds", INT64_C(12345000000), 5000000), "0.01s");
	assert_string_equal(shown("nanoseconds", -2000000000, -2000000000), "-2.00s");
	assert_string_equal(shown("bytes", 3 << 20, 3 << 20), "3.00MiB");
	assert_string_equal(shown("bytes", INT64_C(5) << 30, INT64_C(5) << 30), "5.00GiB");
	assert_string_equal(shown("bytes", 1023, 1023), "1023B");
	assert_string_equal(shown("count", INT64_C(123456789012), 17), "17");
	assert_true(words_percent(1, 0) == 0.0);
	assert_true(words_percent(1, 4) == 25.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_by_name),
	        cmocka_unit_test(test_by_file),
	        cmocka_unit_test(test_writers_are_complete),
	        cmocka_unit_test(test_bytes),
	        cmocka_unit_test(test_numbers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
