/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks that are cut short, lack registers, or are wrong: unwinding says so, and
 * does not invent the rest.
 */
#include "chains.h"

/* ---- windows and limits ---- */

#define RECURSION 300

/* Through a pointer, as compilers unroll what they see. */
static void (*volatile recurse_again)(int depth);

SHOT_NOINLINE static void recurse(int depth)
{
	volatile char space[200];

	space[0] = 1;
	if (depth == 0)
		chain_b();
	else
		recurse_again(depth - 1);
	sink += space[0];
}

SHOT_NOINLINE static void run_recursion(void)
{
	recurse_again = recurse;
	recurse(RECURSION);
	SHOT_STAY();
}

static void test_window(void **state)
{
	static struct shot shot;
	size_t window = 4096;

	(void)state;
	shot_start(&shot, run_recursion);
	shot_open(&shot, UNWIND_AUTO);
	for (;;) {
		shot_take(&shot, shot.pid, window);
		shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
		SHOT_EXPECT(&shot, "chain_c", "chain_b", "recurse", "recurse");
		if (shot.result.end != UNWIND_END_WINDOW)
			break;
		/* What it needs is more than what it had, but not far more. */
		assert_true(shot.result.stack_used > window);
		assert_true(shot.result.stack_used < window + 8192);
		assert_int_equal(shot_find(&shot, "run_recursion", 0), -1);
		window *= 4;
		assert_true(window <= 512 * 1024);
	}
	assert_true(window > 4096);
	shot_expect_end(&shot, UNWIND_END_MARKER);
	SHOT_EXPECT(&shot, "recurse", "recurse", "recurse");
	/* The leaf may still be in write. */
	assert_int_equal(shot_find(&shot, "run_recursion", 0),
	                 shot_find(&shot, "chain_c", 0) + 3 + RECURSION);
	/* A window of what was used is enough, and a byte less is not. */
	shot_copy_stack(&shot, shot.result.stack_used);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	shot_expect_end(&shot, UNWIND_END_MARKER);
	shot_copy_stack(&shot, shot.result.stack_used - 1);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	shot_expect_end(&shot, UNWIND_END_WINDOW);
	shot_end(&shot);
}

static void test_depth(void **state)
{
	static struct shot shot;
	size_t whole;

	(void)state;
	shot_start(&shot, run_recursion);
	shot_open(&shot, UNWIND_AUTO);
	shot_take(&shot, shot.pid, SNAPSHOT_MAX_BYTES);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	whole = shot.result.nframes;
	for (size_t max = 1; max < whole; max += 37) {
		shot_unwind(&shot, NULL, max);
		assert_int_equal(shot.result.nframes, max);
		shot_expect_end(&shot, UNWIND_END_DEPTH);
	}
	shot_unwind(&shot, NULL, whole);
	assert_int_equal(shot.result.nframes, whole);
	shot_expect_end(&shot, UNWIND_END_MARKER);
	shot_end(&shot);
}

/* ---- registers that are not known ---- */

/*
 * The stack of `run`, with one register unknown after the other, and at last all
 * that a blocked thread does not show. Nothing else may change than where it ends.
 */
static size_t forget_registers(void (*run)(void), enum unwind_method method)
{
	static struct frame whole[SHOT_MAX_FRAMES];
	static struct shot shot;
	size_t nwhole, cut = 0;
	enum unwind_end end;

	shot_start(&shot, run);
	shot_open(&shot, method);
	shot_fire(&shot);
	nwhole = shot.result.nframes;
	end = shot.result.end;
	memcpy(whole, shot.frames, sizeof whole);
	for (unsigned reg = 0; reg <= ARCH_NREGS; reg++) {
		uint32_t only = UINT32_C(1) << ARCH_REG_SP | UINT32_C(1) << ARCH_REG_PC;
		uint32_t all = shot.snap.regs.valid;

		shot.snap.regs.valid = reg == ARCH_NREGS ? only
		                                         : all & ~(UINT32_C(1) << reg);
		shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
		shot.snap.regs.valid = all;
		assert_true(shot.result.nframes <= nwhole);
		for (size_t i = 0; i < shot.result.nframes; i++)
			assert_true(shot.frames[i].pc == whole[i].pc);
		if (shot.result.nframes < nwhole || shot.result.end != end) {
			shot_expect_end(&shot, UNWIND_END_REGISTER);
			cut++;
		}
	}
	shot_end(&shot);
	return cut;
}

/* Whether every function here saves RBP where its code says, as sanitizers have it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool frame_pointers = true;
#else
static const bool frame_pointers = false;
#endif

static void test_unknown_registers(void **state)
{
	(void)state;
	for (enum unwind_method method = 0; method < UNWIND_NMETHODS; method++) {
		/* SP, PC; RBP for frames of variable size, unless the code of those
		 * that they called says where it is; and all at once. */
		if (method != UNWIND_FP)
			assert_true(forget_registers(run_odd_frames, method) >=
			            (frame_pointers ? 2 : 4));
		/* Where code is read, SP is enough. */
		assert_true(forget_registers(run_bare, method) >=
		            (method == UNWIND_FP ? 4 : 2));
	}
}

/* Frames found by a register that callees preserve, and by one that they do not. */
__asm__(".text\n"
        ".type by_r12, @function\n"
        "by_r12:\n"
        "	.cfi_startproc\n"
        "	lea 8(%rsp), %r12\n"
        "	.cfi_def_cfa 12, 0\n"
        "	sub $40, %rsp\n"
        "	call *%rdi\n"
        "	.cfi_endproc\n"
        ".size by_r12, . - by_r12\n"
        ".type by_r10, @function\n"
        "by_r10:\n"
        "	.cfi_startproc\n"
        "	lea 8(%rsp), %r10\n"
        "	.cfi_def_cfa 10, 0\n"
        "	sub $40, %rsp\n"
        "	call *%rdi\n"
        "	.cfi_endproc\n"
        ".size by_r10, . - by_r10\n");
void by_r12(void (*callee)(void));
void by_r10(void (*callee)(void));

SHOT_NOINLINE static void run_by_r12(void)
{
	by_r12(chain_b);
	SHOT_STAY();
}

SHOT_NOINLINE static void run_by_r10(void)
{
	by_r10(chain_b);
	SHOT_STAY();
}

static void test_preserved_registers(void **state)
{
	static struct shot shot;

	(void)state;
	shot_start(&shot, run_by_r12);
	shot_open(&shot, UNWIND_AUTO);
	shot_fire(&shot);
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "by_r12", "run_by_r12", "shot_start");
	shot_expect_end(&shot, UNWIND_END_MARKER);
	shot_end(&shot);

	shot_start(&shot, run_by_r10);
	shot_open(&shot, UNWIND_AUTO);
	shot_fire(&shot);
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "by_r10");
	assert_int_equal(shot_find(&shot, "run_by_r10", 0), -1);
	shot_expect_end(&shot, UNWIND_END_REGISTER);
	shot_end(&shot);
}

/* ---- stacks that are wrong ---- */

static void test_wrong_stacks(void **state)
{
	static struct shot shot;
	struct regs good;
	uint64_t *words;

	(void)state;
	shot_start(&shot, chain_a);
	shot_open(&shot, UNWIND_AUTO);
	shot_fire(&shot);
	good = shot.snap.regs;

	shot.snap.regs.r[ARCH_REG_PC] = 16;
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	assert_int_equal(shot.result.nframes, 1);
	assert_null(shot.frames[0].where);
	shot_expect_end(&shot, UNWIND_END_BAD_PC);

	/* SP in the blue, or at the end of all addresses. */
	shot.snap.regs = good;
	shot.snap.regs.r[ARCH_REG_SP] = 4096;
	shot.snap.nsegments = 0;
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	/* Which one depends on whether this build finds its frames by RBP. */
	assert_true(shot.result.end == UNWIND_END_WINDOW ||
	            shot.result.end == UNWIND_END_MEMORY);
	assert_int_equal(shot.result.nframes, 1);
	shot.snap.regs.r[ARCH_REG_SP] = UINT64_MAX - 4;
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	assert_int_equal(shot.result.nframes, 1);

	/* A return address into data. */
	shot.snap.regs = good;
	shot.snap.nsegments = 1;
	words = (uint64_t *)(void *)shot.snap.bytes;
	for (size_t i = 0; i < shot.snap.segment[0].len / 8; i++)
		words[i] = good.r[ARCH_REG_SP];
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	assert_int_equal(shot.result.nframes, 1);
	shot_expect_end(&shot, UNWIND_END_BAD_PC);
	shot_end(&shot);
}

static void put_word(struct shot *shot, uint64_t addr, uint64_t value)
{
	memcpy(shot->snap.bytes + (addr - shot->snap.segment[0].addr), &value,
	       sizeof value);
}

/* A frame of variable size is found by RBP: let that lead back below SP. */
static void test_falling_stack(void **state)
{
	static struct shot shot;
	uint64_t sp, below;
	int at;

	(void)state;
	shot_start(&shot, run_odd_frames);
	shot_open(&shot, UNWIND_AUTO);
	shot_fire(&shot);
	at = shot_find(&shot, "frame_variable", 0);
	assert_true(at > 0);
	sp = shot.snap.regs.r[ARCH_REG_SP];
	below = sp - 96;
	/* In the call itself, which may be the last instruction of its function. */
	shot.snap.regs.r[ARCH_REG_PC] = shot.frames[at].pc - 1;
	shot.snap.regs.r[ARCH_REG_FP] = below;
	for (uint64_t addr = sp - ARCH_RED_ZONE; addr < sp; addr += 8)
		put_word(&shot, addr, shot.frames[at + 1].pc);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	assert_int_equal(shot.result.nframes, 1);
	shot_expect_end(&shot, UNWIND_END_LOOP);
	shot_end(&shot);
}

/* RBP leads to a pair whose second word is, or is not, behind a call. */
static void test_believed_return(void **state)
{
	static struct shot shot;
	uint64_t sp, after_call, not_after_call;

	(void)state;
	shot_start(&shot, run_bare);
	shot_open(&shot, UNWIND_FP);
	shot_fire(&shot);
	after_call = shot.frames[1].pc;
	not_after_call = after_call + 1;
	sp = shot.snap.regs.r[ARCH_REG_SP];
	shot.snap.regs.r[ARCH_REG_PC] = (uint64_t)(uintptr_t)bare_leaf + 4;
	shot.snap.regs.r[ARCH_REG_FP] = sp + 32;
	put_word(&shot, sp + 40, after_call);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	assert_true(shot.result.nframes > 1 && shot.frames[1].pc == after_call);
	put_word(&shot, sp + 40, not_after_call);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	assert_int_equal(shot.result.nframes, 1);
	shot_expect_end(&shot, UNWIND_END_NO_INFO);
	/* Into data; unaligned; below SP. */
	put_word(&shot, sp + 40, sp);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	shot_expect_end(&shot, UNWIND_END_NO_INFO);
	put_word(&shot, sp + 40, after_call);
	shot.snap.regs.r[ARCH_REG_FP] = sp + 33;
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	shot_expect_end(&shot, UNWIND_END_NO_INFO);
	put_word(&shot, sp - 56, after_call);
	shot.snap.regs.r[ARCH_REG_FP] = sp - 64;
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	shot_expect_end(&shot, UNWIND_END_NO_INFO);
	/* 0 is the end where no return address lies further up. */
	shot.snap.regs.r[ARCH_REG_FP] = 0;
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	shot_expect_end(&shot, UNWIND_END_NO_INFO);
	memset(shot.snap.bytes, 0, shot.snap.nbytes);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	shot_expect_end(&shot, UNWIND_END_MARKER);
	shot_end(&shot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_window),
	        cmocka_unit_test(test_depth),
	        cmocka_unit_test(test_unknown_registers),
	        cmocka_unit_test(test_preserved_registers),
	        cmocka_unit_test(test_wrong_stacks),
	        cmocka_unit_test(test_falling_stack),
	        cmocka_unit_test(test_believed_return),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
