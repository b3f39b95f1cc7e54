/* SPDX-License-Identifier: Apache-2.0 */
/* build plt: -O2 -fplt -fno-builtin -Wl,-z,lazy -pthread */
/*
 * plt: a thread that calls a tiny library function through its PLT entry, again
 * and again, from crossing <- crosser. With LD_BIND_NOT set, the dynamic linker
 * looks the function up at each call, so most of the time is spent in there, under
 * code that keeps its frame by RBX.
 */
#include <ctype.h>

#include "victim.h"

static volatile int stop;
static volatile int sink;

VICTIM_NOINLINE static void crossing(void)
{
	for (int i = 0; i < 10000; i++)
		sink += toupper(i & 0x7f) + abs(i);
}

static void *crosser(void *arg)
{
	while (!stop)
		crossing();
	return arg;
}

int main(void)
{
	victim_init();
	victim_thread(crosser, NULL, "crosser");
	victim_ready();
	victim_wait();
	stop = 1;
	return 0;
}
