/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings that come and go: those of this process itself, seen with each refresh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/mman.h>

#include "module/space.h"
#include "own.h"

static void *map_code(void *at, size_t len)
{
	void *p = mmap(at, len, PROT_READ | PROT_EXEC,
	               MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void test_refresh(void **state)
{
	struct space_map *map, *again;
	uint64_t generation;
	struct own own;
	void *p;

	(void)state;
	own_open(&own);
	generation = space_generation(own.space);
	assert_int_equal(space_refresh(own.space), 0);
	assert_int_equal(space_generation(own.space), generation);

	p = map_code(NULL, 0x3000);
	assert_null(space_find(own.space, (uint64_t)(uintptr_t)p));
	assert_int_equal(space_refresh(own.space), 1);
	assert_true(space_generation(own.space) > generation);
	map = space_find(own.space, (uint64_t)(uintptr_t)p);
	assert_non_null(map);
	map->profile_id = 77;

	/* Gone: not found, but its struct is still there. */
	munmap(p, 0x3000);
	assert_int_equal(space_refresh(own.space), 1);
	assert_null(space_find(own.space, (uint64_t)(uintptr_t)p));
	assert_int_equal(map->profile_id, 77);

	/* Back again: the same. */
	map_code(p, 0x3000);
	assert_int_equal(space_refresh(own.space), 1);
	again = space_find(own.space, (uint64_t)(uintptr_t)p);
	assert_ptr_equal(again, map);

	/* Writable for a moment, as JIT compilers do: also the same. */
	mprotect(p, 0x3000, PROT_READ | PROT_WRITE | PROT_EXEC);
	assert_int_equal(space_refresh(own.space), 0);
	/* Cut into two: others. */
	mprotect((char *)p + 0x1000, 0x1000, PROT_READ);
	assert_int_equal(space_refresh(own.space), 1);
	assert_ptr_not_equal(space_find(own.space, (uint64_t)(uintptr_t)p), map);
	munmap(p, 0x3000);
	own_close(&own);
}

/* A thousand different mappings of which one in ten was sampled. */
static void test_churn(void **state)
{
	struct space_map *kept[100], *recent[SPACE_GRACE / 2 - 2];
	const size_t nrecent = sizeof recent / sizeof recent[0];
	uint64_t starts[100];
	struct own own;
	char *p;
	size_t n = 0;

	(void)state;
	own_open(&own);
	p = map_code(NULL, 0x1000 * 1024);
	munmap(p, 0x1000 * 1024);
	for (size_t i = 0; i < 1000; i++) {
		void *at = map_code(p + 0x1000 * i, 0x1000);

		assert_int_equal(space_refresh(own.space), 1);
		if (i % 10 == 0) {
			kept[n] = space_find(own.space, (uint64_t)(uintptr_t)at);
			assert_non_null(kept[n]);
			kept[n]->profile_id = (uint32_t)i + 1;
			starts[n++] = (uint64_t)(uintptr_t)at;
		}
		recent[i % nrecent] = space_find(own.space, (uint64_t)(uintptr_t)at);
		munmap(at, 0x1000);
		assert_int_equal(space_refresh(own.space), 1);
		/* Within the grace period nothing is freed. */
		for (size_t j = 0; j < nrecent && j <= i; j++)
			assert_int_equal(recent[j]->map.start % 0x1000, 0);
	}
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(kept[i]->profile_id, i * 10 + 1);
		assert_int_equal(kept[i]->map.start, starts[i]);
		map_code(p + 0x1000 * i * 10, 0x1000);
		assert_int_equal(space_refresh(own.space), 1);
		assert_ptr_equal(space_find(own.space, starts[i]), kept[i]);
		munmap(p + 0x1000 * i * 10, 0x1000);
	}
	own_close(&own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_refresh),
	        cmocka_unit_test(test_churn),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
