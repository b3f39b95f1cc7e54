/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation, arrays, the hash map and interning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/hashmap.h"
#include "base/intern.h"
#include "base/mem.h"

static void test_mem(void **state)
{
	(void)state;
	char *copy = xstrdup("name");
	char *part = xstrndup("name", 2);
	char *whole = xstrndup("name", 100);
	char *text = xasprintf("%s-%d", "a", 7);
	char *nothing = xmalloc(0);

	assert_string_equal(copy, "name");
	assert_string_equal(part, "na");
	assert_string_equal(whole, "name");
	assert_string_equal(text, "a-7");
	assert_non_null(nothing);
	nothing = xreallocarray(nothing, 0, 8);
	assert_non_null(nothing);
	free(nothing);
	free(text);
	free(whole);
	free(part);
	free(copy);
}

/* Under AddressSanitizer, which would end the program in words of its own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

/* What a child that allocates `n * size` bytes says and how it ends. */
static int status_of_allocation(size_t n, size_t size, char *said, size_t room)
{
	int pipe_fd[2];
	int status;

	assert_int_equal(pipe(pipe_fd), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipe_fd[1], STDERR_FILENO);
		free(xreallocarray(NULL, n, size));
		_exit(42);
	}
	close(pipe_fd[1]);
	ssize_t len = read(pipe_fd[0], said, room - 1);
	said[len > 0 ? len : 0] = '\0';
	close(pipe_fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_out_of_memory(void **state)
{
	char said[256];

	(void)state;
	assert_int_equal(status_of_allocation(16, 16, said, sizeof said), 42);
	assert_int_equal(status_of_allocation(SIZE_MAX / 2, 16, said, sizeof said), 1);
	assert_non_null(strstr(said, "cprof-attach: out of memory\n"));
}

static void test_array(void **state)
{
	ARRAY(int) a = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		array_push(&a, i);
	assert_int_equal(a.n, 1000);
	assert_true(a.cap >= a.n);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(a.v[i], i);
	array_reserve(&a, 5000);
	assert_true(a.cap >= 6000);
	assert_int_equal(a.n, 1000);
	array_fini(&a);
	assert_null(a.v);
	assert_int_equal(a.n + a.cap, 0);
}

static void test_hashmap_basic(void **state)
{
	struct hashmap map = {0};
	uint64_t value = 99;

	(void)state;
	assert_false(hashmap_get(&map, 1, &value));
	assert_false(hashmap_remove(&map, 1));
	assert_int_equal(value, 99);
	hashmap_put(&map, 0, 10);
	hashmap_put(&map, UINT64_MAX, 20);
	hashmap_put(&map, 0, 11);
	assert_int_equal(map.n, 2);
	assert_true(hashmap_get(&map, 0, &value));
	assert_int_equal(value, 11);
	assert_true(hashmap_get(&map, UINT64_MAX, NULL));
	assert_true(hashmap_remove(&map, 0));
	assert_false(hashmap_get(&map, 0, &value));
	assert_int_equal(map.n, 1);
	hashmap_fini(&map);
	assert_false(hashmap_get(&map, UINT64_MAX, &value));
}

/* A small, repeatable source of numbers. */
static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Against an array that cannot be wrong: removals must not hide what is behind. */
static void test_hashmap_random(void **state)
{
	enum { NKEYS = 512 };
	struct hashmap map = {0};
	uint64_t truth[NKEYS] = {0}; /* 0: not there */
	uint32_t seed = 1;
	uint64_t value;
	size_t n = 0;

	(void)state;
	for (int step = 0; step < 50000; step++) {
		uint32_t key = next_random(&seed) % NKEYS;

		if (next_random(&seed) % 2) {
			n += truth[key] == 0;
			truth[key] = next_random(&seed) + 1u;
			hashmap_put(&map, key * UINT64_C(4096), truth[key]);
		} else {
			assert_int_equal(hashmap_remove(&map, key * UINT64_C(4096)),
			                 truth[key] != 0);
			n -= truth[key] != 0;
			truth[key] = 0;
		}
		assert_int_equal(map.n, n);
		key = next_random(&seed) % NKEYS;
		assert_int_equal(hashmap_get(&map, key * UINT64_C(4096), &value),
		                 truth[key] != 0);
		if (truth[key])
			assert_int_equal(value, truth[key]);
	}
	hashmap_fini(&map);
}

static void test_hash_bytes(void **state)
{
	char bytes[39] = "0123456789abcdefghijklmnopqrstuvwxyz";
	struct hashmap seen = {0};

	(void)state;
	assert_true(hash_bytes("abc", 3, 1) == hash_bytes("abc", 3, 1));
	assert_true(hash_bytes("abc", 3, 1) != hash_bytes("abc", 3, 2));
	assert_true(hash_seed() == hash_seed());
	/* Each length, and each flipped bit, gives another hash. */
	for (size_t len = 0; len <= sizeof bytes; len++)
		hashmap_put(&seen, hash_bytes(bytes, len, 0), len);
	for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
		hashmap_put(&seen, hash_bytes(bytes, sizeof bytes, 0), bit);
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
	}
	assert_int_equal(seen.n, sizeof bytes + 1 + 8 * sizeof bytes);
	hashmap_fini(&seen);
}

static void test_intern(void **state)
{
	struct intern table = {0};
	size_t len;
	char text[32];

	(void)state;
	assert_int_equal(intern_count(&table), 0);
	assert_int_equal(intern_add(&table, NULL, 0), 0);
	assert_int_equal(intern_add(&table, "a\0b", 3), 1);
	assert_int_equal(intern_add(&table, "a\0c", 3), 2);
	assert_int_equal(intern_add(&table, "a", 1), 3);
	assert_int_equal(intern_add(&table, "", 0), 0);
	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof text, "entry %d", i);
		assert_int_equal(intern_add(&table, text, strlen(text)), 4 + i);
	}
	assert_int_equal(intern_count(&table), 5004);
	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof text, "entry %d", i);
		assert_int_equal(intern_add(&table, text, strlen(text)), 4 + i);
		const char *found = intern_get(&table, (uint32_t)(4 + i), &len);
		assert_string_equal(found, text);
		assert_int_equal(len, strlen(text));
		assert_int_equal((uintptr_t)found % 8, 0);
	}
	assert_memory_equal(intern_get(&table, 1, &len), "a\0b\0", 4);
	assert_int_equal(len, 3);
	intern_fini(&table);
	assert_int_equal(intern_count(&table), 0);
}

/* Part of an entry is entered while the pool it lies in must grow. */
static void test_intern_from_itself(void **state)
{
	struct intern table = {0};
	uint8_t big[4096];
	size_t len;

	(void)state;
	memset(big, 'x', sizeof big);
	uint32_t id = intern_add(&table, big, sizeof big);
	for (size_t cut = 1; cut < 200; cut++) {
		const uint8_t *own = intern_get(&table, id, NULL);
		uint32_t tail = intern_add(&table, own + cut, sizeof big - cut);

		assert_int_equal(tail, cut);
		assert_memory_equal(intern_get(&table, tail, &len), big, sizeof big - cut);
		assert_int_equal(len, sizeof big - cut);
	}
	intern_fini(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_mem),
	        cmocka_unit_test(test_out_of_memory),
	        cmocka_unit_test(test_array),
	        cmocka_unit_test(test_hashmap_basic),
	        cmocka_unit_test(test_hashmap_random),
	        cmocka_unit_test(test_hash_bytes),
	        cmocka_unit_test(test_intern),
	        cmocka_unit_test(test_intern_from_itself),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
