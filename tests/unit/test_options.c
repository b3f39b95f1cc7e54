/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what is understood, and the sentence for what is not. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "options/options.h"

#define MAX_ARGS 32

/* argv of a test: copies of the words, since getopt may move its own. */
struct line {
	int argc;
	char *argv[MAX_ARGS + 1];
};

static struct line make_line(const char *const *words)
{
	struct line line = {.argc = 1};

	line.argv[0] = strdup("cprof-attach");
	for (size_t i = 0; words[i]; i++) {
		assert_true(line.argc < MAX_ARGS);
		line.argv[line.argc++] = strdup(words[i]);
	}
	return line;
}

static void free_line(struct line *line)
{
	for (int i = 0; i < line->argc; i++)
		free(line->argv[i]);
}

/* Parses the words, which must be right. */
#define WITH(...)                 \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

static struct options good(struct line *line, const char *const *words)
{
	struct options options;
	struct error err = {0};

	*line = make_line(words);
	if (options_parse(line->argc, line->argv, &options, &err) != 0)
		fail_msg("%s", err.text);
	return options;
}

static void done(struct options *options, struct line *line)
{
	options_fini(options);
	free_line(line);
}

static void test_defaults(void **state)
{
	struct line line;
	struct options o = good(&line, WITH("-p", "4711"));

	(void)state;
	assert_int_equal(o.action, OPTIONS_RUN);
	assert_int_equal(o.pids.n, 1);
	assert_int_equal(o.pids.v[0], 4711);
	assert_int_equal(o.tids.n, 0);
	assert_null(o.command);
	assert_true(o.duration_s == 30);
	assert_true(o.frequency_hz == 99);
	assert_true(o.max_overhead == 0.01);
	assert_int_equal(o.max_pause_ns, 0);
	assert_true(o.every_s == 0);
	assert_int_equal(o.memory_limit, 256 << 20);
	assert_string_equal(o.output, "profile.pb.gz");
	assert_ptr_equal(o.format, &writer_pprof);
	assert_int_equal(o.modes, MODE_CPU);
	assert_int_equal(o.accounting, ACCOUNTING_AUTO);
	assert_int_equal(o.unwinder, UNWIND_AUTO);
	assert_int_equal(o.max_depth, 512);
	assert_false(o.no_lines || o.no_inlines || o.no_demangle);
	assert_false(o.quiet);
	assert_false(o.verbose);
	assert_string_equal(o.command_line, "cprof-attach -p 4711");
	done(&o, &line);
}

static void test_long_and_short_are_one(void **state)
{
	static const char *const ways[][8] = {
	        {"-p", "7", "-d", "2.5", "-F", "0.5"},
	        {"-p7", "-d2.5", "-F0.5"},
	        {"--pid", "7", "--duration", "2.5", "--frequency", "0.5"},
	        {"--pid=7", "--duration=2.5", "--frequency=0.5"},
	        {"--pi=7", "--dur=2.5", "--freq=0.5"},
	        {"-d", "9", "-d", "2.5", "-F", "1", "-p7", "-F.5"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		const char *words[9] = {NULL};
		struct line line;
		struct options o;

		memcpy(words, ways[i], sizeof ways[i]);
		o = good(&line, words);
		assert_int_equal(o.pids.v[0], 7);
		assert_true(o.duration_s == 2.5);
		assert_true(o.frequency_hz == 0.5);
		done(&o, &line);
	}
}

static void test_ids_without_doubles(void **state)
{
	struct line line;
	struct options o = good(&line, WITH("-p", "3", "-t", "9", "-p", "1", "-p", "03",
	                                    "-t", "9", "-t", "2147483647"));

	(void)state;
	assert_int_equal(o.pids.n, 2);
	assert_int_equal(o.pids.v[0], 3);
	assert_int_equal(o.pids.v[1], 1);
	assert_int_equal(o.tids.n, 2);
	assert_int_equal(o.tids.v[0], 9);
	assert_int_equal(o.tids.v[1], 2147483647);
	done(&o, &line);
}

static void test_numbers_at_their_ends(void **state)
{
	static const struct {
		const char *option, *value;
		double want;
	} rows[] = {
	        {"-d", "0.001", 0.001}, {"-d", "31536000", 31536000},
	        {"-d", "5.", 5},        {"-d", ".5", 0.5},
	        {"-d", "007", 7},       {"-F", "0.1", 0.1},
	        {"-F", "10000", 10000}, {"-F", "10000.0", 10000},
	        {"-F", "99.9", 99.9},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct line line;
		struct options o = good(&line,
		                        WITH("-p", "1", rows[i].option, rows[i].value));

		assert_true((rows[i].option[1] == 'd' ? o.duration_s : o.frequency_hz) ==
		            rows[i].want);
		done(&o, &line);
	}
}

static void test_command(void **state)
{
	struct line line;
	struct options o = good(&line,
	                        WITH("-d", "2", "--", "prog", "-p", "x", "--help", "--"));

	(void)state;
	assert_non_null(o.command);
	assert_string_equal(o.command[0], "prog");
	assert_string_equal(o.command[1], "-p");
	assert_string_equal(o.command[3], "--help");
	assert_string_equal(o.command[4], "--");
	assert_null(o.command[5]);
	assert_true(o.duration_s == 2);
	assert_int_equal(o.pids.n, 0);
	assert_string_equal(o.command_line, "cprof-attach -d 2 -- prog -p x --help --");
	done(&o, &line);

	o = good(&line, WITH("-p", "1", "-d", "0", "--every", "0.5", "--keep", "3",
	                     "--keep-bytes", "2M", "--memory-limit", "1G"));
	assert_true(o.duration_s == 0);
	assert_true(o.every_s == 0.5);
	assert_int_equal(o.keep, 3);
	assert_int_equal(o.keep_bytes, 2 << 20);
	assert_int_equal(o.memory_limit, 1 << 30);
	done(&o, &line);

	o = good(&line, WITH("--", "it's"));
	assert_true(o.duration_s == 0);
	assert_string_equal(o.command_line, "cprof-attach -- 'it'\\''s'");
	done(&o, &line);
}

static void test_outputs(void **state)
{
	static const struct {
		const char *words[5];
		const char *output;
		const struct writer *format;
	} rows[] = {
	        {{"-o", "a.svg"}, "a.svg", &writer_svg},
	        {{"-o", "a.folded"}, "a.folded", &writer_folded},
	        {{"-o", "a"}, "a", &writer_pprof},
	        {{"-o", "-"}, "-", &writer_pprof},
	        {{"-o", "-", "-f", "folded"}, "-", &writer_folded},
	        {{"-f", "text", "-o", "a.svg"}, "a.svg", &writer_text},
	        {{"-f", "folded"}, "profile.folded", &writer_folded},
	        {{"-f", "svg"}, "profile.svg", &writer_svg},
	        {{"-o", "same", "-o", "same"}, "same", &writer_pprof},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *words[8] = {"-p", "1"};
		struct line line;
		struct options o;

		memcpy(words + 2, rows[i].words, sizeof rows[i].words);
		o = good(&line, words);
		assert_string_equal(o.output, rows[i].output);
		assert_ptr_equal(o.format, rows[i].format);
		done(&o, &line);
	}
}

static void test_accounting_and_levels(void **state)
{
	struct line line;
	struct options o = good(&line, WITH("-qp1", "--accounting", "stat", "-m", "cpu"));

	(void)state;
	assert_int_equal(o.accounting, ACCOUNTING_STAT);
	assert_true(o.quiet);
	done(&o, &line);
	o = good(&line, WITH("-v", "--accounting=schedstat", "-t", "5"));
	assert_int_equal(o.accounting, ACCOUNTING_SCHEDSTAT);
	assert_true(o.verbose);
	assert_int_equal(o.pids.n, 0);
	done(&o, &line);
}

static void test_unwinding(void **state)
{
	static const struct {
		const char *name;
		enum unwind_method method;
	} rows[] = {
	        {"auto", UNWIND_AUTO},
	        {"rules", UNWIND_RULES},
	        {"fp", UNWIND_FP},
	        {"libunwind", UNWIND_LIBUNWIND},
	};
	struct line line;
	struct options o;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		o = good(&line, WITH("-p1", "--unwinder", rows[i].name));
		assert_int_equal(o.unwinder, rows[i].method);
		done(&o, &line);
	}
#ifdef HAVE_DEBUGINFOD
	o = good(&line, WITH("-p1", "--debuginfod", "http://127.0.0.1:8002"));
	assert_string_equal(o.debuginfod, "http://127.0.0.1:8002");
	done(&o, &line);
	o = good(&line, WITH("-p1", "--debuginfod="));
	assert_string_equal(o.debuginfod, "");
	done(&o, &line);
#endif
	o = good(&line, WITH("-p1", "--max-depth=1"));
	assert_int_equal(o.max_depth, 1);
	done(&o, &line);
	o = good(&line, WITH("-p1", "--max-depth", "32768"));
	assert_int_equal(o.max_depth, 32768);
	done(&o, &line);
}

static void test_symbol_options(void **state)
{
	struct line line;
	struct options o = good(&line, WITH("-p1", "--no-lines"));

	(void)state;
	assert_true(o.no_lines && !o.no_inlines && !o.no_demangle);
	done(&o, &line);
	o = good(&line, WITH("-p1", "--no-inlines"));
	assert_true(o.no_inlines && !o.no_lines && !o.no_demangle);
	done(&o, &line);
	o = good(&line, WITH("-p1", "--no-demangle"));
	assert_true(o.no_demangle && !o.no_lines && !o.no_inlines);
	done(&o, &line);
}

static void test_limits(void **state)
{
	struct line line;
	struct options o = good(&line,
	                        WITH("-p1", "--max-overhead", "0.5", "--max-pause=2.5"));

	(void)state;
	assert_true(o.max_overhead == 0.005);
	assert_int_equal(o.max_pause_ns, 2500);
	done(&o, &line);
	o = good(&line, WITH("-p1", "--max-overhead=100", "--max-pause", "1000000"));
	assert_true(o.max_overhead == 1);
	assert_int_equal(o.max_pause_ns, 1000000000);
	done(&o, &line);
}

static void test_help_and_version(void **state)
{
	struct line line;
	struct options o = good(&line, WITH("-p", "1", "-h", "--nonsense"));

	(void)state;
	assert_int_equal(o.action, OPTIONS_HELP);
	done(&o, &line);
	o = good(&line, WITH("--version"));
	assert_int_equal(o.action, OPTIONS_VERSION);
	done(&o, &line);
}

/* Wrong lines, and a part of the sentence that each must lead to. */
static const struct {
	const char *words[6];
	const char *sentence;
} wrong[] = {
        {{NULL}, "nothing to profile"},
        {{"--"}, "nothing to profile"},
        {{"-d", "1"}, "-p PID"},
        {{"4711"}, "use -p 4711"},
        {{"sleep", "10"}, "put -- before"},
        {{"-p", "1", "extra"}, "'extra' is not an option"},
        {{"-p", "1", "-"}, "'-' is not an option"},
        {{"-o", "--", "sleep"}, "put -- before"},
        {{"-p"}, "--pid needs a value: give it as --pid PID"},
        {{"--duration"}, "--duration needs a value: give it as --duration SECONDS"},
        {{"--accounting"}, "--accounting needs a value"},
        {{"-x"}, "there is no option -x"},
        {{"-qx"}, "there is no option -x"},
        {{"--bogus"}, "there is no option '--bogus'"},
        {{"--bogus=1"}, "there is no option '--bogus=1'"},
        {{"--f", "1"}, "'--f' may mean more than one option"},
        {{"--quiet=1"}, "--quiet takes no value"},
        {{"-p", "0"}, "--pid '0'"},
        {{"-p", "-1"}, "--pid '-1'"},
        {{"-p", "+1"}, "--pid '+1'"},
        {{"-p", ""}, "--pid ''"},
        {{"-p", " 1"}, "--pid ' 1'"},
        {{"-p", "1 "}, "--pid '1 '"},
        {{"-p", "12x"}, "--pid '12x'"},
        {{"-p", "0x10"}, "--pid '0x10'"},
        {{"-p", "1.5"}, "--pid '1.5'"},
        {{"-p", "2147483648"}, "--pid '2147483648'"},
        {{"-p", "4294967297"}, "--pid '4294967297'"},
        {{"-p", "18446744073709551617"}, "--pid '18446744073709551617'"},
        {{"-t", "0"}, "--thread '0'"},
        {{"-t", "x"}, "as ps -L shows it"},
        {{"-p", "1", "--every", "0"}, "--every '0'"},
        {{"-p", "1", "--every", "5m"}, "--every '5m'"},
        {{"-p", "1", "--every", "5", "-m", "threads"}, "leave out --every"},
        {{"-p", "1", "--keep", "0", "--every", "1"}, "--keep '0'"},
        {{"-p", "1", "--keep", "3"}, "--keep is about the files of --every"},
        {{"-p", "1", "--keep-bytes", "3M"}, "--keep-bytes is about the files of --every"},
        {{"-p", "1", "--keep-bytes", "3MB"}, "--keep-bytes '3MB'"},
        {{"-p", "1", "--keep-bytes", "99999999999G"}, "--keep-bytes '99999999999G'"},
        {{"-p", "1", "--memory-limit", "31M"}, "--memory-limit '31M'"},
        {{"-p", "1", "--memory-limit", "K"}, "--memory-limit 'K'"},
        {{"-p", "1", "-d", "0.0009"}, "--duration '0.0009'"},
        {{"-p", "1", "-d", "31536001"}, "--duration '31536001'"},
        {{"-p", "1", "-d", "-5"}, "--duration '-5'"},
        {{"-p", "1", "-d", ""}, "--duration ''"},
        {{"-p", "1", "-d", "."}, "--duration '.'"},
        {{"-p", "1", "-d", "1.2.3"}, "--duration '1.2.3'"},
        {{"-p", "1", "-d", "2,5"}, "--duration '2,5'"},
        {{"-p", "1", "-d", "10s"}, "--duration '10s'"},
        {{"-p", "1", "-d", "1e2"}, "--duration '1e2'"},
        {{"-p", "1", "-d", "0x1p3"}, "--duration '0x1p3'"},
        {{"-p", "1", "-d", "nan"}, "--duration 'nan'"},
        {{"-p", "1", "-d", "inf"}, "--duration 'inf'"},
        {{"-p", "1", "-F", "0"}, "--frequency '0'"},
        {{"-p", "1", "-F", "0.09"}, "--frequency '0.09'"},
        {{"-p", "1", "-F", "10001"}, "--frequency '10001'"},
        {{"-p", "1", "-F", "99hz"}, "--frequency '99hz'"},
        {{"-p", "1", "--max-overhead", "0"}, "from 0.01 to 100"},
        {{"-p", "1", "--max-overhead", "101"}, "--max-overhead '101'"},
        {{"-p", "1", "--max-overhead", "1%"}, "--max-overhead '1%'"},
        {{"-p", "1", "--max-pause", "0.9"}, "from 1 to 1000000"},
        {{"-p", "1", "--max-pause", "1000001"}, "--max-pause '1000001'"},
        {{"-p", "1", "-o", ""}, "--output has an empty name"},
        {{"-p", "1", "-o", "a", "-o", "b"}, "--output is given twice"},
        {{"-p", "1", "-f", "xml"}, "give pprof, folded, svg or text"},
        {{"-p", "1", "-f", ""}, "--format ''"},
        {{"-p", "1", "-m", "heap"}, "--mode heap is not in this version"},
        {{"-p", "1", "-m", "wall,block"}, "only cpu and wall go together"},
        {{"-p", "1", "-m", "cpu,threads"}, "only cpu and wall go together"},
        {{"-p", "1", "-m", "cpu,"}, "--mode 'cpu,' is not known"},
        {{"-p", "1", "-m", ""}, "--mode '' is not known"},
        {{"-p", "1", "--wait-detail"}, "--wait-detail tells of sleeping threads"},
        {{"-p", "1", "--kernel-stacks"}, "--kernel-stacks tells of sleeping threads"},
        {{"-p", "1", "-m", "CPU"}, "--mode 'CPU' is not known"},
        {{"-p", "1", "--accounting", "x"}, "give auto, schedstat or stat"},
        {{"-p", "1", "--unwinder", "dwarf"}, "give auto, rules, fp or libunwind"},
        {{"-p", "1", "--unwinder", ""}, "--unwinder ''"},
        {{"-p", "1", "--debuginfod", "localhost"}, "--debuginfod 'localhost'"},
        {{"-p", "1", "--max-depth", "0"}, "--max-depth '0'"},
        {{"-p", "1", "--max-depth", "32769"}, "from 1 to 32768"},
        {{"-p", "1", "--max-depth", "-1"}, "--max-depth '-1'"},
        {{"-p", "1", "--max-depth", "many"}, "--max-depth 'many'"},
        {{"-p", "1", "-qv"}, "--quiet and --verbose contradict"},
        {{"-p", "1", "--", "x"}, "--pid and a command"},
        {{"-t", "1", "--", "x"}, "--thread and a command"},
        {{"-o", "-", "--", "x"}, "--output - would mix"},
};

static void test_wrong_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		const char *words[7] = {NULL};
		struct options options;
		struct error err = {0};
		struct line line;

		memcpy(words, wrong[i].words, sizeof wrong[i].words);
		line = make_line(words);
		if (options_parse(line.argc, line.argv, &options, &err) != -1)
			fail_msg("accepted, and should say: %s", wrong[i].sentence);
		assert_int_equal(err.code, EXIT_CODE_USAGE);
		if (!strstr(err.text, wrong[i].sentence))
			fail_msg("said: %s\nnot: %s", err.text, wrong[i].sentence);
		/* One line, and with a remedy or a choice behind its colon. */
		assert_null(strchr(err.text, '\n'));
		assert_non_null(strchr(err.text, ':'));
		free_line(&line);
	}
}

static void test_choices(void **state)
{
	struct line line;
	struct options o = good(&line,
	                        WITH("-n", "^(a|b)$", "--all", "--children", "-p", "1",
	                             "--cgroup", "/x", "--split-by", "process"));

	(void)state;
	assert_string_equal(o.name, "^(a|b)$");
	assert_true(o.all && o.children && o.split);
	assert_string_equal(o.cgroup, "/x");
	done(&o, &line);
	o = good(&line, WITH("--children", "--", "make"));
	assert_true(o.children && !o.all && !o.split);
	assert_null(o.name);
	assert_null(o.cgroup);
	done(&o, &line);
}

static void test_wrong_choices(void **state)
{
	static const struct {
		const char *words[7];
		const char *sentence;
	} lines[] = {
	        {{"-n", "("}, "--name '(' is not a regular expression"},
	        {{"-n", ""}, "--name is empty"},
	        {{"-n", "a", "-n", "b"}, "--name is given twice"},
	        {{"--all", "-p", "1"}, "--all says that all processes with a --name"},
	        {{"--cgroup", ""}, "--cgroup is empty"},
	        {{"--cgroup", "a", "--cgroup", "b"}, "--cgroup is given twice"},
	        {{"--children"}, "nothing to profile"},
	        {{"-t", "1", "--children"}, "--thread chooses threads, --children"},
	        {{"-t", "1", "-n", "x"}, "--thread chooses threads, --name"},
	        {{"-n", "x", "--", "make"}, "--name and a command do not go together"},
	        {{"--cgroup", "x", "--", "make"}, "--cgroup and a command do not"},
	        {{"-p", "1", "--split-by", "thread"}, "--split-by 'thread' is not known"},
	        {{"-p", "1", "--split-by", "process", "-o", "-"},
	         "--split-by writes several"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct line line = make_line(lines[i].words);
		struct options options;
		struct error err = {0};

		assert_int_equal(options_parse(line.argc, line.argv, &options, &err), -1);
		assert_int_equal(err.code, EXIT_CODE_USAGE);
		if (!strstr(err.text, lines[i].sentence))
			fail_msg("said: %s\nnot: %s", err.text, lines[i].sentence);
		assert_non_null(strchr(err.text, ':'));
		free_line(&line);
	}
}

/* A word of any length does not push the remedy out of the message. */
static void test_long_values(void **state)
{
	static const char *const options_with_values[] = {"-p", "-t", "-d",
	                                                  "-f", "-m", "-F"};
	struct options options;
	struct error err;
	char huge[5000];

	(void)state;
	memset(huge, 'x', sizeof huge - 1);
	huge[sizeof huge - 1] = '\0';
	for (size_t i = 0; i < 6; i++) {
		struct line line = make_line(WITH(options_with_values[i], huge));

		assert_int_equal(options_parse(line.argc, line.argv, &options, &err), -1);
		assert_true(strlen(err.text) < 250);
		free_line(&line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_defaults),
	        cmocka_unit_test(test_long_and_short_are_one),
	        cmocka_unit_test(test_ids_without_doubles),
	        cmocka_unit_test(test_numbers_at_their_ends),
	        cmocka_unit_test(test_command),
	        cmocka_unit_test(test_outputs),
	        cmocka_unit_test(test_accounting_and_levels),
	        cmocka_unit_test(test_unwinding),
	        cmocka_unit_test(test_symbol_options),
	        cmocka_unit_test(test_limits),
	        cmocka_unit_test(test_help_and_version),
	        cmocka_unit_test(test_wrong_lines),
	        cmocka_unit_test(test_choices),
	        cmocka_unit_test(test_wrong_choices),
	        cmocka_unit_test(test_long_values),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
