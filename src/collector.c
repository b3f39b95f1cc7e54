/* SPDX-License-Identifier: Apache-2.0 */
#include "collector.h"

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
#include "base/hashmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "module/space.h"
#include "waits.h"

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

/* One process. */
struct process {
	const struct target *target;
	struct space *space;
	uint64_t maps_read_ns; /* CLOCK_MONOTONIC */
	uint64_t exec_checked_ns;
	dev_t exe_dev; /* of the file it executes, to notice an exec */
	ino_t exe_ino;
	bool is_go;    /* its main binary is: stacks come in pairs */
	bool released; /* it has ended: nothing is read of it any more */
};

#define NO_TALLY SIZE_MAX

/* What one observation adds, and what later ones may take away again. */
struct weights {
	int64_t count;
	int64_t cpu_ns;
	int64_t wall_ns;
	int64_t sleeps;
};

/* One thread that has been sampled. */
struct sampled_thread {
	size_t target;
	pid_t tid;
	char comm[PROCFS_COMM_LEN]; /* as last seen: names the thread in the profile */
	size_t stack_need;          /* bytes, falling slowly */
	unsigned extend_failures;
	bool elsewhere; /* its stack leaves the window for another place */
	uint32_t root;  /* location of its outermost function of interest, or 0 */
	/* Its last sleep: where that is counted, and with what so far. */
	size_t sleep_tally; /* index, or NO_TALLY */
	struct weights sleep;
	enum unwind_end sleep_end;
};

/* What the samples of one thread and stack add up to. */
struct tally {
	uint32_t stack;
	uint32_t who; /* of whos */
	struct weights sum;
};

/* A thread in one of its states. */
struct who {
	uint32_t thread; /* index */
	uint32_t wait;   /* a number of waits.h */
};

struct collector {
	/* ROSTER_MAX of them, made when first sampled, but for the first ones. Set by
	 * the collector's thread under `tables`, and never moved. */
	struct process **processes;
	const struct roster *roster;
	bool label_processes; /* there may be more than one */
	struct queue *queue;
	struct profile *profile;
	struct symbolizer *symbolizer;
	struct sampler *sampler;
	struct module_cache *modules;
	/* Held while spaces, modules or the unwinders are used. */
	pthread_mutex_t tables;
	struct unwinder *unwinder;
	struct unwinder *live_unwinder; /* of collector_extend */
	_Atomic bool live_waits;        /* a stopped thread waits for the tables */
	ARRAY(struct sampled_thread) threads;
	struct hashmap thread_index; /* target and serial -> index */
	ARRAY(struct who) whos;
	struct hashmap who_index; /* thread and wait -> index */
	ARRAY(struct tally) tallies;
	struct hashmap tally_index; /* stack and who -> index */
	struct waits *waits;
	unsigned modes; /* enum profile_mode */
	enum profile_mode last_mode;
	bool no_traceback;
	uint64_t stack_ends[UNWIND_NENDS];
	size_t max_depth;
	struct frame *frames;      /* max_depth of them */
	struct frame *live_frames; /* of collector_extend */
	uint32_t *locations;       /* more: [truncated], and the kernel's */
	pthread_t thread;
	bool started;
	bool is_full; /* the profile is */
};

struct collector *collector_new(const struct roster *roster, struct queue *queue,
                                struct profile *profile, struct symbolizer *symbolizer,
                                const struct options *options)
{
	struct collector *collector = xcalloc(1, sizeof *collector);

	collector->processes = xcalloc(ROSTER_MAX, sizeof *collector->processes);
	collector->roster = roster;
	collector->label_processes = options->children || options->cgroup ||
	                             options->split || roster_count(roster) > 1;
	collector->queue = queue;
	collector->profile = profile;
	collector->symbolizer = symbolizer;
	collector->modules = module_cache_new();
	collector->unwinder = unwinder_new(options->unwinder);
	collector->live_unwinder = unwinder_new(options->unwinder);
	collector->max_depth = options->max_depth;
	collector->waits = waits_new();
	collector->modes = options->modes;
	collector->last_mode = options->last_mode;
	collector->no_traceback = options->no_traceback;
	collector->frames = xcalloc(options->max_depth, sizeof *collector->frames);
	collector->live_frames = xcalloc(options->max_depth,
	                                 sizeof *collector->live_frames);
	collector->locations = xcalloc(options->max_depth + 1 + KERNEL_DEPTH_MAX,
	                               sizeof *collector->locations);
	pthread_mutex_init(&collector->tables, NULL);
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
	pthread_mutex_lock(&collector->tables);
	build_id = where->module ? module_build_id(where->module) : "";
	mapping = (struct profile_mapping){
	        .start = where->map.start,
	        .limit = where->map.end,
	        .offset = where->map.offset,
	        .file = profile_string(collector->profile, where->map.path),
	        .build_id = profile_string(collector->profile, build_id),
	        .code = symbolizer_bind(collector->symbolizer, where->module, where->bias,
	                                process->target),
	};
	where->profile_id = profile_mapping(collector->profile, &mapping);
	log_verbose("code at 0x%" PRIx64 "-0x%" PRIx64 ": %s%s%s%s", where->map.start,
	            where->map.end, where->map.path[0] ? where->map.path : "no file",
	            build_id[0] ? ", build id " : "", build_id,
	            where->module ? "" : ", not readable as an ELF file");
	pthread_mutex_unlock(&collector->tables);
	return where->profile_id;
}

/* pprof takes a profile's first mapping for its main binary. */
static void enter_main_mapping(struct collector *collector, struct process *process)
{
	struct space_map *main_map = space_main(process->space);

	if (main_map)
		(void)mapping_id(collector, process, main_map);
}

/* Whether the process runs another file than when this was asked last. */
static bool notice_exec(struct process *process)
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
		due = notice_exec(process) || due;
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
	result = unwinder_run(collector->unwinder, process->space, snap, NULL,
	                      collector->frames, collector->max_depth);
	stale = met_unknown_code(collector, &result) &&
	        clock_monotonic_ns() - process->maps_read_ns >= MAPS_MIN_AGE_NS;
	if ((stale || !is_current(collector, process, &result)) &&
	    refresh_maps(process, clock_monotonic_ns()))
		result = unwinder_run(collector->unwinder, process->space, snap, NULL,
		                      collector->frames, collector->max_depth);
	return result;
}

/* The profile's location of a frame; the name of a new one will be wanted. */
static uint32_t location_id(struct collector *collector, const struct process *process,
                            const struct frame *frame)
{
	struct profile *profile = collector->profile;
	uint32_t mapping = frame->where ? mapping_id(collector, process, frame->where) : 0;
	uint64_t address = frame->exact ? frame->pc : frame->pc - 1;
	size_t known = profile->locations.n;
	uint32_t id = profile_location(profile, mapping, address);

	if (profile->locations.n > known && mapping)
		symbolizer_want(collector->symbolizer,
		                profile->mappings.v[mapping - 1].code, address);
	return id;
}

/* For all samples whose stacks there is no more room for. */
static uint32_t intern_no_stack(struct collector *collector)
{
	uint32_t location = profile_pseudo(collector->profile, "[too many stacks]");

	if (!collector->is_full)
		log_info("there are too many different stacks to keep: from now on "
		         "samples are counted under [too many stacks]");
	collector->is_full = true;
	return profile_stack(collector->profile, &location, 1);
}

static uint32_t intern_stack(struct collector *collector, const struct process *process,
                             const struct snapshot *snap,
                             const struct unwind_result *result)
{
	size_t n;

	if (profile_is_full(collector->profile))
		return intern_no_stack(collector);
	n = waits_kernel_frames(collector->profile, snap, collector->locations,
	                        KERNEL_DEPTH_MAX);
	for (size_t i = 0; i < result->nframes; i++)
		collector->locations[n++] = location_id(collector, process,
		                                        &collector->frames[i]);
	if (result->end != UNWIND_END_MARKER)
		collector->locations[n++] = profile_pseudo(collector->profile,
		                                           "[truncated]");
	return profile_stack(collector->profile, collector->locations, n);
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
	return profile_stack(collector->profile, locations, n);
}

static uint64_t thread_key(size_t target, uint64_t serial)
{
	return (uint64_t)target << 48 | serial;
}

static uint32_t thread_index(struct collector *collector, const struct snapshot *snap)
{
	uint64_t key = thread_key(snap->target, snap->thread_serial), index;

	if (!hashmap_get(&collector->thread_index, key, &index)) {
		struct sampled_thread thread = {
		        .target = snap->target,
		        .tid = snap->tid,
		        .elsewhere = collector->processes[snap->target]->is_go,
		        .sleep_tally = NO_TALLY,
		};

		index = collector->threads.n;
		array_push(&collector->threads, thread);
		hashmap_put(&collector->thread_index, key, index);
	}
	memcpy(collector->threads.v[index].comm, snap->comm, sizeof snap->comm);
	return (uint32_t)index;
}

static void add_weights(struct weights *to, const struct weights *w, int sign)
{
	to->count += sign * w->count;
	to->cpu_ns += sign * w->cpu_ns;
	to->wall_ns += sign * w->wall_ns;
	to->sleeps += sign * w->sleeps;
}

static uint32_t who_index(struct collector *collector, uint32_t thread, uint32_t wait)
{
	uint64_t key = (uint64_t)thread << 32 | wait, index;

	if (!hashmap_get(&collector->who_index, key, &index)) {
		struct who who = {thread, wait};

		index = collector->whos.n;
		array_push(&collector->whos, who);
		hashmap_put(&collector->who_index, key, index);
	}
	return (uint32_t)index;
}

static size_t add_tally(struct collector *collector, uint32_t stack, uint32_t who,
                        struct weights weights)
{
	uint64_t key = (uint64_t)stack << 32 | who, index;

	if (!hashmap_get(&collector->tally_index, key, &index)) {
		struct tally tally = {.stack = stack, .who = who};

		index = collector->tallies.n;
		array_push(&collector->tallies, tally);
		hashmap_put(&collector->tally_index, key, index);
	}
	add_weights(&collector->tallies.v[index].sum, &weights, 1);
	return index;
}

/* More of a thread's last sleep. */
static void add_credit(struct collector *collector, struct sampled_thread *thread,
                       const struct snapshot_credit *credit)
{
	struct weights more = {.count = (int64_t)credit->count,
	                       .wall_ns = (int64_t)credit->wall_ns};

	if (thread->sleep_tally == NO_TALLY)
		return;
	add_weights(&thread->sleep, &more, 1);
	add_weights(&collector->tallies.v[thread->sleep_tally].sum, &more, 1);
}

static void add_credits(struct collector *collector, const struct snapshot *snap)
{
	const struct snapshot_credit *credits = (const void *)snap->bytes;

	for (size_t i = 0; i < snap->count; i++) {
		uint64_t index;

		if (hashmap_get(&collector->thread_index,
		                thread_key(credits[i].target, credits[i].thread_serial),
		                &index))
			add_credit(collector, &collector->threads.v[index], &credits[i]);
	}
}

/* A sleep: later credits go to it, and a better look may take its place. */
static void add_sleep(struct collector *collector, const struct snapshot *snap,
                      uint32_t index, uint32_t stack, enum unwind_end end)
{
	struct sampled_thread *thread = &collector->threads.v[index];
	struct weights weights = {.count = (int64_t)snap->count,
	                          .wall_ns = (int64_t)snap->wall_ns,
	                          .sleeps = (int64_t)snap->sleeps};
	uint32_t wait = waits_of(collector->waits, snap);

	add_credit(collector, thread, &snap->before);
	if (snap->replaces && thread->sleep_tally != NO_TALLY) {
		add_weights(&collector->tallies.v[thread->sleep_tally].sum, &thread->sleep,
		            -1);
		add_weights(&weights, &thread->sleep, 1);
		if (snap->kind == SNAPSHOT_STOPPED)
			wait = collector->whos
			               .v[collector->tallies.v[thread->sleep_tally].who]
			               .wait;
		collector->stack_ends[thread->sleep_end]--;
	}
	thread->sleep = weights;
	thread->sleep_end = end;
	thread->sleep_tally = add_tally(collector, stack, who_index(collector, index, wait),
	                                weights);
}

/* One that ran: what it used was its running time, and what it waited for a
 * processor it waited here. */
static void add_running(struct collector *collector, const struct snapshot *snap,
                        uint32_t index, uint32_t stack)
{
	struct weights ran = {.count = (int64_t)snap->count,
	                      .cpu_ns = (int64_t)snap->cpu_ns,
	                      .wall_ns = (int64_t)snap->cpu_ns};
	struct weights waited = {.wall_ns = (int64_t)snap->wait_ns};
	uint32_t wait = 0;

	if (collector->modes != MODE_CPU)
		wait = waits_of(collector->waits, snap);
	(void)add_tally(collector, stack, who_index(collector, index, wait), ran);
	if (waited.wall_ns == 0 || !(collector->modes & MODE_WALL))
		return;
	wait = waits_of_state(collector->waits, SNAPSHOT_RUNNABLE);
	(void)add_tally(collector, stack, who_index(collector, index, wait), waited);
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
	    !collector->processes[thread->target]->is_go)
		thread->elsewhere = false;
	sampler_hint(collector->sampler, thread->tid, want, thread->elsewhere);
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
	uint32_t index = thread_index(collector, snap);
	uint32_t location = profile_pseudo(collector->profile, "[no stack]");
	uint32_t stack = profile_stack(collector->profile, &location, 1);

	if (is_asleep(snap))
		add_sleep(collector, snap, index, stack, UNWIND_END_NO_INFO);
	else
		add_running(collector, snap, index, stack);
	collector->stack_ends[UNWIND_END_NO_INFO]++;
}

static bool runs_go(const struct process *process)
{
	struct space_map *main_map = space_main(process->space);

	return main_map && main_map->module && module_is_go(main_map->module);
}

/* What is known of a process, looked up when it is first met. Under `tables`. */
static struct process *open_process(struct collector *collector, size_t index)
{
	struct process *process = collector->processes[index];

	if (process)
		return process;
	process = xcalloc(1, sizeof *process);
	process->target = roster_get(collector->roster, index)->target;
	process->space = space_new(process->target, collector->modules);
	process->maps_read_ns = process->exec_checked_ns = clock_monotonic_ns();
	(void)notice_exec(process);
	/* Go's threads have two stacks: their own, and the goroutine's. */
	process->is_go = runs_go(process);
	if (process->is_go)
		sampler_expect_elsewhere(collector->sampler);
	collector->processes[index] = process;
	return process;
}

static void collect(struct collector *collector, const struct snapshot *snap)
{
	struct sampled_thread *thread;
	struct unwind_result result;
	struct process *process;
	uint32_t index, stack;

	/* A mutex knows no order: without this we would mostly get it again. */
	while (collector->live_waits)
		sched_yield();
	pthread_mutex_lock(&collector->tables);
	process = open_process(collector, snap->target);
	result = unwind(collector, process, snap);
	pthread_mutex_unlock(&collector->tables);
	index = thread_index(collector, snap);
	thread = &collector->threads.v[index];
	if (collector->no_traceback)
		stack = leaf_and_root(collector, process, thread, &result);
	else
		stack = intern_stack(collector, process, snap, &result);
	if (is_asleep(snap))
		add_sleep(collector, snap, index, stack, result.end);
	else
		add_running(collector, snap, index, stack);
	collector->stack_ends[result.end]++;
	give_hint(collector, thread, snap, &result);
	sampler_wish(collector->sampler, thread->tid,
	             wish_for(collector, thread, snap, result.end));
	if (thread->root)
		sampler_rooted(collector->sampler, thread->tid);
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
	}
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
		collect_any(collector, snap);
		queue_done(collector->queue);
	}
	return NULL;
}

int collector_start(struct collector *collector, struct sampler *sampler, struct error *err)
{
	int r;

	collector->sampler = sampler;
	for (size_t i = 0; i < roster_count(collector->roster); i++)
		enter_main_mapping(collector, open_process(collector, i));
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

void collector_extend(void *ctx, struct snapshot *snap)
{
	struct collector *collector = ctx;
	struct process *process;
	struct live live = {.snap = snap};
	struct unwind_demand demand = {read_live, &live};
	struct timespec until;
	int r;

	/* A thread that stands still does not wait for a file to be read. */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += EXTEND_WAIT_NS;
	if (until.tv_nsec >= (long)NS_PER_SEC) {
		until.tv_nsec -= (long)NS_PER_SEC;
		until.tv_sec++;
	}
	collector->live_waits = true;
	r = pthread_mutex_clocklock(&collector->tables, CLOCK_MONOTONIC, &until);
	collector->live_waits = false;
	if (r != 0)
		return;
	snap->extended = true;
	process = collector->processes[snap->target];
	if (process && process->space) {
		live.target = process->target;
		(void)unwinder_run(collector->live_unwinder, process->space, snap, &demand,
		                   collector->live_frames, collector->max_depth);
	}
	pthread_mutex_unlock(&collector->tables);
}

void collector_release(struct collector *collector, size_t index)
{
	struct roster_member *member = roster_get(collector->roster, index);
	struct process *process;

	pthread_mutex_lock(&collector->tables);
	process = collector->processes[index];
	if (process) {
		process->released = true;
		unwinder_forget(collector->unwinder, process->space);
		unwinder_forget(collector->live_unwinder, process->space);
		space_free(process->space);
		process->space = NULL;
	}
	target_release(member->target);
	pthread_mutex_unlock(&collector->tables);
}

static uint32_t label_set(struct collector *collector, size_t target, pid_t tid,
                          const char *comm, uint32_t wait)
{
	const struct roster_member *member = roster_get(collector->roster, target);
	struct profile *profile = collector->profile;
	struct profile_label labels[4 + WAITS_MAX_LABELS];
	size_t n = waits_labels(collector->waits, wait, profile, labels);

	if (tid) {
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "thread_name"),
		        .str = profile_string(profile, comm)};
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "thread_id"), .num = tid};
	}
	if (collector->label_processes) {
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "process_id"),
		        .num = member->target->pid,
		};
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "process_name"),
		        .str = profile_string(profile, roster_name(member)),
		};
	}
	return profile_labels(profile, labels, n);
}

/* The values in the order of the profile's types: see collector_add_types. */
static void add_sample(struct collector *collector, uint32_t stack, uint32_t labels,
                       const struct weights *sum)
{
	int64_t values[PROFILE_MAX_TYPES] = {sum->count};

	switch (collector->last_mode) {
	case MODE_CPU:
		values[1] = collector->modes & MODE_WALL ? sum->wall_ns : sum->cpu_ns;
		values[2] = sum->cpu_ns;
		break;
	case MODE_WALL:
		values[1] = sum->cpu_ns;
		values[2] = sum->wall_ns;
		break;
	case MODE_BLOCK:
		values[0] = sum->sleeps;
		values[1] = sum->wall_ns;
		break;
	case MODE_THREADS:
		values[0] = 1;
		break;
	}
	for (size_t i = 0; i < collector->profile->ntypes; i++) {
		if (values[i] != 0) {
			profile_add(collector->profile, stack, labels, values);
			return;
		}
	}
}

void collector_add_types(struct profile *profile, const struct options *options)
{
	int64_t period = (int64_t)((double)NS_PER_SEC / options->frequency_hz);
	const char *last = options->last_mode == MODE_CPU ? "cpu" : "wall";

	switch (options->last_mode) {
	case MODE_CPU:
	case MODE_WALL:
		profile_add_type(profile, "samples", "count");
		if (options->modes & MODE_WALL)
			profile_add_type(profile,
			                 options->last_mode == MODE_CPU ? "wall" : "cpu",
			                 "nanoseconds");
		profile_add_type(profile, last, "nanoseconds");
		profile_set_period(profile, last, "nanoseconds", period);
		break;
	case MODE_BLOCK:
		profile_add_type(profile, "contentions", "count");
		profile_add_type(profile, "delay", "nanoseconds");
		profile_set_period(profile, "contentions", "count", 1);
		break;
	case MODE_THREADS:
		profile_add_type(profile, "threads", "count");
		profile_set_period(profile, "threads", "count", 1);
		break;
	}
}

static void finish_tallies(struct collector *collector)
{
	for (size_t i = 0; i < collector->tallies.n; i++) {
		const struct tally *tally = &collector->tallies.v[i];
		const struct who *who = &collector->whos.v[tally->who];
		const struct sampled_thread *thread = &collector->threads.v[who->thread];

		/* One whose place a better one has taken. */
		if (tally->sum.count == 0 && tally->sum.wall_ns == 0 &&
		    tally->sum.cpu_ns == 0)
			continue;
		add_sample(collector, tally->stack,
		           label_set(collector, thread->target, thread->tid, thread->comm,
		                     who->wait),
		           &tally->sum);
	}
}

/* Time that no sample claims, by what the thread was doing. */
static void add_unsampled(struct collector *collector, uint32_t stack,
                          const struct sampler_unsampled *rest, enum snapshot_state state,
                          struct weights weights)
{
	uint32_t wait = 0;

	if (collector->modes != MODE_CPU)
		wait = waits_of_state(collector->waits, state);
	add_sample(collector, stack,
	           label_set(collector, rest->target, rest->tid, rest->comm, wait),
	           &weights);
}

static void finish_unsampled(struct collector *collector)
{
	size_t n;
	const struct sampler_unsampled *rest = sampler_unsampled(collector->sampler, &n);
	bool running = collector->modes & (MODE_CPU | MODE_WALL);
	bool sleeping = collector->modes & (MODE_WALL | MODE_BLOCK);
	uint32_t location, stack;

	if (n == 0)
		return;
	location = profile_pseudo(collector->profile, "[not sampled]");
	stack = profile_stack(collector->profile, &location, 1);
	for (size_t i = 0; i < n; i++) {
		const struct sampler_unsampled *r = &rest[i];

		if (running)
			add_unsampled(collector, stack, r, SNAPSHOT_RUNNING,
			              (struct weights){.cpu_ns = (int64_t)r->cpu_ns,
			                               .wall_ns = (int64_t)r->cpu_ns});
		if (collector->modes & MODE_WALL)
			add_unsampled(collector, stack, r, SNAPSHOT_RUNNABLE,
			              (struct weights){.wall_ns = (int64_t)r->wait_ns});
		if (sleeping)
			add_unsampled(collector, stack, r, SNAPSHOT_UNKNOWN,
			              (struct weights){.wall_ns = (int64_t)r->sleep_ns});
	}
}

/* A thread's name at the end is its name: those that live are asked once more. */
static void take_last_names(struct collector *collector)
{
	size_t n;
	const struct sampler_unsampled *rest = sampler_unsampled(collector->sampler, &n);

	for (size_t i = 0; i < n; i++) {
		uint64_t index;

		if (hashmap_get(&collector->thread_index,
		                thread_key(rest[i].target, rest[i].thread_serial), &index))
			memcpy(collector->threads.v[index].comm, rest[i].comm,
			       sizeof rest[i].comm);
	}
}

/* For --verbose. Not said while sampling: a terminal may hold up who writes. */
static void tell_threads(const struct collector *collector)
{
	struct {
		int64_t count, cpu_ns;
	} *sums = xcalloc(collector->threads.n, sizeof *sums);

	for (size_t i = 0; i < collector->tallies.n; i++) {
		const struct tally *tally = &collector->tallies.v[i];
		uint32_t thread = collector->whos.v[tally->who].thread;

		sums[thread].count += tally->sum.count;
		sums[thread].cpu_ns += tally->sum.cpu_ns;
	}
	for (size_t i = 0; i < collector->threads.n; i++) {
		const struct sampled_thread *thread = &collector->threads.v[i];

		log_verbose("thread %d (%s) of process %d: %" PRId64
		            " samples, %.3f s of CPU time",
		            thread->tid, thread->comm,
		            collector->processes[thread->target]->target->pid,
		            sums[i].count, (double)sums[i].cpu_ns / 1e9);
	}
	free(sums);
}

static void tell_unwinding(const struct collector *collector)
{
	struct unwind_stats stats = unwinder_stats(collector->unwinder);

	for (size_t i = 0; i < UNWIND_MAX_BACKENDS; i++)
		if (stats.backend[i].nframes > 0)
			log_verbose("unwinding: %s found %" PRIu64 " callers",
			            stats.backend[i].name, stats.backend[i].nframes);
	log_verbose("unwinding: %" PRIu64 " of %" PRIu64 " stacks were walked again with "
	            "all registers",
	            stats.nagain, stats.nstacks);
}

void collector_add_ended(struct collector *collector, size_t parent, uint64_t cpu_ns)
{
	struct sampler_unsampled entry = {.target = parent};
	uint32_t location, stack;

	if (!(collector->modes & (MODE_CPU | MODE_WALL)))
		return;
	location = profile_pseudo(collector->profile, "[not sampled, ended children]");
	stack = profile_stack(collector->profile, &location, 1);
	add_unsampled(
	        collector, stack, &entry, SNAPSHOT_RUNNING,
	        (struct weights){.cpu_ns = (int64_t)cpu_ns, .wall_ns = (int64_t)cpu_ns});
}

void collector_finish(struct collector *collector)
{
	tell_unwinding(collector);
	take_last_names(collector);
	if (log_level() >= LOG_LEVEL_VERBOSE)
		tell_threads(collector);
	finish_tallies(collector);
	finish_unsampled(collector);
}

const uint64_t *collector_stack_ends(const struct collector *collector)
{
	return collector->stack_ends;
}

void collector_free(struct collector *collector)
{
	if (!collector)
		return;
	collector_join(collector);
	/* Unwinders know spaces and modules by address: they go first. */
	unwinder_free(collector->unwinder);
	unwinder_free(collector->live_unwinder);
	for (size_t i = 0; i < ROSTER_MAX; i++) {
		if (collector->processes[i] && collector->processes[i]->space)
			space_free(collector->processes[i]->space);
		free(collector->processes[i]);
	}
	free(collector->processes);
	free(collector->frames);
	free(collector->live_frames);
	free(collector->locations);
	module_cache_free(collector->modules);
	array_fini(&collector->threads);
	array_fini(&collector->whos);
	array_fini(&collector->tallies);
	waits_free(collector->waits);
	hashmap_fini(&collector->who_index);
	hashmap_fini(&collector->thread_index);
	hashmap_fini(&collector->tally_index);
	pthread_mutex_destroy(&collector->tables);
	free(collector);
}
