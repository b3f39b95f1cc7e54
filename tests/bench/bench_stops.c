/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_stops PID NAME: how long a thread stands still for one sample, from when its
 * stop is seen to its release. Prints two rows of a Markdown table:
 *
 *   bare          the least that a sample takes: SEIZE, INTERRUPT, wait, registers,
 *                 16 KiB of stack, DETACH
 *   cprof-attach  by the sampler and the collector of the program
 *
 * Both come about 99 times a second, at jittered times, with a real-time priority and
 * on the processor where the thread is: what the thread did since the last sample has
 * driven the tracer's code and data out of the caches, its own and the kernel's, and
 * that is most of the time. They take turns, so that both meet the same machine. The
 * thread is the one of the process that has used most CPU time.
 */
#include <elf.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/quantile.h"
#include "capture/queue.h"
#include "capture/sampler.h"
#include "collect/collector.h"
#include "stops.h"
#include "target/roster.h"

#define ROUNDS    4
#define ROUND_NS  (5 * NS_PER_SEC)
#define RATE_HZ   99
#define WINDOW    (16 * 1024)
#define QUEUE     256
#define MAX_DEPTH 512

static const uint64_t period_ns = NS_PER_SEC / RATE_HZ;

struct thread_stat {
	uint64_t cpu_ticks;
	int cpu; /* where it is, or was last */
};

static bool read_stat(pid_t pid, pid_t tid, struct thread_stat *stat)
{
	unsigned long user = 0, system = 0;
	char path[64], text[1024] = "";
	const char *rest;
	int n = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	f = fopen(path, "r");
	if (f == NULL)
		return false;
	(void)!fgets(text, sizeof text, f);
	fclose(f);
	/* "4711 (a name) R …": utime and stime are the 14th and 15th, processor the 39th. */
	rest = strrchr(text, ')');
	if (rest != NULL)
		n = sscanf(rest,
		           ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d "
		           "%*d %*d %*d %*d %*u %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u "
		           "%*u %*u %*u %*u %*u %*d %d",
		           &user, &system, &stat->cpu);
	stat->cpu_ticks = user + system;
	return n == 3;
}

static pid_t find_busiest(struct subject *subject)
{
	struct thread_stat stat;
	uint64_t most = 0;
	pid_t busiest = 0;

	subject_read_tids(subject);
	for (size_t i = 0; i < subject->ntids; i++) {
		if (read_stat(subject->target->pid, subject->tids[i], &stat) &&
		    stat.cpu_ticks >= most) {
			most = stat.cpu_ticks;
			busiest = subject->tids[i];
		}
	}
	return busiest;
}

/* One sample, by nothing but system calls: its pause, or 0 if it came to nothing. */
static uint64_t stop_bare(pid_t tid)
{
	static uint64_t words[64];
	static uint8_t stack[WINDOW];
	struct iovec regs = {words, sizeof words}, to = {stack, sizeof stack}, from;
	uint64_t seen_ns;
	int status;

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
		return 0;
	(void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	if (waitpid(tid, &status, __WALL) < 0 || !WIFSTOPPED(status))
		return 0;
	seen_ns = clock_monotonic_ns();
	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &regs) == 0) {
		from = (struct iovec){(void *)(uintptr_t)words[19], sizeof stack}; /* RSP */
		(void)!process_vm_readv(tid, &to, 1, &from, 1, 0);
	}
	(void)ptrace(PTRACE_DETACH, tid, NULL,
	             (void *)(intptr_t)(status >> 16 ? 0 : WSTOPSIG(status)));
	return clock_monotonic_ns() - seen_ns;
}

/* Goes where the thread is, to be woken there. */
static void follow(pid_t pid, pid_t tid)
{
	struct thread_stat stat;
	cpu_set_t there;

	if (!read_stat(pid, tid, &stat))
		return;
	CPU_ZERO(&there);
	CPU_SET(stat.cpu, &there);
	(void)sched_setaffinity(0, sizeof there, &there);
}

static void sleep_until(uint64_t ns)
{
	const struct timespec when = {(time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
		;
}

/* In a process of its own, which ends with the round. */
static void run_bare(pid_t pid, pid_t tid, struct quantile *pauses)
{
	const struct sched_param first = {.sched_priority = 1};
	uint64_t due_ns = clock_monotonic_ns(), end_ns = due_ns + ROUND_NS, pause_ns;

	srand((unsigned)due_ns);
	if (sched_setscheduler(0, SCHED_FIFO, &first) < 0)
		fprintf(stderr, "no real-time priority: others will be measured, too\n");
	while (due_ns < end_ns) {
		due_ns += period_ns / 2 + (uint64_t)rand() % period_ns;
		follow(pid, tid);
		sleep_until(due_ns);
		pause_ns = stop_bare(tid);
		if (pause_ns > 0)
			quantile_add(pauses, pause_ns);
	}
}

static void round_bare(pid_t pid, pid_t tid, struct quantile *pauses)
{
	pid_t child = fork();

	if (child == 0) {
		run_bare(pid, tid, pauses);
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		die("cannot fork");
}

static void give(void *ctx, struct segment *segment)
{
	(void)ctx;
	segment_free(segment);
}

static size_t held(void *ctx)
{
	(void)ctx;
	return 0;
}

static void run_sampler(struct sampler *sampler, struct collector *collector)
{
	struct pollfd done = {.fd = sampler_done_fd(sampler), .events = POLLIN};
	struct error err;

	if (collector_start(collector, sampler, &err) < 0 ||
	    sampler_start(sampler, &err) < 0)
		die("the sampler does not start");
	while (poll(&done, 1, -1) < 0 && errno == EINTR)
		;
	sampler_join(sampler);
	collector_join(collector);
}

static void round_own(struct roster *roster, pid_t tid, struct quantile *pauses)
{
	const struct collector_options collecting = {
	        .types = {.modes = MODE_CPU,
	                  .last_mode = MODE_CPU,
	                  .frequency_hz = RATE_HZ,
	                  .roster = roster},
	        .unwinder = UNWIND_AUTO,
	        .max_depth = MAX_DEPTH,
	        .share_bytes = SIZE_MAX,
	        .give = give,
	        .held = held,
	};
	struct queue *queue = queue_new(QUEUE);
	struct collector *collector = collector_new(queue, &collecting);
	const struct sampler_options sampling = {
	        .frequency_hz = RATE_HZ,
	        .duration_ns = ROUND_NS,
	        .cpu_source = CPU_SOURCE_SCHEDSTAT,
	        .only_tids = &tid,
	        .nonly_tids = 1,
	        .running = true,
	        .extend = collector_extend,
	        .extend_ctx = collector,
	};
	struct target *target = roster_get(roster, 0)->target;
	struct error err;
	struct sampler *sampler = sampler_new(&sampling, &target, 1, queue, &err);

	if (sampler == NULL)
		die("no sampler");
	run_sampler(sampler, collector);
	quantile_merge(pauses, &sampler_stats(sampler)->pause_ns);
	collector_free(collector);
	sampler_free(sampler);
	queue_free(queue);
}

static double mean_us(const struct quantile *q)
{
	return q->count > 0 ? (double)q->sum / (double)q->count / 1e3 : 0;
}

static double p50_us(const struct quantile *q)
{
	return (double)quantile_get(q, 0.5) / 1e3;
}

int main(int argc, char **argv)
{
	struct roster *roster = roster_new();
	struct quantile *pauses;
	struct subject subject;
	sigset_t child;
	pid_t tid;

	if (argc != 3)
		die("usage: bench_stops PID NAME");
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	pauses = mmap(NULL, 2 * sizeof *pauses, PROT_READ | PROT_WRITE,
	              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pauses == MAP_FAILED)
		die("out of memory");
	subject_open(&subject, (pid_t)atoi(argv[1]));
	if (roster_add(roster, subject.target, false) < 0)
		die("no room for the target");
	tid = find_busiest(&subject);
	for (int i = 0; i < ROUNDS; i++) {
		round_bare(subject.target->pid, tid, &pauses[0]);
		round_own(roster, tid, &pauses[1]);
	}
	for (int i = 0; i < 2; i++)
		printf("| %s | %s | %" PRIu64 " | %.1f | %.1f | %.2f | %.2f |\n", argv[2],
		       i == 0 ? "bare" : "cprof-attach", pauses[i].count,
		       p50_us(&pauses[i]), mean_us(&pauses[i]),
		       p50_us(&pauses[i]) / p50_us(&pauses[0]),
		       mean_us(&pauses[i]) / mean_us(&pauses[0]));
	munmap(pauses, 2 * sizeof *pauses);
	space_free(subject.space);
	module_cache_free(subject.cache);
	roster_free(roster);
	return 0;
}
