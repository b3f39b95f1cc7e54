/* SPDX-License-Identifier: Apache-2.0 */
#include "options/table.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/number.h"
#include "config.h"

#define DURATION_MIN_S   0.001
#define DURATION_MAX_S   31536000 /* a year */
#define FREQUENCY_MIN_HZ 0.1
#define FREQUENCY_MAX_HZ 10000
#define OVERHEAD_MIN     0.01
#define PAUSE_MIN_US     1
#define PAUSE_MAX_US     1000000
#define EVERY_MIN_S      0.1
#define MEMORY_LIMIT_MIN (UINT64_C(32) << 20)
#define DEPTH_MAX        32768 /* the stack copied holds no more frames */

struct ids {
	pid_t *v;
	size_t n;
	size_t cap;
};

static int set_pid(struct parse *parse, const char *value)
{
	pid_t pid;

	if (!number_id(value, &pid))
		return wrong(parse->err,
		             "--pid '%.60s' is not a process id: give a number from 1 up, "
		             "as ps and pgrep show it",
		             value);
	for (size_t i = 0; i < parse->options->pids.n; i++) {
		if (parse->options->pids.v[i] == pid)
			return 0;
	}
	array_push(&parse->options->pids, pid);
	return 0;
}

static int set_thread(struct parse *parse, const char *value)
{
	pid_t tid;

	if (!number_id(value, &tid))
		return wrong(parse->err,
		             "--thread '%.60s' is not a thread id: give a number from 1 "
		             "up, as ps -L shows it under LWP",
		             value);
	for (size_t i = 0; i < parse->options->tids.n; i++) {
		if (parse->options->tids.v[i] == tid)
			return 0;
	}
	array_push(&parse->options->tids, tid);
	return 0;
}

static int set_name(struct parse *parse, const char *value)
{
	char why[128];
	regex_t pattern;
	int r;

	if (value[0] == '\0')
		return wrong(parse->err, "--name is empty, and would fit every process: "
		                         "give a part of a name");
	if (parse->options->name && strcmp(parse->options->name, value) != 0)
		return wrong(parse->err, "--name is given twice: join the two as "
		                         "'(one|other)'");
	r = regcomp(&pattern, value, REG_EXTENDED | REG_NOSUB);
	if (r != 0) {
		regerror(r, &pattern, why, sizeof why);
		return wrong(parse->err,
		             "--name '%.60s' is not a regular expression (%s): give one as "
		             "for grep -E",
		             value, why);
	}
	regfree(&pattern);
	free(parse->options->name);
	parse->options->name = xstrdup(value);
	return 0;
}

static int set_all(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->all = true;
	return 0;
}

static int set_children(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->children = true;
	return 0;
}

static int set_cgroup(struct parse *parse, const char *value)
{
	if (value[0] == '\0')
		return wrong(parse->err, "--cgroup is empty: give a path as "
		                         "/proc/PID/cgroup shows it");
	if (parse->options->cgroup && strcmp(parse->options->cgroup, value) != 0)
		return wrong(parse->err, "--cgroup is given twice: name one group that "
		                         "holds both");
	free(parse->options->cgroup);
	parse->options->cgroup = xstrdup(value);
	return 0;
}

static int set_split(struct parse *parse, const char *value)
{
	if (strcmp(value, "process") != 0)
		return wrong(parse->err,
		             "--split-by '%.60s' is not known: use --split-by process",
		             value);
	parse->options->split = true;
	return 0;
}

static int set_duration(struct parse *parse, const char *value)
{
	double *duration_s = &parse->options->duration_s;

	if (!number_decimal(value, 0, DURATION_MAX_S, duration_s) ||
	    (*duration_s > 0 && *duration_s < DURATION_MIN_S))
		return wrong(parse->err,
		             "--duration '%.60s' is not a number of seconds from %g to "
		             "%d: give one such as 30 or 2.5, or 0 for no end",
		             value, DURATION_MIN_S, DURATION_MAX_S);
	parse->duration_given = true;
	return 0;
}

static int set_output(struct parse *parse, const char *value)
{
	if (value[0] == '\0')
		return wrong(parse->err, "--output has an empty name: give a file name, "
		                         "or - for stdout");
	if (parse->output && strcmp(parse->output, value) != 0)
		return wrong(parse->err,
		             "--output is given twice, and one profile is written: "
		             "leave out '%.60s' or '%.60s'",
		             parse->output, value);
	parse->output = value;
	return 0;
}

void option_list_formats(char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (const struct writer *const *w = writers; *w; w++) {
		const char *before = w == writers ? "" : w[1] ? ", " : " or ";
		int len = snprintf(buf + n, size - n, "%s%s", before, (*w)->name);

		if (len < 0 || (size_t)len >= size - n)
			return;
		n += (size_t)len;
	}
}

static int set_format(struct parse *parse, const char *value)
{
	char formats[128];

	parse->options->format = writer_by_name(value);
	if (parse->options->format)
		return 0;
	option_list_formats(formats, sizeof formats);
	return wrong(parse->err, "--format '%.60s' is not known: give %s", value, formats);
}

static const struct {
	const char *name;
	enum profile_mode mode;
} modes[] = {
        {"cpu", MODE_CPU},
        {"wall", MODE_WALL},
        {"block", MODE_BLOCK},
        {"threads", MODE_THREADS},
};

/* One name of "cpu,wall", `len` bytes of it; 0 when there is no such mode. */
static unsigned find_mode(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		if (strlen(modes[i].name) == len && memcmp(modes[i].name, name, len) == 0)
			return modes[i].mode;
	}
	return 0;
}

static int set_mode(struct parse *parse, const char *value)
{
	struct options *options = parse->options;
	const char *name = value;

	options->modes = 0;
	for (;;) {
		size_t len = strcspn(name, ",");
		unsigned mode = find_mode(name, len);

		if (mode == 0)
			break;
		options->modes |= mode;
		options->last_mode = (enum profile_mode)mode;
		if (name[len] == '\0') {
			bool alone = (options->modes & (options->modes - 1)) == 0;

			if (alone || options->modes == (MODE_CPU | MODE_WALL))
				return 0;
			return wrong(parse->err,
			             "--mode '%.60s' asks for what no one profile can "
			             "hold: only cpu and wall go together",
			             value);
		}
		name += len + 1;
	}
	if (strcmp(value, "heap") == 0)
		return wrong(parse->err, "--mode heap is not in this version: use cpu, "
		                         "wall, block or threads");
	return wrong(parse->err,
	             "--mode '%.60s' is not known: give cpu, wall, cpu,wall, block or "
	             "threads",
	             value);
}

static int set_frequency(struct parse *parse, const char *value)
{
	if (!number_decimal(value, FREQUENCY_MIN_HZ, FREQUENCY_MAX_HZ,
	                    &parse->options->frequency_hz))
		return wrong(parse->err,
		             "--frequency '%.60s' is not a number of samples a second "
		             "from %g to %d: give one such as 99 or 0.5",
		             value, FREQUENCY_MIN_HZ, FREQUENCY_MAX_HZ);
	return 0;
}

static int set_max_overhead(struct parse *parse, const char *value)
{
	double percent;

	if (!number_decimal(value, OVERHEAD_MIN, 100, &percent))
		return wrong(parse->err,
		             "--max-overhead '%.60s' is not a percentage from %g to 100: "
		             "give one such as 1 or 0.5, or 100 for no limit",
		             value, OVERHEAD_MIN);
	parse->options->max_overhead = percent / 100;
	return 0;
}

static int set_max_pause(struct parse *parse, const char *value)
{
	double us;

	if (!number_decimal(value, PAUSE_MIN_US, PAUSE_MAX_US, &us))
		return wrong(parse->err,
		             "--max-pause '%.60s' is not a number of microseconds from %d "
		             "to %d: give one such as 100",
		             value, PAUSE_MIN_US, PAUSE_MAX_US);
	parse->options->max_pause_ns = (uint64_t)(us * 1000);
	return 0;
}

static int set_accounting(struct parse *parse, const char *value)
{
	static const struct {
		const char *name;
		enum accounting accounting;
	} sources[] = {
	        {"auto", ACCOUNTING_AUTO},
	        {"schedstat", ACCOUNTING_SCHEDSTAT},
	        {"stat", ACCOUNTING_STAT},
	};

	for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
		if (strcmp(value, sources[i].name) == 0) {
			parse->options->accounting = sources[i].accounting;
			return 0;
		}
	}
	return wrong(parse->err,
	             "--accounting '%.60s' is not known: give auto, schedstat or stat",
	             value);
}

static int set_unwinder(struct parse *parse, const char *value)
{
	static const struct {
		const char *name;
		enum unwind_method method;
	} unwinders[] = {
	        {"auto", UNWIND_AUTO},
	        {"rules", UNWIND_RULES},
	        {"fp", UNWIND_FP},
	        {"libunwind", UNWIND_LIBUNWIND},
	};

	for (size_t i = 0; i < sizeof unwinders / sizeof unwinders[0]; i++) {
		if (strcmp(value, unwinders[i].name) == 0) {
			parse->options->unwinder = unwinders[i].method;
			return 0;
		}
	}
	return wrong(parse->err,
	             "--unwinder '%.60s' is not known: give auto, rules, fp or libunwind",
	             value);
}

static int set_max_depth(struct parse *parse, const char *value)
{
	pid_t depth;

	if (!number_id(value, &depth) || depth > DEPTH_MAX)
		return wrong(parse->err,
		             "--max-depth '%.60s' is not a number of frames from 1 to "
		             "%d: give one such as 128",
		             value, DEPTH_MAX);
	parse->options->max_depth = (size_t)depth;
	return 0;
}

static int set_no_lines(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->no_lines = true;
	return 0;
}

static int set_no_inlines(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->no_inlines = true;
	return 0;
}

static int set_no_demangle(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->no_demangle = true;
	return 0;
}

/* Several addresses have blanks between them, as in DEBUGINFOD_URLS. */
static int set_debuginfod(struct parse *parse, const char *value)
{
#ifdef HAVE_DEBUGINFOD
	if (!strstr(value, "://") && value[0] != '\0')
		return wrong(parse->err,
		             "--debuginfod '%.60s' is not a server's address: give one "
		             "such as https://debuginfod.example.org",
		             value);
	parse->options->debuginfod = value;
	return 0;
#else
	return wrong(parse->err,
	             "--debuginfod '%.60s' is not possible: this build was made without "
	             "libdebuginfod",
	             value);
#endif
}

static int set_wait_detail(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->wait_detail = true;
	return 0;
}

static int set_kernel_stacks(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->kernel_stacks = true;
	return 0;
}

static int set_no_traceback(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->no_traceback = true;
	return 0;
}

static int set_every(struct parse *parse, const char *value)
{
	if (!number_decimal(value, EVERY_MIN_S, DURATION_MAX_S, &parse->options->every_s))
		return wrong(parse->err,
		             "--every '%.60s' is not a number of seconds from %g to %d: "
		             "give one such as 60",
		             value, EVERY_MIN_S, DURATION_MAX_S);
	return 0;
}

static int set_keep(struct parse *parse, const char *value)
{
	pid_t n;

	if (!number_id(value, &n))
		return wrong(parse->err,
		             "--keep '%.60s' is not a number of files: give one such as "
		             "24",
		             value);
	parse->options->keep = (size_t)n;
	return 0;
}

static int set_keep_bytes(struct parse *parse, const char *value)
{
	if (!number_size(value, &parse->options->keep_bytes))
		return wrong(parse->err,
		             "--keep-bytes '%.60s' is not a size: give one such as 500M, "
		             "with K, M or G for multiples of 1024",
		             value);
	return 0;
}

static int set_memory_limit(struct parse *parse, const char *value)
{
	if (!number_size(value, &parse->options->memory_limit) ||
	    parse->options->memory_limit < MEMORY_LIMIT_MIN)
		return wrong(parse->err,
		             "--memory-limit '%.60s' is not a size from 32M up: give one "
		             "such as 256M, with K, M or G for multiples of 1024",
		             value);
	return 0;
}

static int set_quiet(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->quiet = true;
	return 0;
}

static int set_verbose(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->verbose = true;
	return 0;
}

static int set_help(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->action = OPTIONS_HELP;
	return 1;
}

static int set_version(struct parse *parse, const char *value)
{
	(void)value;
	parse->options->action = OPTIONS_VERSION;
	return 1;
}

const struct option_spec option_specs[] = {
        {"pid", 'p', "PID", set_pid, "the process to profile; may be repeated"},
        {"thread", 't', "TID", set_thread, "only this thread; may be repeated"},
        {"name", 'n', "PATTERN", set_name, "the process whose name fits (as grep -E)"},
        {"all", 0, NULL, set_all, "all processes that --name fits"},
        {"children", 0, NULL, set_children, "and all processes below, also later ones"},
        {"cgroup", 0, "PATH", set_cgroup, "all processes in this control group"},
        {"duration", 'd', "SECONDS", set_duration,
         "for how long (30, or until COMMAND ends); 0: no end"},
        {"output", 'o', "FILE", set_output, "where to (profile.pb.gz); - is stdout"},
        {"format", 'f', "FORMAT", set_format, NULL},
        {"split-by", 0, "process", set_split,
         "a file each: profile.PID.pb.gz, or as %p in"
         " FILE"},
        {"mode", 'm', "MODE", set_mode, "cpu, wall, cpu,wall, block or threads (cpu)"},
        {"frequency", 'F', "HZ", set_frequency, "samples a second of each thread (99)"},
        {"max-overhead", 0, "PERCENT", set_max_overhead,
         "lower the rate rather than cost more (1)"},
        {"max-pause", 0, "US", set_max_pause,
         "sample less when a thread is held for longer"},
        {"accounting", 0, "SOURCE", set_accounting,
         "CPU time from schedstat, stat or auto"},
        {"unwinder", 0, "UNWINDER", set_unwinder, "stacks by auto, rules, fp or libunwind"},
        {"max-depth", 0, "N", set_max_depth, "frames of one stack (512)"},
        {"no-lines", 0, NULL, set_no_lines, "names of functions alone, no files and lines"},
        {"no-inlines", 0, NULL, set_no_inlines, "no functions that were inlined"},
        {"no-demangle", 0, NULL, set_no_demangle, "names as the linker knows them"},
        {"debuginfod", 0, "URL", set_debuginfod, "a server of debug files"},
        {"no-traceback", 0, NULL, set_no_traceback, "leaf and thread root alone: cheapest"},
        {"wait-detail", 0, NULL, set_wait_detail, "label what sleeping threads wait for"},
        {"kernel-stacks", 0, NULL, set_kernel_stacks, "kernel frames of sleeping threads"},
        {"every", 0, "SECONDS", set_every, "a file for each so many seconds"},
        {"keep", 0, "N", set_keep, "of those files, the newest N"},
        {"keep-bytes", 0, "SIZE", set_keep_bytes, "or the newest that fit in SIZE"},
        {"memory-limit", 0, "SIZE", set_memory_limit,
         "write earlier what needs more (256M)"},
        {"quiet", 'q', NULL, set_quiet, "no progress and no summary"},
        {"verbose", 'v', NULL, set_verbose, "what happens to each thread and module"},
        {"help", 'h', NULL, set_help, "this page"},
        {"version", 0, NULL, set_version, "version, features and licence"},
};

const size_t option_nspecs = sizeof option_specs / sizeof option_specs[0];

_Static_assert(sizeof option_specs / sizeof option_specs[0] <= OPTION_MAX,
               "getopt's tables in options.c hold them all");
