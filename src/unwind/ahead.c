/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function that returns takes down its frame before it does. So from PC on, along
 * the ways that the code may take, what RSP is at the `ret` tells where the return
 * address lies now, and what was popped into RBP where the caller's is. Nothing of
 * the function before PC needs to be known, not even where it begins: that suits
 * code made at run time, whose compilers keep RBP for other things.
 *
 * Calls are taken to come back, which not all do: behind one that does not, another
 * function may follow, with a frame of its own. Where one seems to begin, the way ends;
 * and a return that is reached across fewer calls is believed rather than one across
 * more. All that are reached across as many must agree.
 *
 * What is not followed: jumps to where a register says, and to outside of the code
 * at hand. They say nothing; another way may.
 */
#include "unwind/ahead.h"

#include <stdbool.h>
#include <string.h>

#include "unwind/insn.h"

#define MAX_INSNS    1024
#define INSN_MAX_LEN 15
#define MAX_WAYS     64 /* to be followed later; what is more is not */
#define MAX_FRAME    (1 << 20)
#define ALIGNMENT    16 /* of functions */

/* What a register is by what it was at `at`. */
enum base {
	BASE_LOST,
	BASE_SP,     /* SP at `at` + off */
	BASE_FP,     /* RBP at `at` + off */
	BASE_POPPED, /* RBP alone: what lies at (`in`, BASE_SP or BASE_FP) + off */
};

struct value {
	uint8_t base; /* enum base */
	uint8_t in;
	int32_t off;
};

/* A way through the code, and how RSP and RBP are there. */
struct way {
	size_t pos;
	struct value sp, fp;
	struct value pushed; /* where the RBP of `at` was pushed since; lost: nowhere */
};

struct ways {
	size_t n;
	struct way v[MAX_WAYS];
};

struct search {
	const uint8_t *code;
	size_t len;
	uint64_t addr; /* of code[0] */
	unsigned ninsns;
	bool left;  /* a way led out of the code */
	bool found; /* a return */
	bool sure;  /* it is reached across no call */
	bool differs;
	struct value sp, fp; /* at the return */
	/* Those to follow now, and those behind one call more. */
	struct ways ways[2];
	uint8_t seen[AHEAD_MAX_LEN / 8];
};

static void add(struct ways *ways, const struct way *way)
{
	if (ways->n < MAX_WAYS)
		ways->v[ways->n++] = *way;
}

static struct value shifted(struct value value, int64_t by)
{
	int64_t off = value.off + by;

	if ((value.base != BASE_SP && value.base != BASE_FP) || off <= -MAX_FRAME ||
	    off >= MAX_FRAME)
		return (struct value){.base = BASE_LOST};
	value.off = (int32_t)off;
	return value;
}

static bool is_same(struct value a, struct value b)
{
	return a.base == b.base && a.in == b.in && a.off == b.off;
}

static void pop_fp(struct way *way)
{
	struct value at = way->sp;

	if (at.base == BASE_LOST)
		way->fp = at;
	else if (is_same(at, way->pushed))
		way->fp = (struct value){.base = BASE_FP};
	else
		way->fp = (struct value){BASE_POPPED, at.base, at.off};
	way->sp = shifted(at, 8);
}

static void push_fp(struct way *way)
{
	way->sp = shifted(way->sp, -8);
	if (way->fp.base == BASE_FP && way->fp.off == 0)
		way->pushed = way->sp;
}

static void apply(struct way *way, const struct insn *insn)
{
	switch (insn->kind) {
	case INSN_PUSH:
		way->sp = shifted(way->sp, -8);
		break;
	case INSN_PUSH_RBP:
		push_fp(way);
		break;
	case INSN_POP:
		way->sp = shifted(way->sp, 8);
		break;
	case INSN_POP_RBP:
		pop_fp(way);
		break;
	case INSN_ADD_RSP:
		way->sp = shifted(way->sp, insn->value);
		break;
	case INSN_SET_RBP:
		way->fp = shifted(way->sp, insn->value);
		break;
	case INSN_SET_RSP:
		way->sp = shifted(way->fp, insn->value);
		break;
	case INSN_LEAVE:
		way->sp = way->fp;
		pop_fp(way);
		break;
	case INSN_LOSE_RSP:
		way->sp = (struct value){.base = BASE_LOST};
		break;
	case INSN_CLEAR_RBP:
	case INSN_LOSE_RBP:
		way->fp = (struct value){.base = BASE_LOST};
		break;
	default:
		break;
	}
}

/* ret, with a prefix or without. The one that takes arguments along leaves the
 * caller's SP elsewhere, and is none of these. */
static bool is_return(const uint8_t *code, const struct insn *insn)
{
	return insn->kind == INSN_END && insn->len <= 2 && code[insn->len - 1] == 0xc3;
}

static void note_return(struct search *search, const struct way *way)
{
	if (way->sp.base != BASE_SP && way->sp.base != BASE_FP)
		return;
	if (!search->found) {
		search->found = true;
		search->sp = way->sp;
		search->fp = way->fp;
		return;
	}
	search->differs |= !is_same(search->sp, way->sp);
	if (!is_same(search->fp, way->fp))
		search->fp = (struct value){.base = BASE_LOST};
}

/* Another way that begins with a jump. */
static void branch(struct search *search, struct ways *ways, const struct way *way,
                   int64_t to)
{
	struct way other = *way;

	if (to < 0 || (uint64_t)to >= search->len) {
		search->left = true;
		return;
	}
	other.pos = (size_t)to;
	add(ways, &other);
}

static bool was_seen(struct search *search, size_t pos)
{
	const uint8_t bit = (uint8_t)(1 << pos % 8);
	bool seen = search->seen[pos / 8] & bit;

	search->seen[pos / 8] |= bit;
	return seen;
}

/* Whether another function seems to begin behind a call, which then does not come
 * back: at its place, or behind padding. */
static bool is_beginning(const struct search *search, size_t pos)
{
	struct insn insn = insn_read(search->code + pos, search->len - pos);

	while (insn.kind == INSN_NOP) {
		pos += insn.len;
		insn = insn_read(search->code + pos, search->len - pos);
	}
	return (search->addr + pos) % ALIGNMENT == 0 &&
	       (insn.kind == INSN_PUSH || insn.kind == INSN_PUSH_RBP ||
	        (insn.kind == INSN_ADD_RSP && insn.value < 0));
}

/* Until it returns, calls, or goes where it cannot be followed. */
static void follow(struct search *search, struct way way, struct ways *now,
                   struct ways *later)
{
	while (way.pos < search->len && search->ninsns++ < MAX_INSNS &&
	       !was_seen(search, way.pos)) {
		const uint8_t *code = search->code + way.pos;
		struct insn insn = insn_read(code, search->len - way.pos);

		if (insn.kind == INSN_BAD)
			search->left |= search->len - way.pos < INSN_MAX_LEN;
		if (insn.kind == INSN_BAD || insn.kind == INSN_JUMP_AWAY)
			return;
		if (is_return(code, &insn))
			note_return(search, &way);
		if (insn.kind == INSN_END)
			return;
		way.pos += insn.len;
		if (insn.kind == INSN_JUMP || insn.kind == INSN_BRANCH)
			branch(search, now, &way, (int64_t)way.pos + insn.value);
		if (insn.kind == INSN_JUMP)
			return;
		if (insn.kind == INSN_CALL) {
			if (!is_beginning(search, way.pos))
				add(later, &way);
			return;
		}
		apply(&way, &insn);
	}
	search->left |= way.pos >= search->len;
}

static void run(struct search *search, const struct way *first)
{
	struct ways *now = &search->ways[0], *later = &search->ways[1];

	add(now, first);
	search->sure = true;
	while (now->n > 0 && !search->found) {
		struct ways *done = now;

		while (now->n > 0)
			follow(search, now->v[--now->n], now, later);
		search->sure &= search->found;
		now = later;
		later = done;
	}
}

static struct code_rule make_rule(const struct search *search)
{
	const struct value sp = search->sp, fp = search->fp;
	struct code_rule rule = {.kind = CODE_UNKNOWN, .cfa = sp.off + 8};

	if (!search->found || search->differs || (sp.base == BASE_SP && sp.off < 0))
		return rule;
	rule.kind = sp.base == BASE_SP ? CODE_FROM_SP : CODE_FROM_FP;
	if (fp.base == BASE_POPPED && fp.in == sp.base && fp.off < rule.cfa)
		rule.fp_below = rule.cfa - fp.off;
	else
		rule.fp_lost = fp.base != BASE_FP || fp.off != 0;
	return rule;
}

struct code_rule ahead_rule_at(const uint8_t *code, size_t len, size_t at, uint64_t addr,
                               bool is_call, bool *more)
{
	struct search search = {.code = code,
	                        .len = len < AHEAD_MAX_LEN ? len : AHEAD_MAX_LEN,
	                        .addr = addr - at};
	struct way first = {.pos = at,
	                    .sp = {.base = BASE_SP},
	                    .fp = {.base = BASE_FP},
	                    .pushed = {.base = BASE_LOST}};

	if (at < search.len && !(is_call && is_beginning(&search, at)))
		run(&search, &first);
	*more = search.left && !search.sure;
	return make_rule(&search);
}
