/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules of living processes: whatever became of a file's name, the module is
 * the file that is mapped. Each target is a child of the test, which maps what
 * the test wants to see mapped and then waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "elf_build.h"
#include "module/space.h"

#define NOBODY 65534

/* Two files that differ in their build id alone. */
#define ID_OURS  "000102030405060708090a0b0c0d0e0f10111213"
#define ID_DECOY "ff0102030405060708090a0b0c0d0e0f10111213"

struct fixture {
	char dir[64];
	char file[96];
	char other[96];
};

/* What the child maps is the page of .text. */
#define TEXT_OFFSET 0x1000

static void write_elf(const char *path, bool decoy)
{
	struct elf_build b;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	elf_build(&b);
	if (decoy)
		b.u.bytes[0x800 + 40] = 0xff;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, b.u.bytes, sizeof b.u.bytes), sizeof b.u.bytes);
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	strcpy(f->dir, "/tmp/cprof-test-XXXXXX");
	if (!mkdtemp(f->dir) || chmod(f->dir, 0755) < 0)
		return -1;
	snprintf(f->file, sizeof f->file, "%s/lib.so", f->dir);
	snprintf(f->other, sizeof f->other, "%s/other.so", f->dir);
	write_elf(f->file, false);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->file);
	unlink(f->other);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* Runs in the child: maps and returns, or exits. */
typedef void (*child_fn)(const struct fixture *f);

static void map_fd(int fd)
{
	if (mmap(NULL, 0x1000, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, TEXT_OFFSET) ==
	    MAP_FAILED)
		_exit(1);
}

static void child_maps(const struct fixture *f)
{
	map_fd(open(f->file, O_RDONLY));
}

static pid_t start(const struct fixture *f, child_fn fn)
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* It must not outlive a test that failed. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(f);
		if (write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	if (read(fds[0], &byte, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(fds[0]);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

struct look {
	pid_t pid;
	struct target *target;
	struct module_cache *cache;
	struct space *space;
};

static bool look_at(struct look *look, const struct fixture *f, child_fn fn)
{
	struct error err;

	look->pid = start(f, fn);
	if (look->pid < 0)
		return false;
	look->target = target_open(look->pid, &err);
	assert_non_null(look->target);
	look->cache = module_cache_new();
	look->space = space_new(look->target, look->cache);
	return true;
}

static void look_away(struct look *look)
{
	space_free(look->space);
	module_cache_free(look->cache);
	target_free(look->target);
	stop(look->pid);
}

static struct space_map *map_named(struct space *space, const char *path)
{
	size_t n;
	struct space_map *const *maps = space_maps(space, &n);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(maps[i]->map.path, path) == 0)
			return maps[i];
	}
	return NULL;
}

static void expect_module(struct space_map *map, const char *build_id)
{
	assert_non_null(map);
	assert_non_null(map->module);
	assert_string_equal(module_build_id(map->module), build_id);
	/* vaddr 0x401000 is at file offset 0x1000 */
	assert_int_equal(map->bias, map->map.start - 0x401000);
}

static void test_plain(void **state)
{
	struct fixture *f = *state;
	struct space_map *map, *main_map, *libc;
	struct module *linked;
	struct map odd;
	struct look look;

	assert_true(look_at(&look, f, child_maps));
	map = map_named(look.space, f->file);
	expect_module(map, ID_OURS);
	assert_string_equal(module_path(map->module), f->file);
	assert_ptr_equal(space_find(look.space, map->map.start), map);
	assert_ptr_equal(space_find(look.space, map->map.end - 1), map);
	assert_ptr_not_equal(space_find(look.space, map->map.end), map);
	assert_null(space_find(look.space, 0));
	assert_ptr_equal(space_target(look.space), look.target);

	/* The child is the test program itself, at the same addresses. */
	main_map = space_main(look.space);
	assert_non_null(main_map);
	assert_ptr_equal(space_find(look.space, (uint64_t)(uintptr_t)test_plain), main_map);
	assert_non_null(main_map->module);
	libc = space_find(look.space, (uint64_t)(uintptr_t)&pipe2);
	assert_non_null(libc);
	assert_non_null(libc->module);

	/* The same file under two names is shown by the one that is mapped. */
	assert_int_equal(link(f->file, f->other), 0);
	odd = map->map;
	odd.path = f->other;
	linked = module_open(look.cache, look.target, &odd);
	assert_non_null(linked);
	assert_string_equal(module_path(linked), f->other);
	look_away(&look);
}

/* Maps the last page of its own code once more, below everything else. */
static void child_maps_itself(const struct fixture *f)
{
	int proc = open("/proc/self", O_RDONLY), exe = open("/proc/self/exe", O_RDONLY);
	const struct map *text;
	struct maps maps;

	(void)f;
	if (maps_read(proc, &maps) < 0)
		_exit(1);
	text = maps_find(&maps, (uint64_t)(uintptr_t)child_maps_itself);
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	if (mmap((void *)0x10000000, 0x1000, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
	         exe,
	         (off_t)(text->offset + (text->end - text->start) - 0x1000)) == MAP_FAILED)
		_exit(1);
	maps_fini(&maps);
}

static void test_main_has_entry(void **state)
{
	struct fixture *f = *state;
	struct space_map *map;
	struct look look;

	assert_true(look_at(&look, f, child_maps_itself));
	map = space_find(look.space, 0x10000000);
	assert_non_null(map);
	assert_non_null(map->module);
	assert_ptr_equal(space_main(look.space),
	                 space_find(look.space, (uint64_t)(uintptr_t)test_plain));
	look_away(&look);
}

static void test_deleted(void **state)
{
	struct fixture *f = *state;
	struct look look;

	if (geteuid() != 0)
		skip(); /* only map_files leads there */
	look.pid = start(f, child_maps);
	unlink(f->file);
	look.target = target_open(look.pid, NULL);
	look.cache = module_cache_new();
	look.space = space_new(look.target, look.cache);
	expect_module(map_named(look.space, f->file), ID_OURS);
	look_away(&look);
}

static void test_replaced(void **state)
{
	struct fixture *f = *state;
	struct space_map *map;
	struct look look;

	look.pid = start(f, child_maps);
	write_elf(f->other, true);
	assert_int_equal(rename(f->other, f->file), 0);
	look.target = target_open(look.pid, NULL);
	look.cache = module_cache_new();
	look.space = space_new(look.target, look.cache);
	map = map_named(look.space, f->file);
	/* Rather no module than the file which has its name now. */
	if (geteuid() == 0)
		expect_module(map, ID_OURS);
	else
		assert_null(map->module);
	look_away(&look);
}

static void child_runs_copy(const struct fixture *f)
{
	char number[16];

	(void)f;
	snprintf(number, sizeof number, "%d", getppid());
	execl(f->other, "copy", "--child", number, (char *)NULL);
	_exit(1);
}

static void copy_self(const char *to)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	static char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof buf)) > 0)
		assert_int_equal(write(fd, buf, (size_t)n), n);
	close(from);
	close(fd);
}

/* The build id of the program that runs here. */
static void own_build_id(char id[129])
{
	struct module_cache *cache = module_cache_new();
	struct module *m = module_open_fd(
	        cache, open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "self");

	assert_non_null(m);
	strcpy(id, module_build_id(m));
	module_cache_free(cache);
}

/* A main binary that was upgraded while it ran, with and without privileges. */
static void check_replaced_main(const struct fixture *f)
{
	struct space_map *map;
	struct look look;
	char id[129];
	pid_t pid;
	int fds[2];
	char byte;

	own_build_id(id);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		child_runs_copy(f);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	unlink(f->other);
	write_elf(f->other, true);
	look.pid = pid;
	look.target = target_open(pid, NULL);
	look.cache = module_cache_new();
	look.space = space_new(look.target, look.cache);
	map = space_main(look.space);
	assert_non_null(map);
	assert_non_null(map->module);
	assert_string_equal(map->map.path, f->other);
	assert_string_equal(module_build_id(map->module), id);
	look_away(&look);
}

static void test_replaced_main(void **state)
{
	struct fixture *f = *state;

	copy_self(f->other);
	check_replaced_main(f);
}

static void drop_privileges(void)
{
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0)
		_exit(2);
	/* A process that changed its user is not readable by that user, and
	 * has forgotten that it shall end with its parent. */
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/*
 * Runs a test in a process of its own. It brings its own runner: an assertion
 * that failed would else jump into that of the parent, and go on with the next
 * test in both.
 */
static void run_forked(void **state, CMUnitTestFunction fn)
{
	const struct CMUnitTest one[] = {{"forked", fn, NULL, NULL, *state}};
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
		_exit(cmocka_run_group_tests(one, NULL, NULL));
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The ways that stay without map_files: the path, with its inode compared. */
static void unprivileged(void **state)
{
	struct fixture *f = *state;
	struct space_map *map;
	struct look look;
	struct map odd;

	drop_privileges();
	assert_true(look_at(&look, f, child_maps));
	map = map_named(look.space, f->file);
	expect_module(map, ID_OURS);
	/* As on btrfs, where maps and stat tell two devices. */
	odd = map->map;
	odd.dev_major += 1;
	assert_non_null(module_open(look.cache, look.target, &odd));
	/* Another inode is another file, on whatever device. */
	odd = map->map;
	odd.inode += 1;
	assert_null(module_open(look.cache, look.target, &odd));
	/* One that fails is not tried again, as it would now succeed. */
	odd.inode = map->map.inode;
	odd.offset = 0x100000;
	odd.dev_minor += 1;
	assert_null(module_open(look.cache, look.target, &odd));
	odd.offset = map->map.offset;
	assert_null(module_open(look.cache, look.target, &odd));
	look_away(&look);
	check_replaced_main(f);
}

static void test_unprivileged(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	copy_self(f->other);
	assert_int_equal(chown(f->other, NOBODY, NOBODY), 0);
	assert_int_equal(chown(f->dir, NOBODY, NOBODY), 0);
	run_forked(state, unprivileged);
}

static void child_in_namespace(const struct fixture *f)
{
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", f->dir, "tmpfs", 0, NULL) < 0)
		_exit(1);
	write_elf(f->file, false);
	child_maps(f);
}

/* Where the target looks there is one file; where we look, another. */
static void test_mount_namespace(void **state)
{
	struct fixture *f = *state;
	struct look look;

	if (geteuid() != 0)
		skip();
	write_elf(f->file, true);
	if (!look_at(&look, f, child_in_namespace))
		skip(); /* a container that may not mount */
	expect_module(map_named(look.space, f->file), ID_OURS);
	look_away(&look);
}

static void child_in_chroot(const struct fixture *f)
{
	if (chroot(f->dir) < 0)
		_exit(1);
	map_fd(open("/lib.so", O_RDONLY));
}

static void test_chroot(void **state)
{
	struct fixture *f = *state;
	struct look look;

	if (geteuid() != 0)
		skip();
	assert_true(look_at(&look, f, child_in_chroot));
	expect_module(map_named(look.space, f->file), ID_OURS);
	look_away(&look);
}

static void child_in_chroot_as_nobody(const struct fixture *f)
{
	child_in_chroot(f);
	drop_privileges();
}

static void chroot_unprivileged(void **state)
{
	struct fixture *f = *state;
	struct look look = {.pid = start(f, child_in_chroot_as_nobody)};

	drop_privileges();
	look.target = target_open(look.pid, NULL);
	assert_non_null(look.target);
	look.cache = module_cache_new();
	look.space = space_new(look.target, look.cache);
	expect_module(map_named(look.space, f->file), ID_OURS);
	look_away(&look);
}

/* maps tells us the path as we see it, and nothing below its own root is it. */
static void test_chroot_unprivileged(void **state)
{
	if (geteuid() != 0)
		skip();
	run_forked(state, chroot_unprivileged);
}

static void child_maps_oddities(const struct fixture *f)
{
	struct elf_build b;
	int zero = open("/dev/zero", O_RDWR), text;

	elf_build(&b);
	map_fd(elf_build_file(b.u.bytes, sizeof b.u.bytes));
	mmap(NULL, 0x1000, PROT_READ | PROT_EXEC, MAP_PRIVATE, zero, 0);
	mmap(NULL, 0x1000, PROT_READ | PROT_EXEC, MAP_SHARED, zero, 0);
	mmap(NULL, 0x3000, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	text = open(f->other, O_RDWR | O_CREAT, 0644);
	if (text < 0 || ftruncate(text, 0x2000) < 0)
		_exit(1);
	map_fd(text);
}

static void test_no_files(void **state)
{
	struct fixture *f = *state;
	struct space_map *map;
	struct look look;
	bool anonymous = false;
	struct space_map *const *maps;
	size_t n;

	assert_true(look_at(&look, f, child_maps_oddities));
	map = map_named(look.space, "/memfd:elf");
	if (geteuid() == 0)
		expect_module(map, ID_OURS);
	map = map_named(look.space, "/dev/zero");
	assert_non_null(map);
	assert_null(map->module);
	map = map_named(look.space, f->other);
	assert_non_null(map);
	assert_null(map->module);
	assert_int_equal(map->bias, 0);
	map = map_named(look.space, "[vsyscall]");
	if (map)
		assert_null(map->module);
	maps = space_maps(look.space, &n);
	for (size_t i = 0; i < n; i++) {
		if (maps[i]->map.path[0] == '\0') {
			anonymous = true;
			assert_null(maps[i]->module);
		}
	}
	assert_true(anonymous);
	look_away(&look);
}

static void test_vdso(void **state)
{
	struct fixture *f = *state;
	struct look one, two;
	struct space_map *map;
	struct module *other;

	assert_true(look_at(&one, f, child_maps));
	map = map_named(one.space, "[vdso]");
	if (!map) {
		look_away(&one);
		skip();
	}
	assert_non_null(map->module);
	assert_true(module_is_vdso(map->module));
	assert_string_equal(module_path(map->module), "[vdso]");
	assert_non_null(module_section(map->module, MODULE_EH_FRAME).data);
	assert_true(module_symbols(map->module, MODULE_DYNSYM).n > 1);
	/* Another process has the same image. */
	assert_true(look_at(&two, f, child_maps));
	other = module_open(one.cache, two.target, &map_named(two.space, "[vdso]")->map);
	assert_ptr_equal(other, map->module);
	look_away(&two);
	look_away(&one);
}

static void test_target_gone(void **state)
{
	struct fixture *f = *state;
	struct space *late;
	struct look look;
	siginfo_t info;
	size_t n;

	assert_true(look_at(&look, f, child_maps));
	/* A zombie has an empty list, a process that is gone none. What was
	 * known stays known. */
	kill(look.pid, SIGKILL);
	waitid(P_PID, (id_t)look.pid, &info, WEXITED | WNOWAIT);
	assert_true(space_refresh(look.space) <= 0);
	expect_module(map_named(look.space, f->file), ID_OURS);
	stop(look.pid);
	assert_true(space_refresh(look.space) <= 0);
	expect_module(map_named(look.space, f->file), ID_OURS);
	late = space_new(look.target, look.cache);
	space_maps(late, &n);
	assert_int_equal(n, 0);
	assert_null(space_main(late));
	assert_null(space_find(late, 0x401000));
	space_free(late);
	space_free(NULL);
	space_free(look.space);
	module_cache_free(look.cache);
	target_free(look.target);
}

/* `copy --child`: the program of test_replaced_main. */
static int run_as_child(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (write(STDOUT_FILENO, "x", 1) != 1)
		return 1;
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_main_has_entry, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_deleted, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_replaced, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_replaced_main, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_unprivileged, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_mount_namespace, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_chroot, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_chroot_unprivileged, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_no_files, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_vdso, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_target_gone, setup, teardown),
	};

	if (argc > 1 && strcmp(argv[1], "--child") == 0)
		return run_as_child();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
