/* SPDX-License-Identifier: Apache-2.0 */
/* Where a function's return address lies, read off the code that gets to its return. */
#ifndef CPROF_UNWIND_AHEAD_H
#define CPROF_UNWIND_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#include "unwind/code.h"

/* No more code than this is looked at, of it so much in front of PC. */
#define AHEAD_MAX_LEN (32 * 1024)
#define AHEAD_BEFORE  (16 * 1024)

/*
 * `at`: the instruction that runs next; of a caller (`is_call`), where its call comes
 * back to. `addr` is its address. `code` begins anywhere in front of it. CODE_UNKNOWN
 * where no return is found or two disagree; never CODE_OUTERMOST. A guess, if a good
 * one: the word that it takes for the return address must be one. *more: whether code
 * further away might say something else.
 */
struct code_rule ahead_rule_at(const uint8_t *code, size_t len, size_t at, uint64_t addr,
                               bool is_call, bool *more);

#endif
