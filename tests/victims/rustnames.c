/* SPDX-License-Identifier: Apache-2.0 */
/* build rustnames: -O2 -pthread */
/*
 * rustnames: a thread in functions that carry names as rustc makes them, of the
 * older scheme and of v0 (RFC 2603), and one as C++ compilers do. Prints
 * "name MANGLED READABLE" for each, leaf first.
 */
#include "victim.h"

#define LEGACY "_ZN7harvest7orchard5count17h0a1b2c3d4e5f6071E"
#define V0     "_RNvMNtCs1234_7harvest7orchardNtB2_4Tree4pick"
#define CXX    "_ZN7harvest6gatherIiEEvT_"

void legacy(void) __asm__(LEGACY);
void v0(void) __asm__(V0);
void cxx(void) __asm__(CXX);

static volatile int stop;

VICTIM_NOINLINE void legacy(void)
{
	for (volatile int i = 0; i < 100000; i++)
		;
}

VICTIM_NOINLINE void v0(void)
{
	legacy();
	VICTIM_STAY();
}

VICTIM_NOINLINE void cxx(void)
{
	v0();
	VICTIM_STAY();
}

static void *worker(void *arg)
{
	while (!stop)
		cxx();
	return arg;
}

int main(void)
{
	victim_init();
	victim_thread(worker, NULL, "worker");
	printf("name " LEGACY " harvest::orchard::count\n");
	printf("name " V0 " <harvest::orchard::Tree>::pick\n");
	printf("name " CXX " harvest::gather<int>(int)\n");
	victim_ready();
	victim_wait();
	stop = 1;
	return 0;
}
