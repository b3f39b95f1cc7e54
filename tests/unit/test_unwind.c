/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole stacks of real threads. Children of fork run the functions below, so
 * their chains of calls are known by name; one is even stepped through its code
 * instruction by instruction, and its stack must be right at each.
 */
#include "chains.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

static void test_chain(void **state)
{
	enum unwind_method method = *(enum unwind_method *)*state;
	static struct shot shot;

	shot_start(&shot, chain_a);
	shot_open(&shot, method);
	for (int i = 0; i < 50; i++) {
		shot_fire(&shot);
		SHOT_EXPECT(&shot, "chain_c", "chain_b", "chain_a", "shot_start");
		assert_true(shot_find(&shot, "main", 0) > 0);
		shot_expect_end(&shot, UNWIND_END_MARKER);
		assert_true(shot.frames[0].exact && shot.frames[0].how == FRAME_REGISTERS);
		assert_true(!shot.frames[1].exact && shot.frames[1].how == FRAME_CFI);
		assert_true(shot.result.stack_used <= shot.snap.segment[0].len);
	}
	shot_end(&shot);
}

/* ---- the end of a thread ---- */

SHOT_NOINLINE static void *thread_main(void *arg)
{
	(void)arg;
	chain_a();
	return NULL;
}

SHOT_NOINLINE static void run_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, thread_main, NULL);
	pthread_join(thread, NULL);
}

static pid_t other_thread(pid_t pid)
{
	pid_t found = -1;

	/* In a new process, its threads have some of the next numbers, and ours the last:
	 * ThreadSanitizer makes one, too. */
	for (pid_t tid = pid + 1; tid < pid + 1000; tid++)
		if (syscall(SYS_tgkill, pid, tid, 0) == 0)
			found = tid;
	assert_true(found > 0);
	return found;
}

static void test_thread(void **state)
{
	static struct shot shot;

	(void)state;
	shot_start(&shot, run_thread);
	shot_open(&shot, UNWIND_AUTO);
	shot_take(&shot, other_thread(shot.pid), SHOT_WINDOW);
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "chain_a", "thread_main");
	shot_expect_end(&shot, UNWIND_END_MARKER);
	assert_int_equal(shot_find(&shot, "main", 0), -1);
	shot_end(&shot);
}

/* ---- signal handlers ---- */

SHOT_NOINLINE static void on_signal(int sig)
{
	(void)sig;
	chain_b();
}

/* Is interrupted between two instructions, not in a call. */
SHOT_NOINLINE static void interrupted(void)
{
	for (;;)
		sink++;
}

SHOT_NOINLINE static void interrupted_caller(void)
{
	interrupted();
	SHOT_STAY();
}

SHOT_NOINLINE static void handle_alarm(int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};

	sigaction(SIGALRM, &action, NULL);
	ualarm(2000, 0);
	interrupted_caller();
}

SHOT_NOINLINE static void run_handler(void)
{
	handle_alarm(0);
}

SHOT_NOINLINE static void run_altstack_handler(void)
{
	stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};

	sigaltstack(&stack, NULL);
	handle_alarm(SA_ONSTACK);
}

/* As musl and Go do it: a way back of one's own, without unwind data. */
__asm__(".text\n"
        "	nop\n"
        ".type bare_sigreturn, @function\n"
        "bare_sigreturn:\n"
        "	mov $15, %rax\n"
        "	syscall\n"
        ".size bare_sigreturn, . - bare_sigreturn\n");
void bare_sigreturn(void);

SHOT_NOINLINE static void run_bare_handler(void)
{
	/* struct sigaction as the kernel has it (rt_sigaction(2)) */
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = {on_signal, 0x04000000 /* SA_RESTORER */, bare_sigreturn, 0};

	syscall(SYS_rt_sigaction, SIGALRM, &action, NULL, sizeof action.mask);
	ualarm(2000, 0);
	interrupted_caller();
	SHOT_STAY();
}

/* The stack of a thread lies below that of its process's first one: a handler
 * that runs up there leads back down. */
static char *high_stack;

static void *thread_with_high_handler(void *arg)
{
	stack_t stack = {.ss_sp = high_stack, .ss_size = 65536};

	sigaltstack(&stack, NULL);
	pthread_sigmask(SIG_UNBLOCK, arg, NULL);
	handle_alarm(SA_ONSTACK);
	return arg;
}

SHOT_NOINLINE static void run_high_handler(void)
{
	char memory[65536];
	pthread_t thread;
	sigset_t set;

	high_stack = memory;
	/* Before there is a thread: the signal may come at once. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, thread_with_high_handler, &set);
	pthread_join(thread, NULL);
}

static void expect_handler(const struct shot *shot)
{
	int at = shot_find(shot, "interrupted", 0);

	SHOT_EXPECT(shot, "chain_c", "chain_b", "on_signal");
	SHOT_EXPECT(shot, "interrupted", "interrupted_caller");
	shot_expect_end(shot, UNWIND_END_MARKER);
	/* The handler, the trampoline that it will return to, what was interrupted. */
	assert_int_equal(at, shot_find(shot, "on_signal", 0) + 2);
	assert_int_equal(shot->frames[at].how, FRAME_SIGNAL);
	assert_true(shot->frames[at].exact);
	assert_true(shot->frames[at - 1].exact);
	assert_false(shot->frames[at + 1].exact);
}

static void test_signal_handler(void **state)
{
	void (*run)(void) = *state == NULL ? run_handler : run_bare_handler;
	static struct shot shot;

	shot_start(&shot, run);
	shot_open(&shot, UNWIND_AUTO);
	shot_fire(&shot);
	expect_handler(&shot);
	assert_string_equal(shot_name(&shot.frames[shot_find(&shot, "on_signal", 0) + 1]),
	                    *state == NULL ? "?" : "bare_sigreturn");
	shot_end(&shot);
}

static bool demand_read(void *ctx, uint64_t addr, void *buf, size_t len)
{
	return target_read_memory(ctx, addr, buf, len) == (ssize_t)len;
}

static void test_high_handler(void **state)
{
	static struct shot shot;
	struct unwind_demand demand;

	(void)state;
	shot_start(&shot, run_high_handler);
	shot_open(&shot, UNWIND_AUTO);
	demand = (struct unwind_demand){demand_read, shot.target};
	shot_take(&shot, other_thread(shot.pid), 16384);
	shot_unwind(&shot, &demand, SHOT_MAX_FRAMES);
	expect_handler(&shot);
	shot_end(&shot);
}

static void test_altstack_handler(void **state)
{
	static struct shot shot;
	struct unwind_demand demand;

	(void)state;
	shot_start(&shot, run_altstack_handler);
	shot_open(&shot, UNWIND_AUTO);
	shot_take(&shot, shot.pid, 16384);
	/* The interrupted stack is elsewhere: not guessed, said. */
	shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "on_signal");
	shot_expect_end(&shot, UNWIND_END_MEMORY);
	/* Read on demand, and its thread has not moved on. */
	demand = (struct unwind_demand){demand_read, shot.target};
	shot_unwind(&shot, &demand, SHOT_MAX_FRAMES);
	expect_handler(&shot);
	shot_end(&shot);
}

static void test_odd_frames(void **state)
{
	static struct shot shot;

	(void)state;
	shot_start(&shot, run_odd_frames);
	shot_open(&shot, UNWIND_AUTO);
	shot_fire(&shot);
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "frame_aligned", "frame_variable",
	            "frame_both", "run_odd_frames", "shot_start");
	shot_expect_end(&shot, UNWIND_END_MARKER);
	shot_end(&shot);
}

/* As OCaml's caml_c_call, which keeps its return address elsewhere for a while. */
__asm__(".text\n"
        ".type frame_popped, @function\n"
        "frame_popped:\n"
        "	.cfi_startproc\n"
        "	call shot_ready_popped\n"
        "	pop %rdx\n"
        "	.cfi_adjust_cfa_offset -8\n"
        "1:	jmp 1b\n"
        "	.cfi_endproc\n"
        ".size frame_popped, . - frame_popped\n");
void frame_popped(void);
void shot_ready_popped(void);

__attribute__((force_align_arg_pointer)) void shot_ready_popped(void)
{
	shot_ready();
}

SHOT_NOINLINE static void run_popped(void)
{
	frame_popped();
	SHOT_STAY();
}

static void test_popped_return_address(void **state)
{
	static struct shot shot;

	(void)state;
	shot_start(&shot, run_popped);
	shot_open(&shot, UNWIND_AUTO);
	/* Once it is there; from below SP nothing is lost but by a signal. */
	do
		shot_fire(&shot);
	while (shot_find(&shot, "frame_popped", 0) != 0);
	SHOT_EXPECT(&shot, "frame_popped", "run_popped", "shot_start");
	shot_expect_end(&shot, UNWIND_END_MARKER);
	shot_end(&shot);
}

/* ---- the vDSO ---- */

SHOT_NOINLINE static void ask_time(void)
{
	struct timespec ts;

	for (;;)
		clock_gettime(CLOCK_MONOTONIC, &ts);
}

SHOT_NOINLINE static void run_vdso(void)
{
	shot_ready();
	ask_time();
	SHOT_STAY();
}

static void test_vdso(void **state)
{
	static struct shot shot;
	int seen = 0;

	(void)state;
	shot_start(&shot, run_vdso);
	shot_open(&shot, UNWIND_AUTO);
	do
		shot_fire(&shot);
	while (shot_find(&shot, "ask_time", 0) < 0);
	for (int i = 0; i < 400; i++) {
		const struct frame *leaf = &shot.frames[0];

		shot_fire(&shot);
		SHOT_EXPECT(&shot, "ask_time", "run_vdso", "shot_start");
		shot_expect_end(&shot, UNWIND_END_MARKER);
		seen += leaf->where->module != NULL && module_is_vdso(leaf->where->module);
	}
	if (seen == 0)
		skip(); /* a virtual machine without a usable clock: always a system call */
	shot_end(&shot);
}

/* ---- code without unwind data, with a frame pointer ---- */

static void test_bare(void **state)
{
	static struct shot shot;

	(void)state;
	shot_start(&shot, run_bare);
	shot_open(&shot, UNWIND_AUTO);
	shot_fire(&shot);
	SHOT_EXPECT(&shot, "chain_c", "chain_b", "bare_outer", "run_bare", "shot_start");
	assert_int_equal(shot.frames[shot_find(&shot, "run_bare", 0)].how, FRAME_CODE);
	assert_int_equal(shot.frames[shot_find(&shot, "bare_outer", 0)].how, FRAME_CFI);
	shot_end(&shot);
}

static void test_libunwind_alone(void **state)
{
	static struct shot shot;

	(void)state;
	shot_start(&shot, run_bare);
	shot_open(&shot, UNWIND_LIBUNWIND);
	shot_fire(&shot);
	/* libunwind's own guess would go on here. */
	assert_string_equal(shot_name(&shot.frames[shot.result.nframes - 1]), "bare_outer");
	shot_expect_end(&shot, UNWIND_END_NO_INFO);
	shot_end(&shot);
}

/* ---- every instruction ---- */

/* Calls into libc, through the PLT, lazily bound, and code without CFI. */
SHOT_NOINLINE static int step_compare(const void *a, const void *b)
{
	bare_inner();
	return *(const int *)a - *(const int *)b;
}

SHOT_NOINLINE static void step_work(void)
{
	int numbers[4] = {3, 1, 2, 4};
	char text[64];

	qsort(numbers, 4, sizeof *numbers, step_compare);
	snprintf(text, sizeof text, "%d %s", numbers[0], "text");
	sink += strtol(text, NULL, 10);
	free(strdup(text));
}

SHOT_NOINLINE static void run_steps(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	shot_ready();
	raise(SIGSTOP);
	for (;;)
		step_work();
}

static void single_step(struct shot *shot, int *status)
{
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, shot->pid, NULL, NULL), 0);
	assert_int_equal(waitpid(shot->pid, status, 0), shot->pid);
	assert_true(WIFSTOPPED(*status));
}

static void take_traced(struct shot *shot)
{
	struct tracer_stop stop = {.tid = shot->pid};
	struct arch_prstatus raw;

	assert_int_equal(tracer_get_regs(&stop, &raw), 0);
	assert_int_equal(arch_regs_from_prstatus(&raw, &shot->snap.regs), 0);
	shot_copy_stack(shot, 32768);
}

static void test_every_instruction(void **state)
{
	int status, bare = 0, deepest = 0;
	static struct shot shot;
	uint64_t spent_ns = 0;
	const int nsteps = 12000;

	(void)state;
	shot_start(&shot, run_steps);
	shot_open(&shot, UNWIND_AUTO);
	assert_int_equal(waitpid(shot.pid, &status, 0), shot.pid);
	for (int i = 0; i < nsteps; i++) {
		uint64_t before;
		int at;

		single_step(&shot, &status);
		take_traced(&shot);
		before = clock_monotonic_ns();
		shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
		spent_ns += clock_monotonic_ns() - before;
		at = shot_find(&shot, "run_steps", 0);
		if (at < 0 || shot_find(&shot, "main", (size_t)at) < 0 ||
		    shot.result.end != UNWIND_END_MARKER) {
			shot_print(&shot);
			fail_msg("wrong after %d instructions", i);
		}
		if (shot_find(&shot, "bare_leaf", 0) == 0)
			SHOT_EXPECT(&shot, "bare_leaf", "bare_inner", "step_compare");
		bare += shot.frames[1].how == FRAME_CODE;
		if (at > deepest)
			deepest = at;
	}
	assert_true(bare > 20);
	assert_true(deepest > 4);
	print_message("# %d stacks, %.1f us each\n", nsteps,
	              (double)spent_ns / 1e3 / nsteps);
	shot_end(&shot);
}

/* ---- from a program's first instruction on ---- */

static void run_program(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	shot_ready();
	raise(SIGSTOP);
	execl("/proc/self/exe", "test", NULL);
	_exit(71);
}

static void test_dynamic_linker(void **state)
{
	static struct shot shot;
	int status;

	(void)state;
	shot_start(&shot, run_program);
	assert_int_equal(waitpid(shot.pid, &status, 0), shot.pid);
	assert_int_equal(ptrace(PTRACE_CONT, shot.pid, NULL, NULL), 0);
	assert_int_equal(waitpid(shot.pid, &status, 0), shot.pid);
	assert_true(WIFSTOPPED(status));
	shot_open(&shot, UNWIND_AUTO);
	for (int i = 0; i < 3000; i++) {
		take_traced(&shot);
		shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
		shot_expect_end(&shot, UNWIND_END_MARKER);
		single_step(&shot, &status);
	}
	shot_end(&shot);
}

/* ---- code made at run time ---- */

/* What V8 makes: a look whether it is still good, then the frame. */
static const unsigned char made_code[] = {
        0x31, 0xc9,                         /* xor %ecx,%ecx */
        0xf6, 0xc1, 0x01,                   /* test $1,%cl */
        0x0f, 0x85, 0x00, 0x00, 0x00, 0x00, /* jne 1f */
        0x55,                               /* 1: push %rbp */
        0x48, 0x89, 0xe5,                   /* mov %rsp,%rbp */
        0x57,                               /* push %rdi */
        0x48, 0x83, 0xec, 0x10,             /* sub $16,%rsp */
        0x48, 0x8b, 0xe5,                   /* mov %rbp,%rsp */
        0x5d,                               /* pop %rbp */
        0xc3,                               /* ret */
};
#define MADE_NINSNS 10

static void (*made)(void);

SHOT_NOINLINE static void made_caller(void)
{
	made();
	SHOT_STAY();
}

SHOT_NOINLINE static void run_made(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                  -1, 0);

	if (page == MAP_FAILED)
		_exit(72);
	memcpy(page, made_code, sizeof made_code);
	if (mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0)
		_exit(72);
	made = (void (*)(void))page;
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	shot_ready();
	raise(SIGSTOP);
	for (;;)
		made_caller();
}

/* Its caller is skipped at none of its instructions, once the stack was copied. */
static void test_made_code(void **state)
{
	static struct shot shot;
	int status, inside = 0;

	(void)state;
	shot_start(&shot, run_made);
	shot_open(&shot, UNWIND_AUTO);
	assert_int_equal(waitpid(shot.pid, &status, 0), shot.pid);
	for (int i = 0; i < 2000; i++) {
		single_step(&shot, &status);
		take_traced(&shot);
		shot_unwind(&shot, NULL, SHOT_MAX_FRAMES);
		if (shot.frames[0].where == NULL || shot.frames[0].where->module != NULL)
			continue;
		inside++;
		SHOT_EXPECT(&shot, "?", "made_caller", "run_made", "shot_start");
		assert_int_equal(shot_find(&shot, "made_caller", 0), 1);
	}
	assert_true(inside > 20 * MADE_NINSNS);
	shot_end(&shot);
}

int main(void)
{
	static enum unwind_method automatic = UNWIND_AUTO, libunwind = UNWIND_LIBUNWIND;
	const struct CMUnitTest tests[] = {
	        {"chain, auto", test_chain, NULL, NULL, &automatic},
	        {"chain, libunwind", test_chain, NULL, NULL, &libunwind},
	        cmocka_unit_test(test_thread),
	        {"signal handler", test_signal_handler, NULL, NULL, NULL},
	        {"signal handler, no unwind data", test_signal_handler, NULL, NULL,
	         &automatic},
	        cmocka_unit_test(test_altstack_handler),
	        cmocka_unit_test(test_high_handler),
	        cmocka_unit_test(test_odd_frames),
	        cmocka_unit_test(test_popped_return_address),
	        cmocka_unit_test(test_vdso),
	        cmocka_unit_test(test_bare),
	        cmocka_unit_test(test_libunwind_alone),
	        cmocka_unit_test(test_every_instruction),
	        cmocka_unit_test(test_dynamic_linker),
	        cmocka_unit_test(test_made_code),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
