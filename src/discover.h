/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds processes that belong to a run while it lasts: children of those that are
 * profiled, and those that enter a control group. Opens them and puts them on the
 * roster, from a thread of its own, so that capture opens nothing and waits for
 * nobody. Afterwards it says what CPU time those had that nobody saw.
 */
#ifndef CPROF_DISCOVER_H
#define CPROF_DISCOVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "capture/sampler.h"
#include "collect/collector.h"
#include "options/options.h"
#include "target/roster.h"

struct discovery;

/*
 * Looks for the first time: who is there already is put on the roster beside
 * whom it has. `command` is our child among them, or 0. NULL with *err.
 */
struct discovery *discovery_new(const struct options *options, pid_t command,
                                struct roster *roster, struct error *err);
void discovery_free(struct discovery *discovery);

/* Starts looking regularly. From here on whom it finds counts as born in the run
 * if its start is not earlier. */
int discovery_start(struct discovery *discovery, struct collector *collector,
                    struct error *err);

/* Ends it, with a last look. Directly after sampler_join, and before our own child
 * is waited for. NULL is fine. */
void discovery_stop(struct discovery *discovery);

/*
 * After both: works out the CPU time of children that ended unseen, and enters it
 * in the profile with the label of the process that had waited for them.
 */
void discovery_settle(struct discovery *discovery, const struct sampler *sampler,
                      struct collector *collector);

/* All 0 for NULL. */
struct roster_stats discovery_stats(const struct discovery *discovery);

#endif
