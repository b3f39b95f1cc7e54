/* SPDX-License-Identifier: Apache-2.0 */
/* The account of a thread's sleep: whose the time is, and that none is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "capture/sleep.h"
#include "target/arch.h"
#include "target/syscalls.h"

static const struct procfs_syscall in_poll = {.nr = SYS_poll, .sp = 64, .pc = 128};
static const struct procfs_syscall in_read = {.nr = SYS_read, .sp = 96, .pc = 160};

static struct procfs_schedstat numbers(uint64_t run, uint64_t wait, uint64_t slices)
{
	return (struct procfs_schedstat){run, wait, slices};
}

static void test_sleeps_all_the_time(void **state)
{
	struct procfs_schedstat n = numbers(500, 70, 9);
	struct sleep sleep;
	struct sleep_weight w;

	(void)state;
	sleep_begin(&sleep, &n, 1000);
	assert_false(sleep_goes_on(&sleep, &n, &in_poll));
	w = sleep_observed(&sleep, &n, &in_poll, 1100, 1);
	assert_int_equal(w.wall_ns, 100);
	assert_int_equal(w.count, 1);
	assert_true(sleep_goes_on(&sleep, &n, &in_poll));
	sleep_credit(&sleep, &n, 1900, 9);
	assert_int_equal(sleep.credit_ns, 800);
	assert_int_equal(sleep.credit_count, 8);
	assert_int_equal(sleep.claimed_ns, 900);
}

static void test_both_places_get_half(void **state)
{
	struct procfs_schedstat n = numbers(0, 0, 1), later = numbers(100, 20, 2);
	struct sleep sleep;
	struct sleep_weight w;

	(void)state;
	sleep_begin(&sleep, &n, 0);
	(void)sleep_observed(&sleep, &n, &in_poll, 100, 1);
	assert_false(sleep_goes_on(&sleep, &later, &in_read));
	/* 1000 went by, of which 120 awake; nine ticks without a look */
	w = sleep_observed(&sleep, &later, &in_read, 1100, 11);
	assert_int_equal(sleep.credit_ns, 440);
	assert_int_equal(w.wall_ns, 440);
	assert_int_equal(sleep.credit_count + w.count, 10);
	assert_int_equal(sleep.claimed_ns, sleep_total_ns(&sleep, &later, 1100));
}

static void test_awake(void **state)
{
	struct procfs_schedstat n = numbers(0, 0, 1), once = numbers(50, 0, 2);
	struct procfs_schedstat often = numbers(50, 0, 7);
	struct sleep sleep;

	(void)state;
	sleep_begin(&sleep, &n, 0);
	(void)sleep_observed(&sleep, &n, &in_poll, 100, 1);
	sleep_end(&sleep, &once, 1100, 2);
	assert_int_equal(sleep.credit_ns,
	                 950); /* it woke once: all before was that sleep */
	sleep_begin(&sleep, &n, 0);
	(void)sleep_observed(&sleep, &n, &in_poll, 100, 1);
	sleep_end(&sleep, &often, 1100, 2);
	assert_int_equal(sleep.credit_ns, 475);
	assert_false(sleep_goes_on(&sleep, &often, &in_poll));
	/* what is left is the next place's */
	assert_int_equal(sleep_observed(&sleep, &often, &in_read, 1200, 3).wall_ns, 575);
}

static void test_disturbed(void **state)
{
	struct procfs_schedstat n = numbers(10, 0, 4), after = numbers(30, 5, 6);
	struct procfs_syscall restarted = in_poll;
	struct sleep sleep;

	(void)state;
	restarted.nr = SYS_restart_syscall;
	sleep_begin(&sleep, &n, 0);
	(void)sleep_observed(&sleep, &n, &in_poll, 100, 1);
	sleep.disturbed = true;
	assert_true(sleep_goes_on(&sleep, &after, &restarted)); /* our stop's doing */
	assert_true(sleep_is_same(&sleep.at, &after));
	assert_false(sleep_goes_on(&sleep, &n, &restarted)); /* and no excuse twice */
	sleep.disturbed = true;
	after.timeslices += 5;
	assert_false(sleep_goes_on(&sleep, &after, &restarted)); /* it has done more */
	sleep.disturbed = true;
	after.timeslices -= 4;
	restarted.sp += 8;
	assert_false(sleep_goes_on(&sleep, &after, &restarted)); /* and elsewhere */
}

static void test_count(void **state)
{
	struct procfs_schedstat n = {0};
	struct sleep sleep;

	(void)state;
	sleep_begin(&sleep, &n, 0);
	assert_int_equal(sleep_count(&sleep, 1000), 1); /* asleep when we came */
	assert_int_equal(sleep_count(&sleep, 1003), 3);
	sleep.own_switches = 2;
	assert_int_equal(sleep_count(&sleep, 1006), 1);
	assert_int_equal(sleep_count(&sleep, 1006), 0);
}

static void test_back_off(void **state)
{
	struct procfs_schedstat n = {0};
	struct sleep sleep;

	(void)state;
	sleep_begin(&sleep, &n, 0);
	(void)sleep_observed(&sleep, &n, &in_poll, 0, 1);
	sleep_back_off(&sleep, 10, 10, 2, 9, 0);
	assert_int_equal(sleep.next_tick, 3); /* at first every tick */
	sleep_back_off(&sleep, 400, 10, 40, 9, 0);
	assert_int_equal(sleep.next_tick, 45); /* an eighth of 40 ticks */
	sleep_back_off(&sleep, 1000000, 10, 50, 9, 0);
	assert_int_equal(sleep.next_tick, 59); /* and no more than 9 */
	for (uint64_t random = 0; random < 20; random++) {
		sleep_back_off(&sleep, 1000000, 10, 50, 9, random);
		assert_in_range(sleep.next_tick, 54, 59);
	}
}

/* Whatever the looks see, the sum is what the kernel's account leaves. */
static void test_nothing_is_lost(void **state)
{
	uint64_t random = 1, now = 0, tick = 0, sum = 0;
	struct procfs_schedstat n = numbers(7, 7, 7);
	struct sleep sleep;

	(void)state;
	sleep_begin(&sleep, &n, now);
	for (int i = 0; i < 10000; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		uint64_t step = 1000 + (random >> 40) % 1000;
		unsigned what = (random >> 33) % 4;

		now += step;
		tick += 1 + (random >> 50) % 5;
		if (what > 0) {
			n.run_ns += step / 3;
			n.wait_ns += step / 4;
			n.timeslices += what;
		}
		if (what == 3)
			sleep_end(&sleep, &n, now, tick);
		else if (sleep_goes_on(&sleep, &n, &in_poll))
			sleep_credit(&sleep, &n, now, tick);
		else
			sum += sleep_observed(&sleep, &n, &in_poll, now, tick).wall_ns;
	}
	sum += sleep_observed(&sleep, &n, &in_poll, now, tick).wall_ns;
	assert_int_equal(sum + sleep.credit_ns, sleep_total_ns(&sleep, &n, now));
}

static void test_syscalls(void **state)
{
	struct procfs_syscall call = {.nr = SYS_epoll_wait};

	(void)state;
	assert_string_equal(syscall_name(SYS_read), "read");
	assert_string_equal(syscall_name(SYS_epoll_wait), "epoll_wait");
	assert_string_equal(syscall_name(SYS_futex), "futex");
	assert_null(syscall_name(-1));
	assert_null(syscall_name(100000));
	assert_int_equal(syscall_object(SYS_futex), SYSCALL_OBJECT_FUTEX);
	assert_int_equal(syscall_object(SYS_recvfrom), SYSCALL_OBJECT_FD);
	assert_int_equal(syscall_object(SYS_getpid), SYSCALL_OBJECT_NONE);
	call.args[3] = (uint64_t)-1;
	assert_true(syscall_may_be_stopped(&call));
	call.args[3] = 1000; /* would begin anew */
	assert_false(syscall_may_be_stopped(&call));
	call.nr = SYS_close;
	assert_false(syscall_may_be_stopped(&call));
	call = (struct procfs_syscall){.nr = SYS_recvfrom};
	assert_true(syscall_may_be_stopped(&call));
	call.args[3] = MSG_WAITALL; /* would return what has come so far */
	assert_false(syscall_may_be_stopped(&call));
	call = (struct procfs_syscall){.nr = SYS_write, .args = {1, 0, PIPE_BUF}};
	assert_true(syscall_may_be_stopped(&call));
	call.args[2]++; /* may be half done */
	assert_false(syscall_may_be_stopped(&call));
	call.nr = SYS_sendto;
	assert_false(syscall_may_be_stopped(&call));
	call.nr = SYS_poll;
	assert_true(syscall_may_be_stopped(&call));
	call.running = true;
	assert_false(syscall_may_be_stopped(&call));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_sleeps_all_the_time),
	        cmocka_unit_test(test_both_places_get_half),
	        cmocka_unit_test(test_awake),
	        cmocka_unit_test(test_disturbed),
	        cmocka_unit_test(test_count),
	        cmocka_unit_test(test_back_off),
	        cmocka_unit_test(test_nothing_is_lost),
	        cmocka_unit_test(test_syscalls),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
