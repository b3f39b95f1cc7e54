/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges within each other, looked up; against a search through all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "symbol/spans.h"

static void test_nested(void **state)
{
	struct spans spans = {0};

	(void)state;
	assert_int_equal(spans_find(&spans, 0), SPANS_NONE);
	spans_add(&spans, 0x100, 0x200, 0);
	spans_add(&spans, 0x140, 0x180, 1);
	spans_add(&spans, 0x150, 0x160, 2);
	spans_add(&spans, 0x170, 0x170, 3); /* empty */
	spans_add(&spans, 0x180, 0x170, 3); /* less than that */
	spans_add(&spans, 0x100, 0x110, 4); /* starts together with the first */
	spans_build(&spans);
	assert_int_equal(spans_find(&spans, 0xff), SPANS_NONE);
	assert_int_equal(spans_find(&spans, 0x100), 4);
	assert_int_equal(spans_find(&spans, 0x10f), 4);
	assert_int_equal(spans_find(&spans, 0x110), 0);
	assert_int_equal(spans_find(&spans, 0x140), 1);
	assert_int_equal(spans_find(&spans, 0x150), 2);
	assert_int_equal(spans_find(&spans, 0x160), 1);
	assert_int_equal(spans_find(&spans, 0x180), 0);
	assert_int_equal(spans_find(&spans, 0x1ff), 0);
	assert_int_equal(spans_find(&spans, 0x200), SPANS_NONE);
	spans_fini(&spans);
}

static void test_random(void **state)
{
	struct span all[60];

	(void)state;
	srandom(11);
	for (int round = 0; round < 300; round++) {
		struct spans spans = {0};
		size_t n = 1 + (size_t)random() % 60;

		for (size_t i = 0; i < n; i++) {
			all[i].start = (uint64_t)random() % 200;
			all[i].end = (uint64_t)random() % 200;
			spans_add(&spans, all[i].start, all[i].end, (uint32_t)i);
		}
		spans_build(&spans);
		for (uint64_t at = 0; at < 210; at++) {
			uint32_t best = SPANS_NONE;

			for (uint32_t i = 0; i < n; i++) {
				if (at >= all[i].start && at < all[i].end &&
				    (best == SPANS_NONE || all[i].start >= all[best].start))
					best = i;
			}
			assert_int_equal(spans_find(&spans, at), best);
		}
		spans_fini(&spans);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_nested),
	        cmocka_unit_test(test_random),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
