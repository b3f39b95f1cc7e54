/* SPDX-License-Identifier: Apache-2.0 */
#include "module/space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/array.h"
#include "base/hashmap.h"
#include "base/mem.h"
#include "target/vma.h"

/* Fewer mappings than this that are gone are not worth a sweep. */
#define SWEEP_AT 256

/* A mapping, of now or gone, and how it is found again. */
struct entry {
	struct space_map pub;
	uint64_t key;
	struct entry *next; /* of the same key */
	bool live;
	uint64_t gone_at; /* generation in which it was unmapped */
};

struct space {
	const struct target *target;
	struct module_cache *cache;
	ARRAY(struct space_map *) now; /* sorted by address */
	ARRAY(struct entry *) entries; /* those of now and those gone */
	struct hashmap by_key;         /* identity_key -> struct entry * */
	uint64_t generation;
	int maps_fd;       /* to ask for one mapping; -1: not open */
	bool cannot_query; /* this kernel has no such question */
	size_t entered;    /* mappings ever */
};

/*
 * What makes a mapping the same when it is seen again. Permissions are not part
 * of it, since JIT compilers toggle them, nor is " (deleted)".
 */
static bool same_identity(const struct map *a, const struct map *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset &&
	       a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       a->inode == b->inode && strcmp(a->path, b->path) == 0;
}

static uint64_t identity_key(const struct map *map)
{
	const uint64_t numbers[] = {map->start,     map->end,       map->offset,
	                            map->dev_major, map->dev_minor, map->inode};

	return hash_bytes(map->path, strlen(map->path),
	                  hash_bytes(numbers, sizeof numbers, hash_seed()));
}

static struct entry *entry_of(struct space_map *map)
{
	return (struct entry *)map; /* its first member */
}

static struct entry *chain(const struct space *space, uint64_t key)
{
	uint64_t value = 0;

	hashmap_get(&space->by_key, key, &value);
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): the map holds integers */
	return (struct entry *)(uintptr_t)value;
}

static struct entry *find_entry(const struct space *space, const struct map *map,
                                uint64_t key)
{
	struct entry *entry = chain(space, key);

	while (entry && !same_identity(&entry->pub.map, map))
		entry = entry->next;
	return entry;
}

static void set_module(struct space_map *map, struct module *module)
{
	uint64_t vaddr;

	/* Without a segment behind it, it is not mapped as code of that file. */
	if (!module || !module_offset_to_vaddr(module, map->map.offset, &vaddr))
		return;
	map->module = module;
	map->bias = map->map.start - vaddr;
}

static struct entry *add_entry(struct space *space, const struct map *map, uint64_t key,
                               struct module *module)
{
	struct entry *entry = xcalloc(1, sizeof *entry);

	entry->pub.map = *map;
	entry->pub.map.path = xstrdup(map->path);
	entry->key = key;
	entry->next = chain(space, key);
	hashmap_put(&space->by_key, key, (uint64_t)(uintptr_t)entry);
	array_push(&space->entries, entry);
	space->entered++;
	set_module(&entry->pub, module);
	return entry;
}

static void free_entry(struct entry *entry)
{
	free(entry->pub.map.path);
	free(entry);
}

static void unlink_entry(struct space *space, struct entry *entry)
{
	struct entry *first = chain(space, entry->key);

	if (first != entry) {
		while (first->next != entry)
			first = first->next;
		first->next = entry->next;
	} else if (entry->next) {
		hashmap_put(&space->by_key, entry->key, (uint64_t)(uintptr_t)entry->next);
	} else {
		hashmap_remove(&space->by_key, entry->key);
	}
}

/* Frees what no sample hit and nobody can still look at: see SPACE_GRACE. */
static void sweep(struct space *space)
{
	size_t kept = 0;

	if (space->entries.n < 2 * space->now.n + SWEEP_AT)
		return;
	for (size_t i = 0; i < space->entries.n; i++) {
		struct entry *entry = space->entries.v[i];

		if (entry->live || entry->pub.profile_id != 0 ||
		    space->generation - entry->gone_at < SPACE_GRACE) {
			space->entries.v[kept++] = entry;
		} else {
			unlink_entry(space, entry);
			free_entry(entry);
		}
	}
	space->entries.n = kept;
}

/* Whether the executable ones among `maps` are those of now. */
static bool unchanged(const struct space *space, const struct maps *maps)
{
	size_t n = 0;

	for (size_t i = 0; i < maps->n; i++) {
		const struct map *map = &maps->v[i];

		if (!(map->perms & MAP_PERM_EXEC))
			continue;
		if (n >= space->now.n || !same_identity(&space->now.v[n]->map, map))
			return false;
		n++;
	}
	return n == space->now.n;
}

static void replace(struct space *space, const struct maps *maps)
{
	space->generation++;
	for (size_t i = 0; i < space->now.n; i++) {
		struct entry *entry = entry_of(space->now.v[i]);

		entry->live = false;
		entry->gone_at = space->generation;
	}
	space->now.n = 0;
	for (size_t i = 0; i < maps->n; i++) {
		const struct map *map = &maps->v[i];
		struct entry *entry;
		uint64_t key;

		if (!(map->perms & MAP_PERM_EXEC))
			continue;
		key = identity_key(map);
		entry = find_entry(space, map, key);
		if (!entry)
			entry = add_entry(space, map, key,
			                  module_open(space->cache, space->target, map));
		entry->live = true;
		array_push(&space->now, &entry->pub);
	}
	sweep(space);
}

int space_refresh(struct space *space)
{
	struct maps maps;
	bool changed;
	int err;

	if (!space->target)
		return 0;
	err = maps_read(space->target->proc_fd, &maps);
	if (err < 0)
		return err;
	/* A zombie's list is empty; what it ran is what we want to know. */
	changed = maps.n > 0 && !unchanged(space, &maps);
	if (changed)
		replace(space, &maps);
	maps_fini(&maps);
	return changed;
}

struct space *space_new(const struct target *target, struct module_cache *cache)
{
	struct space *space = xcalloc(1, sizeof *space);

	space->target = target;
	space->cache = cache;
	space->maps_fd = -1;
	if (space_refresh(space) < 0)
		space->now.n = 0; /* empty, until a refresh succeeds */
	return space;
}

struct space *space_of_maps(const struct map *maps, struct module *const *modules, size_t n)
{
	struct space *space = xcalloc(1, sizeof *space);

	for (size_t i = 0; i < n; i++) {
		struct entry *entry = add_entry(space, &maps[i], identity_key(&maps[i]),
		                                modules[i]);

		entry->live = true;
		array_push(&space->now, &entry->pub);
	}
	return space;
}

void space_free(struct space *space)
{
	if (!space)
		return;
	for (size_t i = 0; i < space->entries.n; i++)
		free_entry(space->entries.v[i]);
	if (space->maps_fd >= 0)
		close(space->maps_fd);
	array_fini(&space->entries);
	array_fini(&space->now);
	hashmap_fini(&space->by_key);
	free(space);
}

uint64_t space_generation(const struct space *space)
{
	return space->generation;
}

struct space_map *space_find(struct space *space, uint64_t addr)
{
	size_t low = 0, high = space->now.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct space_map *map = space->now.v[mid];

		if (addr < map->map.start)
			high = mid;
		else if (addr >= map->map.end)
			low = mid + 1;
		else
			return map;
	}
	return NULL;
}

/* What the kernel has there now; the descriptor is that of the memory before an
 * exec, if there was one, and then of no use. */
static int query_now(struct space *space, uint64_t addr, struct map *now)
{
	int r = -ESRCH;

	if (space->maps_fd >= 0)
		r = vma_query(space->maps_fd, addr, now);
	if (r == -ESRCH) {
		if (space->maps_fd >= 0)
			close(space->maps_fd);
		space->maps_fd = openat(space->target->proc_fd, "maps",
		                        O_RDONLY | O_CLOEXEC);
		if (space->maps_fd < 0)
			return -errno;
		r = vma_query(space->maps_fd, addr, now);
	}
	return r;
}

bool space_is_current(struct space *space, const struct space_map *map)
{
	struct map now;
	int r;

	if (space->cannot_query || map->map.inode == 0)
		return true;
	r = query_now(space, map->map.start, &now);
	if (r == -ENOTTY || r == -EINVAL)
		space->cannot_query = true;
	if (r == -ENOENT)
		return false;
	return r < 0 ||
	       (now.inode == map->map.inode && now.offset == map->map.offset &&
	        now.dev_major == map->map.dev_major && now.dev_minor == map->map.dev_minor);
}

/* Whether a mapping is of the file that /proc/PID/exe leads to. The device
 * alone may differ (see file.c); then the path decides. */
static bool is_of_exe(const struct space *space, const struct map *map,
                      const struct stat *exe)
{
	if (map->inode != exe->st_ino)
		return false;
	return (major(exe->st_dev) == map->dev_major &&
	        minor(exe->st_dev) == map->dev_minor) ||
	       target_runs(space->target, map->path);
}

static bool holds_entry(const struct space_map *map)
{
	uint64_t entry;

	if (!map->module || module_entry(map->module) == 0)
		return false;
	entry = module_entry(map->module) + map->bias;
	return entry >= map->map.start && entry < map->map.end;
}

struct space_map *space_main(struct space *space)
{
	struct space_map *first = NULL;
	struct stat exe;

	if (!space->target || fstatat(space->target->proc_fd, "exe", &exe, 0) < 0)
		return NULL;
	for (size_t i = 0; i < space->now.n; i++) {
		struct space_map *map = space->now.v[i];

		if (!is_of_exe(space, &map->map, &exe))
			continue;
		if (holds_entry(map))
			return map;
		if (!first)
			first = map;
	}
	return first;
}

struct space_map *const *space_maps(const struct space *space, size_t *n)
{
	*n = space->now.n;
	return space->now.v;
}

void space_forget_ids(struct space *space)
{
	for (size_t i = 0; i < space->entries.n; i++)
		space->entries.v[i]->pub.profile_id = 0;
}

size_t space_entered(const struct space *space)
{
	return space->entered;
}

const struct target *space_target(const struct space *space)
{
	return space->target;
}
