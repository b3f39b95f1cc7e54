/* SPDX-License-Identifier: Apache-2.0 */
/* build crash.so: -O1 -fPIC -shared */
/*
 * Preloaded into the profiler, crashes in a function of libdw, as CRASH says:
 *   segv      a read where nothing is
 *   abort     what an assertion does
 *   overflow  a stack without end
 *   heap      a damaged heap, which the allocator finds while it holds its lock
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* Behind a block of what was never used before is the size of all that is left. */
static void damage_heap(void)
{
	char *last = NULL;

	for (int i = 0; i < 100; i++)
		last = malloc(60000);
	memset(last + malloc_usable_size(last), 0x7f, 8);
	free(malloc(70000));
}

static int overflow(volatile int *depth)
{
	volatile int here[1000] = {*depth + 1};

	return *depth < 0 ? 0 : overflow(here) + here[0];
}

void *dwarf_getsrc_die(void *die, unsigned long address)
{
	const char *how = getenv("CRASH");
	volatile int none = 0;

	(void)die;
	(void)address;
	if (strcmp(how, "segv") == 0)
		*(volatile int *)8 = 0;
	else if (strcmp(how, "abort") == 0)
		abort();
	else if (strcmp(how, "heap") == 0)
		damage_heap();
	else if (strcmp(how, "overflow") == 0)
		overflow(&none);
	return NULL;
}
