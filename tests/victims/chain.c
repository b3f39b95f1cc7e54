/* SPDX-License-Identifier: Apache-2.0 */
/* build static_c: -O2 -static -pthread */
/* build stripped_pie: -O2 -fPIE -pie -s -fomit-frame-pointer -pthread */
/* build nofp: -O2 -fno-pie -no-pie -fomit-frame-pointer -pthread */
/* build frame_pointers: -O2 -fno-omit-frame-pointer -mno-omit-leaf-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables -DLEAF_HAS_FRAME -pthread */
/* build no_tables: -O2 -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables -pthread */
/* build no_tables_stripped: -O2 -s -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables -pthread */
/* build debug_frame: -O0 -g -pthread */
/* build only_debug_frame: -O2 -g -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables -pthread */
/*
 * chain: two threads, the main one too, that are always in
 *
 *     chain_leaf <- chain_two <- chain_one <- main or chain_thread
 *
 * chain_two has a frame whose size is known only at run time. Prints "code
 * NAME START END" for each, for builds that carry no names: END is the start
 * of the function behind it, and the functions keep their order.
 */
#include <alloca.h>

#include "victim.h"

#ifdef __clang__
#define IN_ORDER __attribute__((noinline, used, section(".text.chain")))
#else
#define IN_ORDER \
	__attribute__((noinline, noclone, used, no_reorder, section(".text.chain")))
#endif

IN_ORDER void chain_leaf(volatile char *bytes, unsigned n);
IN_ORDER void chain_two(unsigned n);
IN_ORDER void chain_one(unsigned n);
IN_ORDER void *chain_thread(void *arg);
IN_ORDER void chain_end(void);

static volatile int stop;

void chain_leaf(volatile char *bytes, unsigned n)
{
#ifdef LEAF_HAS_FRAME
	/* gcc leaves the frame out of a leaf, whatever it is told */
	__asm__ volatile("" ::"r"(__builtin_frame_address(0)));
#endif
	for (unsigned i = 0; i < 200000; i++)
		bytes[i % n]++;
}

void chain_two(unsigned n)
{
	char *bytes = alloca(n);

	memset(bytes, 1, n);
	chain_leaf(bytes, n);
	VICTIM_STAY();
}

void chain_one(unsigned n)
{
	chain_two(16 + n % 4000);
	VICTIM_STAY();
}

void *chain_thread(void *arg)
{
	for (unsigned n = 0; !stop; n++)
		chain_one(n);
	return arg;
}

void chain_end(void)
{
	VICTIM_STAY();
}

static void print_code(void)
{
	const struct {
		const char *name;
		uintptr_t start;
	} code[] = {{"chain_leaf", (uintptr_t)chain_leaf},
	            {"chain_two", (uintptr_t)chain_two},
	            {"chain_one", (uintptr_t)chain_one},
	            {"chain_thread", (uintptr_t)chain_thread},
	            {"chain_end", (uintptr_t)chain_end}};

	for (size_t i = 0; i + 1 < sizeof(code) / sizeof(code[0]); i++) {
		uintptr_t end = 0;

		for (size_t j = 0; j < sizeof(code) / sizeof(code[0]); j++)
			if (code[j].start > code[i].start &&
			    (end == 0 || code[j].start < end))
				end = code[j].start;
		printf("code %s 0x%lx 0x%lx\n", code[i].name, (unsigned long)code[i].start,
		       (unsigned long)end);
	}
}

int main(void)
{
	victim_init();
	print_code();
	victim_thread(chain_thread, NULL, "chain");
	victim_ready();
	for (unsigned n = 0; !victim_ended(); n++)
		for (int i = 0; i < 20; i++)
			chain_one(n);
	stop = 1;
	return 0;
}
