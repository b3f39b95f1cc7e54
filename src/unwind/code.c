/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compiler's function moves RSP by constants, and RBP by known steps. So, from
 * its first instruction on, where it can get by falling through and by direct
 * jumps, what it has pushed is known without any table.
 *
 * The code is gone through in the order of addresses, and each jump leaves word
 * with its target of how the stack is there. What stands behind a jump or a return
 * is reached by other jumps: forward ones have left word already, for backward
 * ones the code is gone through again. What then is still unreached are the cases
 * of a switch, reached through a table of addresses: all such jumps of a function
 * (they are no tail calls: something is on the stack) must agree, and the cases
 * continue as they left it.
 *
 * Whatever is not understood makes things unknown, never wrong: code that is not
 * an instruction, RSP set from elsewhere (alloca, alignment), except where RBP
 * still tells, and two ways to a place that leave different things on the stack
 * (a loop that moves RSP).
 */
#include "unwind/code.h"

#include <stdlib.h>

#include "base/mem.h"
#include "unwind/insn.h"

#define MAX_PASSES 3
#define MAX_FRAME  (1 << 20) /* bytes; no more is believed */

/* How the stack is in front of an instruction. CFA is the caller's SP. */
struct stack_state {
	bool known;
	bool sp_known;
	bool is_frame; /* RBP points into the frame */
	bool fp_lost;  /* RBP is not the caller's any more, and was not saved */
	bool cleared;  /* RBP was zeroed without being saved */
	int32_t depth; /* CFA = SP + depth */
	int32_t frame; /* CFA = RBP + frame */
	int32_t saved; /* the caller's RBP is at CFA - saved; 0: not saved */
};

struct flow {
	const uint8_t *code;
	size_t len;
	size_t at; /* the state here is wanted */
	bool is_call;
	bool end_is_known;        /* no other function follows */
	bool *loops;              /* of each byte: a branch goes back to it */
	struct stack_state *seen; /* of each byte: how the stack was there */
	struct stack_state *word; /* of each byte: what jumps have said */
	struct stack_state found; /* at `at` */
	struct stack_state cases; /* behind jumps through tables */
	bool cases_differ;
	bool learned; /* word for code that was passed already */
	bool differs; /* two ways to a place do not agree */
};

static const struct stack_state at_entry = {.known = true, .sp_known = true, .depth = 8};

static void move_sp(struct stack_state *s, int64_t up)
{
	int64_t depth = s->depth - up;

	s->sp_known &= depth >= 0 && depth < MAX_FRAME;
	s->depth = s->sp_known ? (int32_t)depth : 0;
}

/* RBP is overwritten. */
static void lose_fp(struct stack_state *s)
{
	s->is_frame = false;
	s->fp_lost |= s->saved == 0;
}

/* RBP points `above` bytes above SP. */
static void set_frame(struct stack_state *s, int64_t above)
{
	int64_t frame = s->depth - above;

	lose_fp(s);
	s->is_frame = s->sp_known && frame > -MAX_FRAME && frame < MAX_FRAME;
	s->frame = s->is_frame ? (int32_t)frame : 0;
}

static void set_sp_from_frame(struct stack_state *s, int64_t above)
{
	s->sp_known = s->is_frame;
	s->depth = s->frame;
	if (s->sp_known)
		move_sp(s, above);
}

/* RBP is what lies at SP. */
static void pop_fp(struct stack_state *s)
{
	if (s->sp_known && s->saved == s->depth && s->saved != 0) {
		s->saved = 0;
		s->is_frame = s->fp_lost = false;
	} else {
		lose_fp(s);
	}
	move_sp(s, 8);
}

static void push_fp(struct stack_state *s)
{
	move_sp(s, -8);
	if (s->saved == 0 && !s->fp_lost && !s->is_frame && s->sp_known)
		s->saved = s->depth;
}

static void apply(struct stack_state *s, const struct insn *insn)
{
	switch (insn->kind) {
	case INSN_PUSH:
		move_sp(s, -8);
		break;
	case INSN_PUSH_RBP:
		push_fp(s);
		break;
	case INSN_POP:
		move_sp(s, 8);
		break;
	case INSN_POP_RBP:
		pop_fp(s);
		break;
	case INSN_ADD_RSP:
		move_sp(s, insn->value);
		break;
	case INSN_SET_RBP:
		set_frame(s, insn->value);
		break;
	case INSN_SET_RSP:
		set_sp_from_frame(s, insn->value);
		break;
	case INSN_LEAVE:
		set_sp_from_frame(s, 0);
		pop_fp(s);
		break;
	case INSN_CLEAR_RBP:
		s->cleared |= s->saved == 0 && !s->fp_lost;
		lose_fp(s);
		break;
	case INSN_LOSE_RSP:
		s->sp_known = false;
		break;
	case INSN_LOSE_RBP:
		lose_fp(s);
		break;
	default:
		break;
	}
}

static bool same_place(const struct stack_state *a, const struct stack_state *b)
{
	return a->sp_known == b->sp_known && a->is_frame == b->is_frame &&
	       a->fp_lost == b->fp_lost && a->depth == b->depth && a->frame == b->frame &&
	       a->saved == b->saved;
}

static bool disagree(const struct stack_state *a, const struct stack_state *b)
{
	return a->known && b->known && a->sp_known && b->sp_known && a->depth != b->depth;
}

/* A jump says how the stack is at its target. */
static void leave_word(struct flow *flow, size_t from, int64_t to,
                       const struct stack_state *s)
{
	struct stack_state *word;

	if (to < 0 || (uint64_t)to >= flow->len || !s->known)
		return;
	word = &flow->word[to];
	if ((size_t)to <= from)
		flow->differs |= disagree(&flow->seen[to], s);
	if (word->known)
		return;
	*word = *s;
	flow->learned |= (size_t)to <= from;
}

static void note_loop(struct flow *flow, size_t from, int64_t to)
{
	if (to < 0 || (uint64_t)to > from || flow->loops[to])
		return;
	flow->loops[to] = true;
	flow->learned = true;
}

static void note_cases(struct flow *flow, const struct stack_state *s)
{
	if (!s->known || (s->sp_known && s->depth == at_entry.depth && !s->is_frame))
		return;
	flow->cases_differ |= flow->cases.known && !same_place(&flow->cases, s);
	flow->cases = *s;
}

/* Follows an instruction; afterwards *s is how it is behind it. */
static void follow(struct flow *flow, size_t pos, const struct insn *insn,
                   struct stack_state *s)
{
	size_t next = pos + insn->len;

	switch (insn->kind) {
	case INSN_BRANCH:
		note_loop(flow, pos, (int64_t)next + insn->value);
		leave_word(flow, pos, (int64_t)next + insn->value, s);
		break;
	case INSN_JUMP:
		/* A long one may be a call of the function before, the last thing
		 * that its own function does. */
		if (insn->len == 2)
			note_loop(flow, pos, (int64_t)next + insn->value);
		leave_word(flow, pos, (int64_t)next + insn->value, s);
		s->known = false;
		break;
	case INSN_JUMP_AWAY:
		note_cases(flow, s);
		s->known = false;
		break;
	case INSN_END:
		s->known = false;
		break;
	default:
		apply(s, insn);
		break;
	}
}

/* Whether this instruction is the one that is asked about. */
static bool is_wanted(const struct flow *flow, size_t pos, const struct insn *insn)
{
	if (flow->is_call)
		return insn->kind == INSN_CALL && pos + insn->len == flow->at + 1;
	return pos == flow->at;
}

/* The state in front of the instruction at `pos`, given that of falling through. */
static struct stack_state arrive(struct flow *flow, size_t pos, struct stack_state s,
                                 bool after_call, bool use_cases)
{
	const struct stack_state *word = &flow->word[pos];

	/* What a jump says is surer: a call may not come back. */
	flow->differs |= !after_call && disagree(word, &s);
	if (word->known)
		s = *word;
	else if (!s.known && use_cases)
		s = flow->cases;
	flow->seen[pos] = s;
	return s;
}

static void pass(struct flow *flow, bool use_cases)
{
	struct stack_state s = at_entry;
	bool after_call = false, padded = false;

	flow->learned = false;
	flow->found.known = false;
	for (size_t pos = 0; pos < flow->len;) {
		struct insn insn = insn_read(flow->code + pos, flow->len - pos);

		if (insn.kind == INSN_BAD)
			return;
		/* A call and padding: a loop follows, or it does not come back, and
		 * another function does. */
		if (padded && insn.kind != INSN_NOP && !flow->end_is_known &&
		    !flow->loops[pos])
			s.known = false;
		s = arrive(flow, pos, s, after_call, use_cases);
		if (is_wanted(flow, pos, &insn))
			flow->found = s;
		follow(flow, pos, &insn, &s);
		padded = (after_call || padded) && insn.kind == INSN_NOP;
		after_call = insn.kind == INSN_CALL || padded;
		pos += insn.len;
	}
}

/* Until nothing new is learned. */
static void run(struct flow *flow, bool use_cases)
{
	for (unsigned i = 0; i < MAX_PASSES; i++) {
		pass(flow, use_cases);
		if (!flow->learned)
			return;
	}
}

static struct code_rule make_rule(const struct stack_state *s)
{
	struct code_rule rule = {.fp_lost = s->fp_lost, .fp_below = s->saved};

	if (!s->known)
		return rule;
	if (s->cleared && s->saved == 0)
		rule.kind = CODE_OUTERMOST;
	else if (s->sp_known && s->depth >= 8 && s->depth % 8 == 0)
		rule.kind = CODE_FROM_SP;
	else if (!s->sp_known && s->is_frame)
		rule.kind = CODE_FROM_FP;
	rule.cfa = s->sp_known ? s->depth : s->frame;
	return rule;
}

struct code_rule code_rule_at(const uint8_t *code, size_t len, size_t at, bool is_call,
                              bool follow_tables)
{
	struct flow flow = {.code = code,
	                    .len = len < CODE_MAX_LEN ? len : CODE_MAX_LEN,
	                    .at = at,
	                    .is_call = is_call,
	                    .end_is_known = follow_tables};

	if (at >= flow.len)
		return (struct code_rule){.kind = CODE_UNKNOWN};
	flow.loops = xcalloc(flow.len, sizeof *flow.loops);
	flow.word = xcalloc(flow.len, sizeof *flow.word);
	flow.seen = xcalloc(flow.len, sizeof *flow.seen);
	run(&flow, false);
	if (!flow.found.known && follow_tables && flow.cases.known && !flow.cases_differ)
		run(&flow, true);
	free(flow.loops);
	free(flow.word);
	free(flow.seen);
	if (flow.differs)
		return (struct code_rule){.kind = CODE_UNKNOWN};
	return make_rule(&flow.found);
}
