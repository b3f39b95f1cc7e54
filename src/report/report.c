/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts of a run are put into words once, as lines of "key  text". The
 * summary shows those that a reader must know (what was not as it should be, or
 * limits what the profile says); the comments hold all.
 *
 * Names come from processes and may hold anything: nothing reaches a terminal
 * or a comment unless it is on one line and without control characters.
 */
#include "report/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "base/shell.h"
#include "profile/top.h"
#include "report/text.h"

#define TOP_ROWS         10
#define TARGETS_SHOWN    8   /* in the summary */
#define TARGETS_TOLD     100 /* in the comments */
#define COLUMNS_DEFAULT  80
#define COLUMNS_MIN      60
#define COLUMNS_OF_TABLE 42 /* before the name */

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
		text_add(text, "used no CPU time");
	else if (receipt->not_running)
		text_add(text, "used %s of CPU time", text_duration(used, result->cpu_ns));
	else
		text_add(text, "used %s of CPU time, %.1f %% of it sampled",
		         text_duration(used, result->cpu_ns),
		         text_percent((double)result->sampled_ns,
		                      (double)(result->sampled_ns + result->unsampled_ns)));
	if (!result->have_cpu_clock)
		text_add(text, " (by its threads' accounts)");
	if (result->unsampled_ns > 0 && !receipt->not_running)
		text_add(text, ", %s [not sampled]",
		         text_duration(used, result->unsampled_ns));
	if (result->waiting_ns > 0 && !receipt->not_running)
		text_add(text, "; %s of its last moments are in the next file",
		         text_duration(used, result->waiting_ns));
	if (target->have_status) {
		report_command_status(status, sizeof status, target->wait_status);
		text_add(text, "; %s", status);
	} else if (result->gone) {
		text_add(text, "; ended during the run");
	}
}

static void add_comment(struct profile *profile, const char *key, char *text)
{
	text_defuse(text);
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

		text_add(&text, "%d (%s) ", target->pid, target->comm);
		tell_target(&text, receipt, target);
		add_comment(profile, "process", text.v);
		array_fini(&text);
	}
	if (receipt->ntargets > TARGETS_TOLD)
		profile_comment(profile, "process: and %zu more",
		                receipt->ntargets - TARGETS_TOLD);
	profile_comment(profile, "%s: %" PRIu64, receipt->once ? "threads" : "samples",
	                report_samples(receipt->stats));
	for (const struct report_fact *fact = report_facts; fact->key; fact++) {
		struct text text = {0};

		fact->tell(&text, receipt);
		if (text.n > 0)
			add_comment(profile, fact->key, text.v);
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
		text_add(text, "%s", name);
		return;
	}
	head = (width - 3 + 1) / 2;
	tail = width - 3 - head;
	text_add(text, "%.*s...%s", (int)byte_of_char(name, head), name,
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
		text_add(text, "%10.*f s", scale.decimals, (double)value / 1e9);
	else
		text_add(text, "%12" PRId64, value);
	text_add(text, " %5.1f %%", text_percent((double)value, (double)total));
}

static void add_row(struct text *text, const struct profile *profile, const struct top *top,
                    size_t i, size_t width)
{
	const struct top_row *row = &top->rows[i];
	struct scale scale = choose_scale(profile, top->total);
	char *name = xstrdup(profile_text(profile, row->name));

	add_value(text, row->flat, top->total, scale);
	add_value(text, row->cum, top->total, scale);
	text_defuse(name);
	text_add(text, "  ");
	add_short_name(text, name, width);
	text_add(text, "\n");
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
		text_add(text, "\n%20s%20s  %s\n", "flat", "cumulative", "function");
		for (size_t i = 0; i < n; i++)
			add_row(text, profile, &top, i, columns - COLUMNS_OF_TABLE);
		if (top.nrows > n)
			text_add(text, "%*s(and %zu more)\n", COLUMNS_OF_TABLE, "",
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
	text_add(text, "  %-10s  %s", key, line);
	free(line);
	text_defuse(text->v + start);
	text_add(text, "\n");
}

static const char *file_to_open(const struct receipt *receipt)
{
	return receipt->first_file ? receipt->first_file : receipt->output;
}

static void add_headline(struct text *text, const struct receipt *receipt)
{
	uint64_t n = report_samples(receipt->stats);
	bool to_stdout = strcmp(receipt->output, "-") == 0;
	size_t start = text->n;

	text_add(text, "%" PRIu64 " %s%s written to ", n,
	         receipt->once ? "thread" : "sample", text_plural(n));
	if (receipt->nfiles > 1)
		text_add(text, "%zu files, the first of them ", receipt->nfiles);
	else if (receipt->nparts > 1)
		text_add(text, "%" PRIu64 " files, the last one ", receipt->nparts);
	text_add(text, "%s", to_stdout ? "stdout" : file_to_open(receipt));
	text_defuse(text->v + start);
	text_add(text, "\n");
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
		text_add(text,
		         "  No samples, because %s used no CPU time: what waits is not "
		         "sampled.\n"
		         "  To see where it waits: -m wall.\n",
		         who);
	} else if (receipt->stats->missed_refused > 0) {
		text_add(text, "  No samples, because the kernel refused every stop: a "
		               "tracer that "
		               "is not visible from\n"
		               "  here (in another pid namespace) or a security module may "
		               "hold the "
		               "process.\n");
	} else if (missed == 0) {
		text_add(text,
		         "  No samples, because no tick met %s running; it used %s of CPU "
		         "time:\n"
		         "  sample for longer (-d) or more often (-F).\n",
		         who, text_duration(took, used));
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
	for (const struct report_fact *fact = report_facts; fact->key; fact++) {
		struct text words = {0};

		if (fact->in_summary)
			fact->tell(&words, receipt);
		if (words.n > 0)
			add_line(&text, fact->key, "%s", words.v);
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
	uint64_t samples = report_samples(stats), threads = stats->threads,
	         missed = stats->missed;

	if (duration_ns > 0)
		snprintf(total, sizeof total, " / %.1f", (double)duration_ns / 1e9);
	if (nfiles > 0)
		snprintf(files, sizeof files, "  %" PRIu64 " file%s", nfiles,
		         text_plural(nfiles));
	snprintf(buf, size,
	         "%.1f%s s  %" PRIu64 " sample%s  %" PRIu64 " thread%s  %" PRIu64
	         " missed%s",
	         (double)elapsed_ns / 1e9, total, samples, text_plural(samples), threads,
	         text_plural(threads), missed, files);
}
