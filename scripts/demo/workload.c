/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something to look at for scripts/run: a pretend server. One thread renders
 * tiles all the time, one parses orders half of the time, one compresses a log
 * now and then, and the main thread sleeps. It runs until it is killed.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

static volatile uint64_t sink;

static NOINLINE uint64_t shade(uint64_t pixel)
{
	for (int i = 0; i < 2000; i++)
		pixel = pixel * UINT64_C(6364136223846793005) + 1442695040888963407;
	return pixel;
}

static NOINLINE uint64_t trace_ray(uint64_t seed, int bounces)
{
	uint64_t colour = shade(seed);

	if (bounces > 0)
		colour ^= trace_ray(colour, bounces - 1);
	return colour + 1;
}

static NOINLINE void render_tile(uint64_t tile)
{
	for (uint64_t pixel = 0; pixel < 16; pixel++)
		sink += trace_ray(tile + pixel, 3);
}

static void *render_tiles(void *arg)
{
	(void)arg;
	for (uint64_t tile = 0;; tile++)
		render_tile(tile);
	return NULL;
}

static NOINLINE void swap_orders(uint32_t *a, uint32_t *b)
{
	uint32_t held = *a;

	*a = *b;
	*b = held;
}

/* Shell's sort. */
static NOINLINE void sort_orders(uint32_t *orders, size_t n)
{
	for (size_t gap = n / 2; gap > 0; gap /= 2) {
		for (size_t i = gap; i < n; i++) {
			for (size_t j = i; j >= gap && orders[j - gap] > orders[j];
			     j -= gap)
				swap_orders(&orders[j - gap], &orders[j]);
		}
	}
}

static NOINLINE void parse_orders(uint32_t *orders, size_t n)
{
	uint32_t state = 12345;

	for (size_t i = 0; i < n; i++) {
		for (int digit = 0; digit < 30; digit++)
			state = state * 1103515245 + 12345;
		orders[i] = state;
	}
}

static void *take_orders(void *arg)
{
	static uint32_t orders[4096];

	(void)arg;
	for (;;) {
		for (int batch = 0; batch < 16; batch++) {
			parse_orders(orders, 4096);
			sort_orders(orders, 4096);
		}
		usleep(10000);
	}
	return NULL;
}

static NOINLINE uint64_t find_match(uint64_t window)
{
	for (int i = 0; i < 2000; i++)
		window ^= window << 13 ^ window >> 7 ^ (uint64_t)i;
	return window;
}

static NOINLINE void compress_log(void)
{
	for (uint64_t block = 1; block < 12000; block++)
		sink += find_match(block);
}

static void *rotate_logs(void *arg)
{
	(void)arg;
	for (;;) {
		compress_log();
		usleep(360000);
	}
	return NULL;
}

static void start(const char *name, void *(*run)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, NULL) != 0)
		exit(1);
	pthread_setname_np(thread, name);
}

int main(void)
{
	/* Where Yama lets parents alone trace, this lets the profiler too. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	start("renderer", render_tiles);
	start("orders", take_orders);
	start("log-rotation", rotate_logs);
	for (;;)
		pause();
}
