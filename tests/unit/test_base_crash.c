/* SPDX-License-Identifier: Apache-2.0 */
/* What is contained of a crash, and what not, in a process made for each. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crash.h"

static void nothing(void *arg)
{
	*(int *)arg = 1;
}

static void read_nowhere(void *arg)
{
	volatile char *volatile nowhere = (volatile char *)(uintptr_t)8;

	*(int *)arg = *nowhere;
}

static void give_up(void *arg)
{
	(void)arg;
	abort();
}

static int deeper(volatile int *depth)
{
	volatile int here[1000] = {*depth + 1};

	return *depth < 0 ? 0 : deeper(here) + here[0];
}

static void overflow(void *arg)
{
	*(int *)arg = deeper(arg);
}

/* Of somebody else: a child of our own sends it. */
static void be_sent_one(void *arg)
{
	(void)arg;
	if (fork() == 0) {
		kill(getppid(), SIGSEGV);
		_exit(0);
	}
	for (;;)
		pause();
}

/* The wait status of a process that contains one crash after another. */
static int status_after(void (*fn)(void *arg), int times)
{
	pid_t pid = fork();
	int status, value = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		crash_say(NULL);
		close(STDERR_FILENO);
		for (int i = 0; i < times; i++) {
			if (crash_contain(fn, &value))
				_exit(2);
		}
		_exit(crash_contain(nothing, &value) && value == 1 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_contained(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* under it the process ends of the signal all the same */
#endif
	assert_int_equal(status_after(NULL, 0), 0);
	assert_int_equal(status_after(read_nowhere, 3), 0);
	assert_int_equal(status_after(give_up, 3), 0);
	assert_int_equal(status_after(overflow, 3), 0);
}

static void test_not_contained(void **state)
{
	int status = status_after(be_sent_one, 1);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_contained),
	        cmocka_unit_test(test_not_contained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
