/* SPDX-License-Identifier: Apache-2.0 */
/* build deep: -O1 -fno-optimize-sibling-calls -pthread */
/*
 * deep FRAMES BYTES: a thread that works under FRAMES calls of descend, each
 * with a frame of BYTES bytes (and a little), under descend_start.
 */
#include <alloca.h>

#include "victim.h"

static long frames;
static size_t frame_bytes;
static volatile int stop;

VICTIM_NOINLINE static void at_the_bottom(void)
{
	for (volatile int i = 0; i < 100000; i++)
		;
}

/* NOLINTNEXTLINE(misc-no-recursion): that is what it is for */
VICTIM_NOINLINE static int descend(long left)
{
	volatile char *room = alloca(frame_bytes);
	int r = 0;

	room[0] = 1;
	if (left > 1)
		r = descend(left - 1);
	else
		while (!stop)
			at_the_bottom();
	return r + room[0];
}

VICTIM_NOINLINE static void *descend_start(void *arg)
{
	descend(frames);
	VICTIM_STAY();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	pthread_t thread;

	frames = victim_arg(argc, argv, 1, 50);
	frame_bytes = (size_t)victim_arg(argc, argv, 2, 64);
	if (frames < 1 || frames > 100000 || frame_bytes > 1 << 20)
		return 64;
	victim_init();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)frames * (frame_bytes + 256) + (1 << 20));
	if (pthread_create(&thread, &attr, descend_start, NULL) != 0)
		return 70;
	victim_ready();
	victim_wait();
	stop = 1;
	pthread_join(thread, NULL);
	return 0;
}
