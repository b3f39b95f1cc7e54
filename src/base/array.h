/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing arrays. `ARRAY(int) a = {0};` declares one; the elements are
 * a.v[0 .. a.n-1]. Pointers into it are good until the next push.
 */
#ifndef CPROF_BASE_ARRAY_H
#define CPROF_BASE_ARRAY_H

#include <stddef.h>
#include <stdlib.h>

#include "base/mem.h"

#define ARRAY(type)         \
	struct {            \
		type *v;    \
		size_t n;   \
		size_t cap; \
	}

/* Makes room for `extra` more elements. */
#define array_reserve(a, extra)                                                    \
	((a)->n + (extra) > (a)->cap                                               \
	         ? (void)((a)->v = array_grow((a)->v, &(a)->cap, (a)->n + (extra), \
	                                      sizeof *(a)->v))                     \
	         : (void)0)

/* Appends one element by value. */
#define array_push(a, value) (array_reserve((a), 1), (void)((a)->v[(a)->n++] = (value)))

/* Frees the elements and leaves an empty array. */
#define array_fini(a) (free((a)->v), (a)->v = NULL, (a)->n = (a)->cap = 0)

/* Behind array_reserve: at least `need` elements, doubling; updates *cap. */
void *array_grow(void *old, size_t *cap, size_t need, size_t size);

#endif
