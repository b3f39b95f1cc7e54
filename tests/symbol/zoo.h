/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MARK(name): notes the address of the code at this place, with the line, in a
 * section ".marks": both 4 bytes, the address from where it stands itself, so that
 * nothing is left to relocate. What is inlined into two places is noted twice.
 */
#ifndef CPROF_TESTS_ZOO_H
#define CPROF_TESTS_ZOO_H

#define MARK()                                                            \
	__asm__ volatile("nop\n1: nop\n\t.pushsection .marks, \"aw\"\n\t" \
	                 ".long 1b - .\n\t.long %c0\n\t.popsection" ::"i"(__LINE__))

#define ALWAYS static inline __attribute__((always_inline))
#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else /* nor a copy of it with fewer arguments */
#define NOINLINE __attribute__((noinline, noipa))
#endif

#endif
