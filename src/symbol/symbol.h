/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for addresses. A symbolizer holds a chain of sources for each module;
 * the first that knows an address answers. Code outside of modules has the names
 * that its process gives to it (process.h). It fills a profile after capture,
 * each distinct location once.
 */
#ifndef CPROF_SYMBOL_SYMBOL_H
#define CPROF_SYMBOL_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "module/module.h"
#include "profile/profile.h"
#include "target/target.h"

struct symbolizer;

struct symbolizer *symbolizer_new(void);
void symbolizer_free(struct symbolizer *symbolizer);

/*
 * Says what code is behind a mapping of the profile: `module` (or NULL) at
 * `bias`, in `target`. Called once for each target and mapping id, while the
 * target may still live: what names it has outside of the module is looked for
 * now. The target is not used any more later.
 */
void symbolizer_bind(struct symbolizer *symbolizer, uint32_t mapping, struct module *module,
                     uint64_t bias, const struct target *target);

/*
 * Gives every location without lines its lines: function names demangled, the
 * mangled ones as system_name; a stand-in (stand_in.h), without a system_name,
 * where no source has a name for the address.
 */
void symbolizer_fill(struct symbolizer *symbolizer, struct profile *profile);

struct symbol_stats {
	size_t resolved;   /* locations that got a symbol's name */
	size_t unresolved; /* that got a stand-in */
};
struct symbol_stats symbolizer_stats(const struct symbolizer *symbolizer);

/* The symbol that covers a vaddr of a module, as its tables spell it, and the
 * distance from its start; NULL if none. Good as long as the symbolizer. */
const char *symbolizer_lookup(struct symbolizer *symbolizer, struct module *module,
                              uint64_t vaddr, uint64_t *distance);

/*
 * A readable form of a mangled name (C++ Itanium ABI, Rust legacy and v0), to
 * be freed; NULL when it is not mangled.
 */
char *demangle(const char *name);

#endif
