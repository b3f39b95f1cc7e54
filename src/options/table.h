/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table says all about each option: its names, its argument, what it does
 * and its line of --help. Between options.c and table.c alone.
 */
#ifndef CPROF_OPTIONS_TABLE_H
#define CPROF_OPTIONS_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "options/options.h"

/* No more rows than this. */
#define OPTION_MAX 64

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
	const char *help; /* NULL: put together from the writers' names */
};

extern const struct option_spec option_specs[];
extern const size_t option_nspecs;

/*
 * Messages call an option by its long name, whichever the user typed, and end in
 * what would be right.
 */
#define wrong(err, ...) error_set((err), EXIT_CODE_USAGE, __VA_ARGS__)

/* The writers' names as a sentence has them: "pprof, folded, svg or text". */
void option_list_formats(char *buf, size_t size);

#endif
