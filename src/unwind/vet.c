/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libunwind was written for a program that unwinds itself. Given another's
 * bytes, it can be made to index its register array with a return address
 * column of any size, to divide the smallest integer by -1 (SIGFPE), and to run
 * an expression that jumps back for ever. So each FDE is read through once
 * before libunwind sees it, and one that has instructions or operators other
 * than those below is not used at all. (The accessors bound libunwind's reads
 * besides: libunwind.c.)
 */
#include "unwind/vet.h"

#include "base/reader.h"
#include "target/arch.h"

#define MAX_REMEMBERED 64

enum operands {
	BAD, /* not allowed, or not known */
	NONE,
	DELTA1, /* fixed sizes */
	DELTA2,
	DELTA4,
	REG, /* ULEB128 register number */
	REG_REG,
	REG_LEB, /* a register and any number */
	LEB,
	BLOCK, /* an expression */
	REG_BLOCK,
	REMEMBER,
	RESTORE,
};

/* By DW_CFA_* number (DWARF 5, 7.24), for those with two high zero bits. */
static const uint8_t cfa_operands[64] = {
        [0x00] = NONE,      /* nop */
        [0x02] = DELTA1,    /* advance_loc1 */
        [0x03] = DELTA2,    /* advance_loc2 */
        [0x04] = DELTA4,    /* advance_loc4 */
        [0x05] = REG_LEB,   /* offset_extended */
        [0x06] = REG,       /* restore_extended */
        [0x07] = REG,       /* undefined */
        [0x08] = REG,       /* same_value */
        [0x09] = REG_REG,   /* register */
        [0x0a] = REMEMBER,  /* remember_state */
        [0x0b] = RESTORE,   /* restore_state */
        [0x0c] = REG_LEB,   /* def_cfa */
        [0x0d] = REG,       /* def_cfa_register */
        [0x0e] = LEB,       /* def_cfa_offset */
        [0x0f] = BLOCK,     /* def_cfa_expression */
        [0x10] = REG_BLOCK, /* expression */
        [0x11] = REG_LEB,   /* offset_extended_sf */
        [0x12] = REG_LEB,   /* def_cfa_sf */
        [0x13] = LEB,       /* def_cfa_offset_sf */
        [0x14] = REG_LEB,   /* val_offset */
        [0x15] = REG_LEB,   /* val_offset_sf */
        [0x16] = REG_BLOCK, /* val_expression */
        [0x2e] = LEB,       /* GNU_args_size */
        [0x2f] = REG_LEB,   /* GNU_negative_offset_extended */
};

/* Skips the operand of a DW_OP (DWARF 5, 7.7.1); false for one not allowed. */
static bool vet_operator(struct reader *r, uint8_t op)
{
	int16_t distance;

	if (op >= 0x30 && op <= 0x4f) /* lit0 .. lit31 */
		return true;
	if (op >= 0x70 && op <= 0x70 + ARCH_REG_PC) { /* breg0 .. */
		reader_sleb(r);
		return true;
	}
	switch (op) {
	case 0x06: /* deref */
	case 0x12: /* dup */
	case 0x13: /* drop */
	case 0x14: /* over */
	case 0x16: /* swap */
	case 0x17: /* rot */
	case 0x19: /* abs */
	case 0x1a: /* and */
	case 0x1c: /* minus */
	case 0x1d: /* mod; 0x1b, div, is the one that traps */
	case 0x1e: /* mul */
	case 0x1f: /* neg */
	case 0x20: /* not */
	case 0x21: /* or */
	case 0x22: /* plus */
	case 0x24: /* shl */
	case 0x25: /* shr */
	case 0x26: /* shra */
	case 0x27: /* xor */
	case 0x29: /* eq */
	case 0x2a: /* ge */
	case 0x2b: /* gt */
	case 0x2c: /* le */
	case 0x2d: /* lt */
	case 0x2e: /* ne */
	case 0x96: /* nop */
		return true;
	case 0x08: /* const1u */
	case 0x09: /* const1s */
		reader_skip(r, 1);
		return true;
	case 0x94: /* deref_size */
		switch (reader_u8(r)) {
		case 1:
		case 2:
		case 4:
		case 8:
			return true;
		}
		return false;
	case 0x0a: /* const2u */
	case 0x0b: /* const2s */
		reader_skip(r, 2);
		return true;
	case 0x0c: /* const4u */
	case 0x0d: /* const4s */
		reader_skip(r, 4);
		return true;
	case 0x03: /* addr */
	case 0x0e: /* const8u */
	case 0x0f: /* const8s */
		reader_skip(r, 8);
		return true;
	case 0x10: /* constu */
	case 0x23: /* plus_uconst */
		reader_uleb(r);
		return true;
	case 0x11: /* consts */
		reader_sleb(r);
		return true;
	case 0x28: /* bra */
	case 0x2f: /* skip */
		distance = (int16_t)reader_u16(r);
		return distance >= 0 && (size_t)distance <= reader_left(r);
	default:
		return false;
	}
}

static bool vet_expression(struct reader *r)
{
	uint64_t len = reader_uleb(r);
	struct reader expression;

	if (r->failed || len > reader_left(r))
		return false;
	expression = reader_init(r->data + r->pos, len);
	while (reader_left(&expression) > 0)
		if (!vet_operator(&expression, reader_u8(&expression)) || expression.failed)
			return false;
	reader_skip(r, len);
	return true;
}

static bool vet_register(struct reader *r)
{
	return reader_uleb(r) < ARCH_NREGS;
}

static bool vet_operands(struct reader *r, enum operands operands, int *remembered)
{
	switch (operands) {
	case NONE:
		return true;
	case DELTA1:
		reader_skip(r, 1);
		return true;
	case DELTA2:
		reader_skip(r, 2);
		return true;
	case DELTA4:
		reader_skip(r, 4);
		return true;
	case REG:
		return vet_register(r);
	case REG_REG:
		return vet_register(r) && vet_register(r);
	case REG_LEB:
		if (!vet_register(r))
			return false;
		reader_sleb(r);
		return true;
	case LEB:
		reader_uleb(r);
		return true;
	case BLOCK:
		return vet_expression(r);
	case REG_BLOCK:
		return vet_register(r) && vet_expression(r);
	case REMEMBER:
		return ++*remembered <= MAX_REMEMBERED;
	case RESTORE:
		return --*remembered >= 0;
	case BAD:
		break;
	}
	return false;
}

static bool vet_program(const struct fde_program *program)
{
	struct reader r = reader_init(program->data, program->len);
	int remembered = 0;

	while (reader_left(&r) > 0) {
		uint8_t op = reader_u8(&r);

		switch (op >> 6) {
		case 0:
			if (!vet_operands(&r, cfa_operands[op], &remembered))
				return false;
			break;
		case 1: /* advance_loc: the delta is in the byte */
			break;
		case 2: /* offset: the register is in the byte */
			reader_uleb(&r);
			if ((op & 0x3f) >= ARCH_NREGS)
				return false;
			break;
		case 3: /* restore */
			if ((op & 0x3f) >= ARCH_NREGS)
				return false;
			break;
		}
		if (r.failed)
			return false;
	}
	return true;
}

bool vet_fde(const struct fde *fde)
{
	return fde->return_column == ARCH_REG_PC && vet_program(&fde->initial) &&
	       vet_program(&fde->program);
}
