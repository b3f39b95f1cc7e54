/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a run. What can be refused is refused before anything is
 * touched; a program to be started is forked first of all, because it inherits
 * this process's signal mask and limits as they are then.
 *
 * While it lasts, this thread shows progress and hears signals, the sampler's
 * process stops threads of the target, and the collector's thread unwinds.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "capture/queue.h"
#include "capture/sampler.h"
#include "choose.h"
#include "collect/collector.h"
#include "discover.h"
#include "output/file.h"
#include "report/report.h"
#include "scribe.h"
#include "target/launch.h"
#include "target/refusal.h"
#include "target/sandbox.h"
#include "target/target.h"

#define QUEUE_CAPACITY 256
#define PROGRESS_MS    200

/* Of --memory-limit, what may be sampled for the next file. Besides that there are
 * the program with its queue and the tables of the target's code, at most two parts
 * that wait, and one that is being written, which takes about four times as much as
 * to sample it. Half as much may be kept of files that could not be written. */
#define MEMORY_FIXED   (UINT64_C(24) << 20)
#define MEMORY_NSHARES 8

/* Larger blocks are given back to the system when they are freed. */
#define LARGE_BLOCK (128 * 1024)
#define STACK_BYTES ((size_t)4 << 20)

/* A part that would be shorter at the end is left to the one before it. */
#define LAST_PART_S 0.02

/* How long a command that has ended may take to tell its status. */
#define LAST_STATUS_MS 200

struct session {
	const struct options *options;
	struct launch launch; /* pid 0: no command */
	struct roster *roster;
	struct pids tids;
	struct discovery *discovery; /* NULL: no process can join */
	struct queue *queue;
	struct sampler *sampler;
	struct collector *collector;
	struct collector_options collecting;
	struct scribe *scribe;
	uint64_t boundary_ns; /* CLOCK_MONOTONIC of the next one; UINT64_MAX: none */
	int signal_fd;
	bool interrupted;
	bool cpu_from_stat;
};

static void raise_limit(int which)
{
	struct rlimit limit;

	if (getrlimit(which, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(which, &limit);
	}
}

/* Two descriptors a thread: as many as the system lets us have. And stacks of a size that
 * does not depend on where we were started. */
static void take_room(void)
{
	pthread_attr_t attributes;

	raise_limit(RLIMIT_NOFILE);
	raise_limit(RLIMIT_STACK);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	(void)pthread_setattr_default_np(&attributes);
	pthread_attr_destroy(&attributes);
}

static int find_targets(struct session *session, struct error *err)
{
	const struct options *options = session->options;

	take_room();
	if (choose_targets(options, session->launch.pid, session->roster, &session->tids,
	                   err) < 0)
		return -1;
	if (!options->children && !options->cgroup)
		return 0;
	session->discovery = discovery_new(options, session->launch.pid, session->roster,
	                                   err);
	return session->discovery ? 0 : -1;
}

/* Signals are read from a descriptor: those that end the run, and SIGCHLD for the
 * sampler. */
static int block_signals(struct session *session, struct error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* of messages, too: stderr may be a file */
	session->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (session->signal_fd < 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot receive signals: %s",
		                 strerror(errno));
	return 0;
}

/* Gives up at once: leaves no temporary file, and dies of the signal. */
static void give_up(int sig)
{
	output_file_abandon();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* From here on a signal no longer means "finish" but "give up". */
static void let_signals_kill(void)
{
	struct sigaction action = {.sa_handler = give_up};
	sigset_t set;

	/* Blocked while it runs, the raised signal would not take us away. */
	action.sa_flags = SA_NODEFER;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Whether the kernel keeps nanoseconds for each thread. */
static void choose_cpu_source(struct session *session)
{
	enum accounting wanted = session->options->accounting;

	if (wanted == ACCOUNTING_AUTO && access("/proc/self/schedstat", R_OK) < 0) {
		log_info("this kernel has no schedstat: CPU time is counted in clock ticks "
		         "of %ld "
		         "ms",
		         1000 / sysconf(_SC_CLK_TCK));
		wanted = ACCOUNTING_STAT;
	}
	session->cpu_from_stat = wanted == ACCOUNTING_STAT;
}

static void give_to_scribe(void *ctx, struct segment *segment)
{
	scribe_give(ctx, segment);
}

static size_t held_by_scribe(void *ctx)
{
	return scribe_held_bytes(ctx);
}

static size_t memory_share(const struct options *options)
{
	return (size_t)((options->memory_limit - MEMORY_FIXED) / MEMORY_NSHARES);
}

static int prepare_scribe(struct session *session, struct error *err)
{
	const struct options *options = session->options;
	struct scribe_options writing = {
	        .options = options,
	        .roster = session->roster,
	        .cpu_from_stat = session->cpu_from_stat,
	        .is_command = session->launch.pid != 0,
	        .share_bytes = memory_share(options) / 2,
	};

	session->scribe = scribe_new(&writing, err);
	return session->scribe ? 0 : -1;
}

static void prepare_collector(struct session *session)
{
	const struct options *options = session->options;

	session->collecting = (struct collector_options){
	        .types = {.modes = options->modes,
	                  .last_mode = options->last_mode,
	                  .frequency_hz = options->frequency_hz,
	                  .roster = session->roster,
	                  .label_processes = options->children || options->cgroup ||
	                                     options->split ||
	                                     roster_count(session->roster) > 1},
	        .unwinder = options->unwinder,
	        .symbols = {.no_lines = options->no_lines,
	                    .no_inlines = options->no_inlines,
	                    .no_demangle = options->no_demangle},
	        .max_depth = options->max_depth,
	        .no_traceback = options->no_traceback,
	        .share_bytes = memory_share(options),
	        .can_cut = scribe_can_split(session->scribe),
	        .give = give_to_scribe,
	        .held = held_by_scribe,
	        .give_ctx = session->scribe,
	};
	session->collector = collector_new(session->queue, &session->collecting);
}

static int prepare_capture(struct session *session, struct error *err)
{
	const struct options *options = session->options;
	struct sampler_options sampling = {
	        .frequency_hz = options->frequency_hz,
	        .max_overhead = options->max_overhead,
	        .max_pause_ns = options->max_pause_ns,
	        .duration_ns = (uint64_t)(options->duration_s * (double)NS_PER_SEC),
	        .cpu_source = session->cpu_from_stat ? CPU_SOURCE_STAT
	                                             : CPU_SOURCE_SCHEDSTAT,
	        .only_tids = session->tids.v,
	        .nonly_tids = session->tids.n,
	        .command = session->launch.pid,
	        .running = options->modes != MODE_BLOCK,
	        .sleeping = options->modes != MODE_CPU,
	        .once = options->modes == MODE_THREADS,
	        .wait_detail = options->wait_detail,
	        .kernel_stacks = options->kernel_stacks,
	        .no_traceback = options->no_traceback,
	        .extend = collector_extend,
	        .roster = session->discovery ? session->roster : NULL,
	};
	size_t n = roster_count(session->roster);
	struct target **targets;

	session->queue = queue_new(QUEUE_CAPACITY);
	if (!session->queue)
		return error_set(err, EXIT_CODE_FAILURE, "out of memory");
	prepare_collector(session);
	sampling.extend_ctx = session->collector;
	targets = xcalloc(n, sizeof(struct target *));
	for (size_t i = 0; i < n; i++)
		targets[i] = roster_get(session->roster, i)->target;
	session->sampler = sampler_new(&sampling, targets, n, session->queue, err);
	free(targets);
	return session->sampler ? 0 : -1;
}

static uint64_t every_ns(const struct session *session)
{
	return (uint64_t)(session->options->every_s * (double)NS_PER_SEC);
}

static void take_name(struct roster_member *member)
{
	target_refresh(member->target);
	roster_rename(member, member->target->comm);
}

static int start_capture(struct session *session, struct error *err)
{
	if (session->launch.pid) {
		if (launch_go(&session->launch, session->options->command[0], err) < 0)
			return -1;
		take_name(roster_get(session->roster, 0));
	}
	if (scribe_start(session->scribe, err) < 0 ||
	    collector_start(session->collector, session->sampler, err) < 0)
		return -1;
	if (session->discovery &&
	    discovery_start(session->discovery, session->collector, err) < 0)
		return -1;
	if (sampler_start(session->sampler, err) < 0)
		return -1;
	session->boundary_ns = UINT64_MAX;
	if (session->options->every_s > 0)
		session->boundary_ns = sampler_stats(session->sampler)->start_ns +
		                       every_ns(session);
	return 0;
}

static void show_progress(const struct session *session)
{
	const struct sampler_stats *stats = sampler_stats(session->sampler);
	char line[256];

	report_progress(line, sizeof line, clock_monotonic_ns() - stats->start_ns,
	                (uint64_t)(session->options->duration_s * (double)NS_PER_SEC),
	                stats, scribe_files(session->scribe));
	log_progress("%s", line);
}

/* Whether the run ends so soon that another file would hold nothing. */
static bool ends_by(const struct session *session, uint64_t when_ns)
{
	uint64_t start_ns = sampler_stats(session->sampler)->start_ns;
	double left_s = session->options->duration_s -
	                (double)(when_ns - start_ns) / (double)NS_PER_SEC;

	return session->options->duration_s > 0 && left_s < LAST_PART_S;
}

/* At the time for it, begins another file. */
static void mind_boundary(struct session *session)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (now_ns < session->boundary_ns)
		return;
	if (ends_by(session, session->boundary_ns)) {
		session->boundary_ns = UINT64_MAX;
		return;
	}
	if (scribe_is_behind(session->scribe))
		log_info("two files are still to be written: the next one takes longer "
		         "than %g s",
		         session->options->every_s);
	else
		collector_cut(session->collector, SEGMENT_TIME);
	while (session->boundary_ns <= now_ns)
		session->boundary_ns += every_ns(session);
}

/* How long to wait for whatever comes. */
static int patience_ms(const struct session *session)
{
	uint64_t now_ns = clock_monotonic_ns(), left_ns;

	if (session->boundary_ns <= now_ns)
		return 0;
	left_ns = session->boundary_ns - now_ns;
	if (left_ns >= PROGRESS_MS * NS_PER_MS)
		return PROGRESS_MS;
	return (int)(left_ns / NS_PER_MS) + 1;
}

/* What there is so far is to be written: SIGUSR1. */
static void write_so_far(struct session *session)
{
	if (scribe_can_split(session->scribe))
		collector_cut(session->collector, SEGMENT_ASKED);
	else
		log_info("SIGUSR1 is for files, and the output can take one profile alone");
}

/* Takes what signals have come. Whether one of them ends the run. */
static bool take_signals(struct session *session)
{
	struct signalfd_siginfo info;
	bool ends = false;

	while (read(session->signal_fd, &info, sizeof info) > 0) {
		if (info.ssi_signo == SIGUSR1)
			write_so_far(session);
		else if (info.ssi_signo != SIGCHLD) /* of the tracer: has been tended */
			ends = true;
	}
	return ends;
}

/* Until the sampler is done. The first signal ends the sampling, the next us. */
static void wait_for_sampler(struct session *session)
{
	struct pollfd fds[2] = {
	        {.fd = sampler_done_fd(session->sampler), .events = POLLIN},
	        {.fd = session->signal_fd, .events = POLLIN},
	};

	while (!fds[0].revents && !atomic_load(&sampler_stats(session->sampler)->done)) {
		show_progress(session);
		if (poll(fds, 2, patience_ms(session)) < 0 && errno != EINTR)
			break;
		mind_boundary(session);
		sampler_tend(session->sampler);
		if (take_signals(session) && !session->interrupted) {
			session->interrupted = true;
			sampler_stop(session->sampler);
			let_signals_kill();
		}
	}
	log_progress_end();
	sampler_join(session->sampler);
	discovery_stop(session->discovery);
	if (sampler_wait_status(session->sampler) != 0) {
		char how[128];

		report_command_status(how, sizeof how,
		                      sampler_wait_status(session->sampler));
		log_error("the sampling %s: what came before is written", how);
	}
	if (!session->interrupted) {
		session->interrupted = take_signals(session);
		let_signals_kill();
	}
	collector_join(session->collector);
}

/* 0 when stderr is no terminal. */
static unsigned terminal_columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* A target that let nobody look, though it may not have been so at first: an
 * exec of a setuid program, a prctl(PR_SET_DUMPABLE). */
static int check_denied(struct session *session, struct error *err)
{
	const struct sampler_stats *stats = sampler_stats(session->sampler);

	if (stats->samples > 0 || stats->missed_refused == 0)
		return 0;
	for (size_t i = 0; i < sampler_ntargets(session->sampler); i++) {
		const struct target *target = roster_get(session->roster, i)->target;

		if (sampler_result(session->sampler, i)->gone)
			continue;
		if (target_alive(target) && refusal_check(target, err) < 0)
			return -1;
	}
	return 0;
}

/* The names of those that live are read once more: what they are at the end counts. */
static void take_last_names(struct session *session)
{
	for (size_t i = 0; i < sampler_ntargets(session->sampler); i++) {
		struct roster_member *member = roster_get(session->roster, i);

		/* Of one that has ended, the name that it was last seen with. */
		if (sampler_result(session->sampler, i)->gone)
			continue;
		take_name(member);
	}
}

/* Whether there is anything to write. */
static int check_run(struct session *session, struct error *err)
{
	if (check_denied(session, err) < 0)
		return -1;
	if (sampler_stats(session->sampler)->ticks == 0 &&
	    sampler_wait_status(session->sampler) != 0)
		return error_set(err, EXIT_CODE_FAILURE,
		                 "the process that samples could not begin: no profile is "
		                 "written");
	return 0;
}

/* Everything that comes after the last sample. */
static int finish(struct session *session, struct error *err)
{
	struct scribe_end end = {
	        .interrupted = session->interrupted,
	        .following = session->discovery != NULL,
	};

	if (check_run(session, err) < 0)
		return -1;
	scribe_join(session->scribe);
	/* A zombie until now, so that its CPU clock could be read to its end. */
	if (session->launch.pid && sampler_result(session->sampler, 0)->gone)
		(void)launch_reap(&session->launch, LAST_STATUS_MS);
	end.have_status = session->launch.ended;
	end.wait_status = session->launch.wait_status;
	take_last_names(session);
	if (session->discovery && session->tids.n == 0)
		discovery_settle(session->discovery, session->sampler, session->collector);
	end.discovery = discovery_stats(session->discovery);
	if (scribe_finish(session->scribe, collector_last(session->collector), &end, err) <
	    0)
		return -1;
	if (log_level() >= LOG_LEVEL_NORMAL) {
		char *summary = scribe_summary(session->scribe, &end, terminal_columns());

		fputs(summary, stderr);
		free(summary);
	}
	return 0;
}

static void stop_waiting(int sig)
{
	(void)sig;
}

/* A command that runs longer than it was to be profiled: its status is owed. */
static void wait_for_command(struct session *session)
{
	struct launch *launch = &session->launch;
	struct sigaction action = {.sa_handler = stop_waiting};
	char line[128];

	if (!launch->pid || launch->ended)
		return;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (!launch_reap(launch, LAST_STATUS_MS)) {
		log_info("%s is still running: waiting for its end (Ctrl-C ends the "
		         "waiting)",
		         session->options->command[0]);
		/* The Ctrl-C that ends our waiting has mostly ended the command too. */
		if (!launch_reap(launch, -1) && !launch_reap(launch, LAST_STATUS_MS))
			return;
	}
	report_command_status(line, sizeof line, launch->wait_status);
	log_info("%s %s", session->options->command[0], line);
}

/* From here on bytes of the target are read that may have been made to break us. */
static void give_up_rights(const struct session *session)
{
	const struct privilege_wants wants = {
	        .output = scribe_needs_privilege(session->scribe),
	        .kernel_stacks = session->options->kernel_stacks,
	};
	uint64_t kept = privilege_drop(&wants);
	int r = sandbox_enter();

	log_verbose("capabilities kept: %#" PRIx64 "%s; system calls refused: %d%s%s", kept,
	            wants.output && kept ? " (some of them for the output)" : "",
	            r < 0 ? 0 : r, r < 0 ? ", because " : "", r < 0 ? strerror(-r) : "");
}

static int run(struct session *session, struct error *err)
{
	const struct options *options = session->options;

	if (options->command && launch_fork(options->command, &session->launch, err) < 0)
		return -1;
	/* Not for the command: it has been forked. */
	if (options->debuginfod)
		(void)setenv("DEBUGINFOD_URLS", options->debuginfod, 1);
	if (find_targets(session, err) < 0)
		return -1;
	choose_cpu_source(session);
	if (prepare_scribe(session, err) < 0)
		return -1;
	if (options->duration_ignored)
		log_info("--duration is ignored: --mode threads shows one instant");
	if (block_signals(session, err) < 0)
		return -1;
	give_up_rights(session);
	if (prepare_capture(session, err) < 0 || start_capture(session, err) < 0)
		return -1;
	wait_for_sampler(session);
	if (finish(session, err) < 0)
		return -1;
	wait_for_command(session);
	return 0;
}

int session_run(const struct options *options, struct error *err)
{
	struct session session = {
	        .options = options,
	        .roster = roster_new(),
	        .launch = {.go_fd = -1, .result_fd = -1},
	        .signal_fd = -1,
	};
	int r;

	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	crash_say(output_file_abandon);
	r = run(&session, err);
	launch_abandon(&session.launch);
	discovery_free(session.discovery);
	sampler_free(session.sampler);
	if (session.queue)
		queue_close(session.queue);
	/* Its thread may wait for the scribe to take what it has. */
	collector_free(session.collector);
	scribe_free(session.scribe);
	queue_free(session.queue);
	roster_free(session.roster);
	array_fini(&session.tids);
	output_file_forget();
	if (session.signal_fd >= 0)
		close(session.signal_fd);
	return r;
}
