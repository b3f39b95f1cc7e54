/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table says all about each option: its names, its argument, what it does
 * and its line of --help. getopt's own tables are made from it.
 *
 * Messages call an option by its long name, whichever the user typed, and end in
 * what would be right.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/number.h"
#include "base/shell.h"
#include "config.h"

#define DURATION_DEFAULT_S   30
#define DURATION_MIN_S       0.001
#define DURATION_MAX_S       31536000 /* a year */
#define FREQUENCY_DEFAULT_HZ 99
#define FREQUENCY_MIN_HZ     0.1
#define FREQUENCY_MAX_HZ     10000
#define OVERHEAD_DEFAULT     1 /* percent */
#define OVERHEAD_MIN         0.01
#define PAUSE_MIN_US         1
#define PAUSE_MAX_US         1000000
#define EVERY_MIN_S          0.1
#define MEMORY_LIMIT_DEFAULT (UINT64_C(256) << 20)
#define MEMORY_LIMIT_MIN     (UINT64_C(32) << 20)
#define DEPTH_DEFAULT        512
#define DEPTH_MAX            32768 /* the stack copied holds no more frames */

/* What the setters share; `err` is where a wrong value is told. */
struct parse {
	struct options *options;
	struct error *err;
	bool duration_given;
	const char *output; /* as given, or NULL */
};

struct option_spec {
	const char *name;
	int letter;      /* 0: none */
	const char *arg; /* shown in --help; NULL: takes none */
	/* 0, or -1 with parse->err filled; 1 ends the parsing. */
	int (*set)(struct parse *parse, const char *value);
	const char *help;
};

#define wrong(err, ...) error_set((err), EXIT_CODE_USAGE, __VA_ARGS__)

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

/* The writers' names as a sentence has them: "pprof, folded, svg or text". */
static void list_formats(char *buf, size_t size)
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
	list_formats(formats, sizeof formats);
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

static const struct option_spec specs[] = {
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

#define NSPECS (sizeof specs / sizeof specs[0])

/* getopt's value for an option: its letter, or a number beyond all letters. */
static int spec_value(const struct option_spec *spec)
{
	return spec->letter ? spec->letter : 256 + (int)(spec - specs);
}

static const struct option_spec *find_spec(int value)
{
	for (size_t i = 0; i < NSPECS; i++) {
		if (spec_value(&specs[i]) == value)
			return &specs[i];
	}
	return NULL;
}

struct getopt_tables {
	char letters[2 + 2 * NSPECS + 1];
	struct option names[NSPECS + 1];
};

static void make_tables(struct getopt_tables *tables)
{
	char *letter = tables->letters;

	memset(tables, 0, sizeof *tables);
	/* '-': other words are handed over in their turn, and only "--" makes what
	 * follows a command; so "cprof-attach 4711" is not taken for one. */
	*letter++ = '-';
	*letter++ = ':';
	for (size_t i = 0; i < NSPECS; i++) {
		tables->names[i] = (struct option){
		        .name = specs[i].name,
		        .has_arg = specs[i].arg ? required_argument : no_argument,
		        .val = spec_value(&specs[i]),
		};
		if (specs[i].letter) {
			*letter++ = (char)specs[i].letter;
			if (specs[i].arg)
				*letter++ = ':';
		}
	}
}

static int wrong_word(struct error *err, const char *word)
{
	pid_t pid;

	if (number_id(word, &pid))
		return wrong(err,
		             "'%.60s' stands alone: use -p %d to profile the process %d",
		             word, pid, pid);
	return wrong(err,
	             "'%.60s' is not an option: put -- before a command that is to be "
	             "started, or see --help",
	             word);
}

/* Which of getopt's complaints: it leaves the option in optopt, 0 if it knows none. */
static int wrong_option(struct error *err, const char *word)
{
	const struct option_spec *spec = find_spec(optopt);
	size_t len = strcspn(word, "=");
	size_t nalike = 0;

	if (optopt != 0 && spec)
		return wrong(err, "--%s takes no value: leave out what follows the =",
		             spec->name);
	if (optopt != 0)
		return wrong(err, "there is no option -%c: see --help for those there are",
		             optopt);
	for (size_t i = 0; i < NSPECS; i++)
		nalike += len > 2 && strncmp(specs[i].name, word + 2, len - 2) == 0;
	if (nalike > 1)
		return wrong(
		        err,
		        "'%.60s' may mean more than one option: write its name in full",
		        word);
	return wrong(err, "there is no option '%.60s': see --help for those there are",
	             word);
}

static int wrong_missing(struct error *err)
{
	const struct option_spec *spec = find_spec(optopt);

	return wrong(err, "--%s needs a value: give it as --%s %s", spec ? spec->name : "?",
	             spec ? spec->name : "?", spec ? spec->arg : "?");
}

/* All options up to "--": 0, 1 when one of them ends the parsing, or -1. */
static int parse_options(struct parse *parse, int argc, char **argv)
{
	struct getopt_tables tables;
	int value;

	make_tables(&tables);
	opterr = 0;
	optind = 0; /* GNU: begin anew */
	while ((value = getopt_long(argc, argv, tables.letters, tables.names, NULL)) !=
	       -1) {
		const struct option_spec *spec = find_spec(value);
		int r;

		if (value == 1)
			return wrong_word(parse->err, optarg);
		if (value == ':')
			return wrong_missing(parse->err);
		if (!spec)
			return wrong_option(parse->err, argv[optind - 1]);
		r = spec->set(parse, optarg);
		if (r != 0)
			return r;
	}
	return 0;
}

/* What names a process that runs already; NULL if nothing does. */
static const char *subject(const struct options *options)
{
	if (options->pids.n > 0)
		return "pid";
	if (options->tids.n > 0)
		return "thread";
	if (options->name)
		return "name";
	return options->cgroup ? "cgroup" : NULL;
}

static int check_subject(const struct options *options, struct error *err)
{
	const char *named = subject(options);

	if (options->command && named)
		return wrong(err,
		             "--%s and a command do not go together: profile what runs "
		             "already, or start it after --",
		             named);
	if (options->all && !options->name)
		return wrong(err, "--all says that all processes with a --name are meant: "
		                  "give that too, or leave it out");
	if (!options->command && !named)
		return wrong(err,
		             "nothing to profile: name a process with -p PID or start one "
		             "with -- COMMAND; see --help");
	if (options->tids.n > 0 && (options->children || options->name || options->cgroup))
		return wrong(err,
		             "--thread chooses threads, --%s whole processes: leave out "
		             "one of them",
		             options->children ? "children"
		             : options->name   ? "name"
		                               : "cgroup");
	return 0;
}

/* What depends on several options. */
static int finish(struct parse *parse)
{
	struct options *options = parse->options;

	if (check_subject(options, parse->err) < 0)
		return -1;
	if (options->quiet && options->verbose)
		return wrong(parse->err, "--quiet and --verbose contradict each other: "
		                         "give one of them");
	if (options->split && parse->output && strcmp(parse->output, "-") == 0)
		return wrong(parse->err, "--split-by writes several files: give --output "
		                         "a file name");
	/* Both would write there, and the profile would not be one. */
	if (options->command && parse->output && strcmp(parse->output, "-") == 0)
		return wrong(parse->err, "--output - would mix the profile with what the "
		                         "command prints: give a file name");
	if (options->modes == MODE_CPU && (options->wait_detail || options->kernel_stacks))
		return wrong(parse->err,
		             "--%s tells of sleeping threads, which --mode cpu leaves out: "
		             "add --mode wall, block or threads",
		             options->wait_detail ? "wait-detail" : "kernel-stacks");
	if (options->modes == MODE_THREADS && options->command)
		return wrong(parse->err, "--mode threads shows a process that runs: name "
		                         "one with --pid");
	if (options->modes == MODE_THREADS && parse->duration_given)
		options->duration_ignored = true;
	if ((options->keep || options->keep_bytes) && options->split)
		return wrong(parse->err,
		             "--split-by and --%s do not go together: the "
		             "files of processes are kept",
		             options->keep ? "keep" : "keep-bytes");
	if (options->modes == MODE_THREADS && options->every_s > 0)
		return wrong(parse->err, "--mode threads shows one instant, which is one "
		                         "file: leave out --every");
	if ((options->keep || options->keep_bytes) && options->every_s <= 0)
		return wrong(parse->err,
		             "--%s is about the files of --every: give that, too",
		             options->keep ? "keep" : "keep-bytes");
	if (!parse->duration_given)
		options->duration_s = options->command ? 0 : DURATION_DEFAULT_S;
	if (!options->format)
		options->format = parse->output ? writer_by_file(parse->output)
		                                : &writer_pprof;
	if (parse->output)
		options->output = xstrdup(parse->output);
	else
		options->output = xasprintf("profile%s", options->format->suffixes[0]);
	return 0;
}

int options_parse(int argc, char **argv, struct options *options, struct error *err)
{
	struct parse parse = {.options = options, .err = err};
	int r;

	*options = (struct options){
	        .action = OPTIONS_RUN,
	        .frequency_hz = FREQUENCY_DEFAULT_HZ,
	        .max_overhead = OVERHEAD_DEFAULT / 100.0,
	        .modes = MODE_CPU,
	        .last_mode = MODE_CPU,
	        .accounting = ACCOUNTING_AUTO,
	        .unwinder = UNWIND_AUTO,
	        .max_depth = DEPTH_DEFAULT,
	        .memory_limit = MEMORY_LIMIT_DEFAULT,
	        .command_line = shell_join(argv),
	};
	r = parse_options(&parse, argc, argv);
	if (r == 0) {
		options->command = optind < argc ? argv + optind : NULL;
		r = finish(&parse);
	}
	if (r < 0)
		options_fini(options);
	return r < 0 ? -1 : 0;
}

void options_fini(struct options *options)
{
	array_fini(&options->pids);
	array_fini(&options->tids);
	free(options->output);
	free(options->command_line);
	free(options->name);
	free(options->cgroup);
	options->output = options->command_line = NULL;
	options->name = options->cgroup = NULL;
}

static void print_option(const struct option_spec *spec)
{
	char letter[5] = "    ", name[32], formats[128];

	if (spec->letter)
		snprintf(letter, sizeof letter, "-%c, ", spec->letter);
	snprintf(name, sizeof name, "--%s%s%s", spec->name, spec->arg ? " " : "",
	         spec->arg ? spec->arg : "");
	printf("  %s%-20s  ", letter, name);
	if (spec->help) {
		puts(spec->help);
	} else {
		list_formats(formats, sizeof formats);
		printf("%s (as FILE's name says)\n", formats);
	}
}

void options_print_help(void)
{
	puts("Usage: cprof-attach -p PID [-d SECONDS] [-o FILE] [OPTION]...\n"
	     "       cprof-attach [OPTION]... -- COMMAND [ARG]...\n"
	     "Profile a running process from outside and write a pprof profile.\n");
	for (size_t i = 0; i < NSPECS; i++)
		print_option(&specs[i]);
	puts("\nCtrl-C ends a run early and still writes the profile.\n"
	     "  cprof-attach -p 4711 -d 10 -o web.pb.gz && go tool pprof -http=: "
	     "web.pb.gz\n"
	     "  cprof-attach -p 4711 -o flame.svg\n"
	     "  cprof-attach -n nginx --all -o nginx.pb.gz\n"
	     "  cprof-attach -F 999 -- ./program --its own --options\n"
	     "  cprof-attach --children -- make\n"
	     "Exit status: 0 written, 1 failed, 2 wrong usage, 3 not permitted, 4 no "
	     "process.");
}

void options_print_version(void)
{
	printf("%s %s\n", PACKAGE_NAME, PACKAGE_VERSION);
#ifdef HAVE_LZMA
	const char *mini = "yes";
#else
	const char *mini = "no";
#endif
#ifdef HAVE_DEBUGINFOD
	const char *debuginfod = "yes";
#else
	const char *debuginfod = "no";
#endif
	printf("x86_64 Linux; modes: cpu, wall, block, threads; unwinding: rules, "
	       "libunwind, Go, frame "
	       "pointers;\n"
	       "symbols: ELF (files and memory), DWARF, separate debug files, PLT, Go,\n"
	       "perf maps, jitdump, .gnu_debugdata: %s, debuginfod: %s;\n",
	       mini, debuginfod);
	puts("names: C++ and Rust demangled\n"
	     "Licence: Apache-2.0 <https://www.apache.org/licenses/LICENSE-2.0>");
}
