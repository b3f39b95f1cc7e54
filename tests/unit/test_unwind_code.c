/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read off code: single instructions; functions made by hand; and all
 * functions of the C library, where its unwind tables must say the same.
 */
#include "elf_build.h"
#include "shot.h"

#include "module/fde.h"
#include "unwind/ahead.h"
#include "unwind/cfi.h"
#include "unwind/code.h"
#include "unwind/functions.h"
#include "unwind/insn.h"

/* ---- instructions ---- */

static void expect(enum insn_kind kind, int64_t value, const uint8_t *code, size_t len)
{
	uint8_t room[32];
	struct insn insn;

	/* What follows does not matter; what is cut off is no instruction. */
	memset(room, 0x90, sizeof room);
	memcpy(room, code, len);
	insn = insn_read(room, sizeof room);
	assert_int_equal(insn.kind, kind);
	assert_int_equal(insn.len, len);
	assert_int_equal(insn.value, value);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(insn_read(code, n).kind, INSN_BAD);
}

#define EXPECT(kind, value, ...)                                \
	expect((kind), (value), (const uint8_t[]){__VA_ARGS__}, \
	       sizeof((const uint8_t[]){__VA_ARGS__}))

static void test_stack_instructions(void **state)
{
	(void)state;
	EXPECT(INSN_PUSH_RBP, 0, 0x55);
	EXPECT(INSN_PUSH, 0, 0x53);
	EXPECT(INSN_PUSH, 0, 0x41, 0x55); /* r13, which ends in 5 */
	EXPECT(INSN_PUSH, 0, 0x6a, 0x10);
	EXPECT(INSN_PUSH, 0, 0x68, 1, 2, 3, 4);
	EXPECT(INSN_PUSH, 0, 0xff, 0x74, 0x24, 0x08); /* 8(%rsp) */
	EXPECT(INSN_POP_RBP, 0, 0x5d);
	EXPECT(INSN_POP, 0, 0x41, 0x5c); /* r12, which ends in 4 */
	EXPECT(INSN_LOSE_RSP, 0, 0x5c);
	EXPECT(INSN_ADD_RSP, -0x20, 0x48, 0x83, 0xec, 0x20);
	EXPECT(INSN_ADD_RSP, 0x80, 0x48, 0x83, 0xec, 0x80);
	EXPECT(INSN_ADD_RSP, 0x1000, 0x48, 0x81, 0xc4, 0, 0x10, 0, 0);
	EXPECT(INSN_ADD_RSP, -8, 0x48, 0x8d, 0x64, 0x24, 0xf8); /* lea -8(%rsp) */
	EXPECT(INSN_SET_RBP, 0, 0x48, 0x89, 0xe5);
	EXPECT(INSN_SET_RBP, 0, 0x48, 0x8b, 0xec);
	EXPECT(INSN_SET_RBP, 0x40, 0x48, 0x8d, 0x6c, 0x24, 0x40);
	EXPECT(INSN_SET_RSP, 0, 0x48, 0x89, 0xec);
	EXPECT(INSN_SET_RSP, -0x28, 0x48, 0x8d, 0x65, 0xd8);
	EXPECT(INSN_LEAVE, 0, 0xc9);
	EXPECT(INSN_LOSE_RSP, 0, 0x48, 0x83, 0xe4, 0xf0); /* and $-16 */
	EXPECT(INSN_LOSE_RSP, 0, 0x48, 0x29, 0xc4);       /* sub %rax */
	EXPECT(INSN_CLEAR_RBP, 0, 0x31, 0xed);
	EXPECT(INSN_CLEAR_RBP, 0, 0x48, 0x31, 0xed);
	EXPECT(INSN_LOSE_RBP, 0, 0x89, 0xfd); /* mov %edi,%ebp */
	EXPECT(INSN_LOSE_RBP, 0, 0x48, 0x8b, 0x6c, 0x24, 0x10);
	EXPECT(INSN_LOSE_RBP, 0, 0x0f, 0xb6, 0xe8); /* movzbl %al,%ebp */
}

static void test_other_instructions(void **state)
{
	(void)state;
	EXPECT(INSN_OTHER, 0, 0x49, 0x89, 0xe5); /* mov %rsp,%r13 */
	EXPECT(INSN_OTHER, 0, 0x48, 0x39, 0xe0); /* cmp %rsp,%rax */
	EXPECT(INSN_OTHER, 0, 0x88, 0xc4);       /* mov %al,%ah */
	EXPECT(INSN_OTHER, 0, 0x80, 0xe4, 0x0f); /* and $15,%ah */
	EXPECT(INSN_OTHER, 0, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8);
	EXPECT(INSN_OTHER, 0, 0x66, 0xb8, 1, 2);
	EXPECT(INSN_OTHER, 0, 0xf6, 0xc1, 0x01); /* test $1,%cl */
	EXPECT(INSN_OTHER, 0, 0xf7, 0xd8);       /* neg %eax: no immediate */
	EXPECT(INSN_OTHER, 0, 0xc7, 0x44, 0x24, 0x08, 1, 0, 0, 0);
	EXPECT(INSN_OTHER, 0, 0x48, 0x8b, 0x05, 1, 0, 0, 0); /* from PC + 1 */
	EXPECT(INSN_OTHER, 0, 0x48, 0x8b, 0x04, 0x25, 1, 0, 0, 0);
	EXPECT(INSN_OTHER, 0, 0xc5, 0xf8, 0x77); /* vzeroupper */
	EXPECT(INSN_OTHER, 0, 0xc5, 0xfd, 0x6f, 0x44, 0x24, 0x20);
	EXPECT(INSN_OTHER, 0, 0xc4, 0xe3, 0x7d, 0x39, 0xc1, 0x01);
	EXPECT(INSN_OTHER, 0, 0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x44, 0x24, 0x01);
	EXPECT(INSN_OTHER, 0, 0x0f, 0x05); /* syscall */
	EXPECT(INSN_OTHER, 0, 0x66, 0x0f, 0x70, 0xc0, 0x4e);
	EXPECT(INSN_OTHER, 0, 0x66, 0x0f, 0x3a, 0x0f, 0xc1, 0x08);
	EXPECT(INSN_NOP, 0, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0);
	EXPECT(INSN_OTHER, 0, 0xf3, 0x0f, 0x1e, 0xfa); /* endbr64 */
	EXPECT(INSN_CALL, 0, 0xe8, 1, 2, 3, 4);
	EXPECT(INSN_CALL, 0, 0x41, 0xff, 0xd4);
	EXPECT(INSN_JUMP, -2, 0xeb, 0xfe);
	EXPECT(INSN_JUMP, 0x100, 0xe9, 0, 1, 0, 0);
	EXPECT(INSN_BRANCH, 5, 0x74, 5);
	EXPECT(INSN_BRANCH, -256, 0x0f, 0x84, 0, 0xff, 0xff, 0xff);
	EXPECT(INSN_JUMP_AWAY, 0, 0x3e, 0xff, 0xe0); /* notrack jmp *%rax */
	EXPECT(INSN_END, 0, 0xc3);
	EXPECT(INSN_END, 0, 0xc2, 8, 0);
	EXPECT(INSN_END, 0, 0x0f, 0x0b);
	assert_int_equal(insn_read((const uint8_t[16]){0x06}, 16).kind, INSN_BAD);
}

/* ---- functions ---- */

static struct code_rule rule_at(const uint8_t *code, size_t len, size_t at)
{
	return code_rule_at(code, len, at, false, true);
}

static void expect_rule(struct code_rule rule, enum code_kind kind, int32_t cfa, int32_t fp)
{
	assert_int_equal(rule.kind, kind);
	assert_int_equal(rule.cfa, cfa);
	assert_int_equal(rule.fp_below, fp);
	assert_false(rule.fp_lost);
}

static void test_frame(void **state)
{
	static const uint8_t code[] = {
	        0x55,                      /* 0: push %rbp */
	        0x48, 0x89, 0xe5,          /* 1: mov %rsp,%rbp */
	        0x53,                      /* 4: push %rbx */
	        0x48, 0x83, 0xe4, 0xe0,    /* 5: and $-32,%rsp */
	        0xe8, 0,    0,    0,    0, /* 9: call */
	        0x48, 0x8d, 0x65, 0xf8,    /* 14: lea -8(%rbp),%rsp */
	        0x5b,                      /* 18: pop %rbx */
	        0x5d,                      /* 19: pop %rbp */
	        0xc3,                      /* 20: ret */
	};

	(void)state;
	expect_rule(rule_at(code, sizeof code, 0), CODE_FROM_SP, 8, 0);
	expect_rule(rule_at(code, sizeof code, 1), CODE_FROM_SP, 16, 16);
	expect_rule(rule_at(code, sizeof code, 5), CODE_FROM_SP, 24, 16);
	expect_rule(rule_at(code, sizeof code, 9), CODE_FROM_FP, 16, 16);
	expect_rule(code_rule_at(code, sizeof code, 13, true, true), CODE_FROM_FP, 16, 16);
	expect_rule(rule_at(code, sizeof code, 18), CODE_FROM_SP, 24, 16);
	expect_rule(rule_at(code, sizeof code, 20), CODE_FROM_SP, 8, 0);
	/* Not where an instruction begins; not a call's end; not in the code. */
	assert_int_equal(rule_at(code, sizeof code, 2).kind, CODE_UNKNOWN);
	assert_int_equal(code_rule_at(code, sizeof code, 3, true, true).kind, CODE_UNKNOWN);
	assert_int_equal(rule_at(code, sizeof code, sizeof code).kind, CODE_UNKNOWN);
	/* RBP alone is not enough where what it is based on is unknown. */
	assert_int_equal(rule_at(code + 5, sizeof code - 5, 4).kind, CODE_UNKNOWN);
}

static void test_ways(void **state)
{
	static const uint8_t code[] = {
	        0x48, 0x83, 0xec, 0x18, /* 0: sub $24,%rsp */
	        0x74, 0x06,             /* 4: je 12 */
	        0xeb, 0x0c,             /* 6: jmp 20 */
	        0xff, 0xd0,             /* 8: call *%rax, from 20 alone */
	        0xeb, 0x02,             /* 10: jmp 14 */
	        0x90, 0x90,             /* 12 */
	        0x48, 0x83, 0xc4, 0x18, /* 14: add $24,%rsp */
	        0xc3,                   /* 18: ret */
	        0xcc,                   /* 19: nothing leads here */
	        0xeb, 0xf2,             /* 20: jmp 8 */
	};
	static const uint8_t loop[] = {
	        0x50,       /* 0: push %rax */
	        0x75, 0xfd, /* 1: jne 0 */
	        0xc3,       /* 3: ret */
	};

	(void)state;
	expect_rule(rule_at(code, sizeof code, 8), CODE_FROM_SP, 32, 0);
	expect_rule(rule_at(code, sizeof code, 12), CODE_FROM_SP, 32, 0);
	expect_rule(rule_at(code, sizeof code, 18), CODE_FROM_SP, 8, 0);
	assert_int_equal(rule_at(code, sizeof code, 19).kind, CODE_UNKNOWN);
	/* How often it has been around is not known. */
	assert_int_equal(rule_at(loop, sizeof loop, 3).kind, CODE_UNKNOWN);
}

static void test_switch(void **state)
{
	static const uint8_t code[] = {
	        0x53,       /* 0: push %rbx */
	        0xff, 0xe0, /* 1: jmp *%rax */
	        0x90,       /* 3: a case */
	        0x5b,       /* 4: pop %rbx */
	        0xc3,       /* 5: ret */
	        0x90,       /* 6: another case */
	        0xc3,       /* 7 */
	};

	(void)state;
	expect_rule(rule_at(code, sizeof code, 3), CODE_FROM_SP, 16, 0);
	expect_rule(rule_at(code, sizeof code, 6), CODE_FROM_SP, 16, 0);
	/* What follows may be another function. */
	assert_int_equal(code_rule_at(code, sizeof code, 3, false, false).kind,
	                 CODE_UNKNOWN);
}

static void test_fp(void **state)
{
	static const uint8_t outermost[] = {0x31, 0xed, 0x48, 0x83, 0xe4, 0xf0, 0x90};
	static const uint8_t lost[] = {0x89, 0xfd, 0x90};
	static const uint8_t reused[] = {0x55, 0x89, 0xfd, 0x31, 0xed, 0x5d, 0xc3};

	(void)state;
	assert_int_equal(rule_at(outermost, sizeof outermost, 0).kind, CODE_FROM_SP);
	assert_int_equal(rule_at(outermost, sizeof outermost, 6).kind, CODE_OUTERMOST);
	assert_true(rule_at(lost, sizeof lost, 2).fp_lost);
	expect_rule(rule_at(reused, sizeof reused, 5), CODE_FROM_SP, 16, 16);
	expect_rule(rule_at(reused, sizeof reused, 6), CODE_FROM_SP, 8, 0);
}

/* ---- from PC to the return ---- */

static struct code_rule ahead(const uint8_t *code, size_t len, size_t at)
{
	bool more;

	return ahead_rule_at(code, len, at, 0x1000 + at, false, &more);
}

static void test_ahead(void **state)
{
	static const uint8_t code[] = {
	        0x55,                   /* 0: push %rbp */
	        0x48, 0x83, 0xec, 0x20, /* 1: sub $32,%rsp */
	        0x31, 0xed,             /* 5: xor %ebp,%ebp */
	        0x74, 0x0f,             /* 7: je 24 */
	        0x75, 0xfa,             /* 9: jne 5 */
	        0xff, 0xd0,             /* 11: call *%rax */
	        0x90,                   /* 13 */
	        0x48, 0x83, 0xc4, 0x20, /* 14: add $32,%rsp */
	        0x5d,                   /* 18: pop %rbp */
	        0xc3,                   /* 19: ret */
	        0x53, 0x53, 0x5b, 0xc3, /* 20: no function of ours */
	        0xff, 0xd0,             /* 24: call *%rax, which does not come back */
	        0x66, 0x90,             /* 26: padding */
	        0x0f, 0x1f, 0x40, 0x00, /* 28: the same */
	        0x53,                   /* 32: another function: push %rbx */
	        0x5b,                   /* 33: pop %rbx */
	        0xc3,                   /* 34: ret */
	};
	static const uint8_t fp[] = {
	        0x55,                   /* 0: push %rbp */
	        0x48, 0x89, 0xe5,       /* 1: mov %rsp,%rbp */
	        0x48, 0x83, 0xe4, 0xe0, /* 4: and $-32,%rsp */
	        0xff, 0xd0,             /* 8: call *%rax */
	        0xc9,                   /* 10: leave */
	        0xc3,                   /* 11: ret */
	};

	bool more;

	(void)state;
	expect_rule(ahead(code, sizeof code, 0), CODE_FROM_SP, 8, 0);
	expect_rule(ahead(code, sizeof code, 1), CODE_FROM_SP, 16, 16);
	expect_rule(ahead(code, sizeof code, 7), CODE_FROM_SP, 48, 16);
	expect_rule(ahead(code, sizeof code, 13), CODE_FROM_SP, 48, 16);
	expect_rule(ahead(code, sizeof code, 18), CODE_FROM_SP, 16, 16);
	expect_rule(ahead(code, sizeof code, 19), CODE_FROM_SP, 8, 0);
	/* A caller that has called what does not come back. */
	assert_int_equal(
	        ahead_rule_at(code, sizeof code, 26, 0x1000 + 26, true, &more).kind,
	        CODE_UNKNOWN);
	expect_rule(ahead_rule_at(code, sizeof code, 13, 0x1000 + 13, true, &more),
	            CODE_FROM_SP, 48, 16);
	/* From there it goes on behind what is looked at here. */
	(void)ahead_rule_at(code, 19, 14, 0x1000 + 14, false, &more);
	assert_true(more);
	/* A call lies in between, and what is jumped over might say more. */
	(void)ahead_rule_at(code, 20, 7, 0x1000 + 7, false, &more);
	assert_true(more);
	(void)ahead_rule_at(code, 20, 14, 0x1000 + 14, false, &more);
	assert_false(more);
	expect_rule(ahead(fp, sizeof fp, 0), CODE_FROM_SP, 8, 0);
	expect_rule(ahead(fp, sizeof fp, 1), CODE_FROM_SP, 16, 16);
	expect_rule(ahead(fp, sizeof fp, 4), CODE_FROM_FP, 16, 16);
	expect_rule(ahead(fp, sizeof fp, 10), CODE_FROM_FP, 16, 16);
}

static void test_ahead_of_what_is_unknown(void **state)
{
	static const uint8_t differs[] = {
	        0x74, 0x05,             /* 0: je 7 */
	        0x48, 0x83, 0xc4, 0x20, /* 2: add $32,%rsp */
	        0xc3,                   /* 6: ret */
	        0xc3,                   /* 7: ret */
	};
	static const uint8_t away[] = {0x5b, 0xff, 0xe0, 0xc3};
	static const uint8_t loop[] = {0x90, 0xeb, 0xfd, 0xc3};
	static const uint8_t arguments[] = {0x5b, 0xc2, 0x10, 0x00};
	static const uint8_t moved[] = {0x48, 0x29, 0xc4, 0xc3};

	(void)state;
	assert_int_equal(ahead(differs, sizeof differs, 0).kind, CODE_UNKNOWN);
	assert_int_equal(ahead(away, sizeof away, 0).kind, CODE_UNKNOWN);
	assert_int_equal(ahead(loop, sizeof loop, 0).kind, CODE_UNKNOWN);
	assert_int_equal(ahead(arguments, sizeof arguments, 0).kind, CODE_UNKNOWN);
	assert_int_equal(ahead(moved, sizeof moved, 0).kind, CODE_UNKNOWN);
	assert_int_equal(ahead(moved, sizeof moved, 4).kind, CODE_UNKNOWN);
	assert_int_equal(ahead(moved, 2, 0).kind, CODE_UNKNOWN);
}

/* ---- where functions begin ---- */

static void test_beginnings(void **state)
{
	/* What stands in front of a push at a multiple of 16. */
	static const struct {
		uint8_t before[16];
		bool begins;
	} cases[] = {
	        {{[12] = 0x90, 0xc3, 0x66, 0x90}, true},
	        {{[2] = 0xc3}, true},
	        {{[7] = 0xff, 0x25, 1, 2, 3, 0, 0xcc, 0xcc, 0xcc}, true},
	        {{[11] = 0xe8, 1, 2, 3, 0}, true},
	        /* mov $0xc2,%eax */
	        {{[9] = 0xb8, 0xc2, 0, 0, 0, 0x66, 0x90}, false},
	};
	struct module_cache *cache = module_cache_new();
	const uint64_t vaddr = ELF_BUILD_BASE + 0x1000;
	const size_t n = sizeof cases / sizeof *cases;
	static struct elf_build b;
	struct module *module;

	(void)state;
	elf_build(&b);
	for (size_t i = 0; i < n; i++) {
		uint8_t *text = b.u.bytes + 0x1000 + (i + 1) * 64;

		memcpy(text - 16, cases[i].before, 16);
		*text = 0x53;
	}
	module = module_open_fd(cache, elf_build_file(b.u.bytes, sizeof b.u.bytes), "elf");
	assert_non_null(module);
	for (size_t i = 0; i < n; i++) {
		uint64_t at = vaddr + (i + 1) * 64, start = 0;

		assert_true(functions_guess(module, at + 8, &start));
		assert_int_equal(start == at, cases[i].begins);
	}
	module_cache_free(cache);
}

/* ---- against unwind tables ---- */

struct agreement {
	unsigned long asked, known, agreed;
	unsigned long ahead, ahead_agreed, ahead_fp;
	unsigned long guessed, guessed_right;
};

/* Less code says the same, unless it says that more might not. */
static void compare_near(struct code_rule whole, const struct fde *fde, const uint8_t *code,
                         size_t len, size_t at)
{
	const size_t before = at < 64 ? at : 64, rest = len - (at - before);
	bool more;
	struct code_rule near = ahead_rule_at(code + at - before, rest < 512 ? rest : 512,
	                                      before, fde->start + at, false, &more);

	if (more)
		return;
	assert_int_equal(near.kind, whole.kind);
	assert_int_equal(near.cfa, whole.cfa);
}

/* The same by what comes after the instruction; `code` goes on behind the function. */
static void compare_ahead(struct agreement *a, const struct fde *fde, struct cfi_rule table,
                          const uint8_t *code, size_t len, size_t at)
{
	bool more;
	struct code_rule rule = ahead_rule_at(code, len, at, fde->start + at, false, &more);
	bool by_sp = table.kind == CFI_FROM_SP;

	compare_near(rule, fde, code, len, at);
	if (rule.kind == CODE_UNKNOWN)
		return;
	a->ahead++;
	if ((rule.kind == CODE_FROM_SP) == by_sp && rule.cfa != (int32_t)table.cfa * 8)
		return;
	a->ahead_agreed++;
	/* Tables go on saying where it was saved when it has been restored. */
	a->ahead_fp += rule.fp_lost || rule.fp_below == (int32_t)table.fp * 8 ||
	               (rule.fp_below == 0 && by_sp && table.fp > table.cfa);
}

/* Compares at one instruction of a function that begins where its FDE does. */
static void compare_at(struct agreement *a, const struct fde *fde, const uint8_t *code,
                       size_t len, size_t nread, size_t at)
{
	struct cfi_rule table = cfi_rule_at(fde, fde->start + at, fde->start + at);
	struct code_rule rule = code_rule_at(code, len, at, false, true);
	bool by_sp = table.kind == CFI_FROM_SP, by_fp = table.kind == CFI_FROM_FP;

	if (!by_sp && !by_fp)
		return;
	a->asked++;
	compare_ahead(a, fde, table, code, nread, at);
	if (rule.kind == CODE_UNKNOWN)
		return;
	a->known++;
	/* By SP and by FP both may be right. */
	a->agreed += (rule.kind == CODE_FROM_SP) != by_sp ||
	             rule.cfa == (int32_t)table.cfa * 8;
}

static void compare_function(struct agreement *a, struct module *module,
                             const struct fde *fde)
{
	static uint8_t code[CODE_MAX_LEN];
	size_t len = fde->end - fde->start, nread, pos = 0;
	uint64_t start;

	if (len > 4096)
		return;
	nread = module_read(module, fde->start, code, AHEAD_MAX_LEN);
	len = len < nread ? len : nread;
	if (functions_guess(module, fde->start + len / 2, &start)) {
		a->guessed++;
		a->guessed_right += start == fde->start;
	}
	while (pos < len) {
		struct insn insn = insn_read(code + pos, len - pos);

		if (insn.kind == INSN_BAD)
			return;
		/* Padding within a function never runs; nobody says how the stack is. */
		if (insn.kind != INSN_NOP)
			compare_at(a, fde, code, len, nread, pos);
		pos += insn.len;
	}
}

static void compare_module(struct agreement *a, struct module *module)
{
	struct fde_table *table = fde_table_new(module);
	size_t n;
	const struct module_range *code = module_code(module, &n);

	for (size_t i = 0; i < n; i++)
		for (uint64_t at = code[i].start; at < code[i].end; at += 1600) {
			struct module_range range;
			struct fde fde;

			/* An FDE of its own for the part of a function that is far
			 * away from the rest begins anywhere in it. */
			if (fde_find(table, at, &fde) &&
			    module_function(module, at, &range) && range.start == fde.start)
				compare_function(a, module, &fde);
		}
	fde_table_free(table);
}

static void sleep_in_child(void)
{
	shot_ready();
	for (;;)
		pause();
}

static void test_agrees_with_tables(void **state)
{
	struct agreement a = {0};
	static struct shot shot;
	size_t n;

	(void)state;
	shot_start(&shot, sleep_in_child);
	shot_open(&shot, UNWIND_AUTO);
	for (size_t i = 0; i < (space_maps(shot.space, &n), n); i++) {
		const struct space_map *where = space_maps(shot.space, &n)[i];

		if (where->module != NULL && strstr(where->map.path, "/libc") != NULL)
			compare_module(&a, where->module);
	}
	print_message("# %lu places, %lu known, %lu agree; %lu of %lu beginnings guessed\n",
	              a.asked, a.known, a.agreed, a.guessed_right, a.guessed);
	print_message("# read ahead: %lu known, %lu agree, RBP in %lu\n", a.ahead,
	              a.ahead_agreed, a.ahead_fp);
	if (a.asked < 1000)
		skip(); /* a C library without names or tables */
	assert_true(a.known > a.asked * 8 / 10);
	assert_true(a.agreed > a.known - a.known / 200);
	assert_true(a.ahead > a.asked * 8 / 10);
	assert_true(a.ahead_agreed > a.ahead - a.ahead / 200);
	assert_true(a.ahead_fp > a.ahead_agreed - a.ahead / 200);
	shot_end(&shot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_stack_instructions),
	        cmocka_unit_test(test_other_instructions),
	        cmocka_unit_test(test_frame),
	        cmocka_unit_test(test_ways),
	        cmocka_unit_test(test_switch),
	        cmocka_unit_test(test_fp),
	        cmocka_unit_test(test_ahead),
	        cmocka_unit_test(test_beginnings),
	        cmocka_unit_test(test_ahead_of_what_is_unknown),
	        cmocka_unit_test(test_agrees_with_tables),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
