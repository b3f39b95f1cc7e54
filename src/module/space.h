/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address space of one target as it is now: which code is mapped where,
 * and the module behind each mapping. Used from one thread at a time.
 */
#ifndef CPROF_MODULE_SPACE_H
#define CPROF_MODULE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "module/module.h"
#include "target/maps.h"
#include "target/target.h"

/*
 * One executable mapping. As long as it has a profile_id it lives, also after it
 * was unmapped; without one it lives for at least SPACE_GRACE more generations. A
 * JIT compiler that maps and unmaps code all day would else fill our memory with
 * mappings that no sample ever hit. A mapping that comes back the same is the same
 * struct again.
 */
#define SPACE_GRACE 64
struct space_map {
	struct map map;        /* exactly as /proc/PID/maps had it */
	struct module *module; /* NULL: no file, or not readable */
	uint64_t bias;         /* address - vaddr; 0 without a module */
	uint32_t profile_id;   /* for the owner of the space: its mapping in the
				  profile, 0 before there is one */
};

struct space;

/*
 * Reads the maps for the first time; when they cannot be read the space is
 * empty until a refresh succeeds. Keeps `target` and `cache`, owns neither.
 */
struct space *space_new(const struct target *target, struct module_cache *cache);
void space_free(struct space *space);

/*
 * A space that is of no process and never changes, without a main binary: for
 * tests. The maps are executable, sorted by address and copied; modules[i]
 * (owned by a cache) is behind maps[i], or NULL.
 */
struct space *space_of_maps(const struct map *maps, struct module *const *modules,
                            size_t n);

/*
 * Reads /proc/PID/maps again. Returns 1 when the executable mappings changed,
 * 0 when not, or -errno (the old ones then stay: the target may be gone).
 */
int space_refresh(struct space *space) __attribute__((warn_unused_result));

/* Goes up by one whenever the executable mappings change; caches of addresses
 * are good within one generation. */
uint64_t space_generation(const struct space *space);

/* The executable mapping that holds the address, or NULL. Never reads maps. */
struct space_map *space_find(struct space *space, uint64_t addr);

/*
 * Whether the same file is still mapped there: a library may be unloaded and
 * another take its place between two refreshes. Where the kernel cannot be asked
 * for one mapping (vma.h), or the target is gone, it is taken to be.
 */
bool space_is_current(struct space *space, const struct space_map *map);

/* The mapping of the main binary (/proc/PID/exe) that holds its entry point or
 * else its first executable one; NULL if there is none. */
struct space_map *space_main(struct space *space);

/* Every executable mapping of now, sorted by address. */
struct space_map *const *space_maps(const struct space *space, size_t *n);

/* Sets every profile_id to 0: the owner has another profile. */
void space_forget_ids(struct space *space);

/* How many mappings it has had since it was made. */
size_t space_entered(const struct space *space);

const struct target *space_target(const struct space *space);

#endif
