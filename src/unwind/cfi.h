/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One FDE, executed up to one address, and what it says there, as far as that
 * can be said in 32 bits. The file tells what a rule can say.
 */
#ifndef CPROF_UNWIND_CFI_H
#define CPROF_UNWIND_CFI_H

#include <stdbool.h>
#include <stdint.h>

#include "module/fde.h"
#include "target/arch.h"

enum cfi_kind {
	CFI_NONE,    /* no FDE covers this code */
	CFI_COMPLEX, /* there is an FDE, but no rule can say what it says */
	CFI_END,     /* nothing called this code: its return address is undefined */
	CFI_FROM_SP, /* CFA = SP + 8 * cfa */
	CFI_FROM_FP, /* CFA = FP + 8 * cfa */
	CFI_ENTRY,   /* not called from here: this "return" begins a function */
};

/*
 * How to leave a frame: its CFA, which is the caller's SP; the return address is
 * the word below that.
 */
struct cfi_rule {
	uint32_t kind : 3; /* enum cfi_kind */
	uint32_t edge : 1; /* the code of the FDE ends behind this byte */
	uint32_t lost : 5; /* registers of cfi_lost that the frame has changed */
	uint32_t fp : 5;   /* the caller's FP is at CFA - 8 * fp; 0: it is the same */
	uint32_t cfa : 18;
};

/* The callee-saved registers other than SP and FP, in the order of rule.lost. */
#define CFI_NLOST 5
extern const uint8_t cfi_lost[CFI_NLOST];

/* `pc` is the address at which vaddr is mapped: some rows depend on it. */
struct cfi_rule cfi_rule_at(const struct fde *fde, uint64_t vaddr, uint64_t pc);

#endif
