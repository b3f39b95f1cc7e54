/* SPDX-License-Identifier: Apache-2.0 */
/* What a descriptor of the target is, as far as it matters who waits on it. */
#ifndef CPROF_TARGET_DESCRIPTOR_H
#define CPROF_TARGET_DESCRIPTOR_H

#include <stdbool.h>

#include "target/procfs.h"
#include "target/target.h"

/*
 * Whether what a call waits for lets it be cut short and start again unnoticed, of a
 * call that syscall_may_be_stopped: not a socket with a timeout (SO_RCVTIMEO,
 * SO_SNDTIMEO), which would begin anew, nor one that collects bytes until there are
 * enough (SO_RCVLOWAT); and a write is to a pipe, where a small one is done whole or
 * not at all. True for calls that have no descriptor; false when that cannot be known.
 * Never blocks.
 */
bool descriptor_may_be_left(const struct target *target, const struct procfs_syscall *call);

#endif
