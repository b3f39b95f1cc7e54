/* SPDX-License-Identifier: Apache-2.0 */
/* The facts of a run, one function each. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "report/text.h"

static void tell_rate(struct text *text, const struct receipt *receipt)
{
	uint64_t ns = report_run_ns(receipt->stats), ticks = receipt->stats->ticks;
	double hz = ns > 0 ? (double)ticks * 1e9 / (double)ns : 0;
	char took[32];

	if (receipt->once) {
		text_add(text, "one instant, taken in %s", text_duration(took, ns));
		return;
	}
	text_add(text,
	         "%.*f Hz (%g asked for): %" PRIu64 " tick%s in %s, %" PRIu64
	         " missed, %" PRIu64 " late",
	         hz < 9.995 ? 2 : 1, hz, receipt->frequency_hz, ticks, text_plural(ticks),
	         text_duration(took, ns), receipt->stats->missed_ticks,
	         receipt->stats->late_ticks);
	if (receipt->interrupted)
		text_add(text, "; ended early by a signal");
}

static void tell_overhead(struct text *text, const struct receipt *receipt)
{
	if (receipt->stats->ticks > 0)
		text_add(text, "took %.2f %% of what the target could do",
		         100 * receipt->stats->overhead);
}

/* What was done less, to keep the limits that the user set. */
static void tell_limits(struct text *text, const struct receipt *receipt)
{
	const struct budget *budget = &receipt->stats->budget;
	uint64_t ns = report_run_ns(receipt->stats), ticks = receipt->stats->ticks;
	char tick[32], lowered[32], took[32];
	const char *before = "";

	if (budget->lowered_ns > 0 && ns > 0) {
		text_add(text,
		         "lowered from %g Hz to %.1f Hz, because a tick takes %s and more "
		         "would "
		         "cost over %g %% (--max-overhead), for %s of %s",
		         receipt->frequency_hz, (double)ticks * 1e9 / (double)ns,
		         text_duration(tick, (uint64_t)budget->tick_ns),
		         100 * budget->limits.overhead,
		         text_duration(lowered, budget->lowered_ns),
		         text_duration(took, ns));
		before = "; ";
	}
	if (budget->pauses_over > 0)
		text_add(text,
		         "%s%" PRIu64 " sample%s stopped a thread for longer than %s "
		         "(--max-pause), whereupon less was copied, and less often",
		         before, budget->pauses_over, text_plural(budget->pauses_over),
		         text_duration(took, budget->limits.max_pause_ns));
	if (budget->not_followed > 0)
		text_add(text, "%s%" PRIu64 " stack%s not followed to another",
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
	        {stats->missed_32bit, "it runs a 32-bit program by now"},
	        {stats->missed_unstopped, "the thread ended or did not stop in time"},
	};
	uint64_t missed = stats->missed;
	const char *before = ": ";

	if (missed == 0)
		return;
	text_add(text, "%" PRIu64 " sample%s", missed, text_plural(missed));
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		if (reasons[i].n == 0)
			continue;
		text_add(text, "%s%" PRIu64 " because %s", before, reasons[i].n,
		         reasons[i].why);
		before = ", ";
	}
}

static void tell_quantiles(struct text *text, const struct quantile *q)
{
	char p50[32], p99[32], max[32];

	text_add(text, "p50 %s, p99 %s, max %s", text_duration(p50, quantile_get(q, 0.5)),
	         text_duration(p99, quantile_get(q, 0.99)), text_duration(max, q->max));
}

static void tell_pauses(struct text *text, const struct receipt *receipt)
{
	if (receipt->stats->pause_ns.count == 0)
		return;
	text_add(text, "a sample stopped its thread for ");
	tell_quantiles(text, &receipt->stats->pause_ns);
}

static void tell_latency(struct text *text, const struct receipt *receipt)
{
	if (receipt->stats->latency_ns.count == 0)
		return;
	text_add(text, "a thread stopped after ");
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
	double complete = text_percent((double)receipt->stack_ends[UNWIND_END_MARKER],
	                               (double)total);
	text_add(text, "%.1f %% complete", floor(complete * 10) / 10);
	for (size_t i = 0; i < UNWIND_NENDS; i++) {
		if (i == UNWIND_END_MARKER || receipt->stack_ends[i] == 0)
			continue;
		text_add(text, "%s%" PRIu64 " %s", before, receipt->stack_ends[i],
		         unwind_end_text((enum unwind_end)i));
		before = ", ";
	}
}

static void tell_names(struct text *text, const struct receipt *receipt)
{
	size_t all = receipt->locations_resolved + receipt->locations_unresolved;

	if (all > 0)
		text_add(text, "%zu of %zu addresses have a symbol",
		         receipt->locations_resolved, all);
}

static void tell_signals(struct text *text, const struct receipt *receipt)
{
	uint64_t n = receipt->stats->signals_passed;

	if (n > 0)
		text_add(text,
		         "%" PRIu64
		         " came while a thread was being stopped, and %s passed on",
		         n, n == 1 ? "was" : "were");
}

static void tell_sleepers(struct text *text, const struct receipt *receipt)
{
	const struct sampler_stats *stats = receipt->stats;

	if (!receipt->sleeping)
		return;
	text_add(text, "%" PRIu64 " stack%s of sleeping threads read without a stop",
	         stats->peeks, text_plural(stats->peeks));
	if (stats->peeks_failed > 0)
		text_add(text,
		         ", %" PRIu64 " look%s in vain because the thread ran meanwhile",
		         stats->peeks_failed, text_plural(stats->peeks_failed));
	if (stats->sleepers_stopped > 0)
		text_add(text,
		         ", %" PRIu64 " thread%s stopped asleep for want of a register",
		         stats->sleepers_stopped, text_plural(stats->sleepers_stopped));
}

static void tell_kernel_stacks(struct text *text, const struct receipt *receipt)
{
	if (receipt->stats->kernel_denied > 0)
		text_add(text,
		         "could not be read: the kernel shows them to those alone who "
		         "have CAP_SYS_ADMIN (root outside of a container)");
}

static void tell_restarts(struct text *text, const struct receipt *receipt)
{
	uint64_t n = receipt->stats->eintr_undone;

	if (n > 0)
		text_add(text,
		         "%" PRIu64
		         " system call%s started again that a stop had cut short",
		         n, n == 1 ? " was" : "s were");
}

static void tell_job_stops(struct text *text, const struct receipt *receipt)
{
	uint64_t n = receipt->stats->group_stops;

	if (n > 0)
		text_add(text,
		         "%" PRIu64
		         " sample%s of threads that job control held stopped, and "
		         "that stayed so",
		         n, text_plural(n));
}

static void tell_threads(struct text *text, const struct receipt *receipt)
{
	uint64_t n = receipt->stats->threads_seen;

	text_add(text, "%" PRIu64 " seen", n);
}

static void tell_accounting(struct text *text, const struct receipt *receipt)
{
	if (receipt->cpu_from_stat)
		text_add(text,
		         "CPU time was counted in clock ticks of %ld ms "
		         "(/proc/PID/task/TID/stat), "
		         "so single samples weigh roughly",
		         1000 / sysconf(_SC_CLK_TCK));
}

static void tell_joined(struct text *text, const struct receipt *receipt)
{
	const struct roster_stats *stats = &receipt->discovery;

	if (receipt->following)
		text_add(text,
		         "%zu in all, %" PRIu64 " of them joined during the run, %" PRIu64
		         " at once",
		         receipt->ntargets, stats->joined, stats->at_once);
}

static void tell_ended(struct text *text, const struct receipt *receipt)
{
	char used[32];

	if (receipt->discovery.ended_ns > 0)
		text_add(text,
		         "%s of CPU time [not sampled, ended children]: they ended before "
		         "they were seen",
		         text_duration(used, receipt->discovery.ended_ns));
}

static void tell_refused(struct text *text, const struct receipt *receipt)
{
	const struct roster_stats *stats = &receipt->discovery;

	if (stats->refused > 0)
		text_add(text, "%" PRIu64 " process%s could not be attached to: %s",
		         stats->refused, stats->refused == 1 ? "" : "es; the first",
		         stats->first_refusal.text);
	if (stats->beyond_limits > 0)
		text_add(text,
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
	text_add(text, "%" PRIu64 " of the run, from %.3f s to %.3f s of it", part->index,
	         (double)part->from_ns / 1e9, (double)part->to_ns / 1e9);
	if (part->is_last)
		text_add(text, ", the last one");
	else if (part->for_memory)
		text_add(text, ", which ends because of --memory-limit");
}

const struct report_fact report_facts[] = {
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
        {0},
};
