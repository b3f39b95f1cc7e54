/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes and threads a run begins with: those that the options name. */
#ifndef CPROF_CHOOSE_H
#define CPROF_CHOOSE_H

#include <sys/types.h>

#include "base/error.h"
#include "options/options.h"
#include "target/procfs.h"
#include "target/roster.h"

/*
 * Opens what -p, -t and -n name, and `command` if it is not 0, and checks that it
 * may be sampled; puts each process on the roster once, and the threads chosen into
 * *tids. With --all, one of several that is refused is left out, and told. Nothing
 * is on the roster afterwards if --cgroup alone names processes. 0, or -1 with *err.
 */
int choose_targets(const struct options *options, pid_t command, struct roster *roster,
                   struct pids *tids, struct error *err);

#endif
