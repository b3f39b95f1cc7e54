/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as code: instructions end within them, and what a function has done to
 * the stack is something that a function can do. An input begins with
 *
 *     u16 where in the function   u8 bit 0: that is a call; bit 1: follow tables
 *
 * and the function follows.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/reader.h"
#include "unwind/ahead.h"
#include "unwind/code.h"
#include "unwind/insn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void read_all(const uint8_t *code, size_t len)
{
	size_t at = 0;

	while (at < len) {
		struct insn insn = insn_read(code + at, len - at);

		require(insn.kind <= INSN_END && insn.len <= 15 && insn.len <= len - at);
		require(insn.kind == INSN_BAD || insn.len > 0);
		at += insn.kind == INSN_BAD ? 1 : insn.len;
	}
}

static void check_rule(const uint8_t *code, size_t len, size_t at, uint8_t flags)
{
	struct code_rule rule = code_rule_at(code, len, at, flags & 1, flags & 2);
	struct code_rule again = code_rule_at(code, len, at, flags & 1, flags & 2);

	require(rule.kind == again.kind && rule.cfa == again.cfa &&
	        rule.fp_below == again.fp_below && rule.fp_lost == again.fp_lost);
	switch ((enum code_kind)rule.kind) {
	case CODE_UNKNOWN:
	case CODE_OUTERMOST:
		return;
	case CODE_FROM_SP:
	case CODE_FROM_FP:
		require(!rule.fp_lost || rule.fp_below == 0);
		return;
	}
	abort();
}

static void check_ahead(const uint8_t *code, size_t len, size_t at, bool is_call)
{
	bool more;
	struct code_rule rule = ahead_rule_at(code, len, at, at, is_call, &more);

	require(rule.kind == CODE_UNKNOWN || rule.kind == CODE_FROM_SP ||
	        rule.kind == CODE_FROM_FP);
	require(rule.kind == CODE_UNKNOWN || !rule.fp_lost || rule.fp_below == 0);
	require(rule.kind != CODE_FROM_SP || rule.cfa >= 8);
	require(rule.fp_below >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	size_t at = reader_u16(&r), len;
	uint8_t flags = reader_u8(&r);
	const uint8_t *code;

	if (r.failed || reader_left(&r) == 0)
		return 0;
	len = reader_left(&r) < CODE_MAX_LEN ? reader_left(&r) : CODE_MAX_LEN;
	code = reader_bytes(&r, len);
	read_all(code, len);
	check_rule(code, len, at % len, flags);
	check_rule(code, len, len - 1, flags);
	check_ahead(code, len, at % len, flags & 1);
	check_ahead(code, len, len - 1, flags & 1);
	return 0;
}
