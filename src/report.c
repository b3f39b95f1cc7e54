/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts of a run are put into words once, as lines of "key  text". The
 * summary shows those that a reader must know (what was not as it should be, or
 * limits what the profile says); the comments hold all.
 *
 * Names come from processes and may hold anything: nothing reaches a terminal
 * or a comment unless it is on one line and without control characters.
 */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/shell.h"
#include "profile/top.h"

#define TOP_ROWS         10
#define TARGETS_SHOWN    8   /* in the summary */
#define TARGETS_TOLD     100 /* in the comments */
#define COLUMNS_DEFAULT  80
#define COLUMNS_MIN      60
#define COLUMNS_OF_TABLE 42 /* before the name */

struct text {
	char *v;
	size_t n;
	size_t cap;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *fmt,
                                                      ...)
{
	va_list ap;
	char *words;
	size_t len;

	va_start(ap, fmt);
	words = xvasprintf(fmt, ap);
	va_end(ap);
	len = strlen(words);
	array_reserve(text, len + 1);
	memcpy(text->v + text->n, words, len + 1);
	text->n += len;
	free(words);
}

/* In place: C0, DEL, and C1 as UTF-8 spells it (0xc2 0x80 … 0xc2 0x9f). */
static void defuse(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
		else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
	}
}

/* "7.4 us", "310 us", "2.30 ms", "10.0 s": three digits say enough. */
static const char *duration(char buf[32], uint64_t ns)
{
	static const struct {
		double ns;
		const char *name;
	} units[] = {{1e3, "us"}, {1e6, "ms"}, {1e9, "s"}};
	size_t unit = 0;

	/* 999.6 us is no "1000 us". */
	while (unit < 2 && (double)ns >= 999.5 * units[unit].ns)
		unit++;
	double value = (double)ns / units[unit].ns;
	int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	if (unit == 0 && decimals == 2)
		decimals = 1; /* the clock is not that good */
	snprintf(buf, 32, "%.*f %s", decimals, value, units[unit].name);
	return buf;
}

static double percent(double part, double whole)
{
	return whole > 0 ? 100 * part / whole : 0;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Those that stand for ticks in which a thread slept on are samples, too. */
static uint64_t count_samples(const struct sampler_stats *stats)
{
	return stats->samples + stats->credited;
}

static uint64_t run_ns(const struct sampler_stats *stats)
{
	return stats->end_ns > stats->start_ns ? stats->end_ns - stats->start_ns : 0;
}

/*
 * The facts, one function each
 */

/* One fact: `text` is empty when there is nothing to tell. */
struct fact {
	const char *key;
	void (*tell)(struct text *text, const struct receipt *receipt);
	bool in_summary;
};

static void tell_rate(struct text *text, const struct receipt *receipt)
{
	uint64_t ns = run_ns(receipt->stats), ticks = receipt->stats->ticks;
	double hz = ns > 0 ? (double)ticks * 1e9 / (double)ns : 0;
	char took[32];

	if (receipt->once) {
		add(text, "one instant, taken in %s", duration(took, ns));
		return;
	}
	add(text,
	    "%.*f Hz (%g asked for): %" PRIu64 " tick%s in %s, %" PRIu64 " missed, %" PRIu64
	    " late",
	    hz < 9.995 ? 2 : 1, hz, receipt->frequency_hz, ticks, plural(ticks),
	    duration(took, ns), receipt->stats->missed_ticks, receipt->stats->late_ticks);
	if (receipt->interrupted)
		add(text, "; ended early by a signal");
}

static void tell_overhead(struct text *text, const struct receipt *receipt)
{
	if (receipt->stats->ticks > 0)
		add(text, "took %.2f %% of what the target could do",
		    100 * receipt->stats->overhead);
}

/* What was done less, to keep the limits that the user set. */
static void tell_limits(struct text *text, const struct receipt *receipt)
{
	const struct budget *budget = &receipt->stats->budget;
	uint64_t ns = run_ns(receipt->stats), ticks = receipt->stats->ticks;
	char tick[32], lowered[32], took[32];
	const char *before = "";

	if (budget->lowered_ns > 0 && ns > 0) {
		add(text,
		    "lowered from %g Hz to %.1f Hz, because a tick takes %s and more would "
		    "cost over %g %% (--max-overhead), for %s of %s",
		    receipt->frequency_hz, (double)ticks * 1e9 / (double)ns,
		    duration(tick, (uint64_t)budget->tick_ns),
		    100 * budget->limits.overhead, duration(lowered, budget->lowered_ns),
		    duration(took, ns));
		before = "; ";
	}
	if (budget->pauses_over > 0)
		add(text,
		    "%s%" PRIu64 " sample%s stopped a thread for longer than %s "
		    "(--max-pause), whereupon less was copied, and less often",
		    before, budget->pauses_over, plural(budget->pauses_over),
		    duration(took, budget->limits.max_pause_ns));
	if (budget->not_followed > 0)
		add(text, "%s%" PRIu64 " stack%s not followed to another",
		    text->n > 0 ? "; " : "", budget->not_followed,
		    budget->not_followed == 1 ? " was" : "s were");
}

static void tell_missed(struct text *text, const struct receipt *receipt)
{
	const struct sampler_stats *stats = receipt->stats;
	const struct {
		uint64_t n;
		const char *why;
	} reasons[] = {
	        {stats->missed_queue_full, "the queue was full"},
	        {stats->missed_refused, "the kernel refused the stop"},
	        {stats->missed_unreadable, "registers or stack could not be read"},
	        {stats->missed_unstopped, "the thread ended or did not stop in time"},
	};
	uint64_t missed = stats->missed;
	const char *before = ": ";

	if (missed == 0)
		return;
	add(text, "%" PRIu64 " sample%s", missed, plural(missed));
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		if (reasons[i].n == 0)
			continue;
		add(text, "%s%" PRIu64 " because %s", before, reasons[i].n, reasons[i].why);
		before = ", ";
	}
}

static void tell_quantiles(struct text *text, const struct quantile *q)
{
	char p50[32], p99[32], max[32];

	add(text, "p50 %s, p99 %s, max %s", duration(p50, quantile_get(q, 0.5)),
	    duration(p99, quantile_get(q, 0.99)), duration(max, q->max));
}

static void tell_pauses(struct text *text, const struct receipt *receipt)
{
	if (receipt->stats->pause_ns.count == 0)
		return;
	add(text, "a sample stopped its thread for ");
	tell_quantiles(text, &receipt->stats->pause_ns);
}

static void tell_latency(struct text *text, const struct receipt *receipt)
{
	if (receipt->stats->latency_ns.count == 0)
		return;
	add(text, "a thread stopped after ");
	tell_quantiles(text, &receipt->stats->latency_ns);
}

static void tell_stacks(struct text *text, const struct receipt *receipt)
{
	uint64_t total = 0;
	const char *before = "; cut short: ";

	for (size_t i = 0; i < UNWIND_NENDS; i++)
		total += receipt->stack_ends[i];
	if (total == 0)
		return;
	/* 99.96 % is not all of them. */
	double complete = percent((double)receipt->stack_ends[UNWIND_END_MARKER],
	                          (double)total);
	add(text, "%.1f %% complete", floor(complete * 10) / 10);
	for (size_t i = 0; i < UNWIND_NENDS; i++) {
		if (i == UNWIND_END_MARKER || receipt->stack_ends[i] == 0)
			continue;
		add(text, "%s%" PRIu64 " %s", before, receipt->stack_ends[i],
		    unwind_end_text((enum unwind_end)i));
		before = ", ";
	}
}

static void tell_names(struct text *text, const struct receipt *receipt)
{
	size_t all = receipt->locations_resolved + receipt->locations_unresolved;

	if (all > 0)
		add(text, "%zu of %zu addresses have a symbol", receipt->locations_resolved,
		    all);
}

static void tell_signals(struct text *text, const struct receipt *receipt)
{
	uint64_t n = receipt->stats->signals_passed;

	if (n > 0)
		add(text,
		    "%" PRIu64 " came while a thread was being stopped, and %s passed on",
		    n, n == 1 ? "was" : "were");
}

static void tell_sleepers(struct text *text, const struct receipt *receipt)
{
	const struct sampler_stats *stats = receipt->stats;

	if (!receipt->sleeping)
		return;
	add(text, "%" PRIu64 " stack%s of sleeping threads read without a stop",
	    stats->peeks, plural(stats->peeks));
	if (stats->peeks_failed > 0)
		add(text, ", %" PRIu64 " look%s in vain because the thread ran meanwhile",
		    stats->peeks_failed, plural(stats->peeks_failed));
	if (stats->sleepers_stopped > 0)
		add(text, ", %" PRIu64 " thread%s stopped asleep for want of a register",
		    stats->sleepers_stopped, plural(stats->sleepers_stopped));
}

static void tell_kernel_stacks(struct text *text, const struct receipt *receipt)
{
	if (receipt->stats->kernel_denied > 0)
		add(text, "could not be read: the kernel shows them to those alone who "
		          "have CAP_SYS_ADMIN (root outside of a container)");
}

static void tell_restarts(struct text *text, const struct receipt *receipt)
{
	uint64_t n = receipt->stats->eintr_undone;

	if (n > 0)
		add(text,
		    "%" PRIu64 " system call%s started again that a stop had cut short", n,
		    n == 1 ? " was" : "s were");
}

static void tell_job_stops(struct text *text, const struct receipt *receipt)
{
	uint64_t n = receipt->stats->group_stops;

	if (n > 0)
		add(text,
		    "%" PRIu64 " sample%s of threads that job control held stopped, and "
		    "that stayed so",
		    n, plural(n));
}

static void tell_threads(struct text *text, const struct receipt *receipt)
{
	uint64_t n = receipt->stats->threads_seen;

	add(text, "%" PRIu64 " seen", n);
}

static void tell_accounting(struct text *text, const struct receipt *receipt)
{
	if (receipt->cpu_from_stat)
		add(text,
		    "CPU time was counted in clock ticks of %ld ms "
		    "(/proc/PID/task/TID/stat), "
		    "so single samples weigh roughly",
		    1000 / sysconf(_SC_CLK_TCK));
}

static void tell_joined(struct text *text, const struct receipt *receipt)
{
	const struct roster_stats *stats = &receipt->discovery;

	if (receipt->following)
		add(text,
		    "%zu in all, %" PRIu64 " of them joined during the run, %" PRIu64
		    " at once",
		    receipt->ntargets, stats->joined, stats->at_once);
}

static void tell_ended(struct text *text, const struct receipt *receipt)
{
	char used[32];

	if (receipt->discovery.ended_ns > 0)
		add(text,
		    "%s of CPU time [not sampled, ended children]: they ended before "
		    "they were seen",
		    duration(used, receipt->discovery.ended_ns));
}

static void tell_refused(struct text *text, const struct receipt *receipt)
{
	const struct roster_stats *stats = &receipt->discovery;

	if (stats->refused > 0)
		add(text, "%" PRIu64 " process%s could not be attached to: %s",
		    stats->refused, stats->refused == 1 ? "" : "es; the first",
		    stats->first_refusal.text);
	if (stats->beyond_limits > 0)
		add(text,
		    "%s%" PRIu64 " more than the %d at once or %d in all that a run "
		    "can have",
		    text->n > 0 ? "; " : "", stats->beyond_limits, ROSTER_MAX_OPEN,
		    ROSTER_MAX);
}

static void tell_part(struct text *text, const struct receipt *receipt)
{
	const struct report_part *part = &receipt->part;

	if (part->index == 0)
		return;
	add(text, "%" PRIu64 " of the run, from %.3f s to %.3f s of it", part->index,
	    (double)part->from_ns / 1e9, (double)part->to_ns / 1e9);
	if (part->is_last)
		add(text, ", the last one");
	else if (part->for_memory)
		add(text, ", which ends because of --memory-limit");
}

static const struct fact facts[] = {
        {"part", tell_part, false},
        {"rate", tell_rate, true},
        {"overhead", tell_overhead, true},
        {"limits", tell_limits, true},
        {"missed", tell_missed, true},
        {"pauses", tell_pauses, true},
        {"stop latency", tell_latency, false},
        {"stacks", tell_stacks, true},
        {"names", tell_names, false},
        {"threads", tell_threads, false},
        {"processes", tell_joined, true},
        {"ended", tell_ended, true},
        {"left out", tell_refused, true},
        {"signals", tell_signals, true},
        {"sleepers", tell_sleepers, true},
        {"kernel stacks", tell_kernel_stacks, true},
        {"restarts", tell_restarts, true},
        {"job stops", tell_job_stops, false},
        {"accounting", tell_accounting, true},
};

#define NFACTS (sizeof facts / sizeof facts[0])

void report_command_status(char *buf, size_t size, int wait_status)
{
	if (WIFSIGNALED(wait_status)) {
		int sig = WTERMSIG(wait_status);
		const char *name = sigabbrev_np(sig);

		snprintf(buf, size, "was ended by signal %d%s%s%s%s", sig,
		         name ? " (SIG" : "", name ? name : "", name ? ")" : "",
		         WCOREDUMP(wait_status) ? ", with a core dump" : "");
	} else {
		snprintf(buf, size, "exited with status %d", WEXITSTATUS(wait_status));
	}
}

/* What became of one target: its CPU time, and its end if it had one. */
static void tell_target(struct text *text, const struct receipt *receipt,
                        const struct report_target *target)
{
	const struct sampler_target_result *result = &target->result;
	char used[32], status[64];

	if (result->cpu_ns == 0)
		add(text, "used no CPU time");
	else if (receipt->not_running)
		add(text, "used %s of CPU time", duration(used, result->cpu_ns));
	else
		add(text, "used %s of CPU time, %.1f %% of it sampled",
		    duration(used, result->cpu_ns),
		    percent((double)result->sampled_ns,
		            (double)(result->sampled_ns + result->unsampled_ns)));
	if (!result->have_cpu_clock)
		add(text, " (by its threads' accounts)");
	if (result->unsampled_ns > 0 && !receipt->not_running)
		add(text, ", %s [not sampled]", duration(used, result->unsampled_ns));
	if (result->waiting_ns > 0 && !receipt->not_running)
		add(text, "; %s of its last moments are in the next file",
		    duration(used, result->waiting_ns));
	if (target->have_status) {
		report_command_status(status, sizeof status, target->wait_status);
		add(text, "; %s", status);
	} else if (result->gone) {
		add(text, "; ended during the run");
	}
}

static void add_comment(struct profile *profile, const char *key, char *text)
{
	defuse(text);
	profile_comment(profile, "%s: %s", key, text);
}

void report_comments(struct profile *profile, const struct receipt *receipt)
{
	char *line = xstrdup(receipt->command_line);

	profile_comment(profile, "cprof-attach %s", receipt->version);
	add_comment(profile, "command line", line);
	free(line);
	for (size_t i = 0; i < receipt->ntargets && i < TARGETS_TOLD; i++) {
		const struct report_target *target = &receipt->targets[i];
		struct text text = {0};

		add(&text, "%d (%s) ", target->pid, target->comm);
		tell_target(&text, receipt, target);
		add_comment(profile, "process", text.v);
		array_fini(&text);
	}
	if (receipt->ntargets > TARGETS_TOLD)
		profile_comment(profile, "process: and %zu more",
		                receipt->ntargets - TARGETS_TOLD);
	profile_comment(profile, "%s: %" PRIu64, receipt->once ? "threads" : "samples",
	                count_samples(receipt->stats));
	for (size_t i = 0; i < NFACTS; i++) {
		struct text text = {0};

		facts[i].tell(&text, receipt);
		if (text.n > 0)
			add_comment(profile, facts[i].key, text.v);
		array_fini(&text);
	}
}

/*
 * The table of functions
 */

/* Code points of valid UTF-8, taken for columns. */
static size_t count_chars(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* The byte at which character number n begins. */
static size_t byte_of_char(const char *s, size_t n)
{
	size_t i = 0;

	while (s[i] && n > 0) {
		i++;
		while (((unsigned char)s[i] & 0xc0) == 0x80)
			i++;
		n--;
	}
	return i;
}

/* Long names tell by their start and their end: "std::vector<...>::push_back". */
static void add_short_name(struct text *text, const char *name, size_t width)
{
	size_t n = count_chars(name), head, tail;

	if (n <= width) {
		add(text, "%s", name);
		return;
	}
	head = (width - 3 + 1) / 2;
	tail = width - 3 - head;
	add(text, "%.*s...%s", (int)byte_of_char(name, head), name,
	    name + byte_of_char(name, n - tail));
}

/* How a table's values are written: the same for all of them. */
struct scale {
	bool seconds; /* they are nanoseconds */
	int decimals;
};

static struct scale choose_scale(const struct profile *profile, int64_t total)
{
	profile_str unit = profile->types[profile->ntypes - 1].unit;

	return (struct scale){
	        .seconds = strcmp(profile_text(profile, unit), "nanoseconds") == 0,
	        .decimals = total < INT64_C(10000000000) ? 3 : 2,
	};
}

static void add_value(struct text *text, int64_t value, int64_t total, struct scale scale)
{
	if (scale.seconds)
		add(text, "%10.*f s", scale.decimals, (double)value / 1e9);
	else
		add(text, "%12" PRId64, value);
	add(text, " %5.1f %%", percent((double)value, (double)total));
}

static void add_row(struct text *text, const struct profile *profile, const struct top *top,
                    size_t i, size_t width)
{
	const struct top_row *row = &top->rows[i];
	struct scale scale = choose_scale(profile, top->total);
	char *name = xstrdup(profile_text(profile, row->name));

	add_value(text, row->flat, top->total, scale);
	add_value(text, row->cum, top->total, scale);
	defuse(name);
	add(text, "  ");
	add_short_name(text, name, width);
	add(text, "\n");
	free(name);
}

static void add_table(struct text *text, struct profile *profile, unsigned columns)
{
	struct top top;
	size_t n;

	if (columns == 0)
		columns = COLUMNS_DEFAULT;
	if (columns < COLUMNS_MIN)
		columns = COLUMNS_MIN;
	top_compute(profile, profile->ntypes - 1, &top);
	n = top.nrows < TOP_ROWS ? top.nrows : TOP_ROWS;
	if (n > 0 && top.total > 0) {
		add(text, "\n%20s%20s  %s\n", "flat", "cumulative", "function");
		for (size_t i = 0; i < n; i++)
			add_row(text, profile, &top, i, columns - COLUMNS_OF_TABLE);
		if (top.nrows > n)
			add(text, "%*s(and %zu more)\n", COLUMNS_OF_TABLE, "",
			    top.nrows - n);
	}
	top_fini(&top);
}

/*
 * The summary
 */

static void add_line(struct text *text, const char *key, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

static void add_line(struct text *text, const char *key, const char *fmt, ...)
{
	size_t start = text->n;
	va_list ap;
	char *line;

	va_start(ap, fmt);
	line = xvasprintf(fmt, ap);
	va_end(ap);
	add(text, "  %-10s  %s", key, line);
	free(line);
	defuse(text->v + start);
	add(text, "\n");
}

static const char *file_to_open(const struct receipt *receipt)
{
	return receipt->first_file ? receipt->first_file : receipt->output;
}

static void add_headline(struct text *text, const struct receipt *receipt)
{
	uint64_t n = count_samples(receipt->stats);
	bool to_stdout = strcmp(receipt->output, "-") == 0;
	size_t start = text->n;

	add(text, "%" PRIu64 " %s%s written to ", n, receipt->once ? "thread" : "sample",
	    plural(n));
	if (receipt->nfiles > 1)
		add(text, "%zu files, the first of them ", receipt->nfiles);
	else if (receipt->nparts > 1)
		add(text, "%" PRIu64 " files, the last one ", receipt->nparts);
	add(text, "%s", to_stdout ? "stdout" : file_to_open(receipt));
	defuse(text->v + start);
	add(text, "\n");
}

/* A profile without samples says why it may be so, and what would help. */
static void add_no_samples(struct text *text, const struct receipt *receipt)
{
	uint64_t used = 0, missed = receipt->stats->missed;
	const char *who = receipt->ntargets > 1 ? "the processes" : "the process";
	char took[32];

	if (receipt->stats->samples > 0 || receipt->sleeping)
		return;
	for (size_t i = 0; i < receipt->ntargets; i++)
		used += receipt->targets[i].result.cpu_ns;
	if (used == 0) {
		add(text,
		    "  No samples, because %s used no CPU time: what waits is not "
		    "sampled.\n"
		    "  To see where it waits: -m wall.\n",
		    who);
	} else if (receipt->stats->missed_refused > 0) {
		add(text,
		    "  No samples, because the kernel refused every stop: a tracer that "
		    "is not visible from\n"
		    "  here (in another pid namespace) or a security module may hold the "
		    "process.\n");
	} else if (missed == 0) {
		add(text,
		    "  No samples, because no tick met %s running; it used %s of CPU "
		    "time:\n"
		    "  sample for longer (-d) or more often (-F).\n",
		    who, duration(took, used));
	}
}

static void add_targets(struct text *text, const struct receipt *receipt)
{
	size_t shown = receipt->ntargets < TARGETS_SHOWN ? receipt->ntargets
	                                                 : TARGETS_SHOWN;

	for (size_t i = 0; i < shown; i++) {
		const struct report_target *target = &receipt->targets[i];
		struct text words = {0};

		tell_target(&words, receipt, target);
		add_line(text, i == 0 ? "process" : "", "%d (%s) %s", target->pid,
		         target->comm, words.v);
		array_fini(&words);
	}
	if (shown < receipt->ntargets)
		add_line(text, "", "and %zu more processes, told in the profile's comments",
		         receipt->ntargets - shown);
}

static void add_next_step(struct text *text, const struct receipt *receipt)
{
	char *file;

	if (strcmp(receipt->format, "pprof") != 0 || strcmp(receipt->output, "-") == 0)
		return;
	/* A name that begins with - would be taken for an option. */
	const char *name = file_to_open(receipt);
	char *path = xasprintf("%s%s", name[0] == '-' ? "./" : "", name);
	file = shell_quote(path);
	add_line(text, "look at it", "go tool pprof %s", file);
	free(file);
	free(path);
}

char *report_summary(struct profile *profile, const struct receipt *receipt)
{
	struct text text = {0};

	add_headline(&text, receipt);
	add_no_samples(&text, receipt);
	add_targets(&text, receipt);
	for (size_t i = 0; i < NFACTS; i++) {
		struct text words = {0};

		if (facts[i].in_summary)
			facts[i].tell(&words, receipt);
		if (words.n > 0)
			add_line(&text, facts[i].key, "%s", words.v);
		array_fini(&words);
	}
	add_next_step(&text, receipt);
	/* Of many files, the last one says little. */
	if (receipt->nparts <= 1)
		add_table(&text, profile, receipt->columns);
	return text.v;
}

void report_progress(char *buf, size_t size, uint64_t elapsed_ns, uint64_t duration_ns,
                     const struct sampler_stats *stats, uint64_t nfiles)
{
	char total[32] = "", files[32] = "";
	uint64_t samples = count_samples(stats), threads = stats->threads,
	         missed = stats->missed;

	if (duration_ns > 0)
		snprintf(total, sizeof total, " / %.1f", (double)duration_ns / 1e9);
	if (nfiles > 0)
		snprintf(files, sizeof files, "  %" PRIu64 " file%s", nfiles,
		         plural(nfiles));
	snprintf(buf, size,
	         "%.1f%s s  %" PRIu64 " sample%s  %" PRIu64 " thread%s  %" PRIu64
	         " missed%s",
	         (double)elapsed_ns / 1e9, total, samples, plural(samples), threads,
	         plural(threads), missed, files);
}
