/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of code, put into a profile. Inside of symbol/ alone. */
#ifndef CPROF_SYMBOL_FILL_H
#define CPROF_SYMBOL_FILL_H

#include "profile/profile.h"
#include "symbol/process.h"
#include "symbol/resolver.h"

/* Whose code it is: a module's, or else a process's. All zeroes: nobody knows. */
struct binding {
	struct resolver_module *module;
	uint64_t bias;
	bool is_elf; /* even if the module could not be opened again */
	struct symbol_process *process;
};

/* Gives all locations their lines; bindings[mapping id - 1] is whose they are. */
void fill_profile(struct resolver *resolver, struct profile *profile,
                  const struct binding *bindings, struct symbol_stats *stats);

#endif
