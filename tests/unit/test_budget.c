/* SPDX-License-Identifier: Apache-2.0 */
/* What the sampling may cost: prices go in, rates come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "capture/budget.h"

/* A machine on which a tick costs what one says, and time passes as ticks do. */
struct world {
	struct budget budget;
	struct budget_reading reading;
	uint64_t tick_ns;
	double processors;
};

static void begin(struct world *world, double hz, double overhead, uint64_t max_pause_ns)
{
	const struct budget_limits limits = {
	        .period_ns = (uint64_t)(1e9 / hz),
	        .overhead = overhead,
	        .max_pause_ns = max_pause_ns,
	        .max_window = 512 * 1024,
	};

	*world = (struct world){.reading = {.now_ns = 77 * NS_PER_SEC, .busy_ns = 5},
	                        .tick_ns = 20 * NS_PER_US,
	                        .processors = 1};
	budget_init(&world->budget, &limits, &world->reading);
}

static void live(struct world *world, double seconds)
{
	uint64_t end = world->reading.now_ns + (uint64_t)(seconds * 1e9);

	while (world->reading.now_ns < end) {
		uint64_t period = world->budget.period_ns;

		world->reading.now_ns += period;
		world->reading.ticks++;
		world->reading.cost_ns += world->tick_ns;
		world->reading.busy_ns += (uint64_t)((double)period * world->processors);
		budget_tick(&world->budget, &world->reading);
	}
}

static double rate(const struct world *world)
{
	return 1e9 / (double)world->budget.period_ns;
}

static double overhead(const struct world *world)
{
	return budget_overhead(&world->budget, &world->reading);
}

#define assert_between(value, low, high)                                                   \
	do {                                                                               \
		double v_ = (value);                                                       \
		if (v_ < (low) || v_ > (high))                                             \
			fail_msg("%s is %g, not from %g to %g", #value, v_, (double)(low), \
			         (double)(high));                                          \
	} while (0)

static void test_what_fits_is_left_alone(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 99, 0.01, 0);
	assert_between(rate(&world), 98.9, 99.1); /* from the first tick on */
	live(&world, 10);
	assert_between(rate(&world), 98.9, 99.1);
	assert_between(overhead(&world), 0.0019, 0.0021);
	assert_int_equal(world.budget.lowered_ns, 0);
}

static void test_what_costs_too_much_is_lowered(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 999, 0.01, 0);
	world.tick_ns = 100 * NS_PER_US;
	live(&world, 10);
	assert_between(rate(&world), 90, 101);
	assert_between(overhead(&world), 0.008, 0.0101);
	assert_between((double)world.budget.lowered_ns / 1e9, 9.8, 10.1);
	assert_between(world.budget.tick_ns, 99e3, 101e3);
}

static void test_limit_holds_from_the_start(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 10000, 0.01, 0);
	live(&world, 0.3);
	assert_between(overhead(&world), 0, 0.011);
}

static void test_price_changes(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 99, 0.01, 0);
	live(&world, 2);
	world.tick_ns = NS_PER_MS; /* a thousand threads have been started */
	live(&world, 10);
	assert_between(rate(&world), 9, 10.1);
	assert_between(overhead(&world), 0.005, 0.0105); /* what was too much is saved */
	world.tick_ns = 20 * NS_PER_US;                  /* and have ended */
	live(&world, 5);
	assert_between(rate(&world), 98.9, 99.1);
}

/* The first tick meets a crowd of threads. */
static void test_dear_tick(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 99, 0.01, 0);
	world.reading.cost_ns += 60 * NS_PER_MS;
	live(&world, 3); /* a debt is paid meanwhile */
	assert_between((double)world.reading.ticks, 220, 290);
	live(&world, 12);
	assert_between(rate(&world), 98.9, 99.1);
	assert_between(overhead(&world), 0.005, 0.0101);
}

static void test_more_processors_allow_more(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 999, 0.01, 0);
	world.tick_ns = 100 * NS_PER_US;
	world.processors = 4;
	live(&world, 10);
	assert_between(rate(&world), 370, 401);
	assert_between(overhead(&world), 0.008, 0.0101);
	world.processors = 0.1; /* fewer than one do not allow less */
	live(&world, 10);
	assert_between(rate(&world), 95, 101);
}

static void test_never_stalls(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 99, 0.0001, 0);
	world.tick_ns = 500 * NS_PER_MS;
	live(&world, 60);
	assert_between(rate(&world), 0.999, 1.001);
	world.tick_ns = 10 * NS_PER_US;
	live(&world, 60);
	assert_between(rate(&world), 5, 11);
}

static void test_slower_than_the_slowest(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 0.1, 0.01, 0);
	world.tick_ns = 5 * NS_PER_SEC;
	live(&world, 100);
	assert_between(rate(&world), 0.0999, 0.1001); /* what was asked for, not more */
}

static void test_no_limit(void **state)
{
	const double none[] = {0, 1};

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		struct world world;

		begin(&world, 999, none[i], 0);
		world.tick_ns = 900 * NS_PER_US;
		live(&world, 3);
		assert_between(rate(&world), 998.9, 999.1);
		assert_int_equal(world.budget.lowered_ns, 0);
	}
}

static void test_clock_that_goes_back(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 999, 0.01, 0);
	live(&world, 1);
	world.reading.busy_ns = 0;
	live(&world, 1);
	assert_between(rate(&world), 300, 501);
}

static void test_pauses(void **state)
{
	struct world world;
	struct budget *budget = &world.budget;

	(void)state;
	begin(&world, 99, 0.01, 100 * NS_PER_US);
	budget_pause(budget, 100 * NS_PER_US);
	assert_int_equal(budget->pauses_over, 0);
	assert_int_equal(budget_window(budget, 512 * 1024), 512 * 1024);
	assert_true(budget_may_follow(budget, 49 * NS_PER_US));
	assert_false(budget_may_follow(budget, 50 * NS_PER_US));

	for (int i = 0; i < 20; i++)
		budget_pause(budget, 101 * NS_PER_US);
	live(&world, 1);
	assert_int_equal(budget->pauses_over, 20);
	assert_int_equal(budget_window(budget, 512 * 1024), 4096); /* and never less */
	assert_int_equal(budget_window(budget, 100), 100);
	assert_false(budget_may_follow(budget, 0));
	assert_int_equal(budget->not_followed, 2);
	assert_between(rate(&world), 99 / 8.01, 99 / 7.99);
	assert_int_equal(budget->lowered_ns, 0); /* that is another reason */

	for (int i = 0; i < 64 * 8; i++)
		budget_pause(budget, 10 * NS_PER_US);
	live(&world, 1);
	assert_int_equal(budget_window(budget, 512 * 1024), 512 * 1024);
	assert_true(budget_may_follow(budget, 0));
	assert_between(rate(&world), 98.9, 99.1);
}

static void test_pauses_without_limit(void **state)
{
	struct world world;

	(void)state;
	begin(&world, 99, 0.01, 0);
	for (int i = 0; i < 20; i++)
		budget_pause(&world.budget, NS_PER_SEC);
	assert_int_equal(world.budget.pauses_over, 0);
	assert_int_equal(budget_window(&world.budget, 512 * 1024), 512 * 1024);
	assert_true(budget_may_follow(&world.budget, NS_PER_SEC));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_fits_is_left_alone),
	        cmocka_unit_test(test_what_costs_too_much_is_lowered),
	        cmocka_unit_test(test_limit_holds_from_the_start),
	        cmocka_unit_test(test_price_changes),
	        cmocka_unit_test(test_dear_tick),
	        cmocka_unit_test(test_more_processors_allow_more),
	        cmocka_unit_test(test_never_stalls),
	        cmocka_unit_test(test_slower_than_the_slowest),
	        cmocka_unit_test(test_no_limit),
	        cmocka_unit_test(test_clock_that_goes_back),
	        cmocka_unit_test(test_pauses),
	        cmocka_unit_test(test_pauses_without_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
