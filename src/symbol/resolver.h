/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the code of modules: from an address to a function, a file, a
 * line and the functions inlined there. Each address is worked out once, and each
 * module's tables are read when its first address is asked for. Inside of symbol/
 * alone; used from one thread at a time, but for resolver_module.
 */
#ifndef CPROF_SYMBOL_RESOLVER_H
#define CPROF_SYMBOL_RESOLVER_H

#include <stdint.h>

#include "base/array.h"
#include "base/intern.h"
#include "module/module.h"
#include "symbol/symbol.h"

/* A longer name is cut: no compiler writes it, and a profile must stay small. */
#define SYMBOL_NAME_MAX ((size_t)16 << 10)

/* Strings are numbers in resolver.strings; 0 is "". */
struct resolved_function {
	uint32_t name;
	uint32_t system_name;
	uint32_t file;
	uint32_t start_line;
};

struct resolved_line {
	uint32_t function; /* its place in resolver.functions */
	uint32_t line;
};

struct resolved {
	uint64_t start; /* of the function, as the unwind tables have it */
	size_t first;   /* its lines are resolver.lines.v[first …], innermost first */
	size_t nlines;  /* 0: nothing has a name for it */
};

struct resolver_module;

struct resolver {
	struct symbol_options options;
	size_t bytes;                            /* what the modules that were read hold */
	uint64_t compare;                        /* how many bytes may still be compared */
	ARRAY(struct resolver_module *) modules; /* of resolver_module */
	ARRAY(struct resolver_module *) readers; /* those that were read */
	struct intern strings;
	struct intern function_keys; /* struct resolved_function, of each function */
	ARRAY(struct resolved_function) functions;
	ARRAY(struct resolved_line) lines;
};

void resolver_init(struct resolver *resolver, const struct symbol_options *options);
void resolver_fini(struct resolver *resolver);

/*
 * A module to be asked about, opened once more for that. Looks for its debug file in
 * the roots of `target`, which may be NULL. NULL if it cannot be opened. Opens and
 * reads little; two calls at a time are one too many, but another thread may use what
 * earlier calls gave meanwhile. Copies of one file are found, and read once, when
 * their names are asked for (module_is_copy).
 */
struct resolver_module *resolver_module(struct resolver *resolver,
                                        const struct module *module,
                                        const struct target *target);

/* What is known of a vaddr, worked out now unless it was before. */
struct resolved resolver_resolve(struct resolver *resolver, struct resolver_module *module,
                                 uint64_t vaddr);

/* See symbolizer_lookup. */
const char *resolver_lookup(struct resolver *resolver, struct resolver_module *module,
                            uint64_t vaddr, uint64_t *distance);

#endif
