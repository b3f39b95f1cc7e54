/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read of a file is used for others that are the same: which they are, and
 * which only say so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "elf_build.h"
#include "module/module.h"
#include "symbol/symbol.h"
#include "target/maps.h"
#include "target/target.h"

#define NOBODY 65534

struct fixture {
	char dir[64];
	char first[96];
	char second[96];
	char third[96];
	struct module_cache *cache;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	strcpy(f->dir, "/tmp/cprof-test-XXXXXX");
	if (!mkdtemp(f->dir) || chmod(f->dir, 0755) < 0)
		return -1;
	snprintf(f->first, sizeof f->first, "%s/first", f->dir);
	snprintf(f->second, sizeof f->second, "%s/second", f->dir);
	snprintf(f->third, sizeof f->third, "%s/third", f->dir);
	f->cache = module_cache_new();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	module_cache_free(f->cache);
	unlink(f->first);
	unlink(f->second);
	unlink(f->third);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* A program with a build id, always the same, in which a function has this name of
 * five letters. */
static void put(const char *path, const char *function, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	struct elf_build b;
	uint8_t *name;

	elf_build(&b);
	name = memmem(b.u.bytes, sizeof b.u.bytes, "alpha", 5);
	assert_non_null(name);
	memcpy(name, function, 5);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, b.u.bytes, sizeof b.u.bytes), sizeof b.u.bytes);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct module *open_module(struct fixture *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct module *module = module_open_fd(f->cache, fd, path);

	assert_non_null(module);
	module_find_debug(module, NULL);
	return module;
}

static bool is_copy(const struct module *held, const struct module *other)
{
	uint64_t budget = 2 * ELF_BUILD_SIZE;

	return module_is_copy(held, other, &budget);
}

static void test_one_file(void **state)
{
	struct fixture *f = *state;
	struct module *first, *linked;
	uint64_t budget = 0;

	put(f->first, "alpha", 0666);
	assert_int_equal(link(f->first, f->second), 0);
	first = open_module(f, f->first);
	linked = open_module(f, f->second);
	assert_string_equal(module_path(linked), f->second);
	/* Nothing is read to know that. */
	assert_true(module_is_copy(first, linked, &budget));
}

static void test_same_bytes(void **state)
{
	struct fixture *f = *state;
	struct module *first, *second;
	uint64_t budget = 3 * ELF_BUILD_SIZE;

	put(f->first, "alpha", 0644);
	put(f->second, "alpha", 0644);
	first = open_module(f, f->first);
	second = open_module(f, f->second);
	assert_true(module_is_copy(first, second, &budget));
	assert_int_equal(budget, ELF_BUILD_SIZE);
	assert_false(module_is_copy(first, second, &budget));
	assert_int_equal(budget, ELF_BUILD_SIZE);
}

/* Build id and size are those of another file, its names are not. */
static void test_forged(void **state)
{
	struct fixture *f = *state;
	struct module *first, *second;

	put(f->first, "alpha", 0644);
	put(f->second, "wrong", 0644);
	first = open_module(f, f->first);
	second = open_module(f, f->second);
	assert_string_equal(module_build_id(first), module_build_id(second));
	assert_false(is_copy(first, second));
	assert_false(is_copy(second, first));
}

/* The same now, but one can be written to by others than who has the other. */
static void test_changeable(void **state)
{
	struct fixture *f = *state;
	struct module *fixed, *changeable, *other;

	put(f->first, "alpha", 0644);
	put(f->second, "alpha", 0664);
	put(f->third, "alpha", 0644);
	fixed = open_module(f, f->first);
	changeable = open_module(f, f->second);
	assert_true(is_copy(fixed, changeable));
	assert_false(is_copy(changeable, fixed));
	if (chown(f->third, NOBODY, NOBODY) < 0)
		return;
	other = open_module(f, f->third);
	assert_true(is_copy(fixed, other));
	assert_false(is_copy(other, fixed));
}

/* The names that addresses of both get from one symbolizer. */
static void test_names(void **state)
{
	static const struct symbol_options everything;
	static const char *const names[] = {"wrong", "alpha", "alpha"};
	struct fixture *f = *state;
	const char *const paths[] = {f->first, f->second, f->third};
	struct symbolizer *symbolizer = symbolizer_new(&everything);
	struct profile *profile = profile_new();
	char buf[64];

	for (uint64_t i = 0; i < 3; i++) {
		struct profile_mapping mapping = {.start = i << 32 | ELF_BUILD_BASE,
		                                  .limit = (i + 1) << 32};

		put(paths[i], names[i], 0644);
		mapping.code = symbolizer_bind(symbolizer, open_module(f, paths[i]),
		                               i << 32, NULL);
		profile_location(profile, profile_mapping(profile, &mapping),
		                 i << 32 | (ELF_BUILD_BASE + 0x1004));
	}
	symbolizer_fill(symbolizer, profile);
	for (uint32_t i = 0; i < 3; i++)
		assert_string_equal(
		        profile_location_name(profile, i + 1, 0, buf, sizeof buf),
		        names[i]);
	profile_free(profile);
	symbolizer_free(symbolizer);
}

/* ---- what targets share ---- */

struct pair {
	struct target *one;
	struct target *two;
	struct maps maps;
	struct map *map; /* of the file, in both */
};

/* Two targets, which are both this process, with a file mapped whole. */
static void pair_init(struct pair *pair, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *at = mmap(NULL, ELF_BUILD_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	close(fd);
	pair->one = target_open(getpid(), NULL);
	pair->two = target_open(getpid(), NULL);
	assert_non_null(pair->one);
	assert_non_null(pair->two);
	assert_int_equal(maps_read(pair->one->proc_fd, &pair->maps), 0);
	pair->map = NULL;
	for (size_t i = 0; i < pair->maps.n; i++) {
		if (pair->maps.v[i].start == (uint64_t)(uintptr_t)at)
			pair->map = &pair->maps.v[i];
	}
	assert_non_null(pair->map);
}

static void pair_fini(struct pair *pair)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): where it was mapped */
	munmap((void *)(uintptr_t)pair->map->start, ELF_BUILD_SIZE);
	maps_fini(&pair->maps);
	target_free(pair->one);
	target_free(pair->two);
}

static void test_file(void **state)
{
	struct fixture *f = *state;
	struct module *module;
	struct pair pair;
	struct map odd;

	put(f->first, "alpha", 0644);
	pair_init(&pair, f->first);
	module = module_open(f->cache, pair.one, pair.map);
	assert_non_null(module);
	assert_ptr_equal(module_open(f->cache, pair.two, pair.map), module);
	assert_int_equal(module_cache_count(f->cache), 1);
	/* Of a device that stat calls by another name, each opens its own: and finds
	 * that it is the same file. */
	odd = *pair.map;
	odd.dev_major += 1;
	assert_ptr_equal(module_open(f->cache, pair.one, &odd), module);
	assert_int_equal(module_cache_count(f->cache), 2);
	assert_ptr_equal(module_open(f->cache, pair.one, &odd), module);
	assert_int_equal(module_cache_count(f->cache), 2);
	assert_ptr_equal(module_open(f->cache, pair.two, &odd), module);
	assert_int_equal(module_cache_count(f->cache), 3);
	pair_fini(&pair);
}

/* What cannot be read in one target may well be in another. */
static void test_failed(void **state)
{
	struct fixture *f = *state;
	struct pair pair;
	struct map odd;

	put(f->first, "alpha", 0644);
	pair_init(&pair, f->first);
	odd = *pair.map;
	odd.start += 0x1000; /* not by map_files */
	assert_int_equal(rename(f->first, f->second), 0);
	assert_null(module_open(f->cache, pair.one, &odd));
	assert_int_equal(rename(f->second, f->first), 0);
	assert_null(module_open(f->cache, pair.one, &odd));
	assert_non_null(module_open(f->cache, pair.two, &odd));
	pair_fini(&pair);
}

/* Nobody in particular, who may not follow /proc/PID/map_files. */
static void only_memory(void **state)
{
	struct fixture *f = *state;
	struct module *one, *two;
	struct pair pair;

	if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
		_exit(2);
	prctl(PR_SET_DUMPABLE, 1);
	pair_init(&pair, f->first);
	assert_int_equal(unlink(f->first), 0);
	one = module_open(f->cache, pair.one, pair.map);
	two = module_open(f->cache, pair.two, pair.map);
	assert_non_null(one);
	assert_non_null(two);
	assert_ptr_not_equal(one, two);
	assert_ptr_equal(module_open(f->cache, pair.one, pair.map), one);
	assert_ptr_equal(module_open(f->cache, pair.two, pair.map), two);
	/* What is the same may still be read once. */
	assert_true(is_copy(one, two));
	pair_fini(&pair);
}

/* What was made of the memory of one is not what another runs. */
static void test_memory(void **state)
{
	struct fixture *f = *state;
	const struct CMUnitTest one[] = {{"only_memory", only_memory, NULL, NULL, f}};
	int status;
	pid_t pid;

	put(f->first, "alpha", 0644);
	assert_int_equal(chmod(f->dir, 0777), 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_one_file, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_changeable, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_failed, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
