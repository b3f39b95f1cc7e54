/* SPDX-License-Identifier: Apache-2.0 */
/* What is quoted comes back from a real shell as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/shell.h"

static const char *const words[] = {
        "plain",   "",        " ",     "a b",  "it's", "''",    "$HOME", "`id`",
        "a;b|c&d", "*",       "~",     "~/x",  "#no",  "a\nb",  "\\",    "\"",
        "=ls",     "a=b",     "{a,b}", "!!",   "<x>",  "-n",    "(",     "\xff\x01",
        "x.pb.gz", "a'b'c\\", "%s",    "[ab]", "?a",   "\tend", "a~b",
};

#define NWORDS (sizeof words / sizeof words[0])

/* What sh makes of one line: printf's "%s\0" of each word. */
static size_t ask_shell(const char *line, char *buf, size_t size)
{
	char *command = xasprintf("set -- %s; for w; do printf '%%s\\0' \"$w\"; done",
	                          line);
	FILE *pipe = popen(command, "r");
	size_t n;

	assert_non_null(pipe);
	n = fread(buf, 1, size, pipe);
	assert_int_equal(pclose(pipe), 0);
	free(command);
	return n;
}

static void test_words_survive(void **state)
{
	(void)state;
	for (size_t i = 0; i < NWORDS; i++) {
		char buf[256], *quoted = shell_quote(words[i]);
		size_t n = ask_shell(quoted, buf, sizeof buf);

		assert_int_equal(n, strlen(words[i]) + 1);
		assert_memory_equal(buf, words[i], n);
		free(quoted);
	}
}

static void test_a_line_survives(void **state)
{
	char *argv[NWORDS + 1], *line, buf[1024];
	size_t n, at = 0;

	(void)state;
	for (size_t i = 0; i < NWORDS; i++)
		argv[i] = xstrdup(words[i]);
	argv[NWORDS] = NULL;
	line = shell_join(argv);
	n = ask_shell(line, buf, sizeof buf);
	for (size_t i = 0; i < NWORDS; i++) {
		assert_true(at < n);
		assert_string_equal(buf + at, words[i]);
		at += strlen(words[i]) + 1;
		free(argv[i]);
	}
	assert_int_equal(at, n);
	free(line);
}

static void test_plain_words_stay_plain(void **state)
{
	char *const argv[] = {(char[]){"cprof-attach"}, (char[]){"-p"}, (char[]){"4711"},
	                      (char[]){"-o/tmp/x.pb.gz"}, NULL};
	static char *const none[] = {NULL};
	char *line = shell_join(argv);

	(void)state;
	assert_string_equal(line, "cprof-attach -p 4711 -o/tmp/x.pb.gz");
	free(line);
	/* Some shells expand these; sh is not one of them. */
	line = shell_quote("=ls");
	assert_string_equal(line, "'=ls'");
	free(line);
	line = shell_join(none);
	assert_string_equal(line, "");
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_words_survive),
	        cmocka_unit_test(test_a_line_survives),
	        cmocka_unit_test(test_plain_words_stay_plain),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
