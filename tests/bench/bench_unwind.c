/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_unwind PID NAME: what one stack of the process costs, by each way to unwind
 * it. Prints rows of a Markdown table:
 *
 *   rules, hot        over snapshots taken before, all rules in the cache
 *   rules, cold       the same, each snapshot with an empty cache; the modules'
 *                     tables are in memory
 *   frame pointers    the same by these alone, which may end a stack early
 *   libunwind         over the same snapshots, its own cache of rows filled
 *   libunwind-ptrace  as its users call it, on a thread that stands still meanwhile,
 *                     caching on; the first stops are not counted
 *
 * Medians, so that a machine that has other things to do does not count. Only
 * stacks of threads that run are taken.
 */
#include <inttypes.h>

#include <libunwind-ptrace.h>

#include "stops.h"

#define NSNAPSHOTS  400
#define WINDOW      (64 * 1024)
#define STOCK_STOPS 60
#define STOCK_WARM  10
#define HOT_PASSES  20
#define SLOW_PASSES 3
#define MAX_SAMPLES (NSNAPSHOTS * HOT_PASSES)

/* What each sample took. */
struct cost {
	double us[MAX_SAMPLES];
	double frame_ns[MAX_SAMPLES];
	size_t n;
	unsigned long frames;
};

struct bench {
	const char *name;
	struct subject subject;
	struct snapshot *snaps;
	size_t nsnaps;
	struct cost cost;
	double stock_us;
	struct frame frames[STOPS_MAX_FRAMES];
};

static void rest(void)
{
	const struct timespec pause = {0, 200000 + rand() % 1000000};

	nanosleep(&pause, NULL);
}

static bool stop_running(struct bench *bench, struct stopped *stopped)
{
	for (int tries = 0; tries < 2000; tries++) {
		rest();
		subject_read_tids(&bench->subject);
		for (size_t i = 0; i < bench->subject.ntids; i++)
			if (is_running(&bench->subject, bench->subject.tids[i]))
				return stop_thread(bench->subject.tids[i], stopped);
	}
	die("its threads do not run");
}

static void take_snapshots(struct bench *bench)
{
	struct stopped stopped;

	bench->snaps = calloc(NSNAPSHOTS, sizeof *bench->snaps);
	if (bench->snaps == NULL)
		die("out of memory");
	while (bench->nsnaps < NSNAPSHOTS) {
		struct snapshot *snap = &bench->snaps[bench->nsnaps];

		if (snap->bytes == NULL)
			snap->bytes = malloc(WINDOW);
		if (snap->bytes == NULL)
			die("out of memory");
		if (!stop_running(bench, &stopped))
			continue;
		bench->nsnaps += take(&bench->subject, &stopped, WINDOW, snap);
		release_thread(&stopped);
	}
	(void)!space_refresh(bench->subject.space);
}

static void count(struct cost *cost, uint64_t ns, size_t nframes)
{
	if (cost->n == MAX_SAMPLES || nframes == 0)
		return;
	cost->us[cost->n] = (double)ns / 1e3;
	cost->frame_ns[cost->n++] = (double)ns / (double)nframes;
	cost->frames += nframes;
}

static void forget(struct cost *cost)
{
	cost->n = cost->frames = 0;
}

static void unwind_one(struct bench *bench, struct unwinder *unwinder, size_t i)
{
	uint64_t before = clock_monotonic_ns();
	struct unwind_result result = unwinder_run(unwinder, bench->subject.space,
	                                           &bench->snaps[i], NULL, bench->frames,
	                                           STOPS_MAX_FRAMES);

	count(&bench->cost, clock_monotonic_ns() - before, result.nframes);
}

static void unwind_all(struct bench *bench, struct unwinder *unwinder, int passes)
{
	forget(&bench->cost);
	for (int pass = 0; pass < passes; pass++)
		for (size_t i = 0; i < bench->nsnaps; i++)
			unwind_one(bench, unwinder, i);
}

static void hot(struct bench *bench, enum unwind_method method, int passes)
{
	struct unwinder *unwinder = unwinder_new(method);

	unwind_all(bench, unwinder, 1);
	unwind_all(bench, unwinder, passes);
	unwinder_free(unwinder);
}

static void cold(struct bench *bench, enum unwind_method method)
{
	forget(&bench->cost);
	for (size_t i = 0; i < bench->nsnaps; i++) {
		struct unwinder *unwinder = unwinder_new(method);

		unwind_one(bench, unwinder, i);
		unwinder_free(unwinder);
	}
}

/* One stack by libunwind-ptrace, from its first call to its last. */
static void stock_one(unw_addr_space_t as, void *upt, struct cost *cost)
{
	uint64_t before = clock_monotonic_ns();
	unw_cursor_t cursor;
	unw_word_t pc;
	size_t nframes = 0;
	int more = unw_init_remote(&cursor, as, upt);

	for (more = more == 0; more > 0; more = unw_step(&cursor)) {
		if (unw_get_reg(&cursor, UNW_REG_IP, &pc) < 0)
			break;
		nframes++;
	}
	count(cost, clock_monotonic_ns() - before, nframes);
}

static void stock(struct bench *bench)
{
	unw_addr_space_t as = unw_create_addr_space(&_UPT_accessors, 0);
	struct stopped stopped;
	void *upt = NULL;
	pid_t of = 0;

	if (as == NULL)
		die("libunwind gives no address space");
	unw_set_caching_policy(as, UNW_CACHE_GLOBAL);
	for (int i = 0; i < STOCK_STOPS + STOCK_WARM; i++) {
		if (!stop_running(bench, &stopped))
			continue;
		if (of != stopped.stop.tid) {
			if (upt != NULL)
				_UPT_destroy(upt);
			upt = _UPT_create(stopped.stop.tid);
			of = stopped.stop.tid;
		}
		if (i == STOCK_WARM)
			forget(&bench->cost);
		stock_one(as, upt, &bench->cost);
		release_thread(&stopped);
	}
	if (upt != NULL)
		_UPT_destroy(upt);
	unw_destroy_addr_space(as);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	if (n == 0)
		return 0;
	qsort(v, n, sizeof *v, compare_doubles);
	return v[n / 2];
}

static void print_row(struct bench *bench, const char *what)
{
	struct cost *cost = &bench->cost;
	double us = median(cost->us, cost->n);

	printf("| %s | %s | %.2f | %.0f | %.1f | %.1f |\n", bench->name, what, us,
	       median(cost->frame_ns, cost->n),
	       cost->n > 0 ? (double)cost->frames / (double)cost->n : 0,
	       us > 0 ? bench->stock_us / us : 0);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct bench bench;

	if (argc != 3)
		die("usage: bench_unwind PID NAME");
	if (tracer_init() < 0)
		die("cannot trace");
	bench.name = argv[2];
	subject_open(&bench.subject, (pid_t)atoi(argv[1]));
	take_snapshots(&bench);
	stock(&bench);
	bench.stock_us = median(bench.cost.us, bench.cost.n);
	print_row(&bench, "libunwind-ptrace");
	hot(&bench, UNWIND_TRACKING, SLOW_PASSES);
	print_row(&bench, "libunwind");
	hot(&bench, UNWIND_FP, HOT_PASSES);
	print_row(&bench, "frame pointers");
	cold(&bench, UNWIND_AUTO);
	print_row(&bench, "rules, cold");
	hot(&bench, UNWIND_AUTO, HOT_PASSES);
	print_row(&bench, "rules, hot");
	for (size_t i = 0; i < bench.nsnaps; i++)
		free(bench.snaps[i].bytes);
	free(bench.snaps);
	subject_close(&bench.subject);
	tracer_fini();
	return 0;
}
