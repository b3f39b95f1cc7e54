/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capture process's life: ticks at jittered times, reports of stops as they
 * come, and at the end the accounts. It waits in one place, poll, and
 * never for one thread of the target.
 *
 * Its end is also the last safety: the kernel releases whatever a tracer that
 * is gone still had seized.
 */
#include "capture/sampler.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "capture/sampler_impl.h"

/*
 * How long the end waits for threads that were asked to stop and have not run since. A
 * busy machine may keep one from its processor for long; left to the kernel, it would
 * meet its next system call with a stop that nobody undoes.
 */
#define LAST_STOPS_NS (5 * NS_PER_SEC)

/* When a cut found no room in the queue, it is tried again so soon. */
#define CUT_AGAIN_MS 1

/* The same when the timer could not be set. */
#define ARM_AGAIN_MS 10

/* How old the knowledge may be that the profiler is not stopped. */
#define STOPPED_READ_NS (20 * NS_PER_MS)

/* A tick is late when more than this part of a period has gone by. */
#define LATE_PART 10

/* Uniform in [0, 1): xorshift64*. */
static double random_unit(struct sampler *sampler)
{
	sampler->random ^= sampler->random >> 12;
	sampler->random ^= sampler->random << 25;
	sampler->random ^= sampler->random >> 27;
	return (double)(sampler->random * UINT64_C(2685821657736338717) >> 11) * 0x1p-53;
}

/*
 * The time to the next tick: uniform between half and one and a half periods,
 * or that part of one in which a round visits one of its processors, so that no
 * program's own rhythm stays in step with the sampler.
 */
static uint64_t next_interval(struct sampler *sampler)
{
	return (uint64_t)((double)sampler->period_ns * (0.5 + random_unit(sampler))) /
	       sampler->nround;
}

/* For the next tick or the end. Arming it also takes back that it has expired. */
static void arm_timer(struct sampler *sampler)
{
	uint64_t at = sampler->due_ns < sampler->end_ns ? sampler->due_ns : sampler->end_ns;
	struct itimerspec when = {
	        .it_value = {.tv_sec = (time_t)(at / NS_PER_SEC),
	                     .tv_nsec = (long)(at % NS_PER_SEC)},
	};

	sampler->is_armed = timerfd_settime(sampler->timer_fd, TFD_TIMER_ABSTIME, &when,
	                                    NULL) == 0;
}

/* Whether the profiler is stopped, by Ctrl-Z or a SIGSTOP. */
static bool is_profiler_stopped(struct sampler *sampler, uint64_t now_ns)
{
	struct procfs_stat stat;
	char text[1024];
	ssize_t n;

	if (now_ns < sampler->stopped_read_ns + STOPPED_READ_NS)
		return sampler->is_stopped;
	n = pread(sampler->profiler_fd, text, sizeof text, 0);
	sampler->is_stopped = n > 0 && procfs_parse_stat(text, (size_t)n, &stat) == 0 &&
	                      stat.state == 'T';
	sampler->stopped_read_ns = now_ns;
	return sampler->is_stopped;
}

/*
 * What the sampling takes from the target. Where threads are met on their
 * processors, we take these: all our CPU time is the target's loss, and what
 * pauses last is part of it. From afar, threads stand still while we run elsewhere;
 * but a machine that is busy has no elsewhere, so both count.
 */
static struct budget_reading read_budget(const struct sampler *sampler)
{
	struct budget_reading reading = {
	        .now_ns = clock_monotonic_ns(),
	        .ticks = atomic_load(&sampler->stats.ticks),
	        .cost_ns = clock_thread_cpu_ns() - sampler->cpu_start_ns,
	};

	if (!sampler->can_visit)
		reading.cost_ns += sampler->stats.pause_ns.sum;
	for (size_t i = 0; i < sampler->ntargets; i++)
		reading.busy_ns += sampler->targets[i].cpu_ns;
	return reading;
}

static void begin_budget(struct sampler *sampler)
{
	const struct budget_limits limits = {
	        .period_ns = sampler->period_ns,
	        .overhead = sampler->options.max_overhead,
	        .max_pause_ns = sampler->options.max_pause_ns,
	        .max_window = SAMPLER_WINDOW_MAX,
	};
	struct budget_reading start;

	sampler->cpu_start_ns = clock_thread_cpu_ns();
	start = read_budget(sampler);
	budget_init(&sampler->stats.budget, &limits, &start);
	sampler->period_ns = sampler->stats.budget.period_ns;
}

static void keep_budget(struct sampler *sampler, uint64_t now_ns)
{
	struct budget_reading reading;

	if (!budget_is_due(&sampler->stats.budget, now_ns))
		return;
	reading = read_budget(sampler);
	budget_tick(&sampler->stats.budget, &reading);
	sampler->period_ns = sampler->stats.budget.period_ns;
}

void sampler_tell_overhead(struct sampler *sampler)
{
	const struct budget_reading end = read_budget(sampler);

	sampler->stats.overhead = budget_overhead(&sampler->stats.budget, &end);
}

static void handle_timer(struct sampler *sampler)
{
	uint64_t now = clock_monotonic_ns();

	if (is_profiler_stopped(sampler, now)) {
		/* Who stops us wants to be rid of us for now. */
		sampler->stats.missed_ticks++;
	} else {
		if (now > sampler->due_ns + sampler->period_ns / LATE_PART)
			sampler->stats.late_ticks++;
		sampler_meet(sampler);
		if (sampler->visits.n == 0) {
			sampler_retire(sampler);
			sampler_adopt(sampler, now);
			sampler_tick(sampler, now);
			sampler_begin_round(sampler);
			keep_budget(sampler, now);
		}
	}
	sampler_go(sampler);
	now = clock_monotonic_ns();
	sampler->due_ns += next_interval(sampler);
	while (sampler->due_ns < now) {
		sampler->stats.missed_ticks++;
		sampler->due_ns += next_interval(sampler);
	}
	atomic_store(&sampler->awake_by_ns, sampler->level > 0 ? sampler->due_ns : 0);
	arm_timer(sampler);
}

void sampler_clear_child(struct sampler *sampler)
{
	char buf[sizeof(struct signalfd_siginfo)];

	while (read(sampler->child_fd, buf, sizeof buf) > 0)
		;
}

/* In ms; -1: until something happens. */
static int time_to_wait(const struct sampler *sampler)
{
	if (sampler->cut.asked)
		return CUT_AGAIN_MS;
	return sampler->is_armed ? -1 : ARM_AGAIN_MS;
}

/* Ticks and reports until the time is up, someone says stop, or nobody is left. */
static void run(struct sampler *sampler)
{
	struct pollfd fds[4] = {
	        {.fd = sampler->timer_fd, .events = POLLIN},
	        {.fd = sampler->child_fd, .events = POLLIN},
	        {.fd = sampler->stop_fd, .events = POLLIN},
	        {.fd = sampler->cut_fd, .events = POLLIN},
	};
	eventfd_t cuts;

	sampler->end_ns = sampler->options.duration_ns
	                          ? sampler->stats.start_ns + sampler->options.duration_ns
	                          : UINT64_MAX;
	sampler->due_ns = sampler->stats.start_ns + next_interval(sampler);
	arm_timer(sampler);
	for (;;) {
		if (poll(fds, 4, time_to_wait(sampler)) < 0) {
			if (errno != EINTR || apart_is_orphan())
				return;
			continue;
		}
		if (fds[2].revents || apart_is_orphan())
			return;
		if (fds[1].revents) {
			sampler_clear_child(sampler);
			(void)sampler_drain(sampler);
		}
		if (clock_monotonic_ns() >= sampler->end_ns)
			return;
		if (fds[0].revents || !sampler->is_armed) {
			handle_timer(sampler);
			if (sampler_is_over(sampler))
				return;
		}
		if (fds[3].revents)
			sampler->cut.asked = eventfd_read(sampler->cut_fd, &cuts) == 0;
		if (sampler->cut.asked)
			sampler->cut.asked = !sampler_make_cut(sampler);
	}
}

/* Takes the reports that are still to come, for a while, also if the profiler is dead. */
static void take_last_stops(struct sampler *sampler)
{
	struct pollfd p = {.fd = sampler->child_fd, .events = POLLIN};
	uint64_t until = clock_monotonic_ns() + LAST_STOPS_NS;

	apart_take_time(LAST_STOPS_NS / NS_PER_MS);
	while (sampler->nstops_open > 0 && clock_monotonic_ns() < until) {
		if (sampler_drain(sampler) > 0)
			continue;
		(void)poll(&p, 1, 10);
		sampler_clear_child(sampler);
	}
	sampler->stats.missed_unstopped += sampler->nstops_open;
	atomic_fetch_add(&sampler->stats.missed, sampler->nstops_open);
}

bool sampler_wants(const struct sampler *sampler, pid_t tid)
{
	for (size_t i = 0; i < sampler->options.nonly_tids; i++) {
		if (sampler->options.only_tids[i] == tid)
			return true;
	}
	return sampler->options.nonly_tids == 0;
}

static void add_unsampled(struct sampler *sampler, const struct thread *thread,
                          struct sampler_unsampled entry)
{
	if (entry.cpu_ns == 0 && entry.wait_ns == 0 && entry.sleep_ns == 0)
		return;
	if (thread) {
		entry.target = thread->target;
		entry.tid = thread->tid;
		entry.thread_serial = thread->serial;
		memcpy(entry.comm, thread->comm, sizeof entry.comm);
	}
	array_push(&sampler->unsampled, entry);
	sampler->targets[entry.target].result.unsampled_ns += entry.cpu_ns;
}

/* By how much the accounts of running threads may lag behind the process's clock. */
static uint64_t greatest_lag(const struct sampler *sampler, const struct sampler_target *st)
{
	uint64_t running = 0;

	for (size_t i = 0; i < st->threads.list.n; i++)
		running += !st->threads.list.v[i]->blocked;
	if (running > sampler->nprocessors)
		running = sampler->nprocessors;
	return running * SAMPLER_ACCOUNT_LAG_NS;
}

/* What living threads have used since their last samples. */
static uint64_t sum_waiting(struct sampler *sampler, size_t index, bool end)
{
	struct sampler_target *st = &sampler->targets[index];
	uint64_t waiting = 0;

	for (size_t i = 0; i < st->threads.list.n; i++) {
		struct thread *thread = st->threads.list.v[i];
		uint64_t used;

		if (!sampler_wants(sampler, thread->tid))
			continue;
		if (end)
			thread_read_comm(st->target, thread);
		if (activity_cpu_ns(st->target, thread, sampler->options.cpu_source,
		                    &used) < 0 ||
		    used <= thread->claimed_ns)
			continue;
		waiting += used - thread->claimed_ns;
		if (end)
			add_unsampled(sampler, thread,
			              (struct sampler_unsampled){
			                      .cpu_ns = used - thread->claimed_ns});
		/* Nobody stands still while the others are looked at. */
		else if (sampler->nstops_open > 0)
			(void)sampler_drain(sampler);
	}
	return waiting;
}

void sampler_close_sleep(struct sampler *sampler, struct thread *thread, uint64_t now_ns)
{
	struct sleep *sleep = &thread->sleep;
	uint64_t total, rest, wait;

	sampler_settle_sleep(sampler, thread, now_ns);
	total = sleep_total_ns(sleep, &thread->seen, now_ns);
	rest = total > sleep->claimed_ns ? total - sleep->claimed_ns : 0;
	wait = thread->seen.wait_ns > thread->waited_ns
	               ? thread->seen.wait_ns - thread->waited_ns
	               : 0;
	/* A wait is entered into the account when it is over. */
	if (!thread->blocked) {
		wait += rest;
		rest = 0;
	}
	add_unsampled(sampler, thread,
	              (struct sampler_unsampled){.wait_ns = wait, .sleep_ns = rest});
}

/* Where every thread of a process sleeps at the end, its own or the run's. */
void sampler_close_sleeps(struct sampler *sampler, size_t index, uint64_t now_ns)
{
	struct sampler_target *st = &sampler->targets[index];

	if (!sampler->options.sleeping || sampler->options.once)
		return;
	for (size_t t = 0; t < st->threads.list.n; t++) {
		struct thread *thread = st->threads.list.v[t];

		if (!sampler_wants(sampler, thread->tid))
			continue;
		(void)activity_look(st->target, thread, sampler->options.cpu_source);
		sampler_close_sleep(sampler, thread, now_ns);
	}
}

/*
 * What each living thread used since its last sample, and what the process used
 * beyond all its known threads: those that came and went between two looks, and
 * the last moments of those that ended.
 */
void sampler_balance(struct sampler *sampler, size_t index, bool end)
{
	struct sampler_target *st = &sampler->targets[index];
	uint64_t told = st->result.unsampled_ns, lag = end ? 0 : greatest_lag(sampler, st);
	uint64_t total, waiting, claimed;

	(void)!target_cpu_ns(st->target, &st->cpu_ns);
	total = st->cpu_ns > st->cpu_start_ns ? st->cpu_ns - st->cpu_start_ns : 0;
	waiting = sum_waiting(sampler, index, end);
	claimed = st->result.sampled_ns + told + waiting;
	/* Of single threads there is no clock but their own accounts. */
	if (sampler->options.nonly_tids > 0 || !st->target->have_cpu_clock)
		total = claimed;
	else if (total > claimed + lag)
		add_unsampled(sampler, NULL,
		              (struct sampler_unsampled){.target = index,
		                                         .cpu_ns = total - claimed - lag});
	else if (
	        end) /* the clock of one that has ended was last read before its last sample */
		total = claimed;
	st->result.have_cpu_clock = st->target->have_cpu_clock;
	st->result.cpu_ns = total;
	st->result.life_ns = st->cpu_start_ns + total;
	st->result.waiting_ns = end ? 0 : waiting;
}

/*
 * Opening what the unwinder needs has taken time since the threads were first
 * listed, and so may our own start; what they did meanwhile is not part of the run.
 * A command of ours is accounted for from its first moment.
 */
static void begin_accounts(struct sampler *sampler)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (sampler->options.command == 0)
		sampler->stats.start_ns = now_ns;
	for (size_t i = 0; i < sampler->ntargets; i++) {
		struct sampler_target *st = &sampler->targets[i];

		/* Those that sleep have still to be seen. */
		st->unobserved = sampler->options.sleeping;
		st->cpu_changed_ns = now_ns;
		if (st->target->pid == sampler->options.command)
			continue;
		(void)!target_cpu_ns(st->target, &st->cpu_start_ns);
		st->cpu_ns = st->cpu_start_ns;
		st->baseline_ns = 0;
		for (size_t t = 0; t < st->threads.list.n; t++)
			sampler_open_account(sampler, st, st->threads.list.v[t], now_ns,
			                     true);
	}
	sampler->cut.at_ns = sampler->stats.start_ns;
	sampler->cut.time_ns = (int64_t)(clock_realtime_ns() - clock_monotonic_ns() +
	                                 sampler->stats.start_ns);
}

/* In the process apart. */
static void capture_main(void *arg)
{
	struct sampler *sampler = arg;

	/* While we are kept from our CPU, a stopped thread is kept from its own. */
	privilege_forget_output();
	(void)setpriority(PRIO_PROCESS, 0, SAMPLER_NICE);
	begin_accounts(sampler);
	if (sampler->options.running && !sampler->options.once)
		sampler_prepare_visits(sampler);
	if (tracer_init() == 0) {
		begin_budget(sampler);
		if (sampler->options.once)
			sampler_run_once(sampler);
		else
			run(sampler);
		take_last_stops(sampler);
		sampler_tell_overhead(sampler);
	}
	if (apart_is_orphan())
		return;
	sampler->stats.end_ns = clock_monotonic_ns();
	sampler_close_all(sampler);
}

/* In a thread of the profiler, also when the process apart came to a bad end. */
static void capture_ended(void *arg)
{
	struct sampler *sampler = arg;

	if (sampler->stats.end_ns == 0)
		sampler->stats.end_ns = clock_monotonic_ns();
	queue_close(sampler->queue);
	atomic_store(&sampler->stats.done, true);
	(void)eventfd_write(sampler->done_fd, 1);
}

static int open_fds(struct sampler *sampler, struct error *err)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sampler->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	sampler->child_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	sampler->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sampler->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sampler->cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sampler->profiler_fd = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
	if (sampler->timer_fd < 0 || sampler->child_fd < 0 || sampler->stop_fd < 0 ||
	    sampler->done_fd < 0 || sampler->cut_fd < 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot set up the sampler: %s",
		                 strerror(errno));
	return 0;
}

static void seed(struct sampler *sampler)
{
	if (getrandom(&sampler->random, sizeof sampler->random, GRND_NONBLOCK) < 0)
		sampler->random = clock_monotonic_ns();
	sampler->random |= 1;
}

struct sampler *sampler_new(const struct sampler_options *options,
                            struct target *const *targets, size_t ntargets,
                            struct queue *queue, struct error *err)
{
	struct sampler *sampler = xcalloc(1, sizeof *sampler);
	pid_t *tids = xcalloc(options->nonly_tids + 1, sizeof *tids);
	uint64_t now = clock_monotonic_ns();
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	sampler->options = *options;
	for (size_t i = 0; i < options->nonly_tids; i++)
		tids[i] = options->only_tids[i];
	sampler->options.only_tids = tids;
	sampler->queue = queue;
	sampler->queue_capacity = queue_room(queue);
	sampler->period_ns = (uint64_t)((double)NS_PER_SEC / options->frequency_hz);
	atomic_store(&sampler->widest, SAMPLER_WINDOW_START);
	seed(sampler);
	for (size_t i = 0; i < ntargets; i++)
		sampler_add_target(sampler, targets[i], false, now);
	sampler->timer_fd = sampler->child_fd = sampler->stop_fd = sampler->done_fd = -1;
	sampler->cut_fd = -1;
	sampler->profiler_fd = -1;
	sampler->nround = 1;
	sampler->nprocessors = cpus > 0 ? (size_t)cpus : 1;
	sampler->cpu = sampler->home = -1;
	if (open_fds(sampler, err) < 0) {
		sampler_free(sampler);
		return NULL;
	}
	return sampler;
}

int sampler_start(struct sampler *sampler, struct error *err)
{
	int r;

	sampler->stats.start_ns = clock_monotonic_ns();
	r = apart_start(&sampler->apart, capture_main, capture_ended, sampler);
	if (r < 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot start a thread: %s",
		                 strerror(-r));
	sampler->started = true;
	return 0;
}

void sampler_stop(struct sampler *sampler)
{
	(void)eventfd_write(sampler->stop_fd, 1);
}

void sampler_cut(struct sampler *sampler)
{
	(void)eventfd_write(sampler->cut_fd, 1);
}

void sampler_tend(struct sampler *sampler)
{
	apart_tend(&sampler->apart);
	sampler_free_tracer(sampler, sampler->apart.pid);
}

int sampler_wait_status(const struct sampler *sampler)
{
	return sampler->apart.wait_status;
}

int sampler_done_fd(const struct sampler *sampler)
{
	return sampler->done_fd;
}

void sampler_join(struct sampler *sampler)
{
	if (sampler->started)
		apart_join(&sampler->apart);
	sampler->started = false;
}

const struct sampler_stats *sampler_stats(const struct sampler *sampler)
{
	return &sampler->stats;
}

void sampler_hint(struct sampler *sampler, pid_t tid, size_t stack_len, bool elsewhere)
{
	struct sampler_hint *hint = &sampler->hints[(unsigned)tid % SAMPLER_NHINTS];
	uint32_t len = stack_len > SAMPLER_WINDOW_MAX ? SAMPLER_WINDOW_MAX
	                                              : (uint32_t)stack_len;

	if (atomic_load(&hint->tid) != tid) {
		atomic_store(&hint->rooted, false);
		atomic_store(&hint->wish, SAMPLER_WISH_NOTHING);
	}
	atomic_store(&hint->stack_len, len);
	atomic_store(&hint->elsewhere, elsewhere);
	atomic_store(&hint->tid, tid);
	if (elsewhere)
		sampler_expect_elsewhere(sampler);
	if (len > atomic_load(&sampler->widest))
		atomic_store(&sampler->widest, len);
}

static struct sampler_hint *own_hint(struct sampler *sampler, pid_t tid)
{
	struct sampler_hint *hint = &sampler->hints[(unsigned)tid % SAMPLER_NHINTS];

	return atomic_load(&hint->tid) == tid ? hint : NULL;
}

void sampler_wish(struct sampler *sampler, pid_t tid, enum sampler_wish wish)
{
	struct sampler_hint *hint = own_hint(sampler, tid);

	if (hint)
		atomic_store(&hint->wish, (uint32_t)wish);
}

void sampler_rooted(struct sampler *sampler, pid_t tid, bool rooted)
{
	struct sampler_hint *hint = own_hint(sampler, tid);

	if (hint)
		atomic_store(&hint->rooted, rooted);
}

void sampler_expect_elsewhere(struct sampler *sampler)
{
	atomic_store(&sampler->any_elsewhere, true);
}

struct sampler_segment *sampler_last_segment(struct sampler *sampler)
{
	return sampler_take_segment(sampler);
}

size_t sampler_ntargets(const struct sampler *sampler)
{
	return sampler->ntargets;
}

const struct sampler_target_result *sampler_result(const struct sampler *sampler,
                                                   size_t target)
{
	return &sampler->targets[target].result;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void sampler_free(struct sampler *sampler)
{
	if (!sampler)
		return;
	if (sampler->started) {
		sampler_stop(sampler);
		sampler_join(sampler);
	}
	for (size_t i = 0; i < sampler->ntargets; i++)
		threads_fini(&sampler->targets[i].threads);
	free(sampler->targets);
	array_fini(&sampler->live);
	free((void *)(uintptr_t)sampler->options.only_tids);
	array_fini(&sampler->unsampled);
	array_fini(&sampler->visits);
	array_fini(&sampler->credits);
	close_fd(sampler->timer_fd);
	close_fd(sampler->child_fd);
	close_fd(sampler->stop_fd);
	close_fd(sampler->done_fd);
	close_fd(sampler->cut_fd);
	close_fd(sampler->profiler_fd);
	free(sampler);
}
