/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/code_step.h"

static enum unwind_verdict stop(struct unwind_step *step, enum unwind_end end)
{
	step->end = end;
	return UNWIND_STOP;
}

enum unwind_verdict code_step(struct walk *walk, const struct code_rule *rule,
                              struct unwind_step *step)
{
	unsigned base = rule->kind == CODE_FROM_SP ? ARCH_REG_SP : ARCH_REG_FP;
	uint64_t cfa, ra, fp = walk->regs.r[ARCH_REG_FP];

	if (!regs_has(&walk->regs, base))
		return stop(step, UNWIND_END_REGISTER);
	cfa = walk->regs.r[base] + (uint64_t)(int64_t)rule->cfa;
	if (!walk_read_word(walk, cfa - 8, &ra))
		return stop(step, walk_refusal_end(walk, UNWIND_END_MEMORY));
	if (rule->fp_below != 0) {
		if (walk_read_word(walk, cfa - (uint64_t)(int64_t)rule->fp_below, &fp))
			regs_set(&step->regs, ARCH_REG_FP, fp);
	} else if (!rule->fp_lost && regs_has(&walk->regs, ARCH_REG_FP)) {
		regs_set(&step->regs, ARCH_REG_FP, fp);
	}
	regs_set(&step->regs, ARCH_REG_SP, cfa);
	regs_set(&step->regs, ARCH_REG_PC, ra);
	step->how = FRAME_CODE;
	return UNWIND_CALLER;
}
