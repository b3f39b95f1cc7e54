/* SPDX-License-Identifier: Apache-2.0 */
/* getopt's own tables are made from that of table.c. */
#include "options/options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/number.h"
#include "base/shell.h"
#include "config.h"
#include "options/table.h"

#define DURATION_DEFAULT_S   30
#define FREQUENCY_DEFAULT_HZ 99
#define OVERHEAD_DEFAULT     1 /* percent */
#define MEMORY_LIMIT_DEFAULT (UINT64_C(256) << 20)
#define DEPTH_DEFAULT        512

/* getopt's value for an option: its letter, or a number beyond all letters. */
static int spec_value(const struct option_spec *spec)
{
	return spec->letter ? spec->letter : 256 + (int)(spec - option_specs);
}

static const struct option_spec *find_spec(int value)
{
	for (size_t i = 0; i < option_nspecs; i++) {
		if (spec_value(&option_specs[i]) == value)
			return &option_specs[i];
	}
	return NULL;
}

struct getopt_tables {
	char letters[2 + 2 * OPTION_MAX + 1];
	struct option names[OPTION_MAX + 1];
};

static void make_tables(struct getopt_tables *tables)
{
	char *letter = tables->letters;

	memset(tables, 0, sizeof *tables);
	/* '-': other words are handed over in their turn, and only "--" makes what
	 * follows a command; so "cprof-attach 4711" is not taken for one. */
	*letter++ = '-';
	*letter++ = ':';
	for (size_t i = 0; i < option_nspecs; i++) {
		tables->names[i] = (struct option){
		        .name = option_specs[i].name,
		        .has_arg = option_specs[i].arg ? required_argument : no_argument,
		        .val = spec_value(&option_specs[i]),
		};
		if (option_specs[i].letter) {
			*letter++ = (char)option_specs[i].letter;
			if (option_specs[i].arg)
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
	for (size_t i = 0; i < option_nspecs; i++)
		nalike += len > 2 && strncmp(option_specs[i].name, word + 2, len - 2) == 0;
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
		option_list_formats(formats, sizeof formats);
		printf("%s (as FILE's name says)\n", formats);
	}
}

void options_print_help(void)
{
	puts("Usage: cprof-attach -p PID [-d SECONDS] [-o FILE] [OPTION]...\n"
	     "       cprof-attach [OPTION]... -- COMMAND [ARG]...\n"
	     "Profile a running process from outside and write a pprof profile.\n");
	for (size_t i = 0; i < option_nspecs; i++)
		print_option(&option_specs[i]);
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
