/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the targets' code: the modules, where they are mapped, how to
 * unwind through them, what is called how. Modules are known by their address
 * wherever they are used, so these belong together, and end together: when nobody
 * holds them any more.
 */
#ifndef CPROF_COLLECT_TABLES_H
#define CPROF_COLLECT_TABLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/array.h"
#include "module/module.h"
#include "module/space.h"
#include "symbol/symbol.h"
#include "target/target.h"
#include "unwind/unwind.h"

struct tables {
	struct module_cache *modules;
	ARRAY(struct space *) spaces;
	struct unwinder *unwinder;
	struct unwinder *live_unwinder; /* for threads that stand still */
	struct symbolizer *symbolizer;
	_Atomic unsigned holders;
};

/* Held once, by the caller. */
struct tables *tables_new(enum unwind_method method, const struct symbol_options *symbols);
struct tables *tables_hold(struct tables *tables);
/* NULL is fine. */
void tables_release(struct tables *tables);

/*
 * Whether they hold much of what is not mapped any more. Then others, made anew,
 * are better: nothing but the end of all who know a module makes it go.
 */
bool tables_are_worn(const struct tables *tables);

/* The mappings' profile_id: there is another profile now. */
void tables_forget_ids(struct tables *tables);

/* The space of a target, as it is now; lives as long as the tables. */
struct space *tables_space(struct tables *tables, const struct target *target);

/* A space that is of no more use: forgotten and freed. */
void tables_drop_space(struct tables *tables, struct space *space);

#endif
