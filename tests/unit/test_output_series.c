/* SPDX-License-Identifier: Apache-2.0 */
/* A row of files: their names, and which of them stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "output/series.h"

/* 2026-03-01 12:34:56 UTC */
#define NOON (INT64_C(1772368496) * (int64_t)NS_PER_SEC)

static char dir[] = "/tmp/cprof-series-XXXXXX";

static int setup(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void assert_expands(const char *pattern, const char *want)
{
	char *got = series_expand(pattern, false, NOON, 12, NULL);

	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
}

static void test_expand(void **state)
{
	struct error err = {0};
	char *longest = xmalloc(5000), *kept;

	(void)state;
	assert_expands("web.%i.pb.gz", "web.000012.pb.gz");
	assert_expands("%Y%m%d-%H%M%S", "20260301-123456");
	assert_expands("a/%F_%i_%i", "a/2026-03-01_000012_000012");
	assert_expands("100%%i %%%i", "100%i %000012");
	assert_expands("plain", "plain");
	kept = series_expand("%p.%i", true, NOON, 1, NULL);
	assert_string_equal(kept, "%p.000001");
	free(kept);
	assert_null(series_expand("%D.pb.gz", false, NOON, 1, &err));
	assert_int_equal(err.code, EXIT_CODE_USAGE);
	assert_non_null(strstr(err.text, "03/01/26"));
	memset(longest, 'x', 4999);
	longest[4999] = '\0';
	assert_null(series_expand(longest, false, NOON, 1, &err));
	assert_non_null(strstr(err.text, "too long"));
	free(longest);
}

static void assert_numbered(const char *name, const char *want)
{
	char *got = series_numbered(name, 7);

	assert_string_equal(got, want);
	free(got);
}

static void test_numbered(void **state)
{
	(void)state;
	assert_numbered("profile.pb.gz", "profile.000007.pb.gz");
	assert_numbered("a.b/web.1.pb.gz", "a.b/web.1.000007.pb.gz");
	assert_numbered("flame.svg", "flame.000007.svg");
	assert_numbered("profile.bin", "profile.000007.bin");
	assert_numbered("a.b/plain", "a.b/plain.000007");
	assert_numbered(".pb.gz", ".pb.000007.gz");
	assert_numbered(".hidden", ".hidden.000007");
}

static struct series *open_series(const char *output, double every_s, size_t keep,
                                  uint64_t keep_bytes, struct error *err)
{
	struct series_options options = {.output = output,
	                                 .every_s = every_s,
	                                 .keep = keep,
	                                 .keep_bytes = keep_bytes};

	return series_new(&options, (int64_t)clock_realtime_ns(), err);
}

/* What cannot be a row of files is refused with a sentence. */
static void test_refused(void **state)
{
	static const struct {
		const char *output;
		double every_s;
		const char *sentence;
	} wrong[] = {
	        {"web.%H%M.pb.gz", 30, "two files the name"},
	        {"web.%F.pb.gz", 3600, "two files the name"},
	        {"web.%%.pb.gz", 60, "two files the name 'web.%.pb.gz'"},
	        {"web.%S.pb.gz", 60, "two files the name"},
	        {"web.%D.pb.gz", 60, "would put a /"},
	        {"-", 60, "--every writes files"},
	        {"/dev/null", 60, "--every writes files"},
	        {"/tmp", 60, "--every writes files"},
	};
	static const struct {
		const char *output;
		double every_s;
	} right[] = {
	        {"web.%H%M.pb.gz", 60}, {"web.%F-%i.pb.gz", 1}, {"web.%S.pb.gz", 7},
	        {"web.pb.gz", 0.1},     {"web.%S.pb.gz", 0},    {"-", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct error err = {0};

		assert_null(open_series(wrong[i].output, wrong[i].every_s, 0, 0, &err));
		assert_int_equal(err.code, EXIT_CODE_USAGE);
		if (!strstr(err.text, wrong[i].sentence))
			fail_msg("%s: %s", wrong[i].output, err.text);
	}
	for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
		struct error err = {0};
		struct series *series = open_series(right[i].output, right[i].every_s, 0, 0,
		                                    &err);

		if (!series)
			fail_msg("%s: %s", right[i].output, err.text);
		series_free(series);
	}
}

static void write_bytes(const char *name, size_t n)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	while (n-- > 0)
		fputc('x', f);
	fclose(f);
}

static bool exists(const char *name)
{
	return access(name, F_OK) == 0;
}

static char *write_next(struct series *series, int64_t time_ns, size_t nbytes)
{
	char *name = series_name(series, time_ns, NULL);

	assert_non_null(name);
	write_bytes(name, nbytes);
	series_wrote(series, name);
	return name;
}

static void test_keep(void **state)
{
	struct series *series = open_series("k.pb.gz", 1, 2, 0, NULL);

	(void)state;
	write_bytes("k.000000.pb.gz", 1); /* not of this run */
	for (int i = 0; i < 4; i++)
		free(write_next(series, NOON, 10));
	assert_int_equal(series_index(series), 5);
	assert_true(exists("k.000000.pb.gz") && !exists("k.000001.pb.gz") &&
	            !exists("k.000002.pb.gz") && exists("k.000003.pb.gz") &&
	            exists("k.000004.pb.gz"));
	/* Somebody put another file in its place. */
	write_bytes("other", 1);
	assert_int_equal(rename("other", "k.000003.pb.gz"), 0);
	free(write_next(series, NOON, 10));
	assert_true(exists("k.000003.pb.gz") && exists("k.000004.pb.gz") &&
	            exists("k.000005.pb.gz"));
	series_free(series);
	assert_int_equal(system("rm k.*"), 0);
}

static void test_keep_bytes(void **state)
{
	struct series *series = open_series("b.pb.gz", 1, 0, 1000, NULL);

	(void)state;
	free(write_next(series, NOON, 400));
	free(write_next(series, NOON, 400));
	assert_true(exists("b.000001.pb.gz"));
	free(write_next(series, NOON, 400));
	assert_true(!exists("b.000001.pb.gz") && exists("b.000002.pb.gz"));
	/* The newest stays, however large. */
	free(write_next(series, NOON, 5000));
	assert_true(!exists("b.000002.pb.gz") && !exists("b.000003.pb.gz") &&
	            exists("b.000004.pb.gz"));
	series_free(series);
	assert_int_equal(system("rm b.*"), 0);
}

/* A name that comes again, since a clock was set back, is another. */
static void test_never_twice(void **state)
{
	struct series *series;
	char *name;

	(void)state;
	write_bytes("t.123456.pb.gz", 1); /* an earlier run's: it is replaced */
	usleep(50000);
	series = open_series("t.%H%M%S.pb.gz", 1, 0, 0, NULL);
	name = write_next(series, NOON, 1);
	assert_string_equal(name, "t.123456.pb.gz");
	free(name);
	name = write_next(series, NOON, 1);
	assert_string_equal(name, "t.123456.000002.pb.gz");
	free(name);
	name = write_next(series, NOON + (int64_t)NS_PER_SEC, 1);
	assert_string_equal(name, "t.123457.pb.gz");
	free(name);
	series_free(series);
	assert_int_equal(system("rm t.*"), 0);
}

static void test_possible(void **state)
{
	struct series *series = open_series("-", 0, 0, 0, NULL);

	(void)state;
	assert_false(series_is_possible(series));
	series_free(series);
	series = open_series("/dev/null", 0, 0, 0, NULL);
	assert_false(series_is_possible(series));
	series_free(series);
	series = open_series("new.pb.gz", 0, 0, 0, NULL);
	assert_true(series_is_possible(series));
	series_free(series);
	series_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_expand),     cmocka_unit_test(test_numbered),
	        cmocka_unit_test(test_refused),    cmocka_unit_test(test_keep),
	        cmocka_unit_test(test_keep_bytes), cmocka_unit_test(test_never_twice),
	        cmocka_unit_test(test_possible),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
