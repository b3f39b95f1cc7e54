/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs as files: whole or not at all, and a sentence that says why not. Each
 * test has a fresh directory to itself; where permissions matter, a child that is
 * not root does the work.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fresh_dir.h"
#include "output/file.h"

#define NOBODY 65534

static mode_t mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(name, &st), 0);
	return st.st_mode & 07777;
}

static int check(const char *name)
{
	return output_file_check(name, 1, &err);
}

static int put(const char *name, const char *text)
{
	return output_file_write(name, text, strlen(text), &err);
}

/* Both refuse, with a sentence that holds `words`, and nothing is left. */
static void assert_refused(const char *name, const char *words)
{
	size_t before = entries_in(".");

	assert_int_equal(check(name), -1);
	assert_int_equal(err.code, EXIT_CODE_FAILURE);
	assert_non_null(strstr(err.text, words));
	assert_null(strchr(err.text, '\n'));
	memset(&err, 0, sizeof err);
	assert_int_equal(put(name, "new"), -1);
	assert_int_equal(err.code, EXIT_CODE_FAILURE);
	assert_non_null(strstr(err.text, words));
	assert_int_equal(entries_in("."), before);
}

static void test_new_file(void **state)
{
	(void)state;
	assert_int_equal(check("a.pb.gz"), 0);
	assert_int_equal(entries_in("."), 0);
	assert_int_equal(put("a.pb.gz", "new"), 0);
	assert_content("a.pb.gz", "new");
	assert_int_equal(mode_of("a.pb.gz"), 0644);
	umask(077);
	assert_int_equal(put("b", ""), 0);
	assert_content("b", "");
	assert_int_equal(mode_of("b"), 0600);
	assert_int_equal(entries_in("."), 2);
}

static void test_absolute_name(void **state)
{
	char name[PATH_MAX + 8];

	(void)state;
	snprintf(name, sizeof name, "%s/abs", fresh_dir);
	assert_int_equal(check(name), 0);
	assert_int_equal(put(name, "new"), 0);
	assert_content("abs", "new");
	assert_int_equal(check("/cprof-no-such-dir/x"), -1);
	assert_non_null(strstr(err.text, "there is no directory '/cprof-no-such-dir'"));
}

static void test_long_name(void **state)
{
	char name[NAME_MAX + 2];

	(void)state;
	memset(name, 'n', sizeof name);
	name[NAME_MAX] = '\0';
	assert_int_equal(put(name, "new"), 0);
	assert_content(name, "new");
	name[NAME_MAX] = 'n';
	name[NAME_MAX + 1] = '\0';
	assert_refused(name, "File name too long");
}

static void test_replace(void **state)
{
	struct stat before, after;

	(void)state;
	make("a", "old and longer", 0640);
	assert_int_equal(stat("a", &before), 0);
	assert_int_equal(check("a"), 0);
	assert_content("a", "old and longer");
	/* Who has the old one open keeps it. */
	int fd = open("a", O_RDONLY);
	assert_int_equal(put("a", "new"), 0);
	assert_content("a", "new");
	assert_int_equal(stat("a", &after), 0);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_true(after.st_ino != before.st_ino);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(after.st_size, 14);
	close(fd);
	assert_int_equal(entries_in("."), 1);
}

static void test_replace_keeps_owner(void **state)
{
	struct stat st;

	(void)state;
	if (geteuid() != 0)
		skip();
	make("a", "old", 0600);
	assert_int_equal(chown("a", NOBODY, NOBODY), 0);
	assert_int_equal(chmod("a", 04755), 0);
	assert_int_equal(put("a", "new"), 0);
	assert_int_equal(stat("a", &st), 0);
	assert_int_equal(st.st_uid, NOBODY);
	assert_int_equal(st.st_gid, NOBODY);
	assert_int_equal(mode_of("a"), 0755); /* a profile is never setuid */
}

static void test_link(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	make("sub/a", "old", 0600);
	assert_int_equal(symlink("sub/a", "one"), 0);
	assert_int_equal(symlink("one", "two"), 0);
	assert_int_equal(check("two"), 0);
	assert_int_equal(put("two", "new"), 0);
	assert_content("sub/a", "new");
	assert_int_equal(mode_of("sub/a"), 0600);
	assert_int_equal(lstat("two", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(lstat("one", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(entries_in("sub"), 1);
}

static void test_bad_links(void **state)
{
	(void)state;
	assert_int_equal(symlink("nowhere", "dangling"), 0);
	assert_refused("dangling", "symbolic link to a file that does not exist");
	assert_int_equal(symlink("loop", "loop"), 0);
	assert_refused("loop", "symbolic links");
}

static void test_names_that_are_no_files(void **state)
{
	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	make("file", "x", 0600);
	assert_refused("", "empty name");
	assert_refused("sub", "it is a directory; name a file in it, as in -o "
	                      "'sub/profile.pb.gz'");
	assert_refused("sub/", "-o 'sub/profile.pb.gz'");
	assert_refused("none/", "-o 'none/profile.pb.gz'");
	assert_refused("/", "-o '/profile.pb.gz'");
	assert_refused(".", "it is a directory");
	assert_refused("none/a", "there is no directory 'none'");
	assert_refused("file/a", "Not a directory");
	assert_content("file", "x");
}

static void test_removed_directory(void **state)
{
	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	assert_int_equal(chdir("sub"), 0);
	assert_int_equal(rmdir("../sub"), 0);
	assert_refused("a", "no file can be made in '.'");
	assert_int_equal(chdir(fresh_dir), 0);
}

static void test_device(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(check("/dev/null"), 0);
	assert_int_equal(put("/dev/null", "new"), 0);
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(put("/dev/full", "new"), -1);
	assert_non_null(strstr(err.text, "full; make room"));
}

static void *read_all(void *name)
{
	static char got[64];
	int fd = open(name, O_RDONLY);
	ssize_t n = read(fd, got, sizeof got - 1);

	got[n > 0 ? n : 0] = '\0';
	close(fd);
	return got;
}

static void test_fifo(void **state)
{
	pthread_t reader;
	struct stat st;
	void *got;

	(void)state;
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(check("fifo"), 0); /* does not wait for a reader */
	static char name[] = "fifo";
	assert_int_equal(pthread_create(&reader, NULL, read_all, name), 0);
	assert_int_equal(put("fifo", "through"), 0);
	pthread_join(reader, &got);
	assert_string_equal(got, "through");
	assert_int_equal(stat("fifo", &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
}

static void test_deleted_file(void **state)
{
	char name[64], got[16] = "";

	(void)state;
	make("a", "old and longer", 0600);
	int fd = open("a", O_RDWR);
	unlink("a");
	make("a (deleted)", "where the link seems to lead", 0600);
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	assert_int_equal(check(name), 0);
	assert_int_equal(put(name, "new"), 0);
	assert_int_equal(pread(fd, got, sizeof got - 1, 0), 3);
	assert_string_equal(got, "new");
	close(fd);
	assert_content("a (deleted)", "where the link seems to lead");
	assert_int_equal(entries_in("."), 1);
}

/* In a child of that user with that limit: its exit status is what failed. */
static int in_child(uid_t user, rlim_t file_size, int (*action)(void))
{
	struct rlimit limit = {file_size, file_size};
	int status;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (file_size != RLIM_INFINITY)
			setrlimit(RLIMIT_FSIZE, &limit);
		if (user != geteuid() && (setgid(user) != 0 || setuid(user) != 0))
			_exit(99);
		_exit(action());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int replace_with_much(void)
{
	static char data[100000];

	if (output_file_write("a", data, sizeof data, &err) != -1)
		return 1;
	return strstr(err.text, "larger than files may be") ? 0 : 2;
}

static void test_file_size_limit(void **state)
{
	(void)state;
	make("a", "old", 0600);
	assert_int_equal(in_child(geteuid(), 4096, replace_with_much), 0);
	assert_content("a", "old");
	assert_int_equal(entries_in("."), 1);
}

static int refused_in_sub(void)
{
	return check("sub/a") == -1 && strstr(err.text, "no permission to write to '") &&
	                       put("sub/a", "new") == -1 &&
	                       strstr(err.text, "no permission to write to '")
	               ? 0
	               : 1;
}

static int refused_file(void)
{
	return check("sub/a") == -1 && strstr(err.text, "no permission to write to 'sub/a'")
	               ? 0
	               : 1;
}

static int refused_sticky(void)
{
	return check("sub/a") == -1 && strstr(err.text, "no permission") &&
	                       put("sub/a", "new") == -1 &&
	                       strstr(err.text, "no permission")
	               ? 0
	               : 1;
}

static int accepted_in_sub(void)
{
	return check("sub/b") != 0 || put("sub/b", "new") != 0;
}

static void test_permissions(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(".", 0755), 0);
	assert_int_equal(mkdir("sub", 0755), 0);
	make("sub/a", "old", 0666);
	assert_int_equal(in_child(NOBODY, RLIM_INFINITY, refused_in_sub), 0);
	assert_int_equal(chmod("sub", 0777), 0);
	assert_int_equal(chmod("sub/a", 0644), 0);
	assert_int_equal(in_child(NOBODY, RLIM_INFINITY, refused_file), 0);
	assert_int_equal(chmod("sub", 01777), 0);
	assert_int_equal(chmod("sub/a", 0666), 0);
	assert_int_equal(in_child(NOBODY, RLIM_INFINITY, refused_sticky), 0);
	assert_content("sub/a", "old");
	assert_int_equal(entries_in("sub"), 1);
	assert_int_equal(in_child(NOBODY, RLIM_INFINITY, accepted_in_sub), 0);
}

/* A directory that lets us write but not list (-wx) is enough. */
static void test_unlistable_directory(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(".", 0755), 0);
	assert_int_equal(mkdir("sub", 0333), 0);
	assert_int_equal(chmod("sub", 0333), 0);
	assert_int_equal(in_child(NOBODY, RLIM_INFINITY, accepted_in_sub), 0);
	assert_content("sub/b", "new");
}

static bool mount_small(const char *type, const char *options)
{
	assert_int_equal(mkdir("small", 0755), 0);
	return mount("none", "small", type, 0, options) == 0;
}

static void test_full(void **state)
{
	static char data[400 * 1024];

	(void)state;
	if (!mount_small("tmpfs", "size=256k"))
		skip();
	make("small/a", "old", 0600);
	assert_int_equal(check("small/a"), 0);
	int too_much = output_file_write("small/a", data, sizeof data, &err);
	bool said = strstr(err.text, "its file system is full; make room") != NULL;
	size_t left = entries_in("small");
	int little = output_file_write("small/b", data, 200 * 1024, &err);
	int full = check("small/c");
	bool said_full = strstr(err.text, "is full") != NULL;
	umount2("small", MNT_DETACH);
	assert_int_equal(too_much, -1);
	assert_true(said);
	assert_int_equal(left, 1);
	assert_int_equal(little, 0);
	assert_int_equal(full, -1);
	assert_true(said_full);
}

static void test_read_only(void **state)
{
	(void)state;
	if (!mount_small("tmpfs", "size=256k"))
		skip();
	int remounted = mount("none", "small", "tmpfs", MS_REMOUNT | MS_RDONLY, NULL);
	int checked = check("small/a");
	bool said = strstr(err.text, "read-only") != NULL;
	int written = put("small/a", "x");
	umount2("small", MNT_DETACH);
	assert_int_equal(remounted, 0);
	assert_int_equal(checked, -1);
	assert_true(said);
	assert_int_equal(written, -1);
}

/* From here on, in this process: openat with O_TMPFILE fails, as on NFS. */
static void forbid_nameless(__u32 action_of_fsync)
{
	const __u32 openat_flags = offsetof(struct seccomp_data, args[2]);
	const __u32 not_supported = SECCOMP_RET_ERRNO | EOPNOTSUPP;
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 4, 0),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2),
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, openat_flags),
	        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 2, 0),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	        BPF_STMT(BPF_RET | BPF_K, action_of_fsync),
	        BPF_STMT(BPF_RET | BPF_K, not_supported),
	};
	const struct sock_fprog filter = {sizeof code / sizeof code[0], code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		_exit(77);
}

static int put_named(void)
{
	forbid_nameless(SECCOMP_RET_ALLOW);
	return open(".", O_TMPFILE | O_WRONLY, 0600) >= 0 || put("a", "new") != 0;
}

static int replace_named_with_much(void)
{
	forbid_nameless(SECCOMP_RET_ALLOW);
	return replace_with_much();
}

static void abandon_and_exit(int number)
{
	(void)number;
	if (entries_in(".") != 2) /* a, and the temporary file */
		_exit(3);
	output_file_abandon();
	_exit(0);
}

static int abandon_named(void)
{
	signal(SIGSYS, abandon_and_exit);
	forbid_nameless(SECCOMP_RET_TRAP);
	put("a", "half of it");
	return 4;
}
static int in_filtered_child(rlim_t file_size, int (*action)(void))
{
	int status = in_child(geteuid(), file_size, action);

	if (status == 77)
		skip();
	return status;
}

static void test_without_tmpfile(void **state)
{
	(void)state;
	make("a", "old", 0640);
	assert_int_equal(in_filtered_child(4096, replace_named_with_much), 0);
	assert_content("a", "old");
	assert_int_equal(entries_in("."), 1);
	assert_int_equal(in_filtered_child(RLIM_INFINITY, put_named), 0);
	assert_content("a", "new");
	assert_int_equal(mode_of("a"), 0640);
	assert_int_equal(entries_in("."), 1);
	unlink("a");
	assert_int_equal(in_filtered_child(RLIM_INFINITY, put_named), 0);
	assert_content("a", "new");
	assert_int_equal(mode_of("a"), 0644);
	assert_int_equal(entries_in("."), 1);
}

/* A signal that ends the program comes while the temporary file has its name. */
static void test_abandon(void **state)
{
	(void)state;
	make("a", "old", 0600);
	assert_int_equal(in_filtered_child(RLIM_INFINITY, abandon_named), 0);
	assert_content("a", "old");
	assert_int_equal(entries_in("."), 1);
}

static void test_mount_point(void **state)
{
	(void)state;
	make("a", "old", 0600);
	make("b", "old", 0600);
	if (mount("b", "a", "none", MS_BIND, NULL) != 0)
		skip();
	int status = put("a", "new");
	umount2("a", MNT_DETACH);
	assert_int_equal(status, 0);
	assert_content("b", "new");
	assert_content("a", "old");
	assert_int_equal(entries_in("."), 2);
}

static void test_socket(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
	assert_int_equal(put("socket", "new"), -1);
	assert_non_null(strstr(err.text, "cannot write 'socket'"));
	close(fd);
}

static void test_abandon_without_file(void **state)
{
	(void)state;
	errno = 7;
	output_file_abandon();
	assert_int_equal(errno, 7);
	assert_int_equal(entries_in("."), 0);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, fresh_dir_setup, fresh_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        FILE_TEST(test_new_file),
	        FILE_TEST(test_absolute_name),
	        FILE_TEST(test_long_name),
	        FILE_TEST(test_replace),
	        FILE_TEST(test_replace_keeps_owner),
	        FILE_TEST(test_link),
	        FILE_TEST(test_bad_links),
	        FILE_TEST(test_names_that_are_no_files),
	        FILE_TEST(test_removed_directory),
	        FILE_TEST(test_device),
	        FILE_TEST(test_fifo),
	        FILE_TEST(test_deleted_file),
	        FILE_TEST(test_file_size_limit),
	        FILE_TEST(test_permissions),
	        FILE_TEST(test_unlistable_directory),
	        FILE_TEST(test_full),
	        FILE_TEST(test_read_only),
	        FILE_TEST(test_without_tmpfile),
	        FILE_TEST(test_abandon),
	        FILE_TEST(test_mount_point),
	        FILE_TEST(test_socket),
	        FILE_TEST(test_abandon_without_file),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
