/* SPDX-License-Identifier: Apache-2.0 */
/* What is said on stderr: through a pipe, and on a pseudo-terminal. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

#define CLEAR "\r\033[K"

/* stderr goes to `write_fd` from capture_begin until capture_end. */
struct capture {
	int saved;
	int read_fd;
	int write_fd;
};

static void capture_begin(struct capture *c)
{
	c->saved = dup(STDERR_FILENO);
	assert_true(c->saved >= 0);
	dup2(c->write_fd, STDERR_FILENO);
}

static void capture_end(struct capture *c, char *said, size_t size)
{
	struct pollfd pfd = {.fd = c->read_fd, .events = POLLIN};
	size_t n = 0;

	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	while (n + 1 < size && poll(&pfd, 1, 50) > 0 && (pfd.revents & POLLIN)) {
		ssize_t got = read(c->read_fd, said + n, size - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	said[n] = '\0';
	close(c->read_fd);
	close(c->write_fd);
	log_set_level(LOG_LEVEL_NORMAL);
}

static void open_pipe(struct capture *c)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	c->read_fd = fds[0];
	c->write_fd = fds[1];
}

static void open_terminal(struct capture *c, unsigned short columns)
{
	const struct winsize size = {.ws_row = 24, .ws_col = columns};
	struct termios raw;

	c->read_fd = posix_openpt(O_RDWR | O_NOCTTY);
	if (c->read_fd < 0)
		skip();
	assert_int_equal(grantpt(c->read_fd), 0);
	assert_int_equal(unlockpt(c->read_fd), 0);
	c->write_fd = open(ptsname(c->read_fd), O_RDWR | O_NOCTTY);
	assert_true(c->write_fd >= 0);
	assert_int_equal(tcgetattr(c->write_fd, &raw), 0);
	cfmakeraw(&raw); /* or \n would come out as \r\n */
	assert_int_equal(tcsetattr(c->write_fd, TCSANOW, &raw), 0);
	assert_int_equal(ioctl(c->write_fd, TIOCSWINSZ, &size), 0);
}

static void say_everything(void)
{
	log_error("error %d", 1);
	log_info("info %d", 2);
	log_verbose("verbose %d", 3);
}

static void test_levels(void **state)
{
	struct capture c;
	char said[512];

	(void)state;
	assert_int_equal(log_level(), LOG_LEVEL_NORMAL);
	open_pipe(&c);
	capture_begin(&c);
	log_set_level(LOG_LEVEL_QUIET);
	say_everything();
	log_set_level(LOG_LEVEL_NORMAL);
	say_everything();
	log_set_level(LOG_LEVEL_VERBOSE);
	say_everything();
	capture_end(&c, said, sizeof said);
	assert_string_equal(said, "cprof-attach: error 1\n"
	                          "cprof-attach: error 1\n"
	                          "cprof-attach: info 2\n"
	                          "cprof-attach: error 1\n"
	                          "cprof-attach: info 2\n"
	                          "cprof-attach: verbose 3\n");
}

static void test_no_progress_in_a_pipe(void **state)
{
	struct capture c;
	char said[512];

	(void)state;
	open_pipe(&c);
	capture_begin(&c);
	log_progress("1 s of 30");
	log_info("news");
	log_progress_end();
	capture_end(&c, said, sizeof said);
	assert_string_equal(said, "cprof-attach: news\n");
}

static void test_progress(void **state)
{
	struct capture c;
	char said[512];

	(void)state;
	open_terminal(&c, 80);
	capture_begin(&c);
	log_progress("%d s of 30", 1);
	log_info("news");
	log_progress("%d s of 30", 2);
	log_progress_end();
	log_progress_end();
	log_info("done");
	log_set_level(LOG_LEVEL_QUIET);
	log_progress("%d s of 30", 3);
	capture_end(&c, said, sizeof said);
	assert_string_equal(said, CLEAR "1 s of 30" CLEAR "cprof-attach: news\n"
	                                "1 s of 30" CLEAR "2 s of 30" CLEAR
	                                "cprof-attach: done\n");
}

static void test_progress_fits(void **state)
{
	struct capture c;
	char said[512];

	(void)state;
	open_terminal(&c, 10);
	capture_begin(&c);
	log_progress("0123456789abcdef");
	log_progress("12345678\xc3\xa4\xc3\xa4");
	log_progress_end();
	capture_end(&c, said, sizeof said);
	assert_string_equal(said, CLEAR "012345678" CLEAR "12345678" CLEAR);
}

/* A thread named "\033[2J" must not clear the screen. */
static void test_control_characters(void **state)
{
	struct capture c;
	char said[512];

	(void)state;
	open_pipe(&c);
	capture_begin(&c);
	log_info("thread '\033[2J\x7f\r\b\xc2\x9b' \xc3\xa4\tb\nnext");
	capture_end(&c, said, sizeof said);
	assert_string_equal(said, "cprof-attach: thread '?[2J"
	                          "?????"
	                          "' \xc3\xa4\tb\nnext\n");
}

static void test_closed_stderr(void **state)
{
	struct capture c;
	char said[512];

	(void)state;
	open_pipe(&c);
	capture_begin(&c);
	close(STDERR_FILENO);
	errno = 0;
	log_error("nobody hears this");
	capture_end(&c, said, sizeof said);
	assert_string_equal(said, "");
}

static void *chatter(void *arg)
{
	for (int i = 0; i < 200; i++)
		log_info("thread %s says a line that must stay whole", (const char *)arg);
	return NULL;
}

static void test_threads(void **state)
{
	static char names[4][2] = {"a", "b", "c", "d"};
	static char said[64 * 1024];
	struct capture c;
	pthread_t threads[4];
	int count[4] = {0}, lines = 0;

	(void)state;
	open_pipe(&c);
	assert_true(fcntl(c.write_fd, F_SETPIPE_SZ, 256 * 1024) >= (int)sizeof said);
	capture_begin(&c);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, chatter, names[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	capture_end(&c, said, sizeof said);
	for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n")) {
		char name;

		assert_int_equal(sscanf(line, "cprof-attach: thread %c says", &name), 1);
		assert_non_null(strstr(line, "must stay whole"));
		count[name - 'a']++;
		lines++;
	}
	assert_int_equal(lines, 800);
	for (int i = 0; i < 4; i++)
		assert_int_equal(count[i], 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_levels),
	        cmocka_unit_test(test_no_progress_in_a_pipe),
	        cmocka_unit_test(test_progress),
	        cmocka_unit_test(test_progress_fits),
	        cmocka_unit_test(test_control_characters),
	        cmocka_unit_test(test_closed_stderr),
	        cmocka_unit_test(test_threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
