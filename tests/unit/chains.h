/* SPDX-License-Identifier: Apache-2.0 */
/* What the children of unwinding tests run: chains of calls, known by name. */
#ifndef TESTS_UNIT_CHAINS_H
#define TESTS_UNIT_CHAINS_H

#include <alloca.h>

#include "shot.h"

static volatile long sink;

/* ---- a plain chain ---- */

SHOT_NOINLINE static void chain_c(void)
{
	shot_ready();
	for (;;)
		sink++;
}

SHOT_NOINLINE static void chain_b(void)
{
	chain_c();
	SHOT_STAY();
}

SHOT_NOINLINE static void chain_a(void)
{
	chain_b();
	SHOT_STAY();
}

/* ---- frames that libunwind must evaluate: aligned, of variable size ---- */

SHOT_NOINLINE static void frame_aligned(void)
{
	_Alignas(128) volatile char buffer[256];

	buffer[0] = 1;
	chain_b();
	sink += buffer[0];
}

SHOT_NOINLINE static void frame_variable(size_t n)
{
	volatile char *buffer = alloca(n);

	buffer[n - 1] = 1;
	frame_aligned();
	sink += buffer[0];
}

SHOT_NOINLINE static void frame_both(size_t n)
{
	_Alignas(64) volatile char buffer[64];

	buffer[0] = 1;
	frame_variable(n * 3);
	sink += buffer[0];
}

SHOT_NOINLINE static void run_odd_frames(void)
{
	static volatile size_t size = 100; /* not a constant to the compiler */

	frame_both(size);
}

/* ---- code without unwind data, with a frame pointer ---- */

/* bare_outer and bare_inner have no CFI; the end of one is found in its RBP. */
__asm__(".text\n"
        ".type bare_outer, @function\n"
        "bare_outer:\n"
        "	push %rbp\n"
        "	mov %rsp, %rbp\n"
        "	sub $48, %rsp\n"
        "	call *%rdi\n"
        "	leave\n"
        "	ret\n"
        ".size bare_outer, . - bare_outer\n"
        ".type bare_inner, @function\n"
        "bare_inner:\n"
        "	endbr64\n"
        "	push %rbp\n"
        "	mov %rsp, %rbp\n"
        "	push %rbx\n"
        "	push %rbx\n"
        "	call bare_leaf\n"
        "	pop %rbx\n"
        "	pop %rbx\n"
        "	pop %rbp\n"
        "	ret\n"
        ".size bare_inner, . - bare_inner\n"
        ".type bare_leaf, @function\n"
        "bare_leaf:\n"
        "	push %rbp\n"
        "	mov %rsp, %rbp\n"
        "	mov $3, %ecx\n"
        "1:	dec %ecx\n"
        "	jnz 1b\n"
        "	pop %rbp\n"
        "	ret\n"
        ".size bare_leaf, . - bare_leaf\n");
void bare_outer(void (*callee)(void));
void bare_inner(void);
void bare_leaf(void);

SHOT_NOINLINE static void run_bare(void)
{
	/* Real frame pointers below: what this test is about. */
	bare_outer(chain_b);
	SHOT_STAY();
}

#endif
