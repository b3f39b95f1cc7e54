/* SPDX-License-Identifier: Apache-2.0 */
/* `-o -`: whatever stdout is, all of it is written there, or a sentence says why not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fresh_dir.h"
#include "output/file.h"

static int as_stdout(int fd, int (*action)(void))
{
	int saved = dup(STDOUT_FILENO);

	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	int status = action();
	dup2(saved, STDOUT_FILENO);
	close(saved);
	return status;
}

static int check_text_stdout(void)
{
	return output_file_check("-", 0, &err);
}

static int check_stdout(void)
{
	return output_file_check("-", 1, &err);
}

static int put_stdout(void)
{
	return output_file_write("-", "new", 3, &err);
}

static void test_stdout(void **state)
{
	int fd;

	(void)state;
	fd = open("out", O_RDWR | O_CREAT, 0600);
	assert_int_equal(as_stdout(fd, check_stdout), 0);
	assert_int_equal(as_stdout(fd, put_stdout), 0);
	close(fd);
	assert_content("out", "new");
	fd = open("out", O_RDONLY);
	assert_int_equal(as_stdout(fd, check_stdout), -1);
	assert_non_null(strstr(err.text, "not open for writing"));
	assert_int_equal(as_stdout(fd, put_stdout), -1);
	close(fd);
}

static void test_stdout_terminal(void **state)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY);

	(void)state;
	if (fd < 0)
		skip();
	assert_int_equal(as_stdout(fd, check_stdout), -1);
	assert_non_null(strstr(err.text, "stdout is a terminal"));
	assert_int_equal(as_stdout(fd, check_text_stdout), 0);
	close(fd);
}

static volatile sig_atomic_t got_signal;

static void on_signal(int number)
{
	got_signal = number;
}

static void test_stdout_broken_pipe(void **state)
{
	struct sigaction act = {.sa_handler = on_signal}, now;
	int fds[2];

	(void)state;
	sigaction(SIGPIPE, &act, NULL);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(as_stdout(fds[1], put_stdout), -1);
	assert_non_null(strstr(err.text, "stopped reading"));
	close(fds[1]);
	assert_int_equal(got_signal, 0);
	sigaction(SIGPIPE, NULL, &now);
	assert_true(now.sa_handler == on_signal);
	signal(SIGPIPE, SIG_DFL);
}

#define PIPE_BYTES 300000

static void *read_slowly(void *arg)
{
	static size_t total;
	char buf[10000];
	ssize_t n;

	while ((n = read(*(int *)arg, buf, sizeof buf)) > 0) {
		total += (size_t)n;
		usleep(1000);
	}
	return &total;
}

static int put_much_to_stdout(void)
{
	static char data[PIPE_BYTES];

	return output_file_write("-", data, sizeof data, &err);
}

/* A parent may have left stdout non-blocking; nothing is lost then. */
static void test_stdout_nonblocking(void **state)
{
	int fds[2];
	pthread_t reader;
	void *total;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_slowly, &fds[0]), 0);
	assert_int_equal(as_stdout(fds[1], put_much_to_stdout), 0);
	close(fds[1]);
	pthread_join(reader, &total);
	assert_int_equal(*(size_t *)total, PIPE_BYTES);
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_stdout, fresh_dir_setup,
	                                        fresh_dir_teardown),
	        cmocka_unit_test(test_stdout_terminal),
	        cmocka_unit_test(test_stdout_broken_pipe),
	        cmocka_unit_test(test_stdout_nonblocking),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
