/* SPDX-License-Identifier: Apache-2.0 */
/* The receipt: every fact of a run made up here is told, and nothing else. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "report/report.h"

#define CPU_NS (4 * NS_PER_SEC)

struct fixture {
	struct sampler_stats stats;
	struct report_target target[12];
	struct receipt receipt;
	struct profile *profile;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->profile = profile_new();
	profile_add_type(f->profile, "samples", "count");
	profile_add_type(f->profile, "cpu", "nanoseconds");
	f->stats.samples = 396;
	f->stats.ticks = 990;
	f->stats.start_ns = 5 * NS_PER_SEC;
	f->stats.end_ns = 15 * NS_PER_SEC;
	f->stats.threads_seen = 3;
	f->target[0] = (struct report_target){
	        .pid = 4711,
	        .comm = "redis-server",
	        .result = {.have_cpu_clock = true,
	                   .cpu_ns = CPU_NS,
	                   .sampled_ns = CPU_NS / 100 * 99,
	                   .unsampled_ns = CPU_NS / 100},
	};
	f->receipt = (struct receipt){
	        .command_line = "cprof-attach -p 4711",
	        .version = "0.1.0",
	        .output = "out.pb.gz",
	        .format = "pprof",
	        .frequency_hz = 99,
	        .stats = &f->stats,
	        .targets = f->target,
	        .ntargets = 1,
	};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	profile_free(f->profile);
	free(f);
	return 0;
}

/* A sample whose stack is these names, leaf first. */
static void add_sample(struct fixture *f, int64_t ns, const char *const *names)
{
	const int64_t values[] = {1, ns};
	uint32_t locations[8];
	size_t n = 0;

	for (; names[n]; n++)
		locations[n] = profile_pseudo(f->profile, names[n]);
	profile_add(f->profile, profile_stack(f->profile, locations, n), 0, values);
}

#define STACK(...)                \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

static void check_summary(struct fixture *f, const char *part, bool there)
{
	char *text = report_summary(f->profile, &f->receipt);

	if ((strstr(text, part) != NULL) != there)
		fail_msg("%s: '%s'\n%s", there ? "missing" : "too much", part, text);
	free(text);
}

#define says(f, part)     check_summary((f), (part), true)
#define says_not(f, part) check_summary((f), (part), false)

static bool has_comment(struct fixture *f, const char *part)
{
	for (size_t i = 0; i < f->profile->comments.n; i++) {
		if (strstr(profile_text(f->profile, f->profile->comments.v[i]), part))
			return true;
	}
	return false;
}

static void test_a_good_run(void **state)
{
	struct fixture *f = *state;

	f->receipt.stack_ends[UNWIND_END_MARKER] = 396;
	for (int i = 0; i < 99; i++)
		quantile_add(&f->stats.pause_ns, 7000);
	quantile_add(&f->stats.pause_ns, 210 * NS_PER_US);
	says(f, "396 samples written to out.pb.gz\n");
	says(f, "4711 (redis-server) used 4.00 s of CPU time, 99.0 % of it sampled");
	says(f, "40.0 ms [not sampled]");
	says(f, "99.0 Hz (99 asked for): 990 ticks in 10.0 s, 0 missed, 0 late");
	/* Quantiles are right to 6 %, the maximum is exact. */
	says(f, "a sample stopped its thread for p50 7.");
	says(f, " us, max 210 us\n");
	says(f, "100.0 % complete\n");
	says(f, "go tool pprof out.pb.gz\n");
	/* What did not happen is not told. */
	says_not(f, "signal");
	says_not(f, "restart");
	says_not(f, "No samples");
	says_not(f, "cut short");
	says_not(f, "clock ticks");
	says_not(f, "ended");
	says_not(f, "limits");
}

static void test_what_went_wrong(void **state)
{
	struct fixture *f = *state;

	f->stats.ticks = 700;
	f->stats.missed_ticks = 290;
	f->stats.late_ticks = 12;
	f->stats.missed = 10;
	f->stats.missed_queue_full = 1;
	f->stats.missed_refused = 2;
	f->stats.missed_unreadable = 3;
	f->stats.missed_unstopped = 4;
	f->stats.signals_passed = 1;
	f->stats.eintr_undone = 2;
	f->receipt.interrupted = true;
	f->receipt.cpu_from_stat = true;
	f->receipt.stack_ends[UNWIND_END_MARKER] = 9996;
	f->receipt.stack_ends[UNWIND_END_NO_INFO] = 3;
	f->receipt.stack_ends[UNWIND_END_DEPTH] = 1;
	says(f, "70.0 Hz (99 asked for): 700 ticks in 10.0 s, 290 missed, 12 late; ended "
	        "early");
	says(f, "10 samples: 1 because the queue was full, 2 because the kernel refused");
	says(f, "3 because registers");
	says(f, "4 because the thread ended");
	says(f, "1 came while a thread was being stopped, and was passed on");
	says(f, "2 system calls were started again");
	says(f, "clock ticks of 10 ms");
	/* 99.96 % does not become 100. */
	says(f, "99.9 % complete; cut short: 3 ");
	says(f, unwind_end_text(UNWIND_END_NO_INFO));
	says(f, unwind_end_text(UNWIND_END_DEPTH));
}

static void test_comments_hold_all(void **state)
{
	struct fixture *f = *state;

	f->stats.group_stops = 2;
	f->receipt.locations_resolved = 7;
	f->receipt.locations_unresolved = 3;
	quantile_add(&f->stats.latency_ns, 12 * NS_PER_US);
	report_comments(f->profile, &f->receipt);
	assert_true(has_comment(f, "cprof-attach 0.1.0"));
	assert_true(has_comment(f, "command line: cprof-attach -p 4711"));
	assert_true(has_comment(f, "process: 4711 (redis-server) used 4.00 s"));
	assert_true(has_comment(f, "samples: 396"));
	assert_true(has_comment(f, "99.0 Hz"));
	assert_true(has_comment(f, "stop latency: a thread stopped after p50"));
	assert_true(has_comment(f, "names: 7 of 10 addresses"));
	assert_true(has_comment(f, "threads: 3 seen"));
	assert_true(has_comment(f, "job stops: 2 samples"));
}

/* Readers hide comments that begin with '#', and take "executableInfo=…" apart. */
static void test_hostile_names(void **state)
{
	struct fixture *f = *state;
	char *text;

	f->target[0].comm = "#\nexecutableInf";
	f->receipt.command_line = "#!x\nexecutableInfo=\x1b[2J";
	f->receipt.output = "a\x1b]0;x\x07\n\xc2\x9b";
	add_sample(f, 1, STACK("f\x1b[31m\n\xc2\x9bg", "main"));
	report_comments(f->profile, &f->receipt);
	for (size_t i = 0; i < f->profile->comments.n; i++) {
		const char *comment = profile_text(f->profile, f->profile->comments.v[i]);

		assert_true(comment[0] != '#');
		assert_true(strncmp(comment, "executableInfo", 14) != 0);
		for (const char *p = comment; *p; p++)
			assert_true((unsigned char)*p >= ' ' && *p != 0x7f);
	}
	text = report_summary(f->profile, &f->receipt);
	for (const char *p = text; *p; p++) {
		assert_true((unsigned char)*p >= ' ' || *p == '\n');
		assert_false((unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0);
	}
	free(text);
	says(f, "written to a?]0;x????\n");
}

static void test_nothing_sampled(void **state)
{
	struct fixture *f = *state;

	f->stats.samples = 0;
	f->target[0].result = (struct sampler_target_result){.have_cpu_clock = true};
	says(f, "0 samples written");
	says(f, "the process used no CPU time");
	says(f, "To see where it waits: -m wall");
	says_not(f, "cumulative");
	f->receipt.ntargets = 2;
	says(f, "the processes used no CPU time");

	f->receipt.ntargets = 1;
	f->target[0].result.cpu_ns = 4 * NS_PER_MS;
	says_not(f, "-m wall");
	says(f, "it used 4.00 ms of CPU time");
	f->stats.missed = f->stats.missed_refused = 3;
	says(f, "the kernel refused every stop");
}

static void test_ends(void **state)
{
	struct fixture *f = *state;
	struct sampler_target_result *result = &f->target[0].result;

	result->gone = true;
	says(f, "; ended during the run\n");
	f->target[0].have_status = true;
	f->receipt.is_command = true;
	f->target[0].wait_status = 3 << 8;
	says(f, "; exited with status 3\n");
	f->target[0].wait_status = SIGKILL;
	says(f, "; was ended by signal 9 (SIGKILL)\n");
}

static void test_command_status(void **state)
{
	char buf[64];

	(void)state;
	report_command_status(buf, sizeof buf, 0);
	assert_string_equal(buf, "exited with status 0");
	report_command_status(buf, sizeof buf, 255 << 8);
	assert_string_equal(buf, "exited with status 255");
	report_command_status(buf, sizeof buf, SIGSEGV | 0x80);
	assert_string_equal(buf, "was ended by signal 11 (SIGSEGV), with a core dump");
	/* A real-time signal has no name. */
	report_command_status(buf, sizeof buf, 40);
	assert_string_equal(buf, "was ended by signal 40");
	report_command_status(buf, 8, 0);
	assert_string_equal(buf, "exited ");
}

static void test_many_targets(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < 12; i++)
		f->target[i] = (struct report_target){.pid = 100 + (pid_t)i,
		                                      .comm = "worker"};
	f->receipt.ntargets = 12;
	says(f, "107 (worker) used no CPU time");
	says_not(f, "108 (worker)");
	says(f, "and 4 more processes");
	report_comments(f->profile, &f->receipt);
	assert_true(has_comment(f, "process: 111 (worker)"));
}

static void test_next_step(void **state)
{
	struct fixture *f = *state;

	f->receipt.output = "it's mine.pb.gz";
	says(f, "go tool pprof 'it'\\''s mine.pb.gz'\n");
	f->receipt.output = "-x.pb.gz";
	says(f, "go tool pprof ./-x.pb.gz\n");
	f->receipt.output = "-";
	says(f, "written to stdout\n");
	says_not(f, "go tool pprof");
	f->receipt.output = "x.svg";
	f->receipt.format = "svg";
	says_not(f, "go tool pprof");
}

static void test_table(void **state)
{
	struct fixture *f = *state;

	add_sample(f, 60 * NS_PER_MS, STACK("hot", "loop", "main"));
	add_sample(f, 30 * NS_PER_MS, STACK("warm", "loop", "main"));
	add_sample(f, 10 * NS_PER_MS, STACK("main"));
	says(f, "\n                flat          cumulative  function\n"
	        "     0.060 s  60.0 %     0.060 s  60.0 %  hot\n"
	        "     0.030 s  30.0 %     0.030 s  30.0 %  warm\n"
	        "     0.010 s  10.0 %     0.100 s 100.0 %  main\n"
	        "     0.000 s   0.0 %     0.090 s  90.0 %  loop\n");
	says_not(f, "more)");
	add_sample(f, 30 * NS_PER_SEC, STACK("huge"));
	says(f, "     30.00 s  99.7 %     30.00 s  99.7 %  huge\n");
}

static void test_table_is_cut_at_ten(void **state)
{
	struct fixture *f = *state;
	char name[16];

	for (int i = 0; i < 13; i++) {
		snprintf(name, sizeof name, "f%02d", i);
		add_sample(f, (20 - i) * (int64_t)NS_PER_SEC, STACK(name));
	}
	says(f, "  f09\n");
	says_not(f, "  f10\n");
	says(f, "(and 3 more)\n");
}

static bool euros_are_whole(const char *s)
{
	for (; *s; s++) {
		if (*s == '\xe2' && strncmp(s, "\xe2\x82\xac", 3) != 0)
			return false;
		if (*s == '\xe2')
			s += 2;
		else if ((unsigned char)*s >= 0x80)
			return false;
	}
	return true;
}

/* No line of the table is wider than the terminal, and UTF-8 stays whole. */
static void test_long_names(void **state)
{
	struct fixture *f = *state;
	char name[600];
	const unsigned widths[] = {0, 60, 61, 80, 100, 200, 10};

	/* 100 letters, 100 characters of three bytes, 100 letters. */
	memset(name, 'a', 100);
	for (int i = 0; i < 100; i++)
		memcpy(name + 100 + 3 * i, "\xe2\x82\xac", 3);
	memset(name + 400, 'z', 100);
	name[500] = '\0';
	add_sample(f, 1, STACK(name));
	for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
		unsigned width = widths[i] == 0 ? 80 : widths[i] < 60 ? 60 : widths[i];
		char *text, *line;
		size_t n = 0;

		f->receipt.columns = widths[i];
		text = report_summary(f->profile, &f->receipt);
		line = strstr(text, "aaa");
		assert_non_null(line);
		assert_true(euros_are_whole(text));
		assert_non_null(strstr(line, "..."));
		assert_non_null(strstr(line, "zz\n"));
		while (line > text && line[-1] != '\n')
			line--;
		for (; *line != '\n'; line++)
			n += ((unsigned char)*line & 0xc0) != 0x80;
		assert_int_equal(n, width);
		free(text);
	}
}

static void test_progress(void **state)
{
	struct fixture *f = *state;
	char buf[128];

	f->stats.threads = 1;
	f->stats.missed = 2;
	report_progress(buf, sizeof buf, 12340 * NS_PER_MS, 30 * NS_PER_SEC, &f->stats, 0);
	assert_string_equal(buf, "12.3 / 30.0 s  396 samples  1 thread  2 missed");
	f->stats.samples = 1;
	f->stats.threads = 17;
	report_progress(buf, sizeof buf, 0, 0, &f->stats, 0);
	assert_string_equal(buf, "0.0 s  1 sample  17 threads  2 missed");
	report_progress(buf, 5, 0, 0, &f->stats, 0);
	assert_string_equal(buf, "0.0 ");
	report_progress(buf, sizeof buf, 0, 0, &f->stats, 2);
	assert_string_equal(buf, "0.0 s  1 sample  17 threads  2 missed  2 files");
}

/* A part of a run says which, and what of its CPU time is to be found elsewhere. */
static void test_parts(void **state)
{
	struct fixture *f = *state;
	char *text;

	f->receipt.part = (struct report_part){
	        .index = 3, .from_ns = 20 * NS_PER_SEC, .to_ns = 30 * NS_PER_SEC};
	f->target[0].result.waiting_ns = 3 * NS_PER_MS;
	report_comments(f->profile, &f->receipt);
	assert_true(has_comment(f, "part: 3 of the run, from 20.000 s to 30.000 s of it"));
	assert_true(has_comment(
	        f, "process: 4711 (redis-server) used 4.00 s of CPU time, 99.0 % of "
	           "it sampled, 40.0 ms [not sampled]; 3.00 ms of its last moments "
	           "are in the next file"));
	f->profile->comments.n = 0;
	f->receipt.part.for_memory = true;
	report_comments(f->profile, &f->receipt);
	assert_true(has_comment(
	        f, "part: 3 of the run, from 20.000 s to 30.000 s of it, which ends "
	           "because of --memory-limit"));

	f->receipt.nparts = 3;
	add_sample(f, 1000, STACK("f"));
	text = report_summary(f->profile, &f->receipt);
	assert_non_null(strstr(text, "396 samples written to 3 files, the last one "
	                             "out.pb.gz\n"));
	assert_null(strstr(text, "cumulative"));
	free(text);
}

/* All counters as large as they get, and a run without a length. */
static void test_extremes(void **state)
{
	struct fixture *f = *state;
	char *text;

	f->stats.end_ns = f->stats.start_ns;
	f->stats.samples = f->stats.missed = f->stats.missed_refused = UINT64_MAX;
	f->stats.ticks = f->stats.missed_ticks = f->stats.late_ticks = UINT64_MAX;
	f->target[0].result.cpu_ns = UINT64_MAX;
	f->target[0].result.sampled_ns = UINT64_MAX;
	for (size_t i = 0; i < UNWIND_NENDS; i++)
		f->receipt.stack_ends[i] = UINT32_MAX;
	quantile_add(&f->stats.pause_ns, UINT64_MAX);
	text = report_summary(f->profile, &f->receipt);
	assert_non_null(strstr(text, "0.00 Hz"));
	free(text);
	report_comments(f->profile, &f->receipt);
}

static void test_limits(void **state)
{
	struct fixture *f = *state;
	struct budget *budget = &f->stats.budget;

	f->receipt.frequency_hz = 999;
	f->stats.overhead = 0.0098;
	says(f, "took 0.98 % of what the target could do\n");
	budget->limits.overhead = 0.01;
	budget->limits.max_pause_ns = 100 * NS_PER_US;
	budget->tick_ns = 101e3;
	budget->lowered_ns = 9 * NS_PER_SEC;
	says(f,
	     "lowered from 999 Hz to 99.0 Hz, because a tick takes 101 us and more would "
	     "cost over 1 % (--max-overhead), for 9.00 s of 10.0 s\n");
	budget->pauses_over = 1;
	says(f,
	     "of 10.0 s; 1 sample stopped a thread for longer than 100 us (--max-pause), "
	     "whereupon less was copied, and less often\n");
	budget->lowered_ns = 0;
	budget->pauses_over = 7;
	budget->not_followed = 2;
	says(f, "limits      7 samples stopped a thread for longer");
	says(f, "less often; 2 stacks were not followed to another\n");
	report_comments(f->profile, &f->receipt);
	assert_true(has_comment(f, "limits: 7 samples"));
	assert_true(has_comment(f, "overhead: took 0.98 %"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_a_good_run),
	        TEST(test_what_went_wrong),
	        TEST(test_comments_hold_all),
	        TEST(test_hostile_names),
	        TEST(test_nothing_sampled),
	        TEST(test_ends),
	        TEST(test_command_status),
	        TEST(test_many_targets),
	        TEST(test_next_step),
	        TEST(test_table),
	        TEST(test_table_is_cut_at_ten),
	        TEST(test_long_names),
	        TEST(test_progress),
	        TEST(test_parts),
	        TEST(test_extremes),
	        TEST(test_limits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
