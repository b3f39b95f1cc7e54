/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CPROF_UNWIND_CODE_STEP_H
#define CPROF_UNWIND_CODE_STEP_H

#include "unwind/backend.h"
#include "unwind/code.h"

/*
 * Leaves a frame by what its code says: UNWIND_CALLER, or UNWIND_STOP when a
 * register or memory is missing. Not for CODE_UNKNOWN or CODE_OUTERMOST. Whether the
 * new PC can be a return address is for the caller to find out.
 */
enum unwind_verdict code_step(struct walk *walk, const struct code_rule *rule,
                              struct unwind_step *step);

#endif
