/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles: strings, entries that are found again, samples that add up, the top. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "profile/names.h"
#include "profile/profile.h"
#include "profile/top.h"
#include "profile/utf8.h"

#define BAD "\xef\xbf\xbd"

static int setup(void **state)
{
	struct profile *p = profile_new();

	profile_add_type(p, "samples", "count");
	profile_add_type(p, "cpu", "nanoseconds");
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	profile_free(*state);
	profile_free(NULL);
	return 0;
}

/* What becomes of bytes, by the "maximal subparts" of Unicode 15, table 3-8 ff. */
static const struct {
	const char *in;
	const char *out;
} texts[] = {
        {"", ""},
        {"plain", "plain"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\xa5", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\xa5"},
        {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
         "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
        {"\xff", BAD},
        {"a\x80"
         "b",
         "a" BAD "b"},
        {"\xc0\xaf", BAD BAD},                 /* overlong '/' */
        {"\xe0\x80\xaf", BAD BAD BAD},         /* overlong */
        {"\xf0\x80\x80\xaf", BAD BAD BAD BAD}, /* overlong */
        {"\xed\xa0\x80", BAD BAD BAD},         /* a surrogate */
        {"\xf4\x90\x80\x80", BAD BAD BAD BAD}, /* above U+10FFFF */
        {"\xf5\x80", BAD BAD},
        {"\xe2\x82", BAD},      /* cut short at the end */
        {"\xe2\x82z", BAD "z"}, /* and in the middle */
        {"\xf0\x9f\x94\xf0\x9f\x94\xa5", BAD "\xf0\x9f\x94\xa5"},
        {"a\nb\tc\x1b[0m\x7f", "a" BAD "b" BAD "c" BAD "[0m" BAD},
        {"\xc2\x9b"
         "1m\xc2\xa0",
         BAD "1m\xc2\xa0"}, /* CSI as one character; a space is none */
};

static void test_utf8(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		size_t len = strlen(texts[i].in), out_len;
		char *out = utf8_clean(texts[i].in, len, &out_len);

		assert_string_equal(out, texts[i].out);
		assert_int_equal(out_len, strlen(out));
		assert_int_equal(utf8_is_clean(texts[i].in, len),
		                 strcmp(texts[i].in, texts[i].out) == 0);
		assert_true(utf8_is_clean(out, out_len));
		free(out);
	}
}

static void test_strings(void **state)
{
	struct profile *p = *state;
	profile_str a = profile_string(p, "a");

	assert_int_equal(profile_string(p, NULL), 0);
	assert_int_equal(profile_string(p, ""), 0);
	assert_int_equal(profile_string(p, "a"), a);
	assert_int_equal(profile_string(p, profile_text(p, a)), a);
	assert_string_equal(profile_text(p, profile_string(p, "x\xff")), "x" BAD);
	assert_int_equal(profile_string(p, "x\xfe"), profile_string(p, "x\xff"));
}

static void test_mappings(void **state)
{
	struct profile *p = *state;
	struct profile_mapping a, b;

	/* Holes in the structs must not count. */
	memset(&a, 0, sizeof a);
	memset(&b, 0xff, sizeof b);
	b.start = a.start = 0x1000;
	b.limit = a.limit = 0x2000;
	b.offset = a.offset = 0x500;
	b.file = a.file = profile_string(p, "/bin/a");
	b.build_id = a.build_id = 0;
	b.is_kernel = a.is_kernel = false;
	b.code = a.code = 1;
	assert_int_equal(profile_mapping(p, &a), 1);
	assert_int_equal(profile_mapping(p, &b), 1);
	b.offset++;
	assert_int_equal(profile_mapping(p, &b), 2);
	b.is_kernel = true;
	assert_int_equal(profile_mapping(p, &b), 3);
	b.code = 2;
	assert_int_equal(profile_mapping(p, &b), 4);
	assert_int_equal(p->mappings.n, 4);
	assert_int_equal(p->mappings.v[1].offset, 0x501);
}

static void test_locations(void **state)
{
	struct profile *p = *state;
	struct profile_mapping m = {.start = 0x1000, .limit = 0x2000};
	uint32_t map = profile_mapping(p, &m);
	uint32_t a = profile_location(p, map, 0x1010);

	assert_int_equal(a, 1);
	assert_int_equal(profile_location(p, map, 0x1010), a);
	assert_int_equal(profile_location(p, 0, 0x1010), 2);
	assert_int_equal(profile_location(p, map, 0x1011), 3);
	/* A pseudo location whose name's number is the address of another. */
	uint32_t pseudo = profile_pseudo(p, "[lost]");
	assert_int_equal(profile_location(p, 0, profile_string(p, "[lost]")), 5);
	assert_int_equal(profile_pseudo(p, "[lost]"), pseudo);
	assert_int_equal(profile_pseudo(p, "[other]"), 6);
	assert_true(p->locations.v[pseudo - 1].is_pseudo);
	assert_int_equal(p->locations.v[pseudo - 1].nlines, 1);
	assert_int_equal(p->locations.n, 6);
}

static void test_names(void **state)
{
	struct profile *p = *state;
	struct profile_mapping file = {.start = 0x1000, .limit = 0x2000, .offset = 0x700};
	struct profile_mapping anon = {.start = 0x5000, .limit = 0x6000};
	struct profile_function f = {.name = profile_string(p, "inner")};
	struct profile_function g = {.name = profile_string(p, "outer")};
	struct profile_function nameless = {.system_name = profile_string(p, "x")};
	struct profile_line lines[2];
	char buf[64], small[6];

	file.file = profile_string(p, "/usr/lib/libfoo.so");
	uint32_t m = profile_mapping(p, &file), n = profile_mapping(p, &anon);
	uint32_t a = profile_location(p, m, 0x1012), b = profile_location(p, m, 0x1013);
	uint32_t c = profile_location(p, n, 0x5001), d = profile_location(p, 0, 0xabc);
	uint32_t e = profile_location(p, m, 0x1014);

	lines[0].function = profile_function(p, &f);
	lines[1].function = profile_function(p, &g);
	lines[0].line = lines[1].line = 1;
	profile_set_lines(p, b, lines, 2);
	lines[0].function = profile_function(p, &nameless);
	profile_set_lines(p, e, lines, 1);

	assert_string_equal(profile_location_name(p, a, 0, buf, sizeof buf),
	                    "libfoo.so+0x712");
	assert_string_equal(profile_location_name(p, b, 0, buf, sizeof buf), "inner");
	assert_string_equal(profile_location_name(p, b, 1, buf, sizeof buf), "outer");
	assert_string_equal(profile_location_name(p, c, 0, buf, sizeof buf), "[anon]+0x1");
	assert_string_equal(profile_location_name(p, d, 0, buf, sizeof buf), "0xabc");
	assert_string_equal(profile_location_name(p, e, 0, buf, sizeof buf),
	                    "libfoo.so+0x714");
	assert_string_equal(profile_location_name(p, a, 0, small, sizeof small), "libfo");

	struct names names;
	size_t count;
	names_init(&names, p);
	const profile_str *of_b = names_of(&names, b, &count);
	assert_int_equal(count, 2);
	assert_string_equal(profile_text(p, of_b[0]), "inner");
	assert_string_equal(profile_text(p, *names_of(&names, d, &count)), "0xabc");
	assert_int_equal(count, 1);
	names_fini(&names);
}

static void test_labels(void **state)
{
	struct profile *p = *state;
	struct profile_label set[4], shuffled[4];
	size_t n;

	memset(set, 0xff, sizeof set);
	for (int i = 0; i < 4; i++) {
		char key[2] = {(char)('a' + i), 0};

		set[i].key = profile_string(p, key);
		set[i].str = 0;
		set[i].num = i;
		set[i].num_unit = 0;
	}
	memset(shuffled, 0, sizeof shuffled);
	for (int i = 0; i < 4; i++) {
		shuffled[i].key = set[3 - i].key;
		shuffled[i].num = set[3 - i].num;
	}
	assert_int_equal(profile_labels(p, NULL, 0), 0);
	assert_int_equal(profile_labels(p, set, 1), 0); /* a: 0 says nothing */
	uint32_t id = profile_labels(p, set, 4);
	assert_int_equal(id, 1);
	assert_int_equal(profile_labels(p, shuffled, 4), id);
	const struct profile_label *kept = profile_label_set(p, id, &n);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(kept[i].key, set[i + 1].key);
		assert_int_equal(kept[i].num, i + 1);
	}
	set[0].num_unit = profile_string(p, "bytes");
	assert_int_equal(profile_labels(p, set, 1), 2); /* a: 0 bytes does */
	set[0].str = profile_string(p, "text");
	assert_int_equal(profile_labels(p, set, 1), 3);
	kept = profile_label_set(p, 3, &n);
	assert_int_equal(kept->num_unit, 0);
	set[0].key = 0;
	assert_int_equal(profile_labels(p, set, 1), 0);
}

static void test_samples(void **state)
{
	struct profile *p = *state;
	struct profile_label label = {.key = profile_string(p, "k"), .num = 1};
	const uint32_t locations[] = {profile_location(p, 0, 1), profile_location(p, 0, 2)};
	uint32_t both = profile_stack(p, locations, 2);
	uint32_t leaf = profile_stack(p, locations, 1);
	uint32_t none = profile_stack(p, NULL, 0);
	uint32_t labels = profile_labels(p, &label, 1);
	const int64_t one[] = {1, 100}, huge[] = {-1, INT64_MAX};
	size_t n;

	assert_int_equal(profile_stack(p, locations, 2), both);
	profile_stack_locations(p, both, &n);
	assert_int_equal(n, 2);
	profile_stack_locations(p, none, &n);
	assert_int_equal(n, 0);
	profile_add(p, both, 0, one);
	profile_add(p, leaf, 0, one);
	profile_add(p, both, labels, one);
	profile_add(p, both, 0, one);
	assert_int_equal(p->samples.n, 3);
	assert_int_equal(p->samples.v[0].value[0], 2);
	assert_int_equal(p->samples.v[0].value[1], 200);
	assert_int_equal(p->samples.v[2].labels, labels);
	profile_add(p, both, 0, huge);
	assert_true(p->samples.v[0].value[1] == INT64_MAX);
	assert_int_equal(p->samples.v[0].value[0], 1);
}

static void test_comments(void **state)
{
	struct profile *p = *state;

	profile_comment(p, "took %d s of %s", 3, "x");
	profile_comment(p, "bad \xff");
	assert_int_equal(p->comments.n, 2);
	assert_string_equal(profile_text(p, p->comments.v[0]), "took 3 s of x");
	assert_string_equal(profile_text(p, p->comments.v[1]), "bad " BAD);
}

static uint32_t named(struct profile *p, uint64_t address, const char *name)
{
	uint32_t id = profile_location(p, 0, address);
	struct profile_function f = {.name = profile_string(p, name)};
	struct profile_line line = {.function = profile_function(p, &f)};

	profile_set_lines(p, id, &line, 1);
	return id;
}

static void assert_row(const struct profile *p, const struct top_row *row, const char *name,
                       int64_t flat, int64_t cum)
{
	assert_string_equal(profile_text(p, row->name), name);
	assert_int_equal(row->flat, flat);
	assert_int_equal(row->cum, cum);
}

static void test_top(void **state)
{
	struct profile *p = *state;
	struct top top;

	top_compute(p, 1, &top);
	assert_int_equal(top.nrows, 0);
	assert_int_equal(top.total, 0);
	top_fini(&top);

	/* fib at two addresses calls itself; b and a are alike but for the name. */
	uint32_t fib = named(p, 1, "fib"), fib_too = named(p, 2, "fib");
	uint32_t main_frame = named(p, 3, "main"), b = named(p, 4, "b"),
	         a = named(p, 5, "a");
	const uint32_t deep[] = {fib, fib_too, fib, main_frame};
	const uint32_t flat_b[] = {b, main_frame}, flat_a[] = {a, main_frame};
	const int64_t ten[] = {1, 10}, three[] = {1, 3};

	profile_add(p, profile_stack(p, deep, 4), 0, ten);
	profile_add(p, profile_stack(p, flat_b, 2), 0, three);
	profile_add(p, profile_stack(p, flat_a, 2), 0, three);
	profile_add(p, profile_stack(p, NULL, 0), 0, three);
	top_compute(p, 1, &top);
	assert_int_equal(top.total, 19);
	assert_int_equal(top.nrows, 4);
	assert_row(p, &top.rows[0], "fib", 10, 10);
	assert_row(p, &top.rows[1], "a", 3, 3);
	assert_row(p, &top.rows[2], "b", 3, 3);
	assert_row(p, &top.rows[3], "main", 0, 16);
	top_fini(&top);
	top_compute(p, 0, &top);
	assert_int_equal(top.total, 4);
	assert_row(p, &top.rows[2], "fib", 1, 1);
	top_fini(&top);
}

/* Adds a sample of a leaf in a mapping, called from a pseudo location. */
static void add_merged(struct profile *p, const char *file, uint64_t address,
                       const char *function, const char *thread, int64_t ns)
{
	struct profile_mapping mapping = {
	        .start = 0x1000, .limit = 0x2000, .file = profile_string(p, file)};
	struct profile_function f = {.name = profile_string(p, function)};
	struct profile_line line = {.function = profile_function(p, &f), .line = 7};
	struct profile_label label = {.key = profile_string(p, "thread_name"),
	                              .str = profile_string(p, thread)};
	uint32_t locations[] = {profile_location(p, profile_mapping(p, &mapping), address),
	                        profile_pseudo(p, "[not sampled]")};
	const int64_t values[] = {1, ns};

	if (p->locations.v[locations[0] - 1].nlines == 0)
		profile_set_lines(p, locations[0], &line, 1);
	profile_add(p, profile_stack(p, locations, 2), profile_labels(p, &label, 1),
	            values);
}

/* What is the same in both becomes one, by what it is and not by its number. */
static void test_merge(void **state)
{
	struct profile *to = *state, *from = profile_new();
	char buf[64];
	size_t n;

	profile_add_type(from, "samples", "count");
	profile_add_type(from, "cpu", "nanoseconds");
	add_merged(to, "a.so", 0x1100, "f", "one", 10);
	add_merged(from, "b.so", 0x1100, "g", "two", 5);
	add_merged(from, "a.so", 0x1100, "f", "one", 20);
	add_merged(from, "a.so", 0x1100, "f", "two", 40);
	profile_comment(from, "not taken over");
	profile_set_main(to, 7, 1);
	profile_set_main(from, 8, 1); /* b.so */
	profile_set_main(from, 7, 2);
	n = profile_bytes(to);
	profile_merge(to, from);
	assert_true(profile_bytes(to) >= n && n > 0);
	assert_int_equal(to->samples.n, 3);
	assert_int_equal(to->samples.v[0].value[0], 2);
	assert_int_equal(to->samples.v[0].value[1], 30);
	assert_int_equal(to->samples.v[1].value[1], 5);
	assert_int_equal(to->samples.v[2].value[1], 40);
	assert_int_equal(to->samples.v[2].stack, to->samples.v[0].stack);
	assert_int_equal(to->mappings.n, 2);
	assert_int_equal(to->main_pid, 7);
	assert_int_equal(profile_main(to, 7), 1);
	assert_int_equal(profile_main(to, 8), 2);
	assert_int_equal(profile_main(to, 9), 0);
	assert_int_equal(to->locations.n, 3);
	assert_int_equal(to->comments.n, 0);
	assert_string_equal(
	        profile_location_name(
	                to, profile_stack_locations(to, to->samples.v[1].stack, &n)[0], 0,
	                buf, sizeof buf),
	        "g");
	assert_string_equal(
	        profile_text(to, profile_label_set(to, to->samples.v[2].labels, &n)[0].str),
	        "two");
	profile_free(from);
}

#define PROFILE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void test_full(void **state)
{
	struct profile *profile = profile_new();
	uint32_t locations[512];

	(void)state;
	for (uint64_t i = 0; i <= 512 * 1024; i++) {
		assert_false(profile_is_full(profile));
		(void)profile_location(profile, 0, 0x1000 + i);
	}
	assert_true(profile_is_full(profile));
	profile_free(profile);

	profile = profile_new();
	for (uint32_t i = 0; i < 512; i++)
		locations[i] = profile_location(profile, 0, i);
	for (uint32_t i = 0; i < 40000 && !profile_is_full(profile); i++) {
		locations[i % 512] = i % 511 + 1;
		(void)profile_stack(profile, locations, 512);
	}
	assert_true(profile_is_full(profile));
	profile_free(profile);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_utf8), PROFILE_TEST(test_strings),
	        PROFILE_TEST(test_mappings), PROFILE_TEST(test_locations),
	        PROFILE_TEST(test_names),    PROFILE_TEST(test_labels),
	        PROFILE_TEST(test_samples),  PROFILE_TEST(test_comments),
	        PROFILE_TEST(test_top),      PROFILE_TEST(test_merge),
	        cmocka_unit_test(test_full),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
