/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules among the other ways to unwind: who answers for which frame, what happens
 * when a frame needs a register that rules have left behind, and that one cache
 * serves many processes.
 */
#include "chains.h"

#include <dlfcn.h>
#include <sys/syscall.h>

/* A frame that is found by RBX, as that of _dl_runtime_resolve. */
__asm__(".text\n"
        ".type by_rbx, @function\n"
        "by_rbx:\n"
        "	.cfi_startproc\n"
        "	push %rbx\n"
        "	.cfi_adjust_cfa_offset 8\n"
        "	.cfi_rel_offset %rbx, 0\n"
        "	mov %rsp, %rbx\n"
        "	.cfi_def_cfa_register %rbx\n"
        "	and $-64, %rsp\n"
        "	sub $64, %rsp\n"
        "	call *%rdi\n"
        "	mov %rbx, %rsp\n"
        "	.cfi_def_cfa_register %rsp\n"
        "	pop %rbx\n"
        "	.cfi_adjust_cfa_offset -8\n"
        "	.cfi_restore %rbx\n"
        "	ret\n"
        "	.cfi_endproc\n"
        ".size by_rbx, . - by_rbx\n");
void by_rbx(void (*callee)(void));

/* Changes no register. */
__asm__(".text\n"
        ".type keeper, @function\n"
        "keeper:\n"
        "	.cfi_startproc\n"
        "1:	jmp 1b\n"
        "	.cfi_endproc\n"
        ".size keeper, . - keeper\n");
void keeper(void);

/* Saves RBX, and has something else in it. */
SHOT_NOINLINE static void spoiler(void)
{
	__asm__ volatile("xor %%ebx, %%ebx" ::: "rbx");
	chain_b();
	SHOT_STAY();
}

SHOT_NOINLINE static void run_spoiled(void)
{
	by_rbx(spoiler);
	SHOT_STAY();
}

/* The same above a frame that RBP points to. */
SHOT_NOINLINE static void run_tempting(void)
{
	bare_outer(run_spoiled);
	SHOT_STAY();
}

SHOT_NOINLINE static void run_kept(void)
{
	shot_ready();
	by_rbx(keeper);
	SHOT_STAY();
}

static uint64_t frames_by(const struct shot *shot, const char *backend)
{
	struct unwind_stats stats = unwinder_stats(shot->unwinder);

	for (size_t i = 0; i < UNWIND_MAX_BACKENDS && stats.backend[i].name; i++)
		if (strcmp(stats.backend[i].name, backend) == 0)
			return stats.backend[i].nframes;
	return 0;
}

static void test_lost_register(void **state)
{
	static struct shot shot;

	(void)state;
	shot_start(&shot, run_spoiled);
	shot_open(&shot, UNWIND_AUTO);
	shot_fire(&shot);
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "spoiler", "by_rbx", "run_spoiled",
	            "shot_start");
	shot_expect_end(&shot, UNWIND_END_MARKER);
	assert_int_equal(unwinder_stats(shot.unwinder).nstacks, 1);
	assert_int_equal(unwinder_stats(shot.unwinder).nagain, 1);
	shot_end(&shot);
}

static void fire_at_keeper(struct shot *shot)
{
	do
		shot_fire(shot);
	while (shot_find(shot, "keeper", 0) != 0);
}

static void test_kept_register(void **state)
{
	static struct shot shot;
	struct unwind_stats before;
	uint64_t by_rules;

	(void)state;
	shot_start(&shot, run_kept);
	shot_open(&shot, UNWIND_AUTO);
	fire_at_keeper(&shot);
	before = unwinder_stats(shot.unwinder);
	by_rules = frames_by(&shot, "rules");
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	SHOT_EXPECT(&shot, "keeper", "by_rbx", "run_kept", "shot_start");
	shot_expect_end(&shot, UNWIND_END_MARKER);
	assert_int_equal(unwinder_stats(shot.unwinder).nagain, before.nagain);
	/* All but one: by_rbx's own caller is for libunwind. */
	assert_int_equal(frames_by(&shot, "rules") - by_rules, shot.result.nframes - 2);
	shot_end(&shot);
}

/* A register that nobody knew is no reason to walk again. */
static void test_never_known(void **state)
{
	static struct shot shot;
	struct unwind_stats before;

	(void)state;
	shot_start(&shot, run_kept);
	shot_open(&shot, UNWIND_AUTO);
	fire_at_keeper(&shot);
	before = unwinder_stats(shot.unwinder);
	shot.snap.regs.valid &= ~(1u << 3);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	shot_expect_end(&shot, UNWIND_END_REGISTER);
	assert_string_equal(shot_name(&shot.frames[shot.result.nframes - 1]), "by_rbx");
	assert_int_equal(unwinder_stats(shot.unwinder).nagain, before.nagain);
	shot_end(&shot);
}

/* By rules alone the stack ends there: RBP would lead somewhere. */
static void test_rules_alone(void **state)
{
	static struct shot shot;

	(void)state;
	shot_start(&shot, run_tempting);
	shot_open(&shot, UNWIND_RULES);
	shot_fire(&shot);
	assert_true(regs_has(&shot.snap.regs, ARCH_REG_FP));
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "spoiler", "by_rbx");
	assert_string_equal(shot_name(&shot.frames[shot.result.nframes - 1]), "by_rbx");
	shot_expect_end(&shot, UNWIND_END_NO_INFO);
	assert_int_equal(frames_by(&shot, "libunwind"), 0);
	shot_end(&shot);
}

static void test_rules_alone_chain(void **state)
{
	static struct shot shot;
	uint64_t ncallers = 0;

	(void)state;
	shot_start(&shot, chain_a);
	shot_open(&shot, UNWIND_RULES);
	for (int i = 0; i < 3; i++) {
		shot_fire(&shot);
		SHOT_EXPECT(&shot, "chain_c", "chain_b", "chain_a", "shot_start");
		shot_expect_end(&shot, UNWIND_END_MARKER);
		ncallers += shot.result.nframes - 1;
	}
	assert_int_equal(frames_by(&shot, "rules"), ncallers);
	/* Where there is no FDE, what the code did to the stack leads on. */
	shot_end(&shot);
	shot_start(&shot, run_bare);
	shot_open(&shot, UNWIND_RULES);
	shot_fire(&shot);
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "bare_outer", "run_bare", "shot_start");
	assert_int_equal(frames_by(&shot, "code"), 1);
	shot_end(&shot);
}

/* ---- a trampoline right behind code that has an FDE ---- */

__asm__(".text\n"
        "	.cfi_startproc\n"
        "	nop\n"
        "	.cfi_endproc\n"
        ".type edge_sigreturn, @function\n"
        "edge_sigreturn:\n"
        "	mov $15, %rax\n"
        "	syscall\n"
        ".size edge_sigreturn, . - edge_sigreturn\n");
void edge_sigreturn(void);

SHOT_NOINLINE static void on_signal(int sig)
{
	(void)sig;
	chain_b();
}

SHOT_NOINLINE static void run_handler(void)
{
	/* struct sigaction as the kernel has it (rt_sigaction(2)) */
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = {on_signal, 0x04000000 /* SA_RESTORER */, edge_sigreturn, 0};

	syscall(SYS_rt_sigaction, SIGALRM, &action, NULL, sizeof action.mask);
	raise(SIGALRM);
	SHOT_STAY();
}

static void test_edge(void **state)
{
	static const enum unwind_method methods[] = {UNWIND_AUTO, UNWIND_RULES,
	                                             UNWIND_TRACKING};

	(void)state;
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
		static struct shot shot;

		shot_start(&shot, run_handler);
		shot_open(&shot, methods[i]);
		shot_fire(&shot);
		SHOT_EXPECT(&shot, "chain_c", "chain_b", "on_signal", "edge_sigreturn");
		assert_true(shot_find(&shot, "run_handler", 0) > 0);
		shot_expect_end(&shot, UNWIND_END_MARKER);
		shot_end(&shot);
	}
}

/* ---- one unwinder, many processes ---- */

SHOT_NOINLINE static void run_elsewhere(void)
{
	/* Another library is loaded, so the maps and their generation change. */
	if (dlopen("libutil.so.1", RTLD_NOW) == NULL)
		_exit(73);
	chain_a();
	SHOT_STAY();
}

/* Rules are of a module: another process that has it finds them made. */
static void test_shared_cache(void **state)
{
	static struct shot first, second;
	struct space *space;
	uint64_t before;

	(void)state;
	shot_start(&first, chain_a);
	shot_open(&first, UNWIND_AUTO);
	shot_fire(&first);
	shot_start(&second, run_elsewhere);
	shot_open(&second, UNWIND_FP);
	space = space_new(second.target, first.cache);
	shot_take(&second, second.pid, SHOT_WINDOW);
	before = frames_by(&first, "rules");
	second.result = unwinder_run(first.unwinder, space, &second.snap, NULL,
	                             second.frames, SHOT_MAX_FRAMES);
	SHOT_EXPECT(&second, "chain_c", "chain_b", "chain_a", "run_elsewhere",
	            "shot_start");
	shot_expect_end(&second, UNWIND_END_MARKER);
	assert_int_equal(frames_by(&first, "rules") - before, second.result.nframes - 1);
	/* The first one's are right as they were. */
	shot_fire(&first);
	SHOT_EXPECT(&first, "chain_c", "chain_b", "chain_a", "shot_start");
	shot_expect_end(&first, UNWIND_END_MARKER);
	/* What knows of a space goes before it. */
	unwinder_free(first.unwinder);
	first.unwinder = NULL;
	space_free(space);
	shot_end(&first);
	shot_end(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_lost_register),
	        cmocka_unit_test(test_kept_register),
	        cmocka_unit_test(test_never_known),
	        cmocka_unit_test(test_rules_alone),
	        cmocka_unit_test(test_rules_alone_chain),
	        cmocka_unit_test(test_edge),
	        cmocka_unit_test(test_shared_cache),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
