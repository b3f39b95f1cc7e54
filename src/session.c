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
#include <poll.h>
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
#include "collector.h"
#include "config.h"
#include "discover.h"
#include "output/file.h"
#include "report.h"
#include "split.h"
#include "symbol/symbol.h"
#include "target/launch.h"
#include "target/refusal.h"
#include "target/sandbox.h"
#include "target/target.h"

#define QUEUE_CAPACITY 256
#define PROGRESS_MS    200

/* How long a command that has ended may take to tell its status. */
#define LAST_STATUS_MS 200

struct session {
	const struct options *options;
	struct launch launch; /* pid 0: no command */
	struct roster *roster;
	struct pids tids;
	struct discovery *discovery; /* NULL: no process can join */
	struct queue *queue;
	struct profile *profile;
	struct symbolizer *symbolizer;
	struct sampler *sampler;
	struct collector *collector;
	int signal_fd;
	bool interrupted;
	bool cpu_from_stat;
};

/* Two descriptors a thread: as many as the system lets us have. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int find_targets(struct session *session, struct error *err)
{
	const struct options *options = session->options;

	raise_descriptor_limit();
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
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
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
static enum cpu_source choose_cpu_source(struct session *session)
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
	return session->cpu_from_stat ? CPU_SOURCE_STAT : CPU_SOURCE_SCHEDSTAT;
}

static void prepare_profile(struct session *session)
{
	const struct options *options = session->options;
	const struct symbol_options symbols = {
	        .no_lines = options->no_lines,
	        .no_inlines = options->no_inlines,
	        .no_demangle = options->no_demangle,
	};

	session->profile = profile_new();
	collector_add_types(session->profile, options);
	session->symbolizer = symbolizer_new(&symbols);
}

static int prepare_capture(struct session *session, struct error *err)
{
	const struct options *options = session->options;
	struct sampler_options sampling = {
	        .frequency_hz = options->frequency_hz,
	        .max_overhead = options->max_overhead,
	        .max_pause_ns = options->max_pause_ns,
	        .duration_ns = (uint64_t)(options->duration_s * (double)NS_PER_SEC),
	        .cpu_source = choose_cpu_source(session),
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
	session->collector = collector_new(session->roster, session->queue,
	                                   session->profile, session->symbolizer,
	                                   session->options);
	sampling.extend_ctx = session->collector;
	targets = xcalloc(n, sizeof(struct target *));
	for (size_t i = 0; i < n; i++)
		targets[i] = roster_get(session->roster, i)->target;
	session->sampler = sampler_new(&sampling, targets, n, session->queue, err);
	free(targets);
	return session->sampler ? 0 : -1;
}

static int start_capture(struct session *session, struct error *err)
{
	if (session->launch.pid) {
		if (launch_go(&session->launch, session->options->command[0], err) < 0)
			return -1;
		target_refresh(roster_get(session->roster, 0)->target);
	}
	if (symbolizer_start(session->symbolizer, err) < 0 ||
	    collector_start(session->collector, session->sampler, err) < 0)
		return -1;
	if (session->discovery &&
	    discovery_start(session->discovery, session->collector, err) < 0)
		return -1;
	return sampler_start(session->sampler, err);
}

static void show_progress(const struct session *session)
{
	const struct sampler_stats *stats = sampler_stats(session->sampler);
	char line[256];

	report_progress(line, sizeof line, clock_monotonic_ns() - stats->start_ns,
	                (uint64_t)(session->options->duration_s * (double)NS_PER_SEC),
	                stats);
	log_progress("%s", line);
}

/* Takes what signals have come. Whether one of them ends the run. */
static bool take_signals(const struct session *session)
{
	struct signalfd_siginfo info;
	bool ends = false;

	while (read(session->signal_fd, &info, sizeof info) > 0) {
		if (info.ssi_signo == SIGCHLD)
			sampler_tend(session->sampler);
		else
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

	while (!fds[0].revents) {
		show_progress(session);
		if (poll(fds, 2, PROGRESS_MS) < 0 && errno != EINTR)
			break;
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

static struct receipt make_receipt(const struct session *session,
                                   const struct report_target *targets)
{
	const struct options *options = session->options;
	struct symbol_stats symbols = symbolizer_stats(session->symbolizer);
	struct receipt receipt = {
	        .command_line = options->command_line,
	        .version = PACKAGE_VERSION,
	        .output = options->output,
	        .format = options->format->name,
	        .frequency_hz = options->frequency_hz,
	        .interrupted = session->interrupted,
	        .sleeping = options->modes != MODE_CPU,
	        .not_running = (options->modes & (MODE_CPU | MODE_WALL)) == 0,
	        .once = options->modes == MODE_THREADS,
	        .cpu_from_stat = session->cpu_from_stat,
	        .stats = sampler_stats(session->sampler),
	        .targets = targets,
	        .ntargets = sampler_ntargets(session->sampler),
	        .following = session->discovery != NULL,
	        .discovery = discovery_stats(session->discovery),
	        .is_command = session->launch.pid != 0,
	        .columns = terminal_columns(),
	        .locations_resolved = symbols.resolved,
	        .locations_unresolved = symbols.unresolved,
	};

	memcpy(receipt.stack_ends, collector_stack_ends(session->collector),
	       sizeof receipt.stack_ends);
	return receipt;
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

static int write_parts(const struct session *session, struct receipt *receipt,
                       struct error *err)
{
	size_t n = sampler_ntargets(session->sampler);
	struct split_part *parts = xcalloc(n, sizeof *parts);
	ssize_t nfiles;

	for (size_t i = 0; i < n; i++) {
		const struct target *target = roster_get(session->roster, i)->target;

		parts[i] = (struct split_part){.pid = target->pid, .exe = target->exe};
	}
	nfiles = split_write(session->profile, session->options->format,
	                     session->options->output, parts, n, &receipt->first_file, err);
	free(parts);
	if (nfiles < 0)
		return -1;
	receipt->nfiles = (size_t)nfiles;
	return 0;
}

static int write_output(const struct session *session, struct receipt *receipt,
                        struct error *err)
{
	const struct options *options = session->options;
	struct bytes bytes = {0};
	int r;

	if (options->split)
		return write_parts(session, receipt, err);
	r = options->format->write(session->profile, &bytes, err);

	if (r == 0)
		r = output_file_write(options->output, bytes.v, bytes.n, err);
	bytes_fini(&bytes);
	return r;
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

static struct report_target make_report_target(const struct session *session, size_t index)
{
	struct roster_member *member = roster_get(session->roster, index);
	struct report_target target = {
	        .pid = member->target->pid,
	        .result = *sampler_result(session->sampler, index),
	        .have_status = index == 0 && session->launch.ended,
	        .wait_status = session->launch.wait_status,
	};

	/* Of one that has ended, the name that it was last seen with. */
	if (!target.result.gone) {
		target_refresh(member->target);
		roster_rename(member, member->target->comm);
	}
	target.comm = roster_name(member);
	return target;
}

/* Everything that comes after the last sample. */
static int finish(struct session *session, struct error *err)
{
	const struct sampler_stats *stats = sampler_stats(session->sampler);
	size_t ntargets = sampler_ntargets(session->sampler);
	struct report_target *targets = xcalloc(ntargets, sizeof *targets);
	struct receipt receipt = {0};
	int r = check_denied(session, err);

	if (r == 0 && stats->ticks == 0 && sampler_wait_status(session->sampler) != 0)
		r = error_set(err, EXIT_CODE_FAILURE,
		              "the process that samples could not "
		              "begin: no profile is written");
	if (r < 0)
		goto out;
	/* A zombie until now, so that its CPU clock could be read to its end. */
	if (session->launch.pid && sampler_result(session->sampler, 0)->gone)
		(void)launch_reap(&session->launch, LAST_STATUS_MS);
	for (size_t i = 0; i < ntargets; i++)
		targets[i] = make_report_target(session, i);
	if (session->discovery)
		qsort(targets, ntargets, sizeof *targets, compare_use);
	session->profile->time_ns = (int64_t)(clock_realtime_ns() - clock_monotonic_ns() +
	                                      stats->start_ns);
	session->profile->duration_ns = (int64_t)(stats->end_ns - stats->start_ns);
	collector_finish(session->collector);
	if (session->discovery && session->tids.n == 0)
		discovery_settle(session->discovery, session->sampler, session->collector);
	symbolizer_fill(session->symbolizer, session->profile);
	receipt = make_receipt(session, targets);
	report_comments(session->profile, &receipt);
	r = write_output(session, &receipt, err);
	if (r == 0 && log_level() >= LOG_LEVEL_NORMAL) {
		char *summary = report_summary(session->profile, &receipt);

		fputs(summary, stderr);
		free(summary);
	}
out:
	free(receipt.first_file);
	free(targets);
	return r;
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
static void give_up_rights(const struct options *options)
{
	bool for_output = output_file_needs_privilege(options->output);
	uint64_t kept = privilege_drop(for_output);
	int r = sandbox_enter();

	log_verbose("capabilities kept: %#" PRIx64 "%s; system calls refused: %d%s%s", kept,
	            for_output && kept ? " (some of them for the output)" : "",
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
	if (find_targets(session, err) < 0 ||
	    output_file_check(options->output, options->format == &writer_pprof, err) < 0)
		return -1;
	if (options->duration_ignored)
		log_info("--duration is ignored: --mode threads shows one instant");
	if (block_signals(session, err) < 0)
		return -1;
	prepare_profile(session);
	if (prepare_capture(session, err) < 0)
		return -1;
	give_up_rights(options);
	if (start_capture(session, err) < 0)
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

	crash_say(output_file_abandon);
	r = run(&session, err);
	launch_abandon(&session.launch);
	discovery_free(session.discovery);
	sampler_free(session.sampler);
	if (session.queue)
		queue_close(session.queue);
	/* Names and locations point into modules, which the collector holds. */
	symbolizer_free(session.symbolizer);
	profile_free(session.profile);
	collector_free(session.collector);
	queue_free(session.queue);
	roster_free(session.roster);
	array_fini(&session.tids);
	output_file_forget();
	if (session.signal_fd >= 0)
		close(session.signal_fd);
	return r;
}
