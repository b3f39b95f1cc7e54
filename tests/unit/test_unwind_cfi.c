/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of call frame information as rules, each from an FDE made by hand: what a
 * rule can say, what it must not, and programs that make no sense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unwind/cfi.h"

#define START 0x1000
#define END   0x1100

/* def_cfa rsp+8; offset 16 at cfa-8: where every function begins */
static const uint8_t begin[] = {0x0c, 0x07, 0x08, 0x90, 0x01};

static struct fde make_fde(const uint8_t *program, size_t len)
{
	return (struct fde){
	        .start = START,
	        .end = END,
	        .code_align = 1,
	        .data_align = -8,
	        .return_column = 16,
	        .initial = {begin, sizeof begin},
	        .program = {program, len},
	};
}

static struct cfi_rule rule_of(uint64_t at, const uint8_t *program, size_t len)
{
	/* A block of its own, so that a sanitizer sees a byte too many. */
	uint8_t *exact = malloc(len > 0 ? len : 1);
	struct fde fde = make_fde(exact, len);
	struct cfi_rule rule;

	assert_non_null(exact);
	memcpy(exact, program, len);
	rule = cfi_rule_at(&fde, at, at);
	free(exact);
	return rule;
}

#define BYTES(...)         (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define RULE(offset, ...)  rule_of(START + (offset), BYTES(__VA_ARGS__))
#define KIND(offset, ...)  ((int)RULE(offset, __VA_ARGS__).kind)
#define NOTHING            0x00
#define LOST(register_bit) (1u << (register_bit))

enum { RBX, R12, R13, R14, R15 };

static void expect(struct cfi_rule rule, enum cfi_kind kind, unsigned cfa, unsigned fp,
                   unsigned lost)
{
	assert_int_equal(rule.kind, kind);
	assert_int_equal(rule.cfa, cfa);
	assert_int_equal(rule.fp, fp);
	assert_int_equal(rule.lost, lost);
}

/* ---- what a rule says ---- */

static void test_first_row(void **state)
{
	(void)state;
	expect(RULE(0, NOTHING), CFI_FROM_SP, 1, 0, 0);
	expect(RULE(0x80, NOTHING), CFI_FROM_SP, 1, 0, 0);
	assert_false(RULE(END - START - 2, NOTHING).edge);
	assert_true(RULE(END - START - 1, NOTHING).edge);
}

/* push %rbp; mov %rsp,%rbp; …; leave */
#define FRAME_POINTER 0x41, 0x0e, 0x10, 0x86, 0x02, 0x43, 0x0d, 0x06, 0x60, 0x0c, 0x07, 0x08

static void test_frame_pointer(void **state)
{
	(void)state;
	expect(RULE(0, FRAME_POINTER), CFI_FROM_SP, 1, 0, 0);
	expect(RULE(1, FRAME_POINTER), CFI_FROM_SP, 2, 2, 0);
	expect(RULE(3, FRAME_POINTER), CFI_FROM_SP, 2, 2, 0);
	expect(RULE(4, FRAME_POINTER), CFI_FROM_FP, 2, 2, 0);
	expect(RULE(0x23, FRAME_POINTER), CFI_FROM_FP, 2, 2, 0);
	expect(RULE(0x24, FRAME_POINTER), CFI_FROM_SP, 1, 2, 0);
}

/* push %r15, %r14, %r13, %r12, %rbp, %rbx; sub $0x88,%rsp */
#define PUSHES                                                                          \
	0x42, 0x0e, 0x10, 0x8f, 0x02, 0x42, 0x0e, 0x18, 0x8e, 0x03, 0x42, 0x0e, 0x20,   \
	        0x8d, 0x04, 0x42, 0x0e, 0x28, 0x8c, 0x05, 0x41, 0x0e, 0x30, 0x86, 0x06, \
	        0x41, 0x0e, 0x38, 0x83, 0x07, 0x47, 0x0e, 0xc0, 0x01

static void test_pushes(void **state)
{
	(void)state;
	expect(RULE(2, PUSHES), CFI_FROM_SP, 2, 0, LOST(R15));
	expect(RULE(4, PUSHES), CFI_FROM_SP, 3, 0, LOST(R15) | LOST(R14));
	expect(RULE(8, PUSHES), CFI_FROM_SP, 5, 0, 0x1e);
	expect(RULE(9, PUSHES), CFI_FROM_SP, 6, 6, 0x1e);
	expect(RULE(10, PUSHES), CFI_FROM_SP, 7, 6, 0x1f);
	expect(RULE(17, PUSHES), CFI_FROM_SP, 24, 6, 0x1f);
}

/* An epilogue in the middle of a function. */
static void test_remember(void **state)
{
	(void)state;
	expect(RULE(0x11, 0x41, 0x0e, 0x10, 0x83, 0x02, 0x50, 0x0a, 0x0e, 0x08, 0xc3, 0x41,
	            0x0b),
	       CFI_FROM_SP, 1, 0, 0);
	expect(RULE(0x12, 0x41, 0x0e, 0x10, 0x83, 0x02, 0x50, 0x0a, 0x0e, 0x08, 0xc3, 0x41,
	            0x0b),
	       CFI_FROM_SP, 2, 0, LOST(RBX));
	/* Two of them, one in the other. */
	expect(RULE(0, 0x0a, 0x0e, 0x10, 0x0a, 0x0e, 0x18, 0x0b), CFI_FROM_SP, 2, 0, 0);
	expect(RULE(0, 0x0a, 0x0e, 0x10, 0x0a, 0x0e, 0x18, 0x0b, 0x0b), CFI_FROM_SP, 1, 0,
	       0);
}

static void test_advances(void **state)
{
	(void)state;
	expect(RULE(0x1f, 0x02, 0x20, 0x0e, 0x10), CFI_FROM_SP, 1, 0, 0);
	expect(RULE(0x20, 0x02, 0x20, 0x0e, 0x10), CFI_FROM_SP, 2, 0, 0);
	expect(RULE(0x20, 0x03, 0x20, 0x00, 0x0e, 0x10), CFI_FROM_SP, 2, 0, 0);
	expect(RULE(0xff, 0x03, 0x00, 0x01, 0x0e, 0x10), CFI_FROM_SP, 1, 0, 0);
	expect(RULE(0x20, 0x04, 0x20, 0, 0, 0, 0x0e, 0x10), CFI_FROM_SP, 2, 0, 0);
	expect(RULE(0xff, 0x04, 0, 0, 0, 1, 0x0e, 0x10), CFI_FROM_SP, 1, 0, 0);
}

static void test_code_alignment(void **state)
{
	static const uint8_t program[] = {0x41, 0x0e, 0x10};
	struct fde fde = make_fde(program, sizeof program);

	(void)state;
	fde.code_align = 4;
	expect(cfi_rule_at(&fde, START + 3, START + 3), CFI_FROM_SP, 1, 0, 0);
	expect(cfi_rule_at(&fde, START + 4, START + 4), CFI_FROM_SP, 2, 0, 0);
}

static void test_all_forms(void **state)
{
	(void)state;
	expect(RULE(0, 0x0c, 0x06, 0x20), CFI_FROM_FP, 4, 0, 0); /* def_cfa */
	expect(RULE(0, 0x12, 0x06, 0x7c), CFI_FROM_FP, 4, 0, 0); /* def_cfa_sf */
	expect(RULE(0, 0x13, 0x7d), CFI_FROM_SP, 3, 0, 0);       /* def_cfa_offset_sf */
	expect(RULE(0, 0x05, 0x06, 0x03), CFI_FROM_SP, 1, 3, 0); /* offset_extended */
	expect(RULE(0, 0x11, 0x06, 0x04), CFI_FROM_SP, 1, 4, 0); /* …_sf */
	expect(RULE(0, 0x2f, 0x06, 0x7f), CFI_COMPLEX, 0, 0, 0); /* negative: above */
	expect(RULE(0, 0x86, 0x02, 0xc6), CFI_FROM_SP, 1, 0, 0); /* restore */
	expect(RULE(0, 0x83, 0x02, 0x06, 0x03), CFI_FROM_SP, 1, 0, 0); /* …_extended */
	expect(RULE(0, 0x86, 0x02, 0x08, 0x06), CFI_FROM_SP, 1, 0, 0); /* same_value */
	expect(RULE(0, 0x2e, 0x10), CFI_FROM_SP, 1, 0, 0);             /* GNU_args_size */
	/* Callee-saved registers that are anywhere else are lost, too. */
	expect(RULE(0, 0x07, 0x0c), CFI_FROM_SP, 1, 0, LOST(R12));       /* undefined */
	expect(RULE(0, 0x09, 0x0d, 0x00), CFI_FROM_SP, 1, 0, LOST(R13)); /* register */
	expect(RULE(0, 0x10, 0x03, 0x02, 0x76, 0x78), CFI_FROM_SP, 1, 0, LOST(RBX));
	expect(RULE(0, 0x14, 0x0e, 0x02), CFI_FROM_SP, 1, 0, LOST(R14)); /* val_offset */
	expect(RULE(0, 0x15, 0x0f, 0x02), CFI_FROM_SP, 1, 0, LOST(R15)); /* …_sf */
	expect(RULE(0, 0x16, 0x03, 0x01, 0x30), CFI_FROM_SP, 1, 0,
	       LOST(RBX)); /* val_expr. */
	/* Others are not kept by a call: nothing is lost. */
	expect(RULE(0, 0x07, 0x00, 0x07, 0x08), CFI_FROM_SP, 1, 0, 0);
	expect(RULE(0, 0x05, 0x17, 0x04), CFI_FROM_SP, 1, 0, 0);       /* xmm6 */
	expect(RULE(0, 0x05, 0xff, 0x7f, 0x04), CFI_FROM_SP, 1, 0, 0); /* register 16383 */
}

static void test_end(void **state)
{
	(void)state;
	assert_int_equal(KIND(0, 0x07, 0x10), CFI_END);
	/* Whatever its CFA is. */
	assert_int_equal(KIND(0, 0x07, 0x10, 0x0f, 0x01, 0x30), CFI_END);
	/* From there on only. */
	assert_int_equal(KIND(0, 0x44, 0x07, 0x10), CFI_FROM_SP);
	assert_int_equal(KIND(4, 0x44, 0x07, 0x10), CFI_END);
}

/* rsp + 8 + ((rip & 15) >= 11) * 8 */
static void test_plt_entry(void **state)
{
	static const uint8_t program[] = {0x0f, 0x0b, 0x77, 0x08, 0x80, 0x00, 0x3f,
	                                  0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22};
	struct fde fde = make_fde(program, sizeof program);

	(void)state;
	for (uint64_t at = START; at < END; at++)
		expect(cfi_rule_at(&fde, at, at), CFI_FROM_SP, at % 16 >= 11 ? 2 : 1, 0, 0);
	/* The address it is mapped at counts. */
	expect(cfi_rule_at(&fde, START, START + 11), CFI_FROM_SP, 2, 0, 0);
	/* Any other expression, though it may look alike. */
	for (size_t i = 2; i < sizeof program; i++) {
		uint8_t other[sizeof program];

		memcpy(other, program, sizeof other);
		other[i] ^= 0x40;
		assert_int_equal(rule_of(START, other, sizeof other).kind, CFI_COMPLEX);
	}
	assert_int_equal(rule_of(START, program, sizeof program - 1).kind, CFI_COMPLEX);
}

/* ---- what it cannot say ---- */

static void test_limits(void **state)
{
	(void)state;
	/* The largest frame, and one more word. */
	expect(RULE(0, 0x0e, 0xf8, 0xff, 0x7f), CFI_FROM_SP, (1 << 18) - 1, 0, 0);
	assert_int_equal(KIND(0, 0x0e, 0x80, 0x80, 0x80, 0x01), CFI_COMPLEX);
	assert_int_equal(KIND(0, 0x0e, 0x0c), CFI_COMPLEX); /* no whole words */
	assert_int_equal(KIND(0, 0x13, 0x01), CFI_COMPLEX); /* below SP */
	/* Where FP may be saved. */
	expect(RULE(0, 0x86, 0x1f), CFI_FROM_SP, 1, 31, 0);
	assert_int_equal(KIND(0, 0x86, 0x20), CFI_COMPLEX);
	assert_int_equal(KIND(0, 0x86, 0x00), CFI_COMPLEX);
	assert_int_equal(KIND(0, 0x11, 0x06, 0x7f), CFI_COMPLEX); /* above the CFA */
}

static void test_complex(void **state)
{
	(void)state;
	assert_int_equal(KIND(0, 0x0d, 0x03), CFI_COMPLEX);       /* CFA by rbx */
	assert_int_equal(KIND(0, 0x0c, 0x0a, 0x00), CFI_COMPLEX); /* by r10 */
	assert_int_equal(KIND(0, 0x0f, 0x03, 0x76, 0x78, 0x06), CFI_COMPLEX); /* *(rbp-8) */
	assert_int_equal(KIND(0, 0x90, 0x02), CFI_COMPLEX);       /* RA at CFA-16 */
	assert_int_equal(KIND(0, 0x08, 0x10), CFI_COMPLEX);       /* RA unchanged */
	assert_int_equal(KIND(0, 0x09, 0x10, 0x02), CFI_COMPLEX); /* RA in rcx */
	assert_int_equal(KIND(0, 0x07, 0x06), CFI_COMPLEX);       /* FP undefined */
	assert_int_equal(KIND(0, 0x09, 0x06, 0x00), CFI_COMPLEX); /* FP in rax */
	assert_int_equal(KIND(0, 0x10, 0x06, 0x02, 0x76, 0),
	                 CFI_COMPLEX);                      /* FP by expression */
	assert_int_equal(KIND(0, 0x87, 0x03), CFI_COMPLEX); /* SP saved */
	assert_int_equal(KIND(0, 0x07, 0x07), CFI_COMPLEX); /* SP undefined */
	assert_int_equal(KIND(0, 0x80, 0x03), CFI_COMPLEX); /* rax saved */
	assert_int_equal(KIND(0, 0x8a, 0x03), CFI_COMPLEX); /* r10 saved */
	/* Complex up to there, not before and behind. */
	assert_int_equal(KIND(0, 0x42, 0x0d, 0x03, 0x42, 0x0d, 0x07), CFI_FROM_SP);
	assert_int_equal(KIND(2, 0x42, 0x0d, 0x03, 0x42, 0x0d, 0x07), CFI_COMPLEX);
	assert_int_equal(KIND(4, 0x42, 0x0d, 0x03, 0x42, 0x0d, 0x07), CFI_FROM_SP);
}

static void test_complex_fde(void **state)
{
	struct fde fde = make_fde(NULL, 0);

	(void)state;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_FROM_SP);
	fde.is_signal_frame = true;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
	fde.is_signal_frame = false;
	fde.return_column = 15;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
	fde.return_column = UINT64_MAX;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
	/* No CIE program: nothing is known of the CFA. */
	fde = make_fde(NULL, 0);
	fde.initial.len = 0;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
}

/* ---- programs that make no sense ---- */

static void test_nonsense(void **state)
{
	(void)state;
	assert_int_equal(KIND(0, 0x0e), CFI_COMPLEX);       /* cut */
	assert_int_equal(KIND(0, 0x86), CFI_COMPLEX);       /* cut */
	assert_int_equal(KIND(0, 0x02), CFI_COMPLEX);       /* cut */
	assert_int_equal(KIND(0, 0x0c, 0x07), CFI_COMPLEX); /* cut */
	assert_int_equal(KIND(0, 0x10, 0x03, 0x05, 0x30), CFI_COMPLEX);
	assert_int_equal(
	        KIND(0, 0x0f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1),
	        CFI_COMPLEX);
	assert_int_equal(KIND(0, 0x3f), CFI_COMPLEX);             /* no such instruction */
	assert_int_equal(KIND(0, 0x2d), CFI_COMPLEX);             /* GNU_window_save */
	assert_int_equal(KIND(0, 0x01, 0, 0, 0, 0), CFI_COMPLEX); /* set_loc */
	assert_int_equal(KIND(0, 0x0b), CFI_COMPLEX);             /* nothing to restore */
	assert_int_equal(KIND(0, 0x0f, 0x00, 0x0e, 0x08), CFI_COMPLEX);
	assert_int_equal(KIND(0, 0x0f, 0x00, 0x0d, 0x07), CFI_COMPLEX);
	/* What comes behind the row is of no interest. */
	assert_int_equal(KIND(0, 0x41, 0x3f), CFI_FROM_SP);
	assert_int_equal(KIND(1, 0x41, 0x3f), CFI_COMPLEX);
}

static void test_nonsense_in_cie(void **state)
{
	static const struct {
		uint8_t bytes[8];
		size_t len;
	} programs[] = {
	        {{0x0c, 0x07, 0x08, 0x90, 0x01, 0xc6}, 6},       /* restore to what? */
	        {{0x0c, 0x07, 0x08, 0x90, 0x01, 0x06, 0x06}, 7}, /* the same */
	        {{0x0c, 0x07, 0x08, 0x90, 0x01, 0x41}, 6},       /* an address */
	        {{0x0c, 0x07, 0x08, 0x90}, 4},                   /* cut */
	};

	(void)state;
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		struct fde fde = make_fde(NULL, 0);

		fde.initial = (struct fde_program){programs[i].bytes, programs[i].len};
		assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
	}
}

static void test_overflow(void **state)
{
	static const uint8_t program[] = {0x04, 0xff, 0xff, 0xff, 0xff};
	struct fde fde = make_fde(program, sizeof program);

	(void)state;
	fde.code_align = UINT64_MAX;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
	fde.code_align = 1;
	fde.start = UINT64_MAX - 16;
	fde.end = UINT64_MAX;
	assert_int_equal(cfi_rule_at(&fde, fde.start, 0).kind, CFI_COMPLEX);
	/* The smallest number there is. */
	fde = make_fde(begin, sizeof begin);
	fde.data_align = INT64_MIN;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
}

static void test_long_programs(void **state)
{
	const size_t len = 1 << 20;
	uint8_t *program = calloc(1, len);
	struct fde fde = make_fde(program, len);

	(void)state;
	assert_non_null(program);
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX); /* nops */
	fde.program.len = 30000;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_FROM_SP);
	memset(program, 0x0a, len); /* remember_state */
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
	fde.program.len = 8;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_FROM_SP);
	fde.program.len = 9;
	assert_int_equal(cfi_rule_at(&fde, START, START).kind, CFI_COMPLEX);
	free(program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_first_row), cmocka_unit_test(test_frame_pointer),
	        cmocka_unit_test(test_pushes),    cmocka_unit_test(test_remember),
	        cmocka_unit_test(test_advances),  cmocka_unit_test(test_code_alignment),
	        cmocka_unit_test(test_all_forms), cmocka_unit_test(test_end),
	        cmocka_unit_test(test_plt_entry), cmocka_unit_test(test_limits),
	        cmocka_unit_test(test_complex),   cmocka_unit_test(test_complex_fde),
	        cmocka_unit_test(test_nonsense),  cmocka_unit_test(test_nonsense_in_cie),
	        cmocka_unit_test(test_overflow),  cmocka_unit_test(test_long_programs),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
