/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "collect/collector.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "collect/collector_impl.h"

/* The window that a thread's snapshots copy is at least this, and four times
 * what it was when a stack did not fit. */
#define WINDOW_MIN    (16u * 1024)
#define WINDOW_MAX    (512u * 1024)
#define WINDOW_GROWTH 4

/* How much is copied around an address outside of the window. */
#define EXTEND_BYTES (16u * 1024)

/* A stopped thread waits this long for the tables that its stack is walked with. */
#define EXTEND_WAIT_NS 200000

/* Extending a thread's snapshots is given up after so many that stayed cut. */
#define EXTEND_PATIENCE 8

/* The kernel's frames of one thread: /proc/PID/task/TID/stack has no more. */
#define KERNEL_DEPTH_MAX 64

/* The maps are read again this often, and, when an address is in none of them,
 * at most this often. */
#define MAPS_AGE_NS     (1 * NS_PER_SEC)
#define MAPS_MIN_AGE_NS (5 * NS_PER_MS)

struct collector *collector_new(struct queue *queue,
                                const struct collector_options *options)
{
	struct collector *collector = xcalloc(1, sizeof *collector);

	collector->processes = xcalloc(ROSTER_MAX, sizeof *collector->processes);
	collector->roster = options->types.roster;
	collector->queue = queue;
	collector->options = options;
	collector->tables = tables_new(options->unwinder, &options->symbols);
	collector->segment = segment_new(&options->types, tables_hold(collector->tables));
	collector->modes = options->types.modes;
	collector->no_traceback = options->no_traceback;
	collector->max_depth = options->max_depth;
	collector->frames = xcalloc(options->max_depth, sizeof *collector->frames);
	collector->live_frames = xcalloc(options->max_depth,
	                                 sizeof *collector->live_frames);
	collector->locations = xcalloc(options->max_depth + 1 + KERNEL_DEPTH_MAX,
	                               sizeof *collector->locations);
	pthread_mutex_init(&collector->tables_lock, NULL);
	pthread_mutex_init(&collector->busy_lock, NULL);
	return collector;
}

/* The profile's mapping for a mapping of the target. */
static uint32_t mapping_id(struct collector *collector, const struct process *process,
                           struct space_map *where)
{
	struct profile_mapping mapping;
	const char *build_id;

	if (where->profile_id)
		return where->profile_id;
	pthread_mutex_lock(&collector->tables_lock);
	build_id = where->module ? module_build_id(where->module) : "";
	mapping = (struct profile_mapping){
	        .start = where->map.start,
	        .limit = where->map.end,
	        .offset = where->map.offset,
	        .file = profile_string(collector->segment->profile, where->map.path),
	        .build_id = profile_string(collector->segment->profile, build_id),
	        .code = symbolizer_bind(collector->tables->symbolizer, where->module,
	                                where->bias, process->target),
	};
	where->profile_id = profile_mapping(collector->segment->profile, &mapping);
	log_verbose("code at 0x%" PRIx64 "-0x%" PRIx64 ": %s%s%s%s", where->map.start,
	            where->map.end, where->map.path[0] ? where->map.path : "no file",
	            build_id[0] ? ", build id " : "", build_id,
	            where->module ? "" : ", not readable as an ELF file");
	pthread_mutex_unlock(&collector->tables_lock);
	return where->profile_id;
}

/* After an exec no thread's work begins where it did. */
static void forget_roots(struct collector *collector, const struct process *process)
{
	for (size_t i = 0; i < collector->threads.n; i++) {
		struct sampled_thread *thread = &collector->threads.v[i];

		if (collector->processes[thread->who.target] != process)
			continue;
		thread->root = 0;
		sampler_rooted(collector->sampler, thread->who.tid, false);
	}
}

void collector_enter_main(struct collector *collector, struct process *process)
{
	uint32_t before = profile_main(collector->segment->profile, process->target->pid);
	bool was_go = process->is_go;
	struct space_map *main_map;
	uint32_t id;

	pthread_mutex_lock(&collector->tables_lock);
	process->main_due = false;
	main_map = process->released ? NULL : space_main(process->space);
	if (main_map)
		process->is_go = main_map->module && module_is_go(main_map->module);
	pthread_mutex_unlock(&collector->tables_lock);
	if (!main_map)
		return;
	/* Go's threads have two stacks: their own, and the goroutine's. */
	if (process->is_go && !was_go)
		sampler_expect_elsewhere(collector->sampler);
	id = mapping_id(collector, process, main_map);
	profile_set_main(collector->segment->profile, process->target->pid, id);
	if (before && id != before)
		forget_roots(collector, process);
}

/* Whether the process runs another file than when this was asked last. */
bool collector_notice_exec(struct process *process)
{
	struct stat exe;
	bool changed;

	if (fstatat(process->target->proc_fd, "exe", &exe, 0) < 0)
		return false;
	changed = exe.st_dev != process->exe_dev || exe.st_ino != process->exe_ino;
	process->exe_dev = exe.st_dev;
	process->exe_ino = exe.st_ino;
	return changed;
}

static bool refresh_maps(struct process *process, uint64_t now_ns)
{
	int r = space_refresh(process->space);

	process->maps_read_ns = now_ns;
	process->main_due |= r > 0;
	if (r > 0)
		log_verbose("process %d: its executable mappings have changed",
		            process->target->pid);
	return r > 0;
}

static void refresh_if_due(struct process *process, uint64_t now_ns)
{
	bool due = now_ns - process->maps_read_ns >= MAPS_AGE_NS;

	if (now_ns - process->exec_checked_ns >= MAPS_MIN_AGE_NS) {
		process->exec_checked_ns = now_ns;
		due = collector_notice_exec(process) || due;
	}
	if (due)
		(void)refresh_maps(process, now_ns);
}

/* Whether the stack met code that the maps, as they were read, do not have. */
static bool met_unknown_code(const struct collector *collector,
                             const struct unwind_result *result)
{
	if (result->end == UNWIND_END_BAD_PC)
		return true;
	return result->nframes > 0 && !collector->frames[result->nframes - 1].where;
}

/* Whether a stack's mappings are still those that the maps had when they were read. */
static bool is_current(const struct collector *collector, struct process *process,
                       const struct unwind_result *result)
{
	const struct space_map *before = NULL;

	for (size_t i = 0; i < result->nframes; i++) {
		const struct space_map *where = collector->frames[i].where;

		if (where && where != before && !space_is_current(process->space, where))
			return false;
		before = where;
	}
	return true;
}

static struct unwind_result unwind(struct collector *collector, struct process *process,
                                   const struct snapshot *snap)
{
	struct unwind_result result = {.end = UNWIND_END_BAD_PC};
	bool stale;

	if (process->released)
		return result;

	refresh_if_due(process, snap->time_ns);
	result = unwinder_run(collector->tables->unwinder, process->space, snap, NULL,
	                      collector->frames, collector->max_depth);
	stale = met_unknown_code(collector, &result) &&
	        clock_monotonic_ns() - process->maps_read_ns >= MAPS_MIN_AGE_NS;
	if ((stale || !is_current(collector, process, &result)) &&
	    refresh_maps(process, clock_monotonic_ns()))
		result = unwinder_run(collector->tables->unwinder, process->space, snap,
		                      NULL, collector->frames, collector->max_depth);
	return result;
}

/* The profile's location of a frame; the name of a new one will be wanted. */
static uint32_t location_id(struct collector *collector, const struct process *process,
                            const struct frame *frame)
{
	struct profile *profile = collector->segment->profile;
	uint32_t mapping = frame->where ? mapping_id(collector, process, frame->where) : 0;
	uint64_t address = frame->exact ? frame->pc : frame->pc - 1;
	size_t known = profile->locations.n;
	uint32_t id = profile_location(profile, mapping, address);

	if (profile->locations.n > known && mapping)
		symbolizer_want(collector->tables->symbolizer,
		                profile->mappings.v[mapping - 1].code, address);
	return id;
}

/* For all samples whose stacks there is no more room for. */
static uint32_t intern_no_stack(struct collector *collector)
{
	uint32_t location = profile_pseudo(collector->segment->profile,
	                                   "[too many stacks]");

	if (!collector->is_full)
		log_info("there are too many different stacks to keep: from now on "
		         "samples are counted under [too many stacks]");
	collector->is_full = true;
	return profile_stack(collector->segment->profile, &location, 1);
}

static uint32_t intern_stack(struct collector *collector, const struct process *process,
                             const struct snapshot *snap,
                             const struct unwind_result *result)
{
	size_t n;

	if (profile_is_full(collector->segment->profile))
		return intern_no_stack(collector);
	n = waits_kernel_frames(collector->segment->profile, snap, collector->locations,
	                        KERNEL_DEPTH_MAX);
	for (size_t i = 0; i < result->nframes; i++)
		collector->locations[n++] = location_id(collector, process,
		                                        &collector->frames[i]);
	if (result->end != UNWIND_END_MARKER)
		collector->locations[n++] = profile_pseudo(collector->segment->profile,
		                                           "[truncated]");
	return profile_stack(collector->segment->profile, collector->locations, n);
}

/*
 * Where a thread's own work begins: libc's start of threads, or of main, is left
 * out, as far as it has a mapping of its own.
 */
static const struct frame *root_frame(const struct collector *collector, size_t nframes)
{
	const struct frame *frames = collector->frames;
	size_t outermost = nframes - 1, i = outermost;

	/* "_start" is the program's, and what it calls is not. */
	if (i > 0 && frames[i - 1].where != frames[i].where)
		i--;
	const struct space_map *libc = frames[i].where;
	while (i > 0 && frames[i].where == libc)
		i--;
	return frames[i].where == libc ? &frames[outermost] : &frames[i];
}

/* With --no-traceback: the leaf, and the root as it was found once. */
static uint32_t leaf_and_root(struct collector *collector, const struct process *process,
                              struct sampled_thread *thread,
                              const struct unwind_result *result)
{
	uint32_t locations[2];
	size_t n = 0;

	if (thread->root == 0 && result->end == UNWIND_END_MARKER)
		thread->root = location_id(collector, process,
		                           root_frame(collector, result->nframes));
	locations[n++] = location_id(collector, process, &collector->frames[0]);
	if (thread->root && thread->root != locations[0])
		locations[n++] = thread->root;
	return profile_stack(collector->segment->profile, locations, n);
}

static struct sampled_thread *find_thread(struct collector *collector,
                                          const struct snapshot *snap)
{
	uint64_t key = collector_thread_key(snap->target, snap->thread_serial), index;
	struct sampled_thread *thread;

	if (!hashmap_get(&collector->thread_index, key, &index)) {
		struct sampled_thread fresh = {
		        .who = {.target = snap->target,
		                .tid = snap->tid,
		                .serial = snap->thread_serial},
		        .elsewhere = collector->processes[snap->target]->is_go,
		        .sleep_tally = NO_TALLY,
		};

		index = collector->threads.n;
		array_push(&collector->threads, fresh);
		hashmap_put(&collector->thread_index, key, index);
	}
	thread = &collector->threads.v[index];
	memcpy(thread->who.comm, snap->comm, sizeof snap->comm);
	thread->last_ns = snap->time_ns;
	return thread;
}

/* More of a thread's last sleep. */
static void add_credit(struct collector *collector, struct sampled_thread *thread,
                       const struct snapshot_credit *credit)
{
	struct weights more = {.count = (int64_t)credit->count,
	                       .wall_ns = (int64_t)credit->wall_ns};

	if (thread->sleep_tally == NO_TALLY)
		return;
	weights_add(&thread->sleep, &more, 1);
	tally_adjust(collector->segment->tally, thread->sleep_tally, &more, 1);
	thread->last_ns = clock_monotonic_ns();
}

static void add_credits(struct collector *collector, const struct snapshot *snap)
{
	const struct snapshot_credit *credits = (const void *)snap->bytes;

	for (size_t i = 0; i < snap->count; i++) {
		uint64_t index;

		if (hashmap_get(&collector->thread_index,
		                collector_thread_key(credits[i].target,
		                                     credits[i].thread_serial),
		                &index))
			add_credit(collector, &collector->threads.v[index], &credits[i]);
	}
}

/* A sleep: later credits go to it, and a better look may take its place. */
static void add_sleep(struct collector *collector, const struct snapshot *snap,
                      struct sampled_thread *thread, uint32_t stack, enum unwind_end end)
{
	struct segment *segment = collector->segment;
	struct weights weights = {.count = (int64_t)snap->count,
	                          .wall_ns = (int64_t)snap->wall_ns,
	                          .sleeps = (int64_t)snap->sleeps};
	uint32_t wait = waits_of(tally_waits(segment->tally), snap);

	add_credit(collector, thread, &snap->before);
	if (snap->replaces && thread->sleep_tally != NO_TALLY) {
		tally_adjust(segment->tally, thread->sleep_tally, &thread->sleep, -1);
		weights_add(&weights, &thread->sleep, 1);
		if (snap->kind == SNAPSHOT_STOPPED)
			wait = tally_wait(segment->tally, thread->sleep_tally);
		if (!thread->sleep_carried)
			segment->stack_ends[thread->sleep_end]--;
	}
	thread->sleep = weights;
	thread->sleep_end = end;
	thread->sleep_carried = false;
	thread->sleep_tally = tally_add(segment->tally, stack, &thread->who, wait,
	                                &weights);
}

/* One that ran: what it used was its running time, and what it waited for a
 * processor it waited here. */
static void add_running(struct collector *collector, const struct snapshot *snap,
                        const struct sampled_thread *thread, uint32_t stack)
{
	struct tally *tally = collector->segment->tally;
	struct weights ran = {.count = (int64_t)snap->count,
	                      .cpu_ns = (int64_t)snap->cpu_ns,
	                      .wall_ns = (int64_t)snap->cpu_ns};
	struct weights waited = {.wall_ns = (int64_t)snap->wait_ns};
	uint32_t wait = 0;

	if (collector->modes != MODE_CPU)
		wait = waits_of(tally_waits(tally), snap);
	(void)tally_add(tally, stack, &thread->who, wait, &ran);
	if (waited.wall_ns == 0 || !(collector->modes & MODE_WALL))
		return;
	wait = waits_of_state(tally_waits(tally), SNAPSHOT_RUNNABLE);
	(void)tally_add(tally, stack, &thread->who, wait, &waited);
}

/* Tells the sampler how much of this thread to copy from now on. */
static void give_hint(struct collector *collector, struct sampled_thread *thread,
                      const struct snapshot *snap, const struct unwind_result *result)
{
	size_t window = snap->nsegments > 0 ? snap->segment[0].len : 0, need,
	       want = WINDOW_MIN;

	if (result->end == UNWIND_END_WINDOW)
		need = window * WINDOW_GROWTH;
	else
		need = result->stack_used + result->stack_used / 4;
	/* Deep moments are remembered for about a hundred samples. */
	thread->stack_need -= thread->stack_need / 128;
	if (need > thread->stack_need)
		thread->stack_need = need;
	while (want < thread->stack_need && want < WINDOW_MAX)
		want *= 2;

	/* A stack that left the window is walked while its thread stands still, as
	 * long as that is of use. */
	if (result->end == UNWIND_END_MARKER && snap->nsegments > 1)
		thread->extend_failures = 0;
	else if (result->end != UNWIND_END_MARKER && snap->extended)
		thread->extend_failures++;
	if (result->end == UNWIND_END_MEMORY ||
	    (result->end == UNWIND_END_WINDOW && want == WINDOW_MAX))
		thread->elsewhere = true;
	if (thread->extend_failures > EXTEND_PATIENCE &&
	    !collector->processes[thread->who.target]->is_go)
		thread->elsewhere = false;
	sampler_hint(collector->sampler, thread->who.tid, want, thread->elsewhere);
}

/* What another look at this sleep could show. */
static enum sampler_wish wish_for(const struct collector *collector,
                                  const struct sampled_thread *thread,
                                  const struct snapshot *snap, enum unwind_end end)
{
	size_t window = snap->nsegments > 0 ? snap->segment[0].len : 0;

	if (snap->kind != SNAPSHOT_PEEKED || collector->no_traceback)
		return SAMPLER_WISH_NOTHING;
	switch (end) {
	case UNWIND_END_REGISTER:
		return SAMPLER_WISH_REGISTERS;
	case UNWIND_END_WINDOW:
		if (window < WINDOW_MAX || !snap->extended)
			return SAMPLER_WISH_MEMORY;
		break;
	case UNWIND_END_MEMORY:
		if (thread->elsewhere && !snap->extended)
			return SAMPLER_WISH_MEMORY;
		break;
	default:
		break;
	}
	return SAMPLER_WISH_NOTHING;
}

static bool is_asleep(const struct snapshot *snap)
{
	return snap->state != SNAPSHOT_RUNNING && snap->state != SNAPSHOT_RUNNABLE;
}

/* A thread of which nothing is known but that it is there. */
static void collect_without_stack(struct collector *collector, const struct snapshot *snap)
{
	struct sampled_thread *thread = find_thread(collector, snap);
	uint32_t location = profile_pseudo(collector->segment->profile, "[no stack]");
	uint32_t stack = profile_stack(collector->segment->profile, &location, 1);

	if (is_asleep(snap))
		add_sleep(collector, snap, thread, stack, UNWIND_END_NO_INFO);
	else
		add_running(collector, snap, thread, stack);
	collector->segment->stack_ends[UNWIND_END_NO_INFO]++;
}

/* What is known of a process, looked up when it is first met. Under the lock. */
static struct process *open_process(struct collector *collector, size_t index)
{
	struct process *process = collector->processes[index];

	if (process)
		return process;
	process = xcalloc(1, sizeof *process);
	process->target = roster_get(collector->roster, index)->target;
	collector_open_space(collector, process);
	process->main_due = true;
	collector->processes[index] = process;
	return process;
}

static void collect(struct collector *collector, const struct snapshot *snap)
{
	struct sampled_thread *thread;
	struct unwind_result result;
	struct process *process;
	uint32_t stack;

	/* A mutex knows no order: without this we would mostly get it again. */
	while (collector->live_waits)
		sched_yield();
	pthread_mutex_lock(&collector->tables_lock);
	process = open_process(collector, snap->target);
	result = unwind(collector, process, snap);
	pthread_mutex_unlock(&collector->tables_lock);
	if (process->main_due)
		collector_enter_main(collector, process);
	thread = find_thread(collector, snap);
	if (collector->no_traceback)
		stack = leaf_and_root(collector, process, thread, &result);
	else
		stack = intern_stack(collector, process, snap, &result);
	if (is_asleep(snap))
		add_sleep(collector, snap, thread, stack, result.end);
	else
		add_running(collector, snap, thread, stack);
	collector->segment->stack_ends[result.end]++;
	give_hint(collector, thread, snap, &result);
	sampler_wish(collector->sampler, thread->who.tid,
	             wish_for(collector, thread, snap, result.end));
	if (thread->root)
		sampler_rooted(collector->sampler, thread->who.tid, true);
}

static void collect_any(struct collector *collector, const struct snapshot *snap)
{
	switch (snap->kind) {
	case SNAPSHOT_STOPPED:
	case SNAPSHOT_PEEKED:
		collect(collector, snap);
		break;
	case SNAPSHOT_NO_STACK:
		collect_without_stack(collector, snap);
		break;
	case SNAPSHOT_CREDITS:
		add_credits(collector, snap);
		break;
	case SNAPSHOT_CUT:
		collector_take_mark(collector, snap->cut);
		return;
	}
	collector_mind_memory(collector);
}

static void *collector_main(void *arg)
{
	struct collector *collector = arg;
	struct snapshot *snap;

	/* Like the sampler's: on a busy machine snapshots would pile up, and a thread
	 * that stands still might wait for the tables while we wait for a CPU. */
	(void)setpriority(PRIO_PROCESS, 0, SAMPLER_NICE);
	privilege_forget_output();
	while ((snap = queue_wait(collector->queue))) {
		pthread_mutex_lock(&collector->busy_lock);
		collect_any(collector, snap);
		pthread_mutex_unlock(&collector->busy_lock);
		queue_done(collector->queue);
	}
	return NULL;
}

int collector_start(struct collector *collector, struct sampler *sampler, struct error *err)
{
	int r;

	collector->sampler = sampler;
	for (size_t i = 0; i < roster_count(collector->roster); i++)
		collector_enter_main(collector, open_process(collector, i));
	r = pthread_create(&collector->thread, NULL, collector_main, collector);
	if (r != 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot start a thread: %s",
		                 strerror(r));
	collector->started = true;
	return 0;
}

void collector_join(struct collector *collector)
{
	if (collector->started)
		pthread_join(collector->thread, NULL);
	collector->started = false;
}

struct live {
	const struct target *target;
	struct snapshot *snap;
};

/* Copies the surroundings of an address into the snapshot, then answers from it. */
static bool read_live(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct live *live = ctx;
	struct snapshot *snap = live->snap;
	size_t room = SNAPSHOT_MAX_BYTES - snap->nbytes;
	size_t want = room < EXTEND_BYTES ? room : EXTEND_BYTES;
	ssize_t n;

	if (snap->nsegments == SNAPSHOT_MAX_SEGMENTS || want < len)
		return false;
	n = target_read_memory(live->target, addr, snap->bytes + snap->nbytes, want);
	if (n <= 0)
		return false;
	snap->segment[snap->nsegments++] = (struct snapshot_segment){addr, (size_t)n,
	                                                             snap->nbytes};
	snap->nbytes += (size_t)n;
	return snapshot_read(snap, addr, buf, len);
}

/* ThreadSanitizer knows of no lock that waits by another clock, and misses its unlock. */
#ifdef INSTRUMENTED
#define LOCK_CLOCK                                  CLOCK_REALTIME
#define pthread_mutex_clocklock(lock, clock, until) pthread_mutex_timedlock(lock, until)
#else
#define LOCK_CLOCK CLOCK_MONOTONIC
#endif

void collector_extend(void *ctx, struct snapshot *snap)
{
	struct collector *collector = ctx;
	struct process *process;
	struct live live = {.snap = snap};
	struct unwind_demand demand = {read_live, &live};
	struct timespec until;
	int r;

	/* A thread that stands still does not wait for a file to be read. */
	clock_gettime(LOCK_CLOCK, &until);
	until.tv_nsec += EXTEND_WAIT_NS;
	if (until.tv_nsec >= (long)NS_PER_SEC) {
		until.tv_nsec -= (long)NS_PER_SEC;
		until.tv_sec++;
	}
	collector->live_waits = true;
	r = pthread_mutex_clocklock(&collector->tables_lock, LOCK_CLOCK, &until);
	collector->live_waits = false;
	if (r != 0)
		return;
	snap->extended = true;
	process = collector->processes[snap->target];
	if (process && process->space) {
		live.target = process->target;
		(void)unwinder_run(collector->tables->live_unwinder, process->space, snap,
		                   &demand, collector->live_frames, collector->max_depth);
	}
	pthread_mutex_unlock(&collector->tables_lock);
}

void collector_release(struct collector *collector, size_t index)
{
	struct roster_member *member = roster_get(collector->roster, index);
	struct process *process;

	pthread_mutex_lock(&collector->busy_lock);
	pthread_mutex_lock(&collector->tables_lock);
	process = collector->processes[index];
	if (process) {
		process->released = true;
		tables_drop_space(collector->tables, process->space);
		process->space = NULL;
	}
	target_release(member->target);
	pthread_mutex_unlock(&collector->tables_lock);
	pthread_mutex_unlock(&collector->busy_lock);
}

void collector_free(struct collector *collector)
{
	if (!collector)
		return;
	collector_join(collector);
	segment_free(collector->segment);
	sampler_segment_free(collector->carried);
	tables_release(collector->tables);
	for (size_t i = 0; i < roster_count(collector->roster); i++)
		free(collector->processes[i]);
	free(collector->processes);
	free(collector->frames);
	free(collector->live_frames);
	free(collector->locations);
	array_fini(&collector->threads);
	hashmap_fini(&collector->thread_index);
	pthread_mutex_destroy(&collector->tables_lock);
	pthread_mutex_destroy(&collector->busy_lock);
	free(collector);
}
