/* SPDX-License-Identifier: Apache-2.0 */
#include "scribe.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config.h"
#include "output/file.h"
#include "split.h"

/* Whoever else wants the processor may have it, unless somebody waits. Only who has
 * the right to come back from there goes there. */
#define SCRIBE_NICE 10

struct scribe {
	struct scribe_options options;
	struct series *series;
	pthread_t thread;
	bool started;

	/* What follows belongs to the lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct segment *waiting;
	bool closed; /* no more will come */
	size_t held_bytes;
	uint64_t nfiles;
	pid_t tid; /* of the thread; 0: its priority stays as it is */
	int own_nice;

	/* What follows belongs to who writes: the thread, and later scribe_finish. */
	struct segment *kept;
	bool failed; /* its last write did */
	bool plain;  /* the file with the plain name is there */
	struct sampler_segment total;
	uint64_t stack_ends[UNWIND_NENDS];
	struct symbol_stats symbols;
	char *checked_name; /* of the first file, before the run */
	char *last_name;    /* with --split-by, of its first file */
	size_t last_nfiles; /* with that; else 0 */
};

static bool in_parts(const struct scribe *scribe)
{
	return scribe->options.options->every_s > 0;
}

/* Whether the first file can be written. */
static int check_first(struct scribe *scribe, struct error *err)
{
	const struct options *options = scribe->options.options;

	scribe->checked_name = in_parts(scribe)
	                               ? series_name(scribe->series,
	                                             (int64_t)clock_realtime_ns(), err)
	                               : xstrdup(options->output);
	if (!scribe->checked_name)
		return -1;
	return output_file_check(scribe->checked_name, options->format == &writer_pprof,
	                         err);
}

struct scribe *scribe_new(const struct scribe_options *options, struct error *err)
{
	struct scribe *scribe = xcalloc(1, sizeof *scribe);
	struct series_options naming = {
	        .output = options->options->output,
	        .every_s = options->options->every_s,
	        .keep = options->options->keep,
	        .keep_bytes = options->options->keep_bytes,
	        .keeps_p = options->options->split,
	};

	scribe->options = *options;
	pthread_mutex_init(&scribe->lock, NULL);
	pthread_cond_init(&scribe->changed, NULL);
	scribe->series = series_new(&naming, (int64_t)clock_realtime_ns(), err);
	if (!scribe->series || check_first(scribe, err) < 0) {
		scribe_free(scribe);
		return NULL;
	}
	return scribe;
}

bool scribe_needs_privilege(const struct scribe *scribe)
{
	return output_file_needs_privilege(scribe->checked_name);
}

bool scribe_can_split(const struct scribe *scribe)
{
	return series_is_possible(scribe->series);
}

/* A run that makes one file writes it under its own name, at its end and when
 * asked; parts that memory has no room for are others. */
static bool is_numbered(const struct scribe *scribe, const struct segment *segment)
{
	return in_parts(scribe) || (segment->why & SEGMENT_MEMORY);
}

static char *name_file(const struct scribe *scribe, const struct segment *segment,
                       struct error *err)
{
	if (is_numbered(scribe, segment))
		return series_name(scribe->series, segment->profile->time_ns, err);
	return xstrdup(scribe->options.options->output);
}

/* Who used most comes first, but for the command. */
static int compare_use(const void *a, const void *b)
{
	const struct report_target *x = a, *y = b;

	if (x->have_status != y->have_status)
		return x->have_status ? -1 : 1;
	if (x->result.cpu_ns != y->result.cpu_ns)
		return x->result.cpu_ns > y->result.cpu_ns ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* What there is to say of each process; to be freed. */
static struct report_target *describe_targets(const struct scribe *scribe,
                                              const struct sampler_segment *account,
                                              const struct scribe_end *end)
{
	struct report_target *targets = xcalloc(account->ntargets, sizeof *targets);

	for (size_t i = 0; i < account->ntargets; i++) {
		const struct roster_member *member = roster_get(scribe->options.roster, i);

		targets[i] = (struct report_target){
		        .pid = member->target->pid,
		        .comm = roster_name(member),
		        .result = account->results[i],
		        .have_status = i == 0 && end->have_status,
		        .wait_status = end->wait_status,
		};
	}
	if (end->following)
		qsort(targets, account->ntargets, sizeof *targets, compare_use);
	return targets;
}

static struct receipt make_receipt(const struct scribe *scribe,
                                   const struct sampler_segment *account,
                                   const struct report_target *targets,
                                   const struct scribe_end *end)
{
	const struct options *options = scribe->options.options;

	return (struct receipt){
	        .command_line = options->command_line,
	        .version = PACKAGE_VERSION,
	        .output = options->output,
	        .format = options->format->name,
	        .frequency_hz = options->frequency_hz,
	        .interrupted = end->interrupted,
	        .sleeping = options->modes != MODE_CPU,
	        .not_running = (options->modes & (MODE_CPU | MODE_WALL)) == 0,
	        .once = options->modes == MODE_THREADS,
	        .cpu_from_stat = scribe->options.cpu_from_stat,
	        .stats = &account->stats,
	        .targets = targets,
	        .ntargets = account->ntargets,
	        .following = end->following,
	        .discovery = end->discovery,
	        .is_command = scribe->options.is_command,
	};
}

/* Which part of the run it is, where there are several. */
static void describe_part(const struct scribe *scribe, const struct segment *segment,
                          struct receipt *receipt)
{
	const struct sampler_stats *stats = &segment->account->stats;
	uint64_t start_ns = scribe->total.stats.start_ns;

	if (!is_numbered(scribe, segment) && series_index(scribe->series) == 1)
		return;
	receipt->part = (struct report_part){
	        .index = series_index(scribe->series),
	        .from_ns = stats->start_ns - start_ns,
	        .to_ns = stats->end_ns - start_ns,
	        .is_last = segment->why & SEGMENT_LAST,
	        .for_memory = segment->why & SEGMENT_MEMORY,
	};
}

/* A file for each process. */
static int write_split(struct scribe *scribe, struct segment *segment, const char *name,
                       struct error *err)
{
	size_t n = segment->account->ntargets;
	pid_t *pids = xcalloc(n, sizeof *pids);
	ssize_t nfiles;

	for (size_t i = 0; i < n; i++)
		pids[i] = roster_get(scribe->options.roster, i)->target->pid;
	nfiles = split_write(segment->profile, scribe->options.options->format, name, pids,
	                     n, &scribe->last_name, err);
	free(pids);
	scribe->last_nfiles = nfiles > 0 ? (size_t)nfiles : 0;
	return nfiles < 0 ? -1 : 0;
}

static int write_file(struct scribe *scribe, struct segment *segment, const char *name,
                      struct error *err)
{
	const struct options *options = scribe->options.options;
	struct bytes bytes = {0};
	int r;

	free(scribe->last_name);
	scribe->last_name = NULL;
	if (options->split)
		return write_split(scribe, segment, name, err);
	r = options->format->write(segment->profile, &bytes, err);
	if (r == 0)
		r = output_file_write(name, bytes.v, bytes.n, err);
	bytes_fini(&bytes);
	scribe->last_name = xstrdup(name);
	return r;
}

static int write_segment(struct scribe *scribe, struct segment *segment,
                         const struct scribe_end *end, struct error *err)
{
	char *name = name_file(scribe, segment, err);
	struct report_target *targets;
	struct receipt receipt;
	int r;

	if (!name)
		return -1;
	targets = describe_targets(scribe, segment->account, end);
	receipt = make_receipt(scribe, segment->account, targets, end);
	receipt.locations_resolved = segment->symbols.resolved;
	receipt.locations_unresolved = segment->symbols.unresolved;
	memcpy(receipt.stack_ends, segment->stack_ends, sizeof receipt.stack_ends);
	describe_part(scribe, segment, &receipt);
	segment->profile->comments.n = 0;
	report_comments(segment->profile, &receipt);
	free(targets);
	r = write_file(scribe, segment, name, err);
	if (r == 0) {
		log_verbose("%s is written: %" PRIu64 " samples", name,
		            (uint64_t)segment->account->stats.samples);
		if (is_numbered(scribe, segment))
			series_wrote(scribe->series, name);
		else
			scribe->plain = true;
	}
	free(name);
	return r;
}

/* Completes a part, and adds it to what was kept. */
static struct segment *take_up(struct scribe *scribe, struct segment *segment)
{
	struct segment *kept = scribe->kept;

	segment_complete(segment);
	sampler_segment_add(&scribe->total, segment->account);
	array_fini(&scribe->total.unsampled);
	for (size_t i = 0; i < UNWIND_NENDS; i++)
		scribe->stack_ends[i] += segment->stack_ends[i];
	scribe->symbols.resolved += segment->symbols.resolved;
	scribe->symbols.unresolved += segment->symbols.unresolved;
	if (!kept)
		return segment;
	scribe->kept = NULL;
	segment_merge(kept, segment);
	return kept;
}

static void set_held(struct scribe *scribe, bool written)
{
	pthread_mutex_lock(&scribe->lock);
	scribe->held_bytes = scribe->kept ? segment_bytes(scribe->kept) : 0;
	if (written)
		scribe->nfiles = series_index(scribe->series) - 1 + scribe->plain;
	pthread_mutex_unlock(&scribe->lock);
}

/* No room for it is left: what it came to is not lost. */
static void shrink_kept(struct scribe *scribe)
{
	struct segment *kept = scribe->kept;

	if (!kept || segment_bytes(kept) <= scribe->options.share_bytes)
		return;
	log_error("what could not be written takes too much memory: the stacks of "
	          "%" PRIu64 " samples are given up, and only their sum is kept, as "
	          "[not written]",
	          (uint64_t)kept->account->stats.samples);
	segment_collapse(kept);
}

/* A part that does not end the run. */
static void write_part(struct scribe *scribe, struct segment *given)
{
	struct segment *segment = take_up(scribe, given);
	const struct scribe_end none = {0};
	struct error err;
	int r = write_segment(scribe, segment, &none, &err);

	if (r < 0) {
		log_error("%s", err.text);
		if (!scribe->failed)
			log_error("sampling goes on; what was sampled is kept for the next "
			          "file");
	}
	scribe->failed = r < 0;
	if (r < 0 || !is_numbered(scribe, segment))
		scribe->kept = segment;
	else
		segment_free(segment);
	shrink_kept(scribe);
	set_held(scribe, r == 0);
}

static struct segment *wait_for_one(struct scribe *scribe)
{
	struct segment *segment;

	pthread_mutex_lock(&scribe->lock);
	while (!scribe->waiting && !scribe->closed)
		pthread_cond_wait(&scribe->changed, &scribe->lock);
	segment = scribe->waiting;
	scribe->waiting = NULL;
	pthread_cond_broadcast(&scribe->changed);
	pthread_mutex_unlock(&scribe->lock);
	return segment;
}

/* With the lock held. */
static void set_nice(const struct scribe *scribe, int nice)
{
	if (scribe->tid)
		(void)setpriority(PRIO_PROCESS, (id_t)scribe->tid, nice);
}

static void learn_nice(struct scribe *scribe)
{
	int nice = getpriority(PRIO_PROCESS, 0);

	/* Who may go below what is ours may come back to it. */
	if (setpriority(PRIO_PROCESS, 0, nice - 1) < 0)
		return;
	pthread_mutex_lock(&scribe->lock);
	scribe->own_nice = nice;
	scribe->tid = gettid();
	set_nice(scribe, SCRIBE_NICE);
	pthread_mutex_unlock(&scribe->lock);
}

static void *scribe_main(void *arg)
{
	struct scribe *scribe = arg;
	struct segment *segment;

	learn_nice(scribe);
	while ((segment = wait_for_one(scribe))) {
		write_part(scribe, segment);
		pthread_mutex_lock(&scribe->lock);
		if (!scribe->waiting)
			set_nice(scribe, SCRIBE_NICE);
		pthread_mutex_unlock(&scribe->lock);
	}
	return NULL;
}

int scribe_start(struct scribe *scribe, struct error *err)
{
	int r = pthread_create(&scribe->thread, NULL, scribe_main, scribe);

	if (r != 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot start a thread: %s",
		                 strerror(r));
	scribe->started = true;
	return 0;
}

void scribe_give(struct scribe *scribe, struct segment *segment)
{
	pthread_mutex_lock(&scribe->lock);
	if (scribe->waiting)
		set_nice(scribe, scribe->own_nice);
	while (scribe->waiting)
		pthread_cond_wait(&scribe->changed, &scribe->lock);
	scribe->waiting = segment;
	pthread_cond_broadcast(&scribe->changed);
	pthread_mutex_unlock(&scribe->lock);
}

bool scribe_is_behind(struct scribe *scribe)
{
	bool behind;

	pthread_mutex_lock(&scribe->lock);
	behind = scribe->waiting != NULL;
	pthread_mutex_unlock(&scribe->lock);
	return behind;
}

size_t scribe_held_bytes(struct scribe *scribe)
{
	size_t bytes;

	pthread_mutex_lock(&scribe->lock);
	bytes = scribe->held_bytes;
	pthread_mutex_unlock(&scribe->lock);
	return bytes;
}

uint64_t scribe_files(struct scribe *scribe)
{
	uint64_t n;

	pthread_mutex_lock(&scribe->lock);
	n = scribe->nfiles;
	pthread_mutex_unlock(&scribe->lock);
	return n;
}

void scribe_join(struct scribe *scribe)
{
	if (!scribe->started)
		return;
	pthread_mutex_lock(&scribe->lock);
	scribe->closed = true;
	set_nice(scribe, scribe->own_nice);
	pthread_cond_broadcast(&scribe->changed);
	pthread_mutex_unlock(&scribe->lock);
	pthread_join(scribe->thread, NULL);
	scribe->started = false;
}

int scribe_finish(struct scribe *scribe, struct segment *last, const struct scribe_end *end,
                  struct error *err)
{
	scribe->kept = take_up(scribe, last);
	if (write_segment(scribe, scribe->kept, end, err) < 0)
		return -1;
	set_held(scribe, true);
	return 0;
}

char *scribe_summary(struct scribe *scribe, const struct scribe_end *end, unsigned columns)
{
	struct report_target *targets = describe_targets(scribe, &scribe->total, end);
	struct receipt receipt = make_receipt(scribe, &scribe->total, targets, end);
	bool to_stdout = strcmp(receipt.output, "-") == 0;
	char *text;

	if (!to_stdout)
		receipt.first_file = scribe->last_name;
	receipt.nfiles = scribe->last_nfiles;
	receipt.nparts = scribe->nfiles;
	receipt.columns = columns;
	receipt.locations_resolved = scribe->symbols.resolved;
	receipt.locations_unresolved = scribe->symbols.unresolved;
	memcpy(receipt.stack_ends, scribe->stack_ends, sizeof receipt.stack_ends);
	text = report_summary(scribe->kept->profile, &receipt);
	free(targets);
	return text;
}

void scribe_free(struct scribe *scribe)
{
	if (!scribe)
		return;
	scribe_join(scribe);
	segment_free(scribe->waiting);
	segment_free(scribe->kept);
	free(scribe->total.results);
	array_fini(&scribe->total.unsampled);
	series_free(scribe->series);
	pthread_cond_destroy(&scribe->changed);
	pthread_mutex_destroy(&scribe->lock);
	free(scribe->checked_name);
	free(scribe->last_name);
	free(scribe);
}
