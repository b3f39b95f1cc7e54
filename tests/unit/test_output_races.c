/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody else changes names between the check before a run and the writing after
 * it, so that root would write where they want it. Each test has a directory "d",
 * where the output goes, and a file "prey" that must stay as it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/file.h"

#define NOBODY 65534

static char dir[PATH_MAX];
static struct error err;

static void make(const char *name, const char *content)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

static void assert_content(const char *name, const char *content)
{
	char buf[64] = "";
	int fd = open(name, O_RDONLY | O_NOFOLLOW);

	assert_true(fd >= 0);
	assert_true(read(fd, buf, sizeof buf - 1) >= 0);
	assert_string_equal(buf, content);
	close(fd);
}

static int setup(void **state)
{
	(void)state;
	umask(022);
	strcpy(dir, "/tmp/cprof-races-XXXXXX");
	if (!mkdtemp(dir) || chdir(dir) != 0 || mkdir("d", 0755) != 0)
		return -1;
	make("prey", "prey");
	memset(&err, 0, sizeof err);
	return 0;
}

static void empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static int teardown(void **state)
{
	static const char *const dirs[] = {"d", "e", "trap"};

	(void)state;
	output_file_forget();
	for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
		empty(dirs[i]);
		(void)rmdir(dirs[i]);
	}
	empty(".");
	return chdir("/") != 0 || rmdir(dir) != 0 ? -1 : 0;
}

static int check(const char *name)
{
	return output_file_check(name, 0, &err);
}

static int put(const char *name, const char *text)
{
	return output_file_write(name, text, strlen(text), &err);
}

/* "d" becomes a link to the directory "trap". */
static void exchange_directory(void)
{
	assert_int_equal(mkdir("trap", 0755), 0);
	assert_int_equal(rename("d", "e"), 0);
	assert_int_equal(symlink("trap", "d"), 0);
}

static void test_directory_becomes_a_link(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(check("d/a"), 0);
	exchange_directory();
	assert_int_equal(put("d/a", "new"), 0);
	assert_content("e/a", "new");
	assert_int_equal(lstat("trap/a", &st), -1);
	assert_int_equal(put("d/a", "newer"), 0); /* once more, as for a series */
	assert_content("e/a", "newer");
}

static void test_directory_with_an_old_file_becomes_a_link(void **state)
{
	(void)state;
	make("d/a", "old");
	assert_int_equal(check("d/a"), 0);
	exchange_directory();
	make("trap/a", "prey");
	assert_int_equal(put("d/a", "new"), 0);
	assert_content("e/a", "new");
	assert_content("trap/a", "prey");
}

/* A link that appears where the file will be is replaced, not followed. */
static void test_link_in_the_way(void **state)
{
	struct stat before, after;

	(void)state;
	assert_int_equal(check("d/a"), 0);
	assert_int_equal(chmod("prey", 04750), 0);
	assert_int_equal(stat("prey", &before), 0);
	assert_int_equal(symlink("../prey", "d/a"), 0);
	assert_int_equal(put("d/a", "new"), 0);
	assert_content("d/a", "new");
	assert_content("prey", "prey");
	assert_int_equal(stat("prey", &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	/* Nor does the new file take what the link leads to for an example. */
	assert_int_equal(stat("d/a", &after), 0);
	assert_int_equal(after.st_mode & 0100, 0);
}

/* In a directory like /tmp, where it has been waiting for us. */
static void test_anothers_link(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod("d", 01777), 0);
	assert_int_equal(symlink("../prey", "d/a"), 0);
	assert_int_equal(symlink("..", "d/up"), 0);
	assert_int_equal(check("d/a"), 0);
	assert_int_equal(lchown("d/a", NOBODY, NOBODY), 0);
	assert_int_equal(lchown("d/up", NOBODY, NOBODY), 0);
	assert_int_equal(check("d/a"), -1);
	assert_non_null(strstr(err.text, "another user has put 'd/a'"));
	output_file_forget();
	assert_int_equal(put("d/a", "new"), -1);
	assert_int_equal(put("d/up/prey", "new"), -1);
	assert_content("prey", "prey");
}

static void test_anothers_file(void **state)
{
	struct stat st;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod("d", 01777), 0);
	make("d/a", "old");
	assert_int_equal(chmod("d/a", 0666), 0);
	assert_int_equal(chown("d/a", NOBODY, NOBODY), 0);
	assert_int_equal(put("d/a", "new"), 0);
	assert_content("d/a", "new");
	assert_int_equal(stat("d/a", &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_mode & 002, 0);
}

static void test_file_becomes_a_link(void **state)
{
	(void)state;
	make("d/a", "old");
	assert_int_equal(check("d/a"), 0);
	assert_int_equal(unlink("d/a"), 0);
	assert_int_equal(symlink("../prey", "d/a"), 0);
	assert_int_equal(put("d/a", "new"), 0);
	assert_content("d/a", "new");
	assert_content("prey", "prey");
}

/* What is written in place must be what it was: nothing is cut to nothing. */
static void test_fifo_becomes_a_link(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(mkfifo("d/p", 0600), 0);
	fd = open("d/p", O_RDWR);
	assert_int_equal(check("d/p"), 0);
	assert_int_equal(unlink("d/p"), 0);
	assert_int_equal(symlink("../prey", "d/p"), 0);
	assert_int_equal(put("d/p", "new"), -1);
	assert_non_null(strstr(err.text, "another file than it was"));
	assert_content("prey", "prey");
	close(fd);
}

static void test_temporary_names_are_taken(void **state)
{
	char name[64];

	(void)state;
	/* As would anybody who guesses them. */
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "d/.cprof-attach-%d-%d.tmp", (int)getpid(), i);
		assert_int_equal(symlink("../prey", name), 0);
	}
	assert_int_equal(check("d/a"), 0);
	assert_int_equal(put("d/a", "new"), 0);
	assert_content("d/a", "new");
	assert_content("prey", "prey");
}

static void test_what_needs_privilege(void **state)
{
	(void)state;
	assert_int_equal(check("d/a"), 0);
	assert_false(output_file_needs_privilege("d/a"));
	assert_false(output_file_needs_privilege("-"));
	assert_true(output_file_needs_privilege("d/b")); /* never checked */
	if (geteuid() != 0)
		return;
	assert_int_equal(chown("d", 65534, 65534), 0);
	assert_true(output_file_needs_privilege("d/a"));
	assert_int_equal(chown("d", 0, 0), 0);
	make("d/b", "theirs");
	assert_int_equal(chown("d/b", 65534, 65534), 0);
	assert_int_equal(check("d/b"), 0);
	assert_true(output_file_needs_privilege("d/b"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_directory_becomes_a_link),
	        TEST(test_directory_with_an_old_file_becomes_a_link),
	        TEST(test_link_in_the_way),
	        TEST(test_anothers_link),
	        TEST(test_anothers_file),
	        TEST(test_file_becomes_a_link),
	        TEST(test_fifo_becomes_a_link),
	        TEST(test_temporary_names_are_taken),
	        TEST(test_what_needs_privilege),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
