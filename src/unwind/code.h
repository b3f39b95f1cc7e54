/* SPDX-License-Identifier: Apache-2.0 */
/* What a function has done to the stack when it is at a place, read off its code. */
#ifndef CPROF_UNWIND_CODE_H
#define CPROF_UNWIND_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function is read up to this length. */
#define CODE_MAX_LEN (64 * 1024)

enum code_kind {
	CODE_UNKNOWN,
	CODE_OUTERMOST, /* it has zeroed RBP: nothing called it */
	CODE_FROM_SP,   /* CFA = SP + cfa */
	CODE_FROM_FP,   /* CFA = FP + cfa */
};

/* The CFA is the caller's SP, and the return address is the word below it. */
struct code_rule {
	uint8_t kind;     /* enum code_kind */
	bool fp_lost;     /* the caller's FP is nowhere */
	int32_t fp_below; /* the caller's FP is at CFA - fp_below; 0: it is the same */
	int32_t cfa;
};

/*
 * `code` is the function from its first byte, `at` the instruction that is about
 * to run or, for a caller (`is_call`), the last byte of the call. `code` may go on
 * beyond the function's end unless follow_tables: what nothing else leads to is
 * then taken for the cases of a switch.
 */
struct code_rule code_rule_at(const uint8_t *code, size_t len, size_t at, bool is_call,
                              bool follow_tables);

#endif
