/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Perf maps: their lines, which of several lines counts, whose file is believed;
 * and that the names come out of a symbolizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "other_root.h"
#include "symbol/perf_map.h"
#include "symbol/process.h"
#include "symbol/symbol.h"

#define NOBODY 65534

static const struct symbol_options everything;

static struct perf_map *parse(const char *text, size_t len)
{
	char *copy = xmalloc(len > 0 ? len : 1);

	memcpy(copy, text, len);
	return perf_map_parse(copy, len);
}

static void expect(const struct perf_map *map, uint64_t address, const char *name)
{
	const struct code_entry *entry = perf_map_find(map, address);

	if (!name) {
		assert_null(entry);
		return;
	}
	assert_non_null(entry);
	assert_string_equal(entry->name, name);
	assert_true(address >= entry->start && address < entry->end);
}

/* What a text of one line calls the address 0x1000. */
static void expect_line(const char *line, const char *name)
{
	struct perf_map *map = parse(line, strlen(line));

	expect(map, 0x1000, name);
	perf_map_free(map);
}

static void test_lines(void **state)
{
	(void)state;
	expect_line("1000 10 f\n", "f");
	expect_line("1000 1 JS:*fib /srv/fib.js:3:13\n", "JS:*fib /srv/fib.js:3:13");
	expect_line("0x1000 0x10 f\n", "f");
	expect_line("00001000 00000010 f\n", "f");
	expect_line("fFf 2 f\n", "f");
	expect_line("1000  10   f \n", "f ");
	expect_line("1000 10 f\r\n", "f");
	expect_line("0 ffffffffffffffff all\n", "all");
	expect_line("nonsense\n\n1000 10 f\n", "f");

	expect_line("", NULL);
	expect_line("\n", NULL);
	expect_line("1000 10 f", NULL); /* still being written */
	expect_line("1000 10 \n", NULL);
	expect_line("1000 10\n", NULL);
	expect_line("1000 10 \r\n", NULL);
	expect_line("1000\n", NULL);
	expect_line("1000 \n", NULL);
	expect_line("1000 0 f\n", NULL);
	expect_line("1000 -1 f\n", NULL);
	expect_line(" 1000 10 f\n", NULL);
	expect_line("1000\t10\tf\n", NULL);
	expect_line("10000000000001000 10 f\n", NULL);
	expect_line("1000 ffffffffffffffff f\n", NULL);
	expect_line("0x 10 f\n", NULL);
	expect_line("1001 10 f\n", NULL);
	expect_line("ff0 10 f\n", NULL);
}

static void test_bytes(void **state)
{
	static const char nul[] = "1000 10 a\0b\n1010 10 \0\n1020 10 c\n\0\0\0";
	struct perf_map *map = parse(nul, sizeof nul);

	(void)state;
	expect(map, 0x1000, "a");
	expect(map, 0x1010, NULL);
	expect(map, 0x1020, "c");
	perf_map_free(map);
	perf_map_free(NULL);
}

static void test_last_line_counts(void **state)
{
	static const char text[] = "1000 100 old\n"
	                           "1080 10 inner\n"
	                           "10f0 20 across\n"
	                           "2000 10 gone\n"
	                           "1ff8 20 over\n"
	                           "3000 10 first\n"
	                           "3000 10 second\n"
	                           "4000 10 a\n"
	                           "4010 10 b\n";
	struct perf_map *map = parse(text, sizeof text - 1);

	(void)state;
	expect(map, 0xfff, NULL);
	expect(map, 0x1000, "old");
	expect(map, 0x107f, "old");
	expect(map, 0x1080, "inner");
	expect(map, 0x108f, "inner");
	expect(map, 0x1090, "old");
	expect(map, 0x10ef, "old");
	expect(map, 0x10f0, "across");
	expect(map, 0x110f, "across");
	expect(map, 0x1110, NULL);
	expect(map, 0x1ff8, "over");
	expect(map, 0x2000, "over");
	expect(map, 0x2017, "over");
	expect(map, 0x2018, NULL);
	expect(map, 0x300f, "second");
	expect(map, 0x3010, NULL);
	expect(map, 0x400f, "a");
	expect(map, 0x4010, "b");
	expect(map, UINT64_MAX, NULL);
	expect(map, 0, NULL);
	perf_map_free(map);
}

/* Against the definition, said as a loop over all lines. */
static void test_random(void **state)
{
	struct {
		uint64_t start, size;
	} lines[60];

	(void)state;
	srandom(11);
	for (int round = 0; round < 300; round++) {
		size_t n = (size_t)random() % 60, len = 0;
		char text[60 * 32];
		struct perf_map *map;

		for (size_t i = 0; i < n; i++) {
			lines[i].start = (uint64_t)random() % 200;
			lines[i].size = (uint64_t)random() % 40;
			len += (size_t)sprintf(text + len, "%lx %lx n%zu\n", lines[i].start,
			                       lines[i].size, i);
		}
		map = parse(text, len);
		for (uint64_t at = 0; at < 250; at++) {
			char name[16] = "";

			for (size_t i = 0; i < n; i++) {
				if (at >= lines[i].start &&
				    at - lines[i].start < lines[i].size)
					sprintf(name, "n%zu", i);
			}
			expect(map, at, name[0] ? name : NULL);
		}
		perf_map_free(map);
	}
}

/* Lines that all overlap, and more of them than are taken. */
static void test_many(void **state)
{
	size_t n = PERF_MAP_MAX_LINES;
	char *text = xmalloc((n + 2) * 32), *p = text;
	struct perf_map *map;

	(void)state;
	p += sprintf(p, "10 10 first\n");
	p += sprintf(p, "20 10 second\n");
	for (size_t i = 1; i < n; i++)
		p += sprintf(p, "%zx ffff00000000 x\n", 0x1000 + i);
	map = perf_map_parse(text, (size_t)(p - text));
	expect(map, 0x10, NULL);
	expect(map, 0x20, "second");
	expect(map, 0x1000 + 77, "x");
	perf_map_free(map);
}

/* ---- in a process ---- */

static const char fib[] = "7f0000001000 100 JS:*fib /app/fib.js:1:13\n"
                          "7f0000001100 100 _ZN3jit4codeEv@@V1\n";

static struct other_root *need(void **state)
{
	struct other_root *f = *state;

	if (!f->target)
		skip();
	return f;
}

struct naming {
	struct symbolizer *symbolizer;
	struct profile *profile;
	uint32_t mapping;
};

static void naming_init(struct naming *naming, const struct target *target)
{
	struct profile_mapping mapping = {.start = 0x7f0000001000, .limit = 0x7f0000002000};

	naming->symbolizer = symbolizer_new(&everything);
	naming->profile = profile_new();
	mapping.code = symbolizer_bind(naming->symbolizer, NULL, 0, target);
	naming->mapping = profile_mapping(naming->profile, &mapping);
}

static void naming_fini(struct naming *naming)
{
	symbolizer_free(naming->symbolizer);
	profile_free(naming->profile);
}

/* Symbolizes one address; afterwards there is nothing left of it. */
static void expect_named(struct naming *naming, uint64_t address, const char *name,
                         const char *system_name)
{
	uint32_t id = profile_location(naming->profile, naming->mapping, address);
	const struct profile_location *location;
	const struct profile_function *function;

	symbolizer_fill(naming->symbolizer, naming->profile);
	location = &naming->profile->locations.v[id - 1];
	assert_int_equal(location->nlines, 1);
	function = &naming->profile->functions
	                    .v[naming->profile->lines.v[location->first_line].function - 1];
	assert_string_equal(profile_text(naming->profile, function->name), name);
	assert_string_equal(profile_text(naming->profile, function->system_name),
	                    system_name);
}

static void test_names(void **state)
{
	struct other_root *f = need(state);
	struct naming naming;

	other_root_put(f, "/tmp/perf-1.map", fib, sizeof fib - 1);
	naming_init(&naming, f->target);
	expect_named(&naming, 0x7f0000001020, "JS:*fib /app/fib.js:1:13",
	             "JS:*fib /app/fib.js:1:13");
	expect_named(&naming, 0x7f0000001100, "_ZN3jit4codeEv@@V1", "_ZN3jit4codeEv@@V1");
	expect_named(&naming, 0x7f0000001200, "[anon]", "");
	assert_int_equal(symbolizer_stats(naming.symbolizer).resolved, 2);
	assert_int_equal(symbolizer_stats(naming.symbolizer).unresolved, 1);
	naming_fini(&naming);
}

/* Written after sampling began; and by a process that is gone at its end. */
static void test_late(void **state)
{
	struct other_root *f = need(state);
	struct naming late, gone;
	char *name = other_root_path(f, "/tmp/perf-1.map");

	naming_init(&late, f->target);
	other_root_put(f, "/tmp/perf-1.map", fib, sizeof fib - 1);
	naming_init(&gone, f->target);
	other_root_end(f);
	expect_named(&late, 0x7f0000001020, "JS:*fib /app/fib.js:1:13",
	             "JS:*fib /app/fib.js:1:13");
	assert_int_equal(unlink(name), 0);
	expect_named(&gone, 0x7f0000001020, "JS:*fib /app/fib.js:1:13",
	             "JS:*fib /app/fib.js:1:13");
	naming_fini(&late);
	naming_fini(&gone);
	free(name);
}

static void expect_refused(struct other_root *f)
{
	struct naming naming;

	naming_init(&naming, f->target);
	expect_named(&naming, 0x7f0000001020, "[anon]", "");
	naming_fini(&naming);
}

static void test_not_believed(void **state)
{
	struct other_root *f = need(state);
	char *name = other_root_path(f, "/tmp/perf-1.map");

	expect_refused(f);
	other_root_put(f, "/tmp/other", fib, sizeof fib - 1);
	assert_int_equal(symlink("other", name), 0);
	expect_refused(f);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(mkfifo(name, 0600), 0);
	expect_refused(f);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(mkdir(name, 0700), 0);
	expect_refused(f);
	assert_int_equal(rmdir(name), 0);
	other_root_put(f, "/tmp/perf-1.map", "", 0);
	expect_refused(f);
	other_root_put(f, "/tmp/perf-1.map", fib, sizeof fib - 1);
	if (chown(name, 4711, 4711) == 0)
		expect_refused(f);
	free(name);
}

/* What is held of all processes is counted, limited, and given up when not asked for. */
static void test_memory(void **state)
{
	struct other_root *f = need(state);
	size_t held = 0, of_one;
	struct symbol_process *one, *two;
	struct symbol_code code;

	other_root_put(f, "/tmp/perf-1.map", fib, sizeof fib - 1);
	one = symbol_process_new(f->target, &held);
	two = symbol_process_new(f->target, &held);
	assert_int_equal(held, 0);
	assert_true(symbol_process_find(one, 0x7f0000001020, &code));
	of_one = held;
	assert_true(of_one >= sizeof fib - 1);
	assert_true(symbol_process_find(two, 0x7f0000001020, &code));
	assert_int_equal(held, 2 * of_one);
	/* Asked for one of them alone. */
	symbol_process_renew(one);
	symbol_process_renew(two);
	assert_true(symbol_process_find(one, 0x7f0000001020, &code));
	symbol_process_renew(one);
	symbol_process_renew(two);
	assert_int_equal(held, of_one);
	/* Too much is held already. */
	held += (size_t)1 << 40;
	assert_false(symbol_process_find(two, 0x7f0000001020, &code));
	assert_true(symbol_process_find(one, 0x7f0000001020, &code));
	held -= (size_t)1 << 40;
	symbol_process_renew(two);
	assert_true(symbol_process_find(two, 0x7f0000001020, &code));
	symbol_process_free(one);
	symbol_process_free(two);
	assert_int_equal(held, 0);
}

/* The same for another process, with a mapping at the same place. */
static void naming_turn(struct naming *naming, const struct target *target)
{
	struct profile_mapping mapping = {.start = 0x7f0000001000, .limit = 0x7f0000002000};

	mapping.code = symbolizer_bind(naming->symbolizer, NULL, 0, target);
	naming->mapping = profile_mapping(naming->profile, &mapping);
}

/* Two processes with one mapping at one place: each has names of its own. */
static void test_two_processes(void **state)
{
	static const char other[] = "7f0000001000 100 another\n7f0000001200 100 alone\n";
	struct other_root *f = need(state);
	void *second_state;
	struct other_root *second;
	struct naming naming;
	uint32_t first;

	assert_int_equal(other_root_setup(&second_state), 0);
	second = second_state;
	other_root_put(f, "/tmp/perf-1.map", fib, sizeof fib - 1);
	other_root_put(second, "/tmp/perf-1.map", other, sizeof other - 1);
	naming_init(&naming, f->target);
	first = naming.mapping;
	expect_named(&naming, 0x7f0000001020, "JS:*fib /app/fib.js:1:13",
	             "JS:*fib /app/fib.js:1:13");
	naming_turn(&naming, second->target);
	assert_int_not_equal(naming.mapping, first);
	expect_named(&naming, 0x7f0000001020, "another", "another");
	expect_named(&naming, 0x7f0000001200, "alone", "alone");
	naming_turn(&naming, f->target);
	assert_int_equal(naming.mapping, first);
	naming_fini(&naming);
	other_root_teardown(&second_state);
}

/* What is written between two profiles of one run is in the second. */
static void test_renewed(void **state)
{
	static const char more[] = "7f0000001000 100 replaced\n7f0000001200 100 new\n";
	struct other_root *f = need(state);
	struct naming naming;

	other_root_put(f, "/tmp/perf-1.map", fib, sizeof fib - 1);
	naming_init(&naming, f->target);
	expect_named(&naming, 0x7f0000001020, "JS:*fib /app/fib.js:1:13",
	             "JS:*fib /app/fib.js:1:13");
	expect_named(&naming, 0x7f0000001200, "[anon]", "");
	profile_free(naming.profile);
	naming.profile = profile_new();
	naming_turn(&naming, f->target);
	other_root_put(f, "/tmp/perf-1.map", more, sizeof more - 1);
	expect_named(&naming, 0x7f0000001020, "replaced", "replaced");
	expect_named(&naming, 0x7f0000001200, "new", "new");
	naming_fini(&naming);
}

static pid_t start_as_nobody(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	if (setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
	    setresuid(NOBODY, NOBODY, NOBODY) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
		raise(SIGSTOP);
	_exit(1);
}

/* Root's own file, under that name by a mount of the process's, or a link. */
static void test_not_for_its_user(void **state)
{
	pid_t pid;
	char *name;
	struct target *target;
	struct naming naming;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = start_as_nobody();
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	target = target_open(pid, NULL);
	assert_non_null(target);
	name = xasprintf("/tmp/perf-%d.map", pid);
	for (mode_t mode = 0600; mode <= 0604; mode += 4) {
		FILE *file = fopen(name, "we");

		assert_non_null(file);
		assert_true(fputs(fib, file) >= 0);
		assert_int_equal(fclose(file), 0);
		assert_int_equal(chmod(name, mode), 0);
		naming_init(&naming, target);
		expect_named(&naming, 0x7f0000001020,
		             mode == 0600 ? "[anon]" : "JS:*fib /app/fib.js:1:13",
		             mode == 0600 ? "" : "JS:*fib /app/fib.js:1:13");
		naming_fini(&naming);
		assert_int_equal(unlink(name), 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	target_free(target);
	free(name);
}

/* As one copies it out of a container for perf: under the pid seen from here. */
static void test_copied_out(void **state)
{
	struct other_root *f = need(state);
	char *name = xasprintf("/tmp/perf-%d.map", f->pid);
	FILE *file = fopen(name, "wxe");
	struct naming naming;

	assert_non_null(file);
	assert_true(fputs(fib, file) >= 0);
	assert_int_equal(fclose(file), 0);
	naming_init(&naming, f->target);
	assert_int_equal(unlink(name), 0);
	expect_named(&naming, 0x7f0000001020, "JS:*fib /app/fib.js:1:13",
	             "JS:*fib /app/fib.js:1:13");
	naming_fini(&naming);
	free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_lines),
	        cmocka_unit_test(test_bytes),
	        cmocka_unit_test(test_last_line_counts),
	        cmocka_unit_test(test_random),
	        cmocka_unit_test(test_many),
	        cmocka_unit_test_setup_teardown(test_names, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_late, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_not_believed, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test(test_not_for_its_user),
	        cmocka_unit_test_setup_teardown(test_renewed, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_memory, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_two_processes, other_root_setup,
	                                        other_root_teardown),
	        cmocka_unit_test_setup_teardown(test_copied_out, other_root_setup,
	                                        other_root_teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
