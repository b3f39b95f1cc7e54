/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for addresses. A symbolizer holds a chain of sources for each module;
 * the first that knows an address answers. Code outside of modules has the names
 * that its process gives to it (process.h).
 *
 * A symbolizer belongs to a run, and what it has learned is good for all profiles
 * of the run. With a thread of its own (symbolizer_start) it looks up names while
 * sampling goes on: symbolizer_want tells it what will be asked for, and
 * symbolizer_fill finds most of it done. All functions may be called from any
 * thread unless they say otherwise.
 */
#ifndef CPROF_SYMBOL_SYMBOL_H
#define CPROF_SYMBOL_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "module/module.h"
#include "profile/profile.h"
#include "target/target.h"

struct symbolizer;

/* All false is all that can be known. */
struct symbol_options {
	bool no_lines;    /* no files and lines; no inlined functions either */
	bool no_inlines;  /* an address is of one function, that of its symbol */
	bool no_demangle; /* names are shown as the linker knows them */
};

struct symbolizer *symbolizer_new(const struct symbol_options *options);
/* Ends its thread. NULL is fine. */
void symbolizer_free(struct symbolizer *symbolizer);

/*
 * Starts the thread, which stays behind whoever has work to do; without it all
 * work is done in symbolizer_fill, by its caller.
 */
int symbolizer_start(struct symbolizer *symbolizer, struct error *err);

/*
 * Says what code is behind a mapping: `module` (or NULL) at `bias`, in `target`.
 * Returns its number, for profile_mapping.code in any profile: the same for the
 * same module and bias, of targets that have their root in common; or, where there is
 * no module, for the same target. Called
 * while the target may still live: what names it has outside of the module is
 * looked for now. Neither module nor target is used any more later, but both are
 * known by their addresses until the symbolizer is freed.
 */
uint32_t symbolizer_bind(struct symbolizer *symbolizer, struct module *module,
                         uint64_t bias, const struct target *target);

/*
 * That the name of an address in that code will be asked for. Never waits for
 * work; what is too much to remember is forgotten.
 */
void symbolizer_want(struct symbolizer *symbolizer, uint32_t code, uint64_t address);

/*
 * Gives every location without lines its lines: function names demangled, the
 * mangled ones as system_name, files and line numbers; a stand-in (stand_in.h),
 * without a system_name, where no source has a name for the address. Any profile,
 * as often as one likes; nobody else uses the profile meanwhile.
 */
void symbolizer_fill(struct symbolizer *symbolizer, struct profile *profile);

struct symbol_stats {
	size_t resolved;   /* locations that got a symbol's name */
	size_t unresolved; /* that got a stand-in */
};
/* Of all profiles filled so far. */
struct symbol_stats symbolizer_stats(struct symbolizer *symbolizer);

/* The symbol that covers a vaddr of a module, as its tables spell it, and the
 * distance from its start; NULL if none. Good as long as the symbolizer. Not once
 * it has been started. */
const char *symbolizer_lookup(struct symbolizer *symbolizer, struct module *module,
                              uint64_t vaddr, uint64_t *distance);

/*
 * A readable form of a mangled name (C++ Itanium ABI, Rust legacy and v0), to
 * be freed; NULL when it is not mangled.
 */
char *demangle(const char *name);

#endif
