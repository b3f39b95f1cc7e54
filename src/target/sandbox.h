/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives up system calls that no profiler needs. The file opens with the theory.
 */
#ifndef CPROF_TARGET_SANDBOX_H
#define CPROF_TARGET_SANDBOX_H

#include <stddef.h>

/*
 * For good; to be called with one thread only, since those made later inherit it and
 * those made before would not. No program is executed and no process made from
 * then on. Returns how many calls are refused, or -errno when the kernel
 * offers no filters: then nothing is.
 */
int sandbox_enter(void);

#endif
