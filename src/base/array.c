/* SPDX-License-Identifier: Apache-2.0 */
#include "base/array.h"

#include <stdint.h>

#define ARRAY_FIRST_CAP 8

void *array_grow(void *old, size_t *cap, size_t need, size_t size)
{
	size_t want = *cap < ARRAY_FIRST_CAP ? ARRAY_FIRST_CAP : *cap;

	while (want < need)
		want = want <= SIZE_MAX / 2 ? want * 2 : need;
	void *v = xreallocarray(old, want, size);
	*cap = want;
	return v;
}
