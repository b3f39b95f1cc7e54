/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call frame instructions are a program that builds, row by row, a table: for
 * each address of a function, how to compute the CFA (what SP was before the
 * call, so what it will be in the caller) and where each register of the caller
 * is (DWARF 5, 6.4). The CIE's program gives the first row, the FDE's changes it
 * as addresses go by; what is wanted is the row at one address.
 *
 * Compilers use little of that language. Nearly all rows have a CFA of SP or FP
 * plus a constant, the return address right below it, and a few registers saved
 * by pushes. Such a row becomes a rule of 32 bits. Where the other callee-saved
 * registers were saved is left out, since only odd frames ever ask for them; it is
 * only noted that they are no longer known.
 *
 * All else is CFI_COMPLEX: a CFA that is an expression, or relative to another
 * register; the frame of a signal; a return address elsewhere; registers saved
 * that a call does not preserve; instructions that are not known here. One
 * expression is so common that it is read, that of a PLT entry, whose second
 * instruction pushes a word:
 *
 *     breg7 (rsp) 8; breg16 (rip) 0; lit15; and; lit11; ge; lit3; shl; plus
 *
 * The bytes are hostile: an FDE that is too long or too deep is complex.
 */
#include "unwind/cfi.h"

#include <string.h>

#include "base/reader.h"

/* Honest functions have up to some thousands, where arguments are pushed. */
#define MAX_INSTRUCTIONS 32768
#define MAX_REMEMBERED   8

#define CFA_MAX ((UINT32_C(1) << 18) - 1)
#define FP_MAX  ((UINT32_C(1) << 5) - 1)
#define WORD    8

/* By their numbers in DWARF 5, 7.24. */
enum {
	DW_CFA_nop = 0x00,
	DW_CFA_advance_loc1 = 0x02,
	DW_CFA_advance_loc2 = 0x03,
	DW_CFA_advance_loc4 = 0x04,
	DW_CFA_offset_extended = 0x05,
	DW_CFA_restore_extended = 0x06,
	DW_CFA_undefined = 0x07,
	DW_CFA_same_value = 0x08,
	DW_CFA_register = 0x09,
	DW_CFA_remember_state = 0x0a,
	DW_CFA_restore_state = 0x0b,
	DW_CFA_def_cfa = 0x0c,
	DW_CFA_def_cfa_register = 0x0d,
	DW_CFA_def_cfa_offset = 0x0e,
	DW_CFA_def_cfa_expression = 0x0f,
	DW_CFA_expression = 0x10,
	DW_CFA_offset_extended_sf = 0x11,
	DW_CFA_def_cfa_sf = 0x12,
	DW_CFA_def_cfa_offset_sf = 0x13,
	DW_CFA_val_offset = 0x14,
	DW_CFA_val_offset_sf = 0x15,
	DW_CFA_val_expression = 0x16,
	DW_CFA_GNU_args_size = 0x2e,
	DW_CFA_GNU_negative_offset_extended = 0x2f,
	/* These have their operand in the low six bits. */
	DW_CFA_advance_loc = 1,
	DW_CFA_offset = 2,
	DW_CFA_restore = 3,
};

const uint8_t cfi_lost[CFI_NLOST] = {3, 12, 13, 14, 15};

/* Where a caller's register is. */
enum place {
	PLACE_SAME,      /* nothing was said: as it is, if a call preserves it */
	PLACE_UNDEFINED, /* nowhere */
	PLACE_SAVED,     /* at CFA + offset */
	PLACE_OTHER,
};

struct saved {
	enum place place;
	int64_t offset;
};

enum cfa {
	CFA_UNDEFINED,
	CFA_REGISTER,
	CFA_EXPRESSION,
};

struct row {
	enum cfa cfa;
	uint64_t cfa_reg;
	int64_t cfa_offset;
	struct fde_program expression;
	struct saved reg[ARCH_NREGS];
};

struct machine {
	const struct fde *fde;
	uint64_t target; /* the row for this address is wanted */
	uint64_t at;     /* the current row begins here */
	struct row row;
	struct row initial; /* what restore goes back to */
	bool in_cie;
	struct row remembered[MAX_REMEMBERED];
	unsigned nremembered;
	unsigned ninstructions;
	bool failed;
};

/* Wraps as unsigned numbers do; what is too large is seen in the row. */
static int64_t scaled(const struct machine *m, uint64_t factor)
{
	return (int64_t)(factor * (uint64_t)m->fde->data_align);
}

/* Registers that are not followed (vector registers, flags) are not of interest. */
static void save(struct machine *m, uint64_t reg, enum place place, int64_t offset)
{
	if (reg < ARCH_NREGS)
		m->row.reg[reg] = (struct saved){place, offset};
}

static void restore(struct machine *m, uint64_t reg)
{
	if (m->in_cie)
		m->failed = true;
	else if (reg < ARCH_NREGS)
		m->row.reg[reg] = m->initial.reg[reg];
}

static void remember_state(struct machine *m)
{
	if (m->nremembered == MAX_REMEMBERED)
		m->failed = true;
	else
		m->remembered[m->nremembered++] = m->row;
}

static void restore_state(struct machine *m)
{
	if (m->nremembered == 0)
		m->failed = true;
	else
		m->row = m->remembered[--m->nremembered];
}

static void define_cfa(struct machine *m, uint64_t reg, int64_t offset)
{
	m->row.cfa = CFA_REGISTER;
	m->row.cfa_reg = reg;
	m->row.cfa_offset = offset;
}

/* Changes to a CFA that is an expression make no sense. */
static void change_cfa(struct machine *m, uint64_t reg, int64_t offset)
{
	m->failed |= m->row.cfa != CFA_REGISTER;
	define_cfa(m, reg, offset);
}

static struct fde_program read_block(struct reader *r)
{
	uint64_t len = reader_uleb(r);
	const uint8_t *data = len <= reader_left(r) ? reader_bytes(r, len) : NULL;

	r->failed |= data == NULL;
	return (struct fde_program){data, len};
}

static void advance(struct machine *m, uint64_t delta)
{
	uint64_t distance;

	/* A CIE has no addresses; an overflow ends beyond all code. */
	m->failed |= m->in_cie;
	if (__builtin_mul_overflow(delta, m->fde->code_align, &distance) ||
	    __builtin_add_overflow(m->at, distance, &m->at))
		m->failed = true;
}

static void run_cfa(struct machine *m, struct reader *r, uint8_t op)
{
	uint64_t reg;

	switch (op) {
	case DW_CFA_def_cfa:
		reg = reader_uleb(r);
		define_cfa(m, reg, (int64_t)reader_uleb(r));
		break;
	case DW_CFA_def_cfa_sf:
		reg = reader_uleb(r);
		define_cfa(m, reg, scaled(m, (uint64_t)reader_sleb(r)));
		break;
	case DW_CFA_def_cfa_register:
		change_cfa(m, reader_uleb(r), m->row.cfa_offset);
		break;
	case DW_CFA_def_cfa_offset:
		change_cfa(m, m->row.cfa_reg, (int64_t)reader_uleb(r));
		break;
	case DW_CFA_def_cfa_offset_sf:
		change_cfa(m, m->row.cfa_reg, scaled(m, (uint64_t)reader_sleb(r)));
		break;
	default: /* DW_CFA_def_cfa_expression */
		m->row.cfa = CFA_EXPRESSION;
		m->row.expression = read_block(r);
		break;
	}
}

static void run_register(struct machine *m, struct reader *r, uint8_t op)
{
	uint64_t reg = reader_uleb(r);

	switch (op) {
	case DW_CFA_offset_extended:
		save(m, reg, PLACE_SAVED, scaled(m, reader_uleb(r)));
		break;
	case DW_CFA_offset_extended_sf:
		save(m, reg, PLACE_SAVED, scaled(m, (uint64_t)reader_sleb(r)));
		break;
	case DW_CFA_GNU_negative_offset_extended:
		save(m, reg, PLACE_SAVED, scaled(m, -reader_uleb(r)));
		break;
	case DW_CFA_restore_extended:
		restore(m, reg);
		break;
	case DW_CFA_undefined:
		save(m, reg, PLACE_UNDEFINED, 0);
		break;
	case DW_CFA_same_value:
		save(m, reg, PLACE_SAME, 0);
		break;
	case DW_CFA_val_offset_sf:
		reader_sleb(r);
		save(m, reg, PLACE_OTHER, 0);
		break;
	case DW_CFA_register:
	case DW_CFA_val_offset:
		reader_uleb(r);
		save(m, reg, PLACE_OTHER, 0);
		break;
	default: /* DW_CFA_expression, DW_CFA_val_expression */
		read_block(r);
		save(m, reg, PLACE_OTHER, 0);
		break;
	}
}

/* An instruction whose number is its whole first byte. */
static void run_extended(struct machine *m, struct reader *r, uint8_t op)
{
	switch (op) {
	case DW_CFA_nop:
		break;
	case DW_CFA_GNU_args_size:
		reader_uleb(r);
		break;
	case DW_CFA_advance_loc1:
		advance(m, reader_u8(r));
		break;
	case DW_CFA_advance_loc2:
		advance(m, reader_u16(r));
		break;
	case DW_CFA_advance_loc4:
		advance(m, reader_u32(r));
		break;
	case DW_CFA_remember_state:
		remember_state(m);
		break;
	case DW_CFA_restore_state:
		restore_state(m);
		break;
	case DW_CFA_def_cfa:
	case DW_CFA_def_cfa_sf:
	case DW_CFA_def_cfa_register:
	case DW_CFA_def_cfa_offset:
	case DW_CFA_def_cfa_offset_sf:
	case DW_CFA_def_cfa_expression:
		run_cfa(m, r, op);
		break;
	case DW_CFA_offset_extended:
	case DW_CFA_offset_extended_sf:
	case DW_CFA_GNU_negative_offset_extended:
	case DW_CFA_restore_extended:
	case DW_CFA_undefined:
	case DW_CFA_same_value:
	case DW_CFA_register:
	case DW_CFA_expression:
	case DW_CFA_val_offset:
	case DW_CFA_val_offset_sf:
	case DW_CFA_val_expression:
		run_register(m, r, op);
		break;
	default: /* set_loc among them, which compilers do not write */
		m->failed = true;
		break;
	}
}

/* Runs until the row that holds the target is complete. */
static void run(struct machine *m, const struct fde_program *program)
{
	struct reader r = reader_init(program->data, program->len);

	while (reader_left(&r) > 0 && !m->failed) {
		uint8_t op = reader_u8(&r), operand = op & 0x3f;

		m->failed |= ++m->ninstructions > MAX_INSTRUCTIONS;
		switch (op >> 6) {
		case DW_CFA_advance_loc:
			advance(m, operand);
			break;
		case DW_CFA_offset:
			save(m, operand, PLACE_SAVED, scaled(m, reader_uleb(&r)));
			break;
		case DW_CFA_restore:
			restore(m, operand);
			break;
		default:
			run_extended(m, &r, op);
			break;
		}
		if (m->at > m->target)
			break;
	}
	m->failed |= r.failed;
}

/* Of a PLT entry: whether the word is pushed depends on the place in it. */
static bool read_plt_entry(const struct fde_program *expression, uint64_t pc,
                           uint64_t *offset)
{
	static const uint8_t before[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a};
	static const uint8_t after[] = {0x2a, 0x33, 0x24, 0x22};
	const uint8_t *literal = expression->data + sizeof before;

	if (expression->len != sizeof before + 1 + sizeof after ||
	    memcmp(expression->data, before, sizeof before) != 0 ||
	    memcmp(literal + 1, after, sizeof after) != 0 || *literal < 0x30 ||
	    *literal > 0x3f)
		return false;
	*offset = (pc & 15) >= (uint64_t)(*literal - 0x30) ? 2 * WORD : WORD;
	return true;
}

static bool set_cfa(struct cfi_rule *rule, const struct row *row, uint64_t pc)
{
	uint64_t offset = (uint64_t)row->cfa_offset;

	if (row->cfa == CFA_EXPRESSION && read_plt_entry(&row->expression, pc, &offset))
		rule->kind = CFI_FROM_SP;
	else if (row->cfa == CFA_REGISTER && row->cfa_reg == ARCH_REG_SP)
		rule->kind = CFI_FROM_SP;
	else if (row->cfa == CFA_REGISTER && row->cfa_reg == ARCH_REG_FP)
		rule->kind = CFI_FROM_FP;
	else
		return false;
	rule->cfa = offset / WORD & CFA_MAX;
	return offset % WORD == 0 && offset / WORD <= CFA_MAX;
}

static bool set_fp(struct cfi_rule *rule, const struct saved *saved)
{
	uint64_t below = -(uint64_t)saved->offset;

	if (saved->place == PLACE_SAME)
		return true;
	rule->fp = below / WORD & FP_MAX;
	return saved->place == PLACE_SAVED && below % WORD == 0 && below > 0 &&
	       below / WORD <= FP_MAX;
}

static void set_lost(struct cfi_rule *rule, const struct row *row)
{
	for (unsigned i = 0; i < CFI_NLOST; i++)
		if (row->reg[cfi_lost[i]].place != PLACE_SAME)
			rule->lost |= 1u << i;
}

/* Whether a register is of those that a rule keeps account of. */
static bool is_in_rule(unsigned reg)
{
	if (reg == ARCH_REG_FP || reg == ARCH_REG_PC)
		return true;
	for (unsigned i = 0; i < CFI_NLOST; i++)
		if (cfi_lost[i] == reg)
			return true;
	return false;
}

/* Nothing is said of the others, or no more than that they are gone. */
static bool others_are_silent(const struct row *row)
{
	for (unsigned reg = 0; reg < ARCH_NREGS; reg++) {
		enum place place = row->reg[reg].place;

		if (is_in_rule(reg) || place == PLACE_SAME)
			continue;
		if (place != PLACE_UNDEFINED || reg == ARCH_REG_SP)
			return false;
	}
	return true;
}

/* The row as a rule; false if it is more than a rule can say. */
static bool make_rule(struct cfi_rule *rule, const struct row *row, uint64_t pc)
{
	const struct saved *ra = &row->reg[ARCH_REG_PC];

	if (ra->place == PLACE_UNDEFINED) {
		rule->kind = CFI_END;
		return true;
	}
	if (ra->place != PLACE_SAVED || ra->offset != -WORD)
		return false;
	set_lost(rule, row);
	return set_cfa(rule, row, pc) && set_fp(rule, &row->reg[ARCH_REG_FP]) &&
	       others_are_silent(row);
}

struct cfi_rule cfi_rule_at(const struct fde *fde, uint64_t vaddr, uint64_t pc)
{
	const bool edge = vaddr == fde->end - 1;
	const struct cfi_rule complex = {.kind = CFI_COMPLEX, .edge = edge};
	struct cfi_rule rule = {.edge = edge};
	struct machine m;

	if (fde->is_signal_frame || fde->return_column != ARCH_REG_PC)
		return complex;
	/* Not all of it: what is remembered is written before it is read. */
	m.fde = fde;
	m.target = vaddr;
	m.at = fde->start;
	m.nremembered = m.ninstructions = 0;
	m.failed = false;
	memset(&m.row, 0, sizeof m.row);
	m.in_cie = true;
	run(&m, &fde->initial);
	m.initial = m.row;
	m.in_cie = false;
	run(&m, &fde->program);
	if (m.failed || !make_rule(&rule, &m.row, pc))
		return complex;
	return rule;
}
