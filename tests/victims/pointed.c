/* SPDX-License-Identifier: Apache-2.0 */
/* build pointed_stripped: -O2 -s -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables -pthread */
/* build pointed_lld: -O2 -s -fuse-ld=lld -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables -pthread */
/*
 * pointed: sorts for ever, with a function that the C library calls by its address and
 * that pushes nothing:
 *
 *     pointed_leaf <- pointed_compare <- the C library's qsort <- main
 *
 * Prints "code NAME START END" for both.
 */
#include "victim.h"

#ifdef __clang__
#define IN_ORDER __attribute__((noinline, used, section(".text.pointed")))
#else
#define IN_ORDER \
	__attribute__((noinline, noclone, used, no_reorder, section(".text.pointed")))
#endif

#define N 64

IN_ORDER void pointed_leaf(unsigned long n)
{
	for (int i = 0; i < 5000; i++)
		__asm__ volatile("" : "+r"(n));
}

IN_ORDER int pointed_compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	pointed_leaf(7);
	return x < y ? -1 : x > y;
}

IN_ORDER void pointed_end(void)
{
}

int main(void)
{
	int v[N];

	victim_init();
	printf("code pointed_leaf %p %p\n", (void *)pointed_leaf, (void *)pointed_compare);
	printf("code pointed_compare %p %p\n", (void *)pointed_compare,
	       (void *)pointed_end);
	victim_ready();
	while (!victim_ended()) {
		for (int i = 0; i < N; i++)
			v[i] = i * 7919 % 101;
		qsort(v, N, sizeof v[0], pointed_compare);
	}
	_exit(0);
}
