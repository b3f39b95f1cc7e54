/* SPDX-License-Identifier: Apache-2.0 */
/* This process itself as a target, and what is mapped in it. cmocka's headers come first. */
#ifndef TESTS_OWN_H
#define TESTS_OWN_H

#include <unistd.h>

#include "module/module.h"
#include "module/space.h"
#include "target/target.h"

struct own {
	struct target *target;
	struct module_cache *cache;
	struct space *space;
};

static inline void own_open(struct own *own)
{
	own->target = target_open(getpid(), NULL);
	assert_non_null(own->target);
	own->cache = module_cache_new();
	own->space = space_new(own->target, own->cache);
}

static inline void own_close(struct own *own)
{
	space_free(own->space);
	module_cache_free(own->cache);
	target_free(own->target);
}

#endif
