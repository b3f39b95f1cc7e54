/* SPDX-License-Identifier: Apache-2.0 */
/* The queue, the look at threads, and the sampler, on real processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/activity.h"
#include "capture/queue.h"
#include "capture/sampler_impl.h"
#include "capture/threads.h"
#include "plain.h"

static void test_queue_order(void **state)
{
	struct queue *queue = queue_new(4);

	(void)state;
	for (pid_t round = 0; round < 3; round++) {
		for (pid_t i = 0; i < 4; i++) {
			struct snapshot *snap = queue_reserve(queue);

			assert_non_null(snap);
			snap->tid = 10 * round + i;
			queue_commit(queue);
		}
		assert_int_equal(queue_room(queue), 0);
		assert_null(queue_reserve(queue)); /* full: never waits */
		for (pid_t i = 0; i < 4; i++) {
			assert_int_equal(queue_wait(queue)->tid, 10 * round + i);
			queue_done(queue);
		}
	}
	queue_free(queue);
}

static void test_queue_reserve_alone(void **state)
{
	struct queue *queue = queue_new(2);
	struct snapshot *first = queue_reserve(queue);

	(void)state;
	/* what is reserved and not committed was never there */
	assert_ptr_equal(queue_reserve(queue), first);
	assert_int_equal(queue_room(queue), 2);
	first->tid = 7;
	queue_commit(queue);
	queue_close(queue);
	assert_int_equal(queue_wait(queue)->tid, 7); /* still handed out after the close */
	queue_done(queue);
	assert_null(queue_wait(queue));
	queue_free(queue);
}

static void *consume(void *arg)
{
	struct queue *queue = arg;
	struct snapshot *snap;
	uint64_t sum = 0;

	while ((snap = queue_wait(queue))) {
		sum += (uint64_t)snap->tid;
		queue_done(queue);
	}
	return (void *)(uintptr_t)sum;
}

static void test_queue_threads(void **state)
{
	struct queue *queue = queue_new(8);
	uint64_t sum = 0;
	pthread_t thread;
	void *got;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, consume, queue), 0);
	for (pid_t i = 0; i < 20000; i++) {
		struct snapshot *snap = queue_reserve(queue);

		if (!snap)
			continue;
		snap->tid = i;
		sum += (uint64_t)i;
		queue_commit(queue);
		if (i % 1000 == 0)
			usleep(1000); /* lets the consumer fall asleep */
	}
	queue_close(queue);
	assert_int_equal(pthread_join(thread, &got), 0);
	assert_true((uint64_t)(uintptr_t)got == sum);
	queue_free(queue);
}

/* A child that does `what` until it is killed. */
static pid_t start_child(void (*what)(void))
{
	pid_t pid = plain_fork();

	if (pid == 0) {
		alarm(60);
		what();
		_exit(0);
	}
	assert_true(pid > 0);
	usleep(50 * 1000);
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void spin(void)
{
	for (volatile uint64_t i = 0;; i++)
		;
}

static void nap(void)
{
	for (;;)
		pause();
}

/* Runs for 3 ms and sleeps for 3, for ever. */
static void bursts(void)
{
	for (;;) {
		uint64_t until = clock_monotonic_ns() + 3 * NS_PER_MS;

		while (clock_monotonic_ns() < until)
			;
		usleep(3000);
	}
}

static void leave_soon(void)
{
	uint64_t until = clock_monotonic_ns() + 200 * NS_PER_MS;

	while (clock_monotonic_ns() < until)
		;
}

static pid_t tracer_of(pid_t pid, char *state)
{
	char path[32], text[4096];
	struct procfs_status status;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	n = procfs_read_fixed(-100, path, text, sizeof text);
	assert_true(n > 0);
	assert_int_equal(procfs_parse_status(text, (size_t)n, &status), 0);
	*state = status.state;
	return status.tracer_pid;
}

/* A child that sleeps, whatever else the machine has to do. */
static pid_t start_sleeper(void)
{
	pid_t pid = start_child(nap);
	char letter = 'R';

	for (int i = 0; i < 20000 && letter != 'S'; i++) {
		usleep(1000);
		(void)tracer_of(pid, &letter);
	}
	return pid;
}

static void check_activity(enum cpu_source source)
{
	struct thread_table table = {0};
	struct thread_scan scan;
	pid_t pid = start_sleeper();
	struct target *target = target_open(pid, NULL);
	struct thread *thread;
	uint64_t ns;

	assert_non_null(target);
	assert_int_equal(threads_scan(&table, target, 0, activity_cpu_file(source), &scan),
	                 0);
	assert_int_equal(scan.nnew, 1);
	thread = threads_find(&table, pid);
	assert_non_null(thread);
	assert_int_equal(activity_look(target, thread, source), ACTIVITY_BLOCKED);
	if (source == CPU_SOURCE_SCHEDSTAT)
		assert_int_equal(activity_look(target, thread, source), ACTIVITY_ASLEEP);
	assert_int_equal(activity_cpu_ns(target, thread, source, &ns), 0);
	end_child(pid);
	assert_int_equal(activity_look(target, thread, source), ACTIVITY_GONE);
	assert_true(threads_scan(&table, target, 0, activity_cpu_file(source), &scan) < 0);
	threads_fini(&table);
	target_free(target);

	pid = start_child(spin);
	target = target_open(pid, NULL);
	assert_int_equal(threads_scan(&table, target, 0, activity_cpu_file(source), &scan),
	                 0);
	thread = threads_find(&table, pid);
	assert_int_equal(activity_look(target, thread, source), ACTIVITY_RUNNING);
	/* running stays running, whether or not its account moves */
	assert_int_equal(activity_look(target, thread, source), ACTIVITY_RUNNING);
	end_child(pid);
	threads_fini(&table);
	target_free(target);
}

static void test_activity_schedstat(void **state)
{
	(void)state;
	if (access("/proc/self/schedstat", R_OK) < 0)
		skip();
	check_activity(CPU_SOURCE_SCHEDSTAT);
}

static void test_activity_stat(void **state)
{
	(void)state;
	check_activity(CPU_SOURCE_STAT);
}

/* What one run of the sampler over a child gave. */
struct outcome {
	uint64_t samples;
	uint64_t weight_ns;   /* of the snapshots */
	uint64_t leftover_ns; /* unsampled */
	struct sampler_target_result result;
	struct sampler_stats stats;
};

static void *add_weights(void *arg)
{
	void **args = arg;
	struct queue *queue = args[0];
	struct outcome *outcome = args[1];
	struct snapshot *snap;

	while ((snap = queue_wait(queue))) {
		outcome->samples++;
		outcome->weight_ns += snap->cpu_ns;
		assert_true(regs_has(&snap->regs, ARCH_REG_PC));
		assert_true(snap->nsegments == 0 || snap->segment[0].len > 0);
		queue_done(queue);
	}
	return NULL;
}

static struct outcome sample(pid_t pid, enum cpu_source source, double hz, uint64_t ms)
{
	struct outcome outcome = {0};
	struct sampler_options options = {
	        .frequency_hz = hz,
	        .duration_ns = ms * NS_PER_MS,
	        .cpu_source = source,
	        .running = true,
	};
	struct queue *queue = queue_new(64);
	struct target *target = target_open(pid, NULL);
	struct sampler *sampler = sampler_new(&options, &target, 1, queue, NULL);
	void *args[] = {queue, &outcome};
	struct sampler_segment *last;
	pthread_t thread;

	assert_non_null(sampler);
	assert_int_equal(pthread_create(&thread, NULL, add_weights, args), 0);
	assert_int_equal(sampler_start(sampler, NULL), 0);
	sampler_join(sampler);
	pthread_join(thread, NULL);
	last = sampler_last_segment(sampler);
	for (size_t i = 0; i < last->unsampled.n; i++)
		outcome.leftover_ns += last->unsampled.v[i].cpu_ns;
	outcome.result = last->results[0];
	sampler_segment_free(last);
	outcome.stats = *sampler_stats(sampler);
	sampler_free(sampler);
	target_free(target);
	queue_free(queue);
	return outcome;
}

static void check_sums(const struct outcome *o)
{
	/* what the samples weigh is what the sampler says they weigh */
	assert_int_equal(o->weight_ns, o->result.sampled_ns);
	assert_int_equal(o->samples, o->stats.samples);
	/* and with the rest it is what the kernel says the process used */
	assert_in_range(o->weight_ns + o->leftover_ns, o->result.cpu_ns / 100 * 98,
	                o->result.cpu_ns / 100 * 102);
}

static void test_sampler_spin(void **state)
{
	pid_t pid = start_child(spin);
	struct outcome o = sample(pid, CPU_SOURCE_SCHEDSTAT, 500, 1000);
	char run_state;

	(void)state;
	assert_int_equal(tracer_of(pid, &run_state), 0);
	assert_int_equal(run_state, 'R');
	assert_true(o.samples > 20);
	check_sums(&o);
	end_child(pid);
}

static void test_sampler_bursts(void **state)
{
	pid_t pid = start_child(bursts);
	struct outcome o = sample(pid, CPU_SOURCE_SCHEDSTAT, 200, 3000);

	(void)state;
	assert_true(o.samples > 5);
	check_sums(&o);
	end_child(pid);
}

static void test_sampler_stat_source(void **state)
{
	pid_t pid = start_child(spin);
	struct outcome o = sample(pid, CPU_SOURCE_STAT, 100, 1500);

	(void)state;
	assert_true(o.samples > 5);
	assert_int_equal(o.weight_ns % (NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK)), 0);
	assert_in_range(o.weight_ns + o.leftover_ns, o.result.cpu_ns / 100 * 95,
	                o.result.cpu_ns / 100 * 105);
	end_child(pid);
}

/* What came through a queue between two marks, and what the mark said of it. */
struct part {
	uint64_t samples;
	uint64_t weight_ns;
	struct sampler_segment *account;
};

#define MAX_PARTS 16

static void *take_parts(void *arg)
{
	void **args = arg;
	struct part *parts = args[1];
	struct snapshot *snap;
	size_t n = 0;

	while ((snap = queue_wait(args[0]))) {
		assert_true(n < MAX_PARTS);
		if (snap->cut) {
			parts[n++].account = snap->cut;
		} else {
			parts[n].samples++;
			parts[n].weight_ns += snap->cpu_ns;
		}
		queue_done(args[0]);
	}
	return NULL;
}

/* A run in parts: every sample in one of them, no time between them, and no CPU
 * time told twice. */
static void test_sampler_parts(void **state)
{
	struct part parts[MAX_PARTS] = {{0}};
	struct sampler_options options = {.frequency_hz = 500, .duration_ns = NS_PER_SEC};
	pid_t pid = start_child(spin);
	struct queue *queue = queue_new(64);
	struct target *target = target_open(pid, NULL);
	struct sampler *sampler = sampler_new(&options, &target, 1, queue, NULL);
	struct sampler_segment sum = {0};
	void *args[] = {queue, parts};
	uint64_t samples = 0, told_ns = 0;
	pthread_t thread;
	size_t n = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, take_parts, args), 0);
	assert_int_equal(sampler_start(sampler, NULL), 0);
	for (int i = 0; i < 4; i++) {
		usleep(150000);
		sampler_cut(sampler);
	}
	sampler_join(sampler);
	pthread_join(thread, NULL);
	while (parts[n].account)
		n++;
	assert_int_equal(n, 4);
	parts[n++].account = sampler_last_segment(sampler);
	for (size_t i = 0; i < n; i++) {
		const struct sampler_segment *part = parts[i].account;

		assert_int_equal(part->stats.samples, parts[i].samples);
		assert_int_equal(part->results[0].sampled_ns, parts[i].weight_ns);
		assert_int_equal(part->stats.threads_seen, 1);
		if (i > 0)
			assert_int_equal(part->stats.start_ns, sum.stats.end_ns);
		sampler_segment_add(&sum, part);
		samples += parts[i].samples;
		for (size_t u = 0; u < part->unsampled.n; u++)
			told_ns += part->unsampled.v[u].cpu_ns;
	}
	assert_int_equal(sum.stats.samples, samples);
	assert_int_equal(sum.stats.samples, sampler_stats(sampler)->samples);
	assert_int_equal(sum.stats.threads_seen, 1);
	assert_int_equal(sum.results[0].unsampled_ns, told_ns);
	assert_int_equal(sum.results[0].waiting_ns, 0);
	assert_in_range(sum.results[0].sampled_ns + told_ns,
	                sum.results[0].cpu_ns / 1000 * 985,
	                sum.results[0].cpu_ns / 1000 * 1015);
	for (size_t i = 0; i < n; i++)
		sampler_segment_free(parts[i].account);
	free(sum.results);
	array_fini(&sum.unsampled);
	sampler_free(sampler);
	target_free(target);
	queue_free(queue);
	end_child(pid);
}

/* A process that only sleeps is never stopped. */
static void test_sampler_sleeper(void **state)
{
	pid_t pid = start_sleeper();
	struct outcome o = sample(pid, CPU_SOURCE_SCHEDSTAT, 1000, 1500);

	(void)state;
	assert_int_equal(o.samples, 0);
	assert_int_equal(o.stats.pause_ns.count, 0);
	assert_true(o.stats.ticks > 10);
	end_child(pid);
}

/* A process that ends in the middle of a run ends the run. */
static void test_sampler_target_ends(void **state)
{
	pid_t pid = start_child(leave_soon);
	struct outcome o = sample(pid, CPU_SOURCE_SCHEDSTAT, 200, 30000);

	(void)state;
	assert_true(o.result.gone);
	assert_true(o.stats.end_ns - o.stats.start_ns < 20 * NS_PER_SEC);
	check_sums(&o);
	assert_int_equal(waitpid(pid, NULL, 0), pid); /* its status is left to us */
}

/* A sampler over a child that spins, with nobody at the other end of the queue. */
struct running {
	pid_t pid;
	struct target *target;
	struct queue *queue;
	struct sampler *sampler;
};

static struct running start_running(uint64_t ms)
{
	struct sampler_options options = {
	        .frequency_hz = 200, .duration_ns = ms * NS_PER_MS, .running = true};
	struct running r = {.pid = start_child(spin), .queue = queue_new(64)};

	r.target = target_open(r.pid, NULL);
	r.sampler = sampler_new(&options, &r.target, 1, r.queue, NULL);
	assert_non_null(r.sampler);
	assert_int_equal(sampler_start(r.sampler, NULL), 0);
	for (int i = 0; i < 2000 && sampler_stats(r.sampler)->samples < 5; i++)
		usleep(1000);
	assert_true(sampler_stats(r.sampler)->samples >= 5);
	return r;
}

static void end_running(struct running *r)
{
	sampler_free(r->sampler);
	target_free(r->target);
	queue_free(r->queue);
	end_child(r->pid);
}

/* Whoever stops the tracer does not hold the target. */
static void test_tracer_is_stopped(void **state)
{
	struct running r = start_running(60000);
	pid_t tracer = r.sampler->apart.pid;
	char letter = 'R';

	(void)state;
	assert_true(tracer > 0 && tracer != getpid());
	kill(tracer, SIGSTOP);
	for (int i = 0; i < 2000 && letter != 'T'; i++) {
		usleep(1000);
		(void)tracer_of(tracer, &letter);
	}
	assert_int_equal(letter, 'T');
	for (int i = 0; i < 2000 && letter == 'T'; i++) {
		sampler_tend(r.sampler); /* as a session does at SIGCHLD */
		usleep(1000);
		(void)tracer_of(tracer, &letter);
	}
	assert_int_not_equal(letter, 'T');
	sampler_stop(r.sampler);
	sampler_join(r.sampler);
	assert_int_equal(sampler_wait_status(r.sampler), 0);
	end_running(&r);
}

/* A tracer that dies ends the run; what it had handed over is there. */
static void test_tracer_dies(void **state)
{
	struct running r = start_running(60000);
	char letter;

	(void)state;
	kill(r.sampler->apart.pid, SIGKILL);
	sampler_join(r.sampler);
	assert_true(WIFSIGNALED(sampler_wait_status(r.sampler)));
	assert_true(sampler_stats(r.sampler)->done);
	assert_non_null(queue_wait(r.queue));
	assert_int_equal(tracer_of(r.pid, &letter), 0);
	assert_int_equal(letter, 'R');
	end_running(&r);
}

static int block_sigchld(void **state)
{
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	return pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_queue_order),
	        cmocka_unit_test(test_queue_reserve_alone),
	        cmocka_unit_test(test_queue_threads),
	        cmocka_unit_test(test_activity_schedstat),
	        cmocka_unit_test(test_activity_stat),
	        cmocka_unit_test(test_sampler_spin),
	        cmocka_unit_test(test_sampler_bursts),
	        cmocka_unit_test(test_sampler_stat_source),
	        cmocka_unit_test(test_sampler_parts),
	        cmocka_unit_test(test_sampler_sleeper),
	        cmocka_unit_test(test_sampler_target_ends),
	        cmocka_unit_test(test_tracer_is_stopped),
	        cmocka_unit_test(test_tracer_dies),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, block_sigchld, NULL);
}
