/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes profiles made by hand, for check_pprof.py and check_text.py to read:
 *
 *     encode_fixture PROFILE FORMAT FILE
 *
 * PROFILE is "full" (every rule that an output has to keep), "empty" (types and
 * nothing else) or "large" (many samples, all different).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output/file.h"
#include "output/writer.h"

static struct profile *p;

static uint32_t function(const char *name, const char *system_name, const char *file,
                         int64_t start_line)
{
	struct profile_function f = {
	        .name = profile_string(p, name),
	        .system_name = profile_string(p, system_name),
	        .file = profile_string(p, file),
	        .start_line = start_line,
	};

	return profile_function(p, &f);
}

static uint32_t mapping(uint64_t start, uint64_t limit, uint64_t offset, const char *file,
                        const char *build_id)
{
	struct profile_mapping m = {
	        .start = start,
	        .limit = limit,
	        .offset = offset,
	        .file = profile_string(p, file),
	        .build_id = profile_string(p, build_id),
	};

	return profile_mapping(p, &m);
}

static uint32_t location(uint32_t in, uint64_t address, uint32_t f, int64_t line)
{
	uint32_t id = profile_location(p, in, address);
	struct profile_line l = {.function = f, .line = line};

	profile_set_lines(p, id, &l, 1);
	return id;
}

static struct profile_label text_label(const char *key, const char *value)
{
	return (struct profile_label){
	        .key = profile_string(p, key),
	        .str = profile_string(p, value),
	};
}

static struct profile_label number_label(const char *key, int64_t value, const char *unit)
{
	return (struct profile_label){
	        .key = profile_string(p, key),
	        .num = value,
	        .num_unit = profile_string(p, unit),
	};
}

static void sample(const uint32_t *locations, size_t n, uint32_t labels, int64_t count,
                   int64_t ns)
{
	const int64_t values[] = {count, ns};

	profile_add(p, profile_stack(p, locations, n), labels, values);
}

/* As readers want them in every profile. */
static void describe(void)
{
	profile_add_type(p, "samples", "count");
	profile_add_type(p, "cpu", "nanoseconds");
	profile_set_period(p, "cpu", "nanoseconds", 10101010);
	p->time_ns = INT64_C(1700000000123456789);
	p->duration_ns = INT64_C(30000000000);
}

/* Main binary, all known, one call inlined into another. */
static uint32_t hash_leaf, work_inlined, main_frame, start_frame;
/* One function known without its file, one not at all. */
static uint32_t foo_known, foo_unknown;
static uint32_t bar, bar_other, vdso, nowhere, broken;

static void make_locations(void)
{
	uint32_t demo = mapping(0x401000, 0x500000, 0x1000, "/usr/bin/demo",
	                        "00ff10abcdef0123456789abcdef0123456789ab");
	uint32_t foo = mapping(0x7f0000001000, 0x7f0000100000, 0x2000,
	                       "/usr/lib/libfoo.so.1", "beef");
	uint32_t lib_bar = mapping(0x7f0000200000, 0x7f0000300000, 0, "/usr/lib/libbar.so",
	                           "");
	uint32_t image = mapping(0x7ffff7fc1000, 0x7ffff7fc3000, 0, "[vdso]", "");
	uint32_t other = mapping(0x7e0000200000, 0x7e0000300000, 0, "/usr/lib/libbar.so",
	                         "");

	/* Nothing runs here. */
	mapping(0x7f0000400000, 0x7f0000500000, 0, "/usr/lib/libidle.so", "0123");

	uint32_t fmain = function("main", "main", "/src/main.c", 10);
	uint32_t fstart = function("_start", "_start", "/src/start.S", 1);
	struct profile_line inlined[] = {
	        {function("util::mix(unsigned int)", "_ZN4util3mixEj", "/src/util.h", 3),
	         5},
	        {function("util::work()", "_ZN4util4workEv", "/src/work.cc", 20), 24},
	};

	hash_leaf = location(demo, 0x401234, function("hash<&>", "hash", "/src/h.c", 7), 9);
	work_inlined = profile_location(p, demo, 0x4012ff);
	profile_set_lines(p, work_inlined, inlined, 2);
	main_frame = location(demo, 0x401400, fmain, 15);
	start_frame = location(demo, 0x401020, fstart, 2);

	foo_known = location(foo, 0x7f0000001200, function("foo_run", "foo_run", "", 0), 0);
	foo_unknown = location(foo, 0x7f0000001300,
	                       function("libfoo.so.1+0x2300", "", "", 0), 0);
	bar = location(lib_bar, 0x7f0000200010, function("bar", "bar", "", 0), 0);
	bar_other = location(other, 0x7e0000200010, function("bar", "bar", "", 0), 0);
	vdso = profile_location(p, image, 0x7ffff7fc1a10);
	nowhere = profile_location(p, 0, UINT64_C(0xffffffff81000123));
	broken = location(lib_bar, 0x7f0000200020,
	                  function("bad\xff;na\xe2\x82me\n\x1b[31m\xed\xa0\x80\xef\xbf\xbf",
	                           "bad", "", 0),
	                  0);
}

static void make_samples(void)
{
	struct profile_label one[] = {
	        text_label("thread_name", "worker"),
	        number_label("thread_id", 4711, ""),
	        number_label("process_id", 4700, ""),
	};
	struct profile_label one_again[] = {one[2], one[0], one[1],
	                                    number_label("zero", 0, "")};
	struct profile_label two[] = {
	        text_label("thread_name", "bad\xc0\xaf name"),
	        number_label("thread_id", 4800, ""),
	        number_label("process_id", 4799, ""),
	        number_label("wait", 0, "nanoseconds"),
	        number_label("size", -5, "bytes"),
	};
	uint32_t first = profile_labels(p, one, 3);
	uint32_t second = profile_labels(p, two, 5);
	const uint32_t deep[] = {hash_leaf, work_inlined, main_frame, start_frame};
	const uint32_t recursive[] = {main_frame, foo_known, main_frame, start_frame};
	const uint32_t foreign[] = {foo_unknown, vdso, bar, main_frame, start_frame};
	const uint32_t other[] = {broken, bar_other, nowhere};
	const uint32_t unsampled[] = {profile_pseudo(p, "[not sampled]")};

	sample(deep, 4, first, 1, 10000000);
	sample(deep, 4, profile_labels(p, one_again, 4), 2, 20000000);
	sample(deep, 4, second, 1, 5000000);
	sample(recursive, 4, first, 1, 7000000);
	sample(foreign, 5, 0, 1, 8000000);
	sample(other, 3, second, 1, 40000000);
	sample(unsampled, 1, 0, 0, 10000000);
}

static void make_full(void)
{
	profile_string(p, "nobody uses this string");
	make_locations();
	make_samples();
	profile_comment(p, "%s", "cprof-attach <test> & more");
	profile_comment(p, "%s", "#hidden");
	profile_comment(p, "%s", "executableInfo=0,1,2");
}

#define LARGE_SAMPLES 200000u

static void make_large(void)
{
	uint32_t m = mapping(0x400000, 0x40000000, 0, "/usr/bin/large", "aa");
	uint32_t f[1000];
	char name[32];

	for (size_t i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "function_%zu", i);
		f[i] = function(name, name, "", 0);
	}
	for (uint32_t i = 0; i < LARGE_SAMPLES; i++) {
		uint32_t id = profile_location(p, m, 0x400000 + i % 10000 * 16);
		uint32_t root = profile_location(p, m, 0x800000 + i / 10000 * 16);
		const uint32_t stack[] = {id, root};
		struct profile_line leaf_line = {.function = f[i % 1000]};
		struct profile_line root_line = {.function = f[i / 10000]};

		if (p->locations.v[id - 1].nlines == 0)
			profile_set_lines(p, id, &leaf_line, 1);
		if (p->locations.v[root - 1].nlines == 0)
			profile_set_lines(p, root, &root_line, 1);
		sample(stack, 2, 0, 1, i);
	}
}

int main(int argc, char **argv)
{
	struct bytes out = {0};
	struct error err;

	if (argc != 4) {
		fprintf(stderr, "usage: encode_fixture full|empty|large FORMAT FILE\n");
		return 2;
	}
	const struct writer *writer = writer_by_name(argv[2]);
	p = profile_new();
	describe();
	if (strcmp(argv[1], "full") == 0)
		make_full();
	else if (strcmp(argv[1], "large") == 0)
		make_large();
	if (!writer || writer->write(p, &out, &err) != 0 ||
	    output_file_check(argv[3], 0, &err) != 0 ||
	    output_file_write(argv[3], out.v, out.n, &err) != 0) {
		fprintf(stderr, "%s\n", writer ? err.text : "no such format");
		return 1;
	}
	bytes_fini(&out);
	profile_free(p);
	return 0;
}
