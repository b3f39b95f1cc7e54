/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded reader, quantiles, clocks and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/quantile.h"
#include "base/reader.h"

static void test_reader_fixed(void **state)
{
	const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	struct reader r = reader_init(data, 15);

	(void)state;
	assert_int_equal(reader_u8(&r), 1);
	assert_int_equal(reader_u16(&r), 0x0302);
	assert_int_equal(reader_u32(&r), 0x07060504);
	assert_int_equal(reader_u64(&r), UINT64_C(0x0f0e0d0c0b0a0908));
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.failed);
	assert_int_equal(reader_u8(&r), 0);
	assert_true(r.failed);
}

/* Every way to go past the end: nothing moves, and nothing is read again. */
static void test_reader_ends(void **state)
{
	const uint8_t data[] = {0x81, 0x82, 0x83};

	(void)state;
	for (int way = 0; way < 9; way++) {
		struct reader r = reader_init(data, sizeof data);

		switch (way) {
		case 0:
			assert_int_equal(reader_u32(&r), 0);
			break;
		case 1:
			assert_int_equal(reader_u64(&r), 0);
			break;
		case 2:
			assert_null(reader_bytes(&r, 4));
			break;
		case 3:
			assert_null(reader_cstr(&r));
			break;
		case 4:
			reader_skip(&r, 4);
			break;
		case 5:
			reader_seek(&r, 4);
			break;
		case 6:
			assert_int_equal(reader_uleb(&r), 0);
			break;
		case 7:
			assert_int_equal(reader_sleb(&r), 0);
			break;
		default:
			reader_skip(&r, SIZE_MAX);
			break;
		}
		assert_true(r.failed);
		assert_int_equal(reader_left(&r), 0);
		assert_int_equal(reader_u8(&r), 0);
		assert_null(reader_bytes(&r, 1));
		size_t stays = r.pos;
		reader_seek(&r, stays == 0);
		assert_true(r.failed);
		assert_int_equal(r.pos, stays);
	}
}

static void test_reader_places(void **state)
{
	const char data[] = "abc\0de";
	struct reader r = reader_init(data, 6);
	struct reader none = reader_init(NULL, 10);

	(void)state;
	assert_string_equal(reader_cstr(&r), "abc");
	assert_int_equal(r.pos, 4);
	reader_seek(&r, 6);
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.failed);
	reader_skip(&r, 0);
	assert_false(r.failed);
	reader_seek(&r, 1);
	assert_memory_equal(reader_bytes(&r, 2), "bc", 2);
	reader_seek(&r, 4);
	assert_null(reader_cstr(&r)); /* "de" has no NUL */
	assert_int_equal(reader_left(&none), 0);
	assert_int_equal(reader_u8(&none), 0);
	assert_true(none.failed);
}

struct leb {
	const char *bytes;
	size_t len;
	uint64_t u;
	int64_t s;
	int u_fails, s_fails;
};

#define FF9 "\xff\xff\xff\xff\xff\xff\xff\xff\xff"
#define P9  "\x80\x80\x80\x80\x80\x80\x80\x80\x80"

static const struct leb lebs[] = {
        {"\x00", 1, 0, 0, 0, 0},
        {"\x02", 1, 2, 2, 0, 0},
        {"\x3f", 1, 63, 63, 0, 0},
        {"\x40", 1, 64, -64, 0, 0},
        {"\x7f", 1, 127, -1, 0, 0},
        {"\x7e", 1, 126, -2, 0, 0},
        {"\x80\x01", 2, 128, 128, 0, 0},
        {"\xff\x00", 2, 127, 127, 0, 0},
        {"\x80\x7f", 2, 16256, -128, 0, 0},
        {"\xe5\x8e\x26", 3, 624485, 624485, 0, 0},
        {"\x80\x80\x00", 3, 0, 0, 0, 0},
        {FF9 "\x01", 10, UINT64_MAX, 0, 0, 1},
        {FF9 "\x00", 10, INT64_MAX, INT64_MAX, 0, 0},
        {P9 "\x7f", 10, 0, INT64_MIN, 1, 0},
        {FF9 "\x7f", 10, 0, -1, 1, 0},
        {P9 "\x02", 10, 0, 0, 1, 1},
        {P9 "\x80\x00", 11, 0, 0, 1, 1},
        {FF9 "\xff\x7f", 11, 0, 0, 1, 1},
        {"\x80", 1, 0, 0, 1, 1},
        {"", 0, 0, 0, 1, 1},
};

static void test_reader_leb(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lebs / sizeof lebs[0]; i++) {
		struct reader u = reader_init(lebs[i].bytes, lebs[i].len);
		struct reader s = u;

		assert_true(reader_uleb(&u) == lebs[i].u);
		assert_int_equal(u.failed, lebs[i].u_fails);
		assert_true(reader_sleb(&s) == lebs[i].s);
		assert_int_equal(s.failed, lebs[i].s_fails);
		if (!lebs[i].u_fails)
			assert_int_equal(u.pos, lebs[i].len);
		if (!lebs[i].s_fails)
			assert_int_equal(s.pos, lebs[i].len);
	}
}

static void test_quantile_exact(void **state)
{
	struct quantile q = {0};

	(void)state;
	assert_int_equal(quantile_get(&q, 0.5), 0);
	for (uint64_t i = 1; i <= 10; i++)
		quantile_add(&q, i);
	assert_int_equal(q.count, 10);
	assert_int_equal(q.sum, 55);
	assert_int_equal(quantile_get(&q, 0), 1);
	assert_int_equal(quantile_get(&q, 0.5), 5);
	assert_int_equal(quantile_get(&q, 0.51), 6);
	assert_int_equal(quantile_get(&q, 0.9), 9);
	assert_int_equal(quantile_get(&q, 1), 10);
	assert_int_equal(quantile_get(&q, 2), 10);
}

/* Whatever the value: not below it, and above it by 1/16 at most. */
static void test_quantile_buckets(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 64; shift++) {
		for (int around = -1; around <= 1; around++) {
			uint64_t value = (UINT64_C(1) << shift) + (uint64_t)around;
			struct quantile q = {0};

			if (shift == 0 && around < 0)
				continue;
			quantile_add(&q, value);
			assert_true(quantile_get(&q, 0.5) == value); /* the maximum */
			quantile_add(&q, UINT64_MAX);
			uint64_t got = quantile_get(&q, 0.5);
			assert_true(got >= value);
			assert_true(got - value <= value / 16);
			assert_true(quantile_get(&q, 1) == UINT64_MAX);
		}
	}
}

static void test_quantile_merge(void **state)
{
	struct quantile all = {0}, even = {0}, odd = {0};

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		quantile_add(&all, i * 1000);
		quantile_add(i % 2 ? &odd : &even, i * 1000);
	}
	quantile_merge(&even, &odd);
	assert_memory_equal(&even, &all, sizeof all);
}

static void test_clock(void **state)
{
	uint64_t before = clock_monotonic_ns();
	const struct timespec pause = {.tv_nsec = 2000000};

	(void)state;
	nanosleep(&pause, NULL);
	uint64_t slept = clock_monotonic_ns() - before;
	assert_true(slept >= 2 * NS_PER_MS);
	assert_true(slept < 60 * NS_PER_SEC);
	uint64_t now = clock_realtime_ns() / NS_PER_SEC;
	assert_true(now + 1 >= (uint64_t)time(NULL) && now <= (uint64_t)time(NULL) + 1);
}

static void test_error(void **state)
{
	struct error err;
	char big[3000];

	(void)state;
	assert_int_equal(error_set(NULL, EXIT_CODE_USAGE, "nobody"), -1);
	assert_int_equal(error_set(&err, EXIT_CODE_REFUSED, "no %s", "entry"), -1);
	assert_int_equal(err.code, EXIT_CODE_REFUSED);
	assert_string_equal(err.text, "no entry");
	assert_int_equal(error_set(&err, EXIT_CODE_FAILURE, "first: %s", err.text), -1);
	assert_string_equal(err.text, "first: no entry");
	memset(big, 'x', sizeof big);
	big[sizeof big - 1] = '\0';
	error_set(&err, EXIT_CODE_FAILURE, "%s", big);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_reader_fixed),
	        cmocka_unit_test(test_reader_ends),
	        cmocka_unit_test(test_reader_places),
	        cmocka_unit_test(test_reader_leb),
	        cmocka_unit_test(test_quantile_exact),
	        cmocka_unit_test(test_quantile_buckets),
	        cmocka_unit_test(test_quantile_merge),
	        cmocka_unit_test(test_clock),
	        cmocka_unit_test(test_error),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
