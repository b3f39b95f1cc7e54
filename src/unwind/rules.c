/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fast path. Nearly every frame is left by a rule (cfi.h): two loads from the
 * stack. Rules are made when a place in the code is met for the first time, and
 * kept in a direct-mapped cache.
 *
 * A rule is of a module and of an address in it, whichever process has it mapped
 * wherever: it holds as long as the module. So the cache is never flushed, not
 * when a library is loaded or unloaded, nor at an exec, and processes that run the
 * same files share it.
 *
 * A stack that was made by hand (makecontext) begins with a return address that no
 * call left there: it is the first byte of a function, and in front of it is padding.
 * That is such a stack's end.
 *
 * What a rule cannot say is passed on. Three things are to be known about that:
 *
 *   - rules do not follow the registers that they do not need (rule.lost); they
 *     become unknown. If a frame further up asks for one of them, the driver
 *     walks the whole stack again without rules: walk->dropped tells it that
 *     there was something to lose.
 *   - a thread that was looked at asleep has no FP until a frame restores one, and
 *     code without optimisation goes by it. Where the function's own code leaves no
 *     doubt of how far it is above SP (code.h), that is read off the code;
 *   - where there is an FDE, frame pointers would be a guess. If libunwind did not
 *     answer for a complex one either (or is not to be asked), the stack ends:
 *     unwind_backend_complex stands between it and those that go by other means.
 */
#include "unwind/backend.h"

#include <stdlib.h>

#include "base/mem.h"
#include "unwind/cfi.h"
#include "unwind/code.h"

#define SLOT_BITS 15
#define NSLOTS    (1u << SLOT_BITS)

#define CFA_UNREAD (-1)

struct slot {
	const struct module *module;
	uint32_t vaddr; /* code further up in a module, which is rare, is not kept */
	struct cfi_rule rule;
	/* Where FP is the way to the CFA: how far the CFA is above SP by the code, in
	 * bytes; 0: that cannot be told, CFA_UNREAD: nobody has asked. */
	int32_t cfa_by_code;
};

struct state {
	struct slot slots[NSLOTS];
};

static struct cfi_rule make_rule(struct walk *walk, uint64_t vaddr)
{
	const struct space_map *where = walk->frame.where;
	const struct fde_table *table = unwind_tables_find(walk->tables, where->module);
	uint64_t pc = vaddr + where->bias;
	struct cfi_rule rule = {.kind = CFI_NONE};
	struct fde fde;

	if (fde_find(table, vaddr, &fde)) {
		rule = cfi_rule_at(&fde, vaddr, pc);
		rule.edge = rule.edge && unwind_is_sigreturn(walk, pc + 1);
	} else if (fde_find(table, vaddr + 1, &fde) && fde.start == vaddr + 1 &&
	           !fde.is_signal_frame) {
		rule.kind = CFI_ENTRY;
	} else {
		rule.edge = unwind_is_sigreturn(walk, pc) ||
		            unwind_is_sigreturn(walk, pc + 1);
	}
	return rule;
}

static struct slot *slot_of(struct state *state, const struct module *module,
                            uint64_t vaddr)
{
	/* Addresses that are met are dense, modules are many. */
	uint64_t mixed = vaddr ^ ((uintptr_t)module >> 4) * UINT64_C(0x9e3779b97f4a7c15) >>
	                                 (64 - SLOT_BITS);

	return &state->slots[mixed & (NSLOTS - 1)];
}

/* The slot for this place in the code; `spare` where it is not kept. */
static struct slot *find_slot(struct state *state, struct walk *walk, uint64_t vaddr,
                              struct slot *spare)
{
	const struct module *module = walk->frame.where->module;
	struct slot *slot = slot_of(state, module, vaddr);

	if (slot->module == module && slot->vaddr == vaddr)
		return slot;
	if (vaddr > UINT32_MAX)
		slot = spare;
	slot->rule = make_rule(walk, vaddr);
	slot->cfa_by_code = CFA_UNREAD;
	slot->module = module;
	slot->vaddr = (uint32_t)vaddr;
	return slot;
}

/* See struct slot. The part of a function that is elsewhere (.cold) does not begin
 * as functions do, with the return address at SP: of that nothing can be told. */
static int32_t read_cfa(struct walk *walk, uint64_t vaddr)
{
	struct module *module = walk->frame.where->module;
	uint64_t bias = walk->frame.where->bias;
	struct cfi_rule entry;
	struct code_rule rule;
	struct fde fde;
	uint8_t *code;
	size_t len;

	if (walk->nread++ >= WALK_MAX_READ)
		return CFA_UNREAD;
	if (!fde_find(unwind_tables_find(walk->tables, module), vaddr, &fde) ||
	    fde.end - fde.start > CODE_MAX_LEN)
		return 0;
	entry = cfi_rule_at(&fde, fde.start, fde.start + bias);
	if (entry.kind != CFI_FROM_SP || entry.cfa != 1)
		return 0;
	code = xmalloc(fde.end - fde.start);
	len = module_read(module, fde.start, code, fde.end - fde.start);
	rule = code_rule_at(code, len, vaddr - fde.start, !walk->frame.exact, true);
	free(code);
	return rule.kind == CODE_FROM_SP ? rule.cfa : 0;
}

/* FP is not known: where it must be, if a return address says that it is right. */
static bool infer_fp(struct walk *walk, struct slot *slot, uint64_t *fp)
{
	uint64_t cfa, ra;
	uint8_t before[8];

	if (slot->cfa_by_code == CFA_UNREAD)
		slot->cfa_by_code = read_cfa(walk, walk_lookup_pc(walk) -
		                                           walk->frame.where->bias);
	if (slot->cfa_by_code <= 0)
		return false;
	cfa = walk->regs.r[ARCH_REG_SP] + (uint64_t)slot->cfa_by_code;
	*fp = cfa - (uint64_t)slot->rule.cfa * 8;
	return walk_read_word(walk, cfa - 8, &ra) &&
	       walk_read_text(walk, ra - sizeof before, before, sizeof before) &&
	       arch_is_after_call(before, sizeof before);
}

/* The registers that rule.lost stands for, as a mask. */
static uint32_t lost_mask(const struct cfi_rule *rule)
{
	/* rbx is the first of them, r12 to r15 are the others. */
	return (rule->lost & 1u) << 3 | (uint32_t)rule->lost >> 1 << 12;
}

#define PRESERVED (UINT32_C(1) << 3 | UINT32_C(0xf) << 12)

/* What the caller still has of the registers that a call preserves. */
static void keep_registers(struct walk *walk, const struct cfi_rule *rule,
                           struct unwind_step *step)
{
	uint32_t lost = lost_mask(rule);

	step->regs.valid = walk->regs.valid & PRESERVED & ~lost;
	for (unsigned i = 0; i < CFI_NLOST; i++)
		step->regs.r[cfi_lost[i]] = walk->regs.r[cfi_lost[i]];
	walk->dropped |= (walk->regs.valid & lost) != 0;
}

static enum unwind_verdict stop(struct unwind_step *step, enum unwind_end end)
{
	step->end = end;
	return UNWIND_STOP;
}

static enum unwind_verdict apply(struct walk *walk, struct slot *slot,
                                 struct unwind_step *step)
{
	const struct cfi_rule rule = slot->rule;
	uint64_t base = walk->regs.r[ARCH_REG_SP], cfa, ra, fp;

	if (rule.kind == CFI_FROM_FP && regs_has(&walk->regs, ARCH_REG_FP))
		base = walk->regs.r[ARCH_REG_FP];
	else if (rule.kind == CFI_FROM_FP && !infer_fp(walk, slot, &base))
		return stop(step, walk_refusal_end(walk, UNWIND_END_REGISTER));
	cfa = base + (uint64_t)rule.cfa * 8;
	if (!walk_read_word(walk, cfa - 8, &ra))
		return stop(step, walk_refusal_end(walk, UNWIND_END_MEMORY));
	keep_registers(walk, &rule, step);
	if (rule.fp == 0) {
		fp = walk->regs.r[ARCH_REG_FP];
		step->regs.valid |= walk->regs.valid & UINT32_C(1) << ARCH_REG_FP;
		step->regs.r[ARCH_REG_FP] = fp;
	} else if (walk_read_word(walk, cfa - (uint64_t)rule.fp * 8, &fp)) {
		regs_set(&step->regs, ARCH_REG_FP, fp);
	}
	regs_set(&step->regs, ARCH_REG_SP, cfa);
	regs_set(&step->regs, ARCH_REG_PC, ra);
	step->how = FRAME_CFI;
	return UNWIND_CALLER;
}

static enum unwind_verdict rules_step(void *opaque, struct walk *walk,
                                      struct unwind_step *step)
{
	const struct space_map *where = walk->frame.where;
	struct slot spare, *slot;
	struct cfi_rule rule;

	if (where->module == NULL)
		return UNWIND_PASS;
	slot = find_slot(opaque, walk, walk_lookup_pc(walk) - where->bias, &spare);
	rule = slot->rule;
	/* A trampoline without an FDE right behind code that has one. */
	if (rule.edge && unwind_is_sigreturn(walk, walk->frame.pc))
		return UNWIND_PASS;
	switch ((enum cfi_kind)rule.kind) {
	case CFI_ENTRY:
		/* The byte itself may well be about to run. */
		if (walk->frame.exact)
			return UNWIND_PASS;
		step->never_called = true;
		return stop(step, UNWIND_END_MARKER);
	case CFI_END:
	case CFI_FROM_SP:
	case CFI_FROM_FP:
		break;
	case CFI_COMPLEX:
		walk->complex = true;
		return UNWIND_PASS;
	case CFI_NONE:
		walk->no_trampoline = true;
		return UNWIND_PASS;
	}
	if (rule.kind == CFI_END)
		return stop(step, UNWIND_END_MARKER);
	return apply(walk, slot, step);
}

static void *rules_state_new(void)
{
	return xcalloc(1, sizeof(struct state));
}

const struct unwind_backend unwind_backend_rules = {
        .name = "rules",
        .state_new = rules_state_new,
        .state_free = free,
        .step = rules_step,
};

static enum unwind_verdict complex_step(void *state, struct walk *walk,
                                        struct unwind_step *step)
{
	(void)state;
	if (!walk->complex)
		return UNWIND_PASS;
	return stop(step, UNWIND_END_NO_INFO);
}

const struct unwind_backend unwind_backend_complex = {
        .name = "complex",
        .step = complex_step,
};
