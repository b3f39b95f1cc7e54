/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/insn.h"

#include "base/reader.h"

#define MAX_LEN 15
#define RSP     4
#define RBP     5

/* What stands in front of an opcode. */
struct prefixes {
	bool operand16; /* 66 */
	bool vex;
	bool rex;
	bool wide;       /* REX.W */
	uint8_t reg, rm; /* 8 where REX.R, REX.B extend the register's number */
	uint8_t map;     /* 0: one byte; 1: 0F; 2: 0F 38; 3: 0F 3A */
};

/* The operands behind an opcode. */
struct operands {
	bool is_register; /* no memory: rm is a register */
	uint8_t digit;    /* the reg field, not extended */
	uint8_t reg, rm;  /* extended; rm of memory: its base, 0xff if there is none or an
			     index is added */
	int64_t disp;
	int64_t imm;
};

static void read_vex(struct reader *r, struct prefixes *p, uint8_t first)
{
	uint8_t byte = reader_u8(r);

	p->vex = true;
	p->reg = byte & 0x80 ? 0 : 8;
	p->map = 1;
	if (first == 0xc5)
		return;
	p->rm = byte & 0x20 ? 0 : 8;
	p->map = byte & (first == 0xc4 ? 0x1f : 7);
	reader_skip(r, first == 0xc4 ? 1 : 2);
	/* Of EVEX the maps 5 and 6 are as 1 and 2. */
	if (first == 0x62 && (p->map == 5 || p->map == 6))
		p->map -= 4;
	r->failed |= p->map == 0 || p->map > 3;
}

/* All prefixes; gives the opcode's last byte. */
static uint8_t read_opcode(struct reader *r, struct prefixes *p)
{
	uint8_t byte = reader_u8(r);

	while (byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 ||
	       byte == 0xf3 || byte == 0x2e || byte == 0x36 || byte == 0x3e ||
	       byte == 0x26 || byte == 0x64 || byte == 0x65) {
		p->operand16 |= byte == 0x66;
		byte = reader_u8(r);
	}
	if (byte == 0xc4 || byte == 0xc5 || byte == 0x62) {
		read_vex(r, p, byte);
		return reader_u8(r);
	}
	if ((byte & 0xf0) == 0x40) {
		p->rex = true;
		p->wide = (byte & 8) != 0;
		p->reg = byte & 4 ? 8 : 0;
		p->rm = byte & 1 ? 8 : 0;
		byte = reader_u8(r);
	}
	if (byte != 0x0f)
		return byte;
	p->map = 1;
	byte = reader_u8(r);
	if (byte == 0x38 || byte == 0x3a) {
		p->map = byte == 0x38 ? 2 : 3;
		byte = reader_u8(r);
	}
	return byte;
}

/* ModRM, SIB and displacement. */
static void read_modrm(struct reader *r, const struct prefixes *p, struct operands *o)
{
	uint8_t modrm = reader_u8(r), mod = modrm >> 6, base = modrm & 7, sib = 0x20;

	o->digit = modrm >> 3 & 7;
	o->reg = o->digit | p->reg;
	o->rm = base | p->rm;
	o->is_register = mod == 3;
	if (o->is_register)
		return;
	if (base == 4) {
		sib = reader_u8(r);
		base = sib & 7;
		/* Index 4 without REX.X is none; with it, it is r12. What has an index
		 * is of no interest, so r12 may be mistaken for none. */
		o->rm = (sib & 0x38) == 0x20 ? base | p->rm : 0xff;
	}
	if (mod == 0 && base == 5) {
		o->rm = 0xff;
		reader_skip(r, 4);
	} else if (mod == 1) {
		o->disp = (int8_t)reader_u8(r);
	} else if (mod == 2) {
		o->disp = (int32_t)reader_u32(r);
	}
}

static bool has_modrm(const struct prefixes *p, uint8_t op)
{
	if (p->map > 1)
		return true;
	if (p->map == 1)
		return !(op == 0x77 || (op >= 0x80 && op <= 0x8f && !p->vex) ||
		         (!p->vex &&
		          ((op >= 0x05 && op <= 0x0b && op != 0x0a) || op == 0x0e ||
		           (op >= 0x30 && op <= 0x37) || (op >= 0xa0 && op <= 0xa2) ||
		           (op >= 0xa8 && op <= 0xaa) || (op >= 0xc8 && op <= 0xcf))));
	if (op < 0x40)
		return (op & 7) < 4;
	return op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op <= 0x8f) ||
	       op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xc7 ||
	       (op >= 0xd0 && op <= 0xd3) || (op >= 0xd8 && op <= 0xdf) || op == 0xf6 ||
	       op == 0xf7 || op == 0xfe || op == 0xff;
}

/* How many bytes of immediate operand an opcode of one byte has. */
static size_t immediate_len(const struct prefixes *p, uint8_t op, uint8_t digit)
{
	size_t full = p->operand16 && !p->wide ? 2 : 4;

	if (op < 0x40)
		return (op & 7) == 4 ? 1 : (op & 7) == 5 ? full : 0;
	if ((op >= 0x70 && op <= 0x7f) || (op >= 0xb0 && op <= 0xb7) ||
	    (op >= 0xe0 && op <= 0xe7))
		return 1;
	if (op >= 0xb8 && op <= 0xbf)
		return p->wide ? 8 : full;
	if (op >= 0xa0 && op <= 0xa3)
		return 8;
	switch (op) {
	case 0x68:
	case 0x69:
	case 0x81:
	case 0xa9:
	case 0xc7:
		return full;
	case 0x6a:
	case 0x6b:
	case 0x80:
	case 0x83:
	case 0xa8:
	case 0xc0:
	case 0xc1:
	case 0xc6:
	case 0xcd:
	case 0xeb:
		return 1;
	case 0xc2:
	case 0xca:
		return 2;
	case 0xc8:
		return 3;
	case 0xe8:
	case 0xe9:
		return 4;
	case 0xf6:
		return digit < 2 ? 1 : 0;
	case 0xf7:
		return digit < 2 ? full : 0;
	default:
		return 0;
	}
}

static size_t map_immediate_len(const struct prefixes *p, uint8_t op)
{
	if (p->map == 3)
		return 1;
	if (p->map != 1)
		return 0;
	if (op >= 0x80 && op <= 0x8f && !p->vex)
		return 4;
	return (op >= 0x70 && op <= 0x73) || op == 0xa4 || op == 0xac || op == 0xba ||
	       op == 0xc2 || (op >= 0xc4 && op <= 0xc6);
}

static void read_immediate(struct reader *r, size_t len, struct operands *o)
{
	switch (len) {
	case 1:
		o->imm = (int8_t)reader_u8(r);
		break;
	case 4:
		o->imm = (int32_t)reader_u32(r);
		break;
	default:
		reader_skip(r, len);
		break;
	}
}

static bool is_invalid(uint8_t op)
{
	if (op < 0x40)
		return (op & 7) > 5;
	return (op >= 0x60 && op <= 0x62) || op == 0x82 || op == 0x9a || op == 0xce ||
	       (op >= 0xd4 && op <= 0xd6) || op == 0xea;
}

/* The kind of an instruction that leaves something in a register. */
static enum insn_kind written(uint8_t reg)
{
	return reg == RSP ? INSN_LOSE_RSP : reg == RBP ? INSN_LOSE_RBP : INSN_OTHER;
}

/* The same of an operand of one byte: without REX, 4 is %ah and 5 is %ch. */
static enum insn_kind written_byte(const struct prefixes *p, uint8_t reg)
{
	return p->rex ? written(reg) : INSN_OTHER;
}

static enum insn_kind written_by(const struct prefixes *p, uint8_t op, uint8_t reg)
{
	return op & 1 ? written(reg) : written_byte(p, reg);
}

/* add, or, adc, sbb, and, sub, xor, cmp in their six forms. */
static enum insn_kind arithmetic(const struct prefixes *p, uint8_t op,
                                 const struct operands *o)
{
	uint8_t form = op & 7;

	if (op >> 3 == 7 || form > 3)
		return INSN_OTHER;
	if (op >> 3 == 6 && o->is_register && o->reg == RBP && o->rm == RBP)
		return INSN_CLEAR_RBP;
	if (form >= 2)
		return written_by(p, op, o->reg);
	return o->is_register ? written_by(p, op, o->rm) : INSN_OTHER;
}

/* The same with an immediate operand. */
static enum insn_kind arithmetic_immediate(const struct prefixes *p, uint8_t op,
                                           const struct operands *o, int64_t *value)
{
	if (!o->is_register || o->digit == 7)
		return INSN_OTHER;
	if (op == 0x80)
		return written_byte(p, o->rm);
	if (o->rm == RSP && p->wide && (o->digit == 0 || o->digit == 5)) {
		*value = o->digit == 0 ? o->imm : -o->imm;
		return INSN_ADD_RSP;
	}
	return written(o->rm);
}

/* mov between registers, and lea. */
static enum insn_kind move(const struct prefixes *p, uint8_t op, const struct operands *o,
                           int64_t *value)
{
	uint8_t to = op == 0x89 ? o->rm : o->reg, from = op == 0x89 ? o->reg : o->rm;

	if (op != 0x8d && !o->is_register)
		return op == 0x89 ? INSN_OTHER : written(o->reg);
	*value = op == 0x8d ? o->disp : 0;
	if (p->wide && to == RBP && from == RSP)
		return INSN_SET_RBP;
	if (p->wide && to == RSP && from == RBP)
		return INSN_SET_RSP;
	if (p->wide && op == 0x8d && to == RSP && from == RSP)
		return INSN_ADD_RSP;
	return written(to);
}

static enum insn_kind group_ff(const struct operands *o)
{
	switch (o->digit) {
	case 2:
		return INSN_CALL;
	case 4:
		return INSN_JUMP_AWAY;
	case 6:
		return INSN_PUSH;
	case 0:
	case 1:
		return o->is_register ? written(o->rm) : INSN_OTHER;
	default:
		return INSN_BAD;
	}
}

/* Opcodes whose result goes where rm says. */
static bool writes_rm(uint8_t op, uint8_t digit)
{
	return op == 0x87 || op == 0x88 || op == 0x8c || op == 0xc0 || op == 0xc1 ||
	       op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) || op == 0xfe ||
	       ((op == 0xf6 || op == 0xf7) && (digit == 2 || digit == 3));
}

static bool writes_reg(uint8_t op)
{
	return op == 0x63 || op == 0x69 || op == 0x6b || op == 0x87;
}

static enum insn_kind one_byte(const struct prefixes *p, uint8_t op,
                               const struct operands *o, int64_t *value)
{
	uint8_t low = (op & 7) | p->rm;

	if (op < 0x40)
		return arithmetic(p, op, o);
	if (op >= 0x50 && op <= 0x57)
		return low == RBP ? INSN_PUSH_RBP : INSN_PUSH;
	if (op >= 0x58 && op <= 0x5f)
		return low == RBP ? INSN_POP_RBP : low == RSP ? INSN_LOSE_RSP : INSN_POP;
	if ((op >= 0x70 && op <= 0x7f) || (op >= 0xe0 && op <= 0xe3)) {
		*value = o->imm;
		return INSN_BRANCH;
	}
	if (op == 0x90 && p->rm == 0)
		return INSN_NOP;
	if ((op >= 0x90 && op <= 0x97) || (op >= 0xb8 && op <= 0xbf))
		return written(low);
	if ((op >= 0xb0 && op <= 0xb7) || op == 0x86 || op == 0x8a)
		return written_byte(p, op == 0x8a ? o->reg : low);
	switch (op) {
	case 0x68:
	case 0x6a:
	case 0x9c:
		return INSN_PUSH;
	case 0x8f: /* elsewhere it is a prefix of AMD's */
		return o->digit != 0 ? INSN_BAD : o->is_register ? INSN_LOSE_RSP : INSN_POP;
	case 0x9d:
		return INSN_POP;
	case 0x80:
	case 0x81:
	case 0x83:
		return arithmetic_immediate(p, op, o, value);
	case 0x89:
	case 0x8b:
	case 0x8d:
		return move(p, op, o, value);
	case 0xc9:
		return INSN_LEAVE;
	case 0xc8:
		return INSN_LOSE_RSP;
	case 0xe8:
		return INSN_CALL;
	case 0xe9:
	case 0xeb:
		*value = o->imm;
		return INSN_JUMP;
	case 0xc2:
	case 0xc3:
	case 0xca:
	case 0xcb:
	case 0xcc:
	case 0xcf:
	case 0xf4:
		return INSN_END;
	case 0xff:
		return group_ff(o);
	default:
		break;
	}
	if (writes_rm(op, o->digit) && o->is_register &&
	    written_by(p, op, o->rm) != INSN_OTHER)
		return written_by(p, op, o->rm);
	return writes_reg(op) ? written(o->reg) : INSN_OTHER;
}

static enum insn_kind two_bytes(const struct prefixes *p, uint8_t op,
                                const struct operands *o, int64_t *value)
{
	if (p->vex)
		return INSN_OTHER;
	if (op >= 0x80 && op <= 0x8f) {
		*value = o->imm;
		return INSN_BRANCH;
	}
	if (op == 0x1f)
		return INSN_NOP;
	if (op == 0x0b || op == 0xb9 || op == 0xff)
		return INSN_END;
	if (op == 0xa0 || op == 0xa8)
		return INSN_PUSH;
	if (op == 0xa1 || op == 0xa9)
		return INSN_POP;
	if (op >= 0xc8 && op <= 0xcf)
		return written((op & 7) | p->rm);
	/* cmov, bsf, bsr, imul, movzx, movsx */
	if ((op >= 0x40 && op <= 0x4f) || op == 0xaf ||
	    (op >= 0xb6 && op <= 0xbf && op != 0xba))
		return written(o->reg);
	/* setcc, cmpxchg, xadd of one byte */
	if ((op >= 0x90 && op <= 0x9f) || op == 0xb0 || op == 0xc0)
		return o->is_register ? written_byte(p, o->rm) : INSN_OTHER;
	/* movd, shld, shrd, cmpxchg, xadd, bts, btr, btc */
	if (o->is_register &&
	    (op == 0x7e || op == 0xa4 || op == 0xa5 || (op >= 0xab && op <= 0xad) ||
	     op == 0xb1 || op == 0xb3 || op == 0xba || op == 0xc1))
		return written(o->rm);
	return INSN_OTHER;
}

struct insn insn_read(const uint8_t *code, size_t len)
{
	struct reader r = reader_init(code, len < MAX_LEN ? len : MAX_LEN);
	struct prefixes p = {0};
	struct operands o = {0};
	struct insn insn = {.kind = INSN_OTHER};
	uint8_t op = read_opcode(&r, &p);

	if (has_modrm(&p, op))
		read_modrm(&r, &p, &o);
	read_immediate(
	        &r, p.map == 0 ? immediate_len(&p, op, o.digit) : map_immediate_len(&p, op),
	        &o);
	if (r.failed || (p.map == 0 && is_invalid(op)))
		return (struct insn){.kind = INSN_BAD};
	if (p.map == 0)
		insn.kind = one_byte(&p, op, &o, &insn.value);
	else if (p.map == 1)
		insn.kind = two_bytes(&p, op, &o, &insn.value);
	else if (op >= 0xf0 && op <= 0xf7) /* movbe, crc32, adcx, BMI's */
		insn.kind = written(o.reg);
	insn.len = (uint8_t)r.pos;
	return insn;
}
