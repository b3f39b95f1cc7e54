/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64 instructions, as far as it matters to the stack: how long one is, where
 * it goes, and what it does to RSP and RBP. The encodings are those of Intel's
 * Software Developer's Manual, volume 2, chapter 2 and appendix A.
 */
#ifndef CPROF_UNWIND_INSN_H
#define CPROF_UNWIND_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum insn_kind {
	INSN_BAD,       /* cut off, or not known */
	INSN_OTHER,     /* touches neither RSP nor RBP */
	INSN_NOP,       /* nothing, as between functions */
	INSN_PUSH,      /* RSP -= 8 */
	INSN_PUSH_RBP,  /* the same */
	INSN_POP,       /* RSP += 8 */
	INSN_POP_RBP,   /* and RBP is what was there */
	INSN_ADD_RSP,   /* RSP += value */
	INSN_SET_RBP,   /* RBP = RSP + value */
	INSN_SET_RSP,   /* RSP = RBP + value */
	INSN_LEAVE,     /* RSP = RBP, then RBP is popped */
	INSN_CLEAR_RBP, /* RBP = 0: the outermost frame says so */
	INSN_LOSE_RSP,  /* RSP is changed by what is not known here */
	INSN_LOSE_RBP,  /* RBP is */
	INSN_CALL,      /* comes back with RSP as it was */
	INSN_JUMP,      /* to the next instruction's address + value, always */
	INSN_BRANCH,    /* ... or goes on */
	INSN_JUMP_AWAY, /* to where a register or memory says */
	INSN_END,       /* ret, hlt, ud2, int3: what follows is reached by jumps */
};

struct insn {
	enum insn_kind kind;
	uint8_t len;
	int64_t value;
};

/* The instruction that begins at `code`, of which `len` bytes are at hand. */
struct insn insn_read(const uint8_t *code, size_t len);

#endif
