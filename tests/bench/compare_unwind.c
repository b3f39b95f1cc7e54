/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare_unwind STOPS PID [CLASS]: stops threads of the process, and unwinds each stack
 * in all ways while it stands still. Prints a line of numbers, name by name:
 *
 *   stops frames     how many
 *   equal            auto is tracking, in every frame and in how the stack ends
 *   unequal          it is not; printed in full before
 *   again            stacks that auto walked twice, for want of a register
 *   rules            frames that rules found in auto
 *   reference        auto is libunwind alone, where that did not give up
 *   gave-up          libunwind alone ended at code without .eh_frame, and agreed
 *                    up to there
 *   differs          it did not agree; printed before
 *   complete         auto reached the stack's end
 *   rules-complete   so did rules without libunwind
 *   rules-differs    rules alone did not agree with auto up to where they ended
 *
 * and against elfutils, by the code at which its stack and auto's part:
 *
 *   eu-equal         they do not: all frames are equal, and both reached the end
 *   eu-stopped       nowhere, but elfutils gave up, or took a frame of the dynamic
 *                    linker's for the end, and auto went on
 *   eu-skipped       elfutils follows RBP, and misses the caller of a function that
 *                    was stopped before it pushed RBP or right after that: the return
 *                    address lies at SP or above the RBP it pushed; all else is equal
 *   eu-vdso          in the vDSO
 *   eu-jit           in code that no file holds
 *   eu-bare          in code of a file that has no FDE for it
 *   eu-further       nowhere, but auto ended, and elfutils went on; printed
 *   eu-differs       in code that has an FDE; printed
 *
 * Ends with status 1 if anything is unequal or differs.
 */
#include <inttypes.h>

#include "elfutils.h"
#include "stops.h"
#include "unwind/tables.h"

struct stack {
	struct frame frames[STOPS_MAX_FRAMES];
	struct unwind_result result;
};

static const enum unwind_method all[] = {UNWIND_AUTO, UNWIND_TRACKING, UNWIND_LIBUNWIND,
                                         UNWIND_RULES};

#define NMETHODS (sizeof all / sizeof all[0])

/* How a stack of elfutils differs. */
enum eu_class {
	EU_EQUAL,
	EU_STOPPED,
	EU_SKIPPED,
	EU_VDSO,
	EU_JIT,
	EU_BARE,
	EU_FURTHER,
	EU_DIFFERS,
	NCLASSES,
};

static const char *const class_names[NCLASSES] = {
        [EU_EQUAL] = "eu-equal",     [EU_STOPPED] = "eu-stopped",
        [EU_SKIPPED] = "eu-skipped", [EU_VDSO] = "eu-vdso",
        [EU_JIT] = "eu-jit",         [EU_BARE] = "eu-bare",
        [EU_FURTHER] = "eu-further", [EU_DIFFERS] = "eu-differs",
};

struct comparison {
	struct subject subject;
	struct unwinder *unwinder[NMETHODS];
	struct stack stack[NMETHODS];
	unsigned long stops, frames, equal, unequal, reference, gave_up, differs, complete,
	        rules_complete, rules_differ;
	struct eu eu;
	struct eu_stack eu_stack;
	unsigned long eu_class[NCLASSES];
	const char *verbose; /* a class that is printed, too */
	struct unwind_tables tables;
};

static size_t common_frames(const struct stack *a, const struct stack *b)
{
	size_t n = 0;

	while (n < a->result.nframes && n < b->result.nframes &&
	       a->frames[n].pc == b->frames[n].pc &&
	       a->frames[n].where == b->frames[n].where)
		n++;
	return n;
}

static bool is_same(const struct stack *a, const struct stack *b)
{
	size_t n = common_frames(a, b);

	if (n != a->result.nframes || n != b->result.nframes ||
	    a->result.end != b->result.end)
		return false;
	for (size_t i = 0; i < n; i++)
		if (a->frames[i].exact != b->frames[i].exact)
			return false;
	return true;
}

/* Whether `part` is the beginning of `whole`, and says why it is no more. */
static bool is_beginning(const struct stack *part, const struct stack *whole)
{
	return part->result.end != UNWIND_END_MARKER &&
	       common_frames(part, whole) == part->result.nframes;
}

static void print_stack(const char *name, const struct stack *stack)
{
	printf("%s:\n", name);
	for (size_t i = 0; i < stack->result.nframes; i++) {
		const struct frame *f = &stack->frames[i];
		const struct space_map *where = f->where;

		printf("  %2zu %#" PRIx64 " %s how %d %s+%#" PRIx64 "\n", i, f->pc,
		       f->exact ? "exact" : "call ", (int)f->how,
		       where ? where->map.path : "-", where ? f->pc - where->bias : 0);
	}
	printf("  %s\n", unwind_end_text(stack->result.end));
}

static void print_two(const char *what, const struct stack *a, const struct stack *b)
{
	printf("-- %s\n", what);
	print_stack("auto", a);
	print_stack("other", b);
}

/* What kind of code a frame is in, as far as it explains a difference. */
static enum eu_class class_of_code(struct comparison *c, const struct frame *frame)
{
	struct fde fde;

	if (frame->where == NULL || frame->where->module == NULL)
		return EU_JIT;
	if (module_is_vdso(frame->where->module))
		return EU_VDSO;
	if (!fde_find(unwind_tables_find(&c->tables, frame->where->module),
	              frame->pc - !frame->exact - frame->where->bias, &fde))
		return EU_BARE;
	return EU_DIFFERS;
}

/* Whether the second frame's return address is where a call leaves it, RBP being the
 * caller's still. */
static bool has_just_begun(const struct snapshot *snap, const struct stack *ours)
{
	uint64_t sp = snap->regs.r[ARCH_REG_SP], words[2];

	if (!snapshot_read(snap, sp, words, sizeof words))
		return false;
	return words[0] == ours->frames[1].pc ||
	       (words[0] == snap->regs.r[ARCH_REG_FP] && words[1] == ours->frames[1].pc);
}

static bool skips_caller(const struct snapshot *snap, const struct stack *ours,
                         const struct eu_stack *eu)
{
	if (ours->result.nframes < 2 || eu->nframes != ours->result.nframes - 1 ||
	    eu->complete != (ours->result.end == UNWIND_END_MARKER) ||
	    eu->frames[0].pc != ours->frames[0].pc)
		return false;
	for (size_t i = 1; i < eu->nframes; i++)
		if (eu->frames[i].pc != ours->frames[i + 1].pc)
			return false;
	return has_just_begun(snap, ours);
}

static enum eu_class class_of(struct comparison *c, const struct snapshot *snap)
{
	const struct stack *ours = &c->stack[0];
	const struct eu_stack *eu = &c->eu_stack;
	enum eu_class class;
	size_t n = 0;

	while (n < ours->result.nframes && n < eu->nframes &&
	       ours->frames[n].pc == eu->frames[n].pc)
		n++;
	if (n == ours->result.nframes && n == eu->nframes &&
	    eu->complete == (ours->result.end == UNWIND_END_MARKER))
		return EU_EQUAL;
	/* That auto is right to go on is told by libunwind. */
	if (n == eu->nframes && (!eu->complete || (n < ours->result.nframes &&
	                                           ours->result.end == UNWIND_END_MARKER)))
		return EU_STOPPED;
	if (n == ours->result.nframes && ours->result.end != UNWIND_END_MARKER)
		return EU_FURTHER;
	if (n == 0)
		return EU_DIFFERS;
	class = class_of_code(c, &ours->frames[n - 1]);
	return class != EU_DIFFERS && skips_caller(snap, ours, eu) ? EU_SKIPPED : class;
}

static void print_elfutils(const struct eu_stack *eu)
{
	printf("elfutils:\n");
	for (size_t i = 0; i < eu->nframes; i++)
		printf("  %2zu %#" PRIx64 " %s\n", i, eu->frames[i].pc,
		       eu->frames[i].exact ? "exact" : "call");
	printf("  %s\n", eu->why);
}

static void compare_elfutils(struct comparison *c, const struct snapshot *snap)
{
	enum eu_class class = class_of(c, snap);

	c->eu_class[class]++;
	if (class != EU_DIFFERS && class != EU_FURTHER &&
	    (c->verbose == NULL || strcmp(c->verbose, class_names[class]) != 0))
		return;
	printf("-- %s\n", class_names[class]);
	print_stack("auto", &c->stack[0]);
	print_elfutils(&c->eu_stack);
}

static void compare(struct comparison *c)
{
	const struct stack *automatic = &c->stack[0], *tracking = &c->stack[1],
	                   *libunwind = &c->stack[2], *rules = &c->stack[3];

	c->stops++;
	c->frames += automatic->result.nframes;
	c->complete += automatic->result.end == UNWIND_END_MARKER;
	c->rules_complete += rules->result.end == UNWIND_END_MARKER;
	if (is_same(automatic, tracking)) {
		c->equal++;
	} else {
		c->unequal++;
		print_two("tracking", automatic, tracking);
	}
	if (is_same(automatic, libunwind)) {
		c->reference++;
	} else if (libunwind->result.end == UNWIND_END_NO_INFO &&
	           is_beginning(libunwind, automatic)) {
		c->gave_up++;
	} else {
		c->differs++;
		print_two("libunwind alone", automatic, libunwind);
	}
	if (!is_same(automatic, rules) && !is_beginning(rules, automatic)) {
		c->rules_differ++;
		print_two("rules alone", automatic, rules);
	}
}

static void run_one(struct comparison *c, struct snapshot *snap)
{
	struct unwind_demand demand = {read_target, c->subject.target};
	struct stopped stopped;

	if (!stop_next(&c->subject, &stopped))
		return;
	(void)!space_refresh(c->subject.space);
	if (take(&c->subject, &stopped, SNAPSHOT_MAX_BYTES / 2, snap)) {
		for (size_t i = 0; i < NMETHODS; i++)
			c->stack[i].result = unwinder_run(c->unwinder[i], c->subject.space,
			                                  snap, &demand, c->stack[i].frames,
			                                  STOPS_MAX_FRAMES);
		eu_unwind(&c->eu, c->subject.space, snap, &c->eu_stack);
		compare(c);
		compare_elfutils(c, snap);
	}
	release_thread(&stopped);
}

static uint64_t frames_by(const struct unwinder *unwinder, const char *backend)
{
	struct unwind_stats stats = unwinder_stats(unwinder);

	for (size_t i = 0; i < UNWIND_MAX_BACKENDS && stats.backend[i].name; i++)
		if (strcmp(stats.backend[i].name, backend) == 0)
			return stats.backend[i].nframes;
	return 0;
}

int main(int argc, char **argv)
{
	static struct comparison c;
	struct snapshot snap = {.bytes = calloc(1, SNAPSHOT_MAX_BYTES)};
	unsigned long stops = argc >= 3 ? strtoul(argv[1], NULL, 10) : 0, tries = 0;

	if (stops == 0 || snap.bytes == NULL)
		die("usage: compare_unwind STOPS PID [CLASS]");
	if (tracer_init() < 0)
		die("cannot trace");
	subject_open(&c.subject, (pid_t)atoi(argv[2]));
	for (size_t i = 0; i < NMETHODS; i++)
		c.unwinder[i] = unwinder_new(all[i]);
	c.eu.target = c.subject.target;
	c.verbose = argv[3];
	while (c.stops < stops && tries++ < stops * 20) {
		const struct timespec pause = {0, 50000 + rand() % 500000};

		run_one(&c, &snap);
		nanosleep(&pause, NULL);
	}
	printf("stops %lu frames %lu equal %lu unequal %lu again %" PRIu64 " rules %" PRIu64
	       " reference %lu gave-up %lu differs %lu complete %lu rules-complete %lu "
	       "rules-differs %lu",
	       c.stops, c.frames, c.equal, c.unequal, unwinder_stats(c.unwinder[0]).nagain,
	       frames_by(c.unwinder[0], "rules"), c.reference, c.gave_up, c.differs,
	       c.complete, c.rules_complete, c.rules_differ);
	for (size_t i = 0; i < NCLASSES; i++)
		printf(" %s %lu", class_names[i], c.eu_class[i]);
	printf("\n");
	for (size_t i = 0; i < NMETHODS; i++)
		unwinder_free(c.unwinder[i]);
	eu_close(&c.eu);
	unwind_tables_fini(&c.tables);
	subject_close(&c.subject);
	tracer_fini();
	free(snap.bytes);
	return c.unequal + c.differs + c.rules_differ + c.eu_class[EU_DIFFERS] > 0;
}
