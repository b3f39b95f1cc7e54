/* SPDX-License-Identifier: Apache-2.0 */
#include "module/module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/array.h"
#include "base/log.h"
#include "base/mem.h"
#include "module/debug.h"
#include "module/elf_image.h"
#include "module/fetch.h"
#include "module/file.h"
#include "module/functions.h"
#include "module/go_search.h"
#include "module/memory_image.h"
#include "module/unxz.h"

/* Each open module holds a descriptor; no process maps nearly so many files. */
#define CACHE_MAX_FILES 8192
/* A vDSO has two pages. */
#define VDSO_MAX_BYTES ((size_t)256 << 10)
/* A symbol table alone. */
#define MINI_MAX_BYTES ((size_t)64 << 20)

struct module {
	struct elf_image image;
	struct debug_file debug;
	bool debug_sought;
	struct elf_image *supplement; /* to the DWARF; NULL: none */
	int supplement_request;       /* as debug_file.request */
	struct elf_image *mini;       /* what .gnu_debugdata holds; NULL: nothing */
	bool mini_sought;
	struct functions *functions; /* NULL: nobody has asked */
	char *path;
	bool vdso;
};

/*
 * What is known of a file, also that it is none for us (module NULL). Where stat and
 * maps tell different devices, where only the memory is left, and where there is
 * nothing, it is known of one target alone: another with the same numbers and the
 * same path may have another file there, and one's memory is not another's.
 */
struct cache_file {
	const struct target *target; /* NULL: of all */
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t inode;
	char *path;
	struct module *module;
};

struct module_cache {
	ARRAY(struct module *) modules;
	ARRAY(struct cache_file) files;
	size_t total; /* bytes that the images hold */
};

struct module_cache *module_cache_new(void)
{
	return xcalloc(1, sizeof(struct module_cache));
}

size_t module_cache_count(const struct module_cache *cache)
{
	return cache->files.n;
}

size_t module_cache_bytes(const struct module_cache *cache)
{
	return cache->total;
}

static void module_free(struct module *module)
{
	functions_free(module->functions);
	debug_file_fini(&module->debug);
	elf_image_free(module->mini);
	elf_image_free(module->supplement);
	elf_image_fini(&module->image);
	free(module->path);
	free(module);
}

void module_cache_free(struct module_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < cache->modules.n; i++)
		module_free(cache->modules.v[i]);
	for (size_t i = 0; i < cache->files.n; i++)
		free(cache->files.v[i].path);
	array_fini(&cache->modules);
	array_fini(&cache->files);
	free(cache);
}

/* Enters a module whose image was opened with this result. */
static struct module *finish_open(struct module_cache *cache, struct module *module,
                                  const char *path, int err)
{
	module->path = xstrdup(path);
	if (err < 0) {
		log_verbose("%s: not a module: %s", path, strerror(-err));
		module_free(module);
		return NULL;
	}
	log_verbose("%s: build id %s", path,
	            module->image.build_id[0] ? module->image.build_id : "none");
	array_push(&cache->modules, module);
	return module;
}

struct module *module_open_fd(struct module_cache *cache, int fd, const char *path)
{
	struct module *module = xcalloc(1, sizeof *module);
	int err = elf_image_open_fd(&module->image, fd, &cache->total);

	return finish_open(cache, module, path, err);
}

struct module *module_open_memory(struct module_cache *cache, uint8_t *image, size_t len,
                                  const char *path)
{
	struct module *module = xcalloc(1, sizeof *module);
	int err = elf_image_open_memory(&module->image, image, len, &cache->total);

	return finish_open(cache, module, path, err);
}

/* A path alone would mistake an upgraded file for the old one; an inode alone a
 * new file for a deleted one that failed. */
static struct cache_file *find_file(struct module_cache *cache, const struct target *target,
                                    const struct map *map)
{
	for (size_t i = 0; i < cache->files.n; i++) {
		struct cache_file *file = &cache->files.v[i];

		if ((!file->target || file->target == target) &&
		    file->inode == map->inode && file->dev_major == map->dev_major &&
		    file->dev_minor == map->dev_minor && strcmp(file->path, map->path) == 0)
			return file;
	}
	return NULL;
}

/* Whether the file of a module is the mapped one by the numbers of both. */
static bool is_certain(const struct module *module, const struct map *map)
{
	const struct elf_image *image = &module->image;

	return image->inode == map->inode && major(image->dev) == map->dev_major &&
	       minor(image->dev) == map->dev_minor;
}

/* The module of an open file: one that another target has opened by the same path,
 * or a new one. */
static struct module *open_or_share(struct module_cache *cache, int fd, const char *path)
{
	size_t n = cache->modules.n, held = cache->total;
	struct module *module = module_open_fd(cache, fd, path);

	for (size_t i = 0; module && i < n; i++) {
		struct module *known = cache->modules.v[i];

		if (elf_image_is_one(&known->image, &module->image) &&
		    strcmp(known->path, path) == 0) {
			module_free(module);
			cache->modules.n = n;
			cache->total = held;
			return known;
		}
	}
	return module;
}

/* Where the file cannot be had: what is mapped of it, as long as it runs. */
static struct module *open_mapped_image(struct module_cache *cache,
                                        const struct target *target, const struct map *map)
{
	struct module *module;
	uint8_t *bytes;
	size_t len;

	if (cache->total >= ELF_MAX_TOTAL)
		return NULL;
	bytes = memory_image_of(target, map, ELF_MAX_TOTAL - cache->total, &len);
	if (!bytes)
		return NULL;
	log_verbose("%s: read from memory", map->path);
	module = module_open_memory(cache, bytes, len, map->path);
	if (module)
		cache->total += len;
	return module;
}

static struct module *open_file(struct module_cache *cache, const struct target *target,
                                const struct map *map)
{
	struct cache_file *known = find_file(cache, target, map), file;
	int fd;

	if (known)
		return known->module;
	if (cache->files.n >= CACHE_MAX_FILES)
		return NULL;
	file = (struct cache_file){
	        .target = target,
	        .dev_major = map->dev_major,
	        .dev_minor = map->dev_minor,
	        .inode = map->inode,
	        .path = xstrdup(map->path),
	};
	fd = file_open_mapped(target, map);
	if (fd >= 0) {
		file.module = open_or_share(cache, fd, map->path);
		if (file.module && is_certain(file.module, map))
			file.target = NULL;
	} else {
		log_verbose("%s: cannot be opened: %s", map->path, strerror(-fd));
		file.module = open_mapped_image(cache, target, map);
	}
	array_push(&cache->files, file);
	return file.module;
}

/* Processes share one vDSO, unless one of them has changed its own. */
static struct module *find_vdso(struct module_cache *cache, const uint8_t *bytes,
                                size_t len)
{
	for (size_t i = 0; i < cache->modules.n; i++) {
		struct module *module = cache->modules.v[i];

		if (module->vdso && module->image.size == len &&
		    memcmp(module->image.mem, bytes, len) == 0)
			return module;
	}
	return NULL;
}

static struct module *open_vdso(struct module_cache *cache, const struct target *target,
                                const struct map *map)
{
	uint64_t len = map->end - map->start;
	struct module *module;
	uint8_t *bytes;
	ssize_t n;

	if (len > VDSO_MAX_BYTES || cache->modules.n >= CACHE_MAX_FILES)
		return NULL;
	bytes = xcalloc(1, (size_t)len);
	n = target_read_memory(target, map->start, bytes, (size_t)len);
	if (n <= 0) {
		free(bytes);
		return NULL;
	}
	module = find_vdso(cache, bytes, (size_t)len);
	if (module) {
		free(bytes);
		return module;
	}
	module = module_open_memory(cache, bytes, (size_t)len, map->path);
	if (module)
		module->vdso = true;
	return module;
}

struct module *module_open(struct module_cache *cache, const struct target *target,
                           const struct map *map)
{
	if (strcmp(map->path, "[vdso]") == 0)
		return open_vdso(cache, target, map);
	/* "[vsyscall]", "[stack]", JIT code and the like are no files. */
	if (map->inode == 0 || map->path[0] != '/')
		return NULL;
	return open_file(cache, target, map);
}

struct module *module_reopen(struct module_cache *cache, const struct module *module)
{
	const struct elf_image *image = &module->image;
	struct module *again;

	if (image->mem) {
		uint8_t *mem = xmalloc((size_t)image->size);

		memcpy(mem, image->mem, (size_t)image->size);
		again = module_open_memory(cache, mem, (size_t)image->size, module->path);
	} else {
		int fd = fcntl(image->fd, F_DUPFD_CLOEXEC, 0);

		again = fd < 0 ? NULL : module_open_fd(cache, fd, module->path);
	}
	if (again)
		again->vdso = module->vdso;
	return again;
}

static bool is_supplement_copy(const struct module *held, const struct module *other,
                               uint64_t *budget)
{
	/* It goes with the answer, which is the same. */
	if (held->debug.request)
		return true;
	if (held->supplement_request || other->supplement_request)
		return held->supplement_request == other->supplement_request;
	return !held->supplement == !other->supplement &&
	       (!held->supplement ||
	        elf_image_is_copy(held->supplement, other->supplement, budget));
}

bool module_is_copy(const struct module *held, const struct module *other, uint64_t *budget)
{
	return debug_file_is_copy(&held->debug, &other->debug, budget) &&
	       is_supplement_copy(held, other, budget) &&
	       elf_image_is_copy(&held->image, &other->image, budget);
}

const char *module_path(const struct module *module)
{
	return module->path;
}

const char *module_build_id(const struct module *module)
{
	return module->image.build_id;
}

bool module_is_vdso(const struct module *module)
{
	return module->vdso;
}

struct module_view module_section(struct module *module, enum module_section which)
{
	return elf_image_section(&module->image, which);
}

size_t module_read(struct module *module, uint64_t vaddr, void *buf, size_t len)
{
	return elf_image_read(&module->image, vaddr, buf, len);
}

bool module_offset_to_vaddr(const struct module *module, uint64_t offset, uint64_t *vaddr)
{
	return elf_image_offset_to_vaddr(&module->image, offset, vaddr);
}

bool module_is_go(struct module *module)
{
	return module->image.is_go;
}

uint64_t module_relocation(struct module *module, uint64_t vaddr)
{
	return go_search_relocation(&module->image, vaddr);
}

uint64_t module_entry(const struct module *module)
{
	return module->image.entry;
}

const struct module_range *module_code(const struct module *module, size_t *n)
{
	*n = module->image.code.n;
	return module->image.code.v;
}

const struct module_range *module_range_find(const struct module_range *ranges, size_t n,
                                             uint64_t vaddr)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (vaddr < ranges[mid].start)
			high = mid;
		else if (vaddr >= ranges[mid].end)
			low = mid + 1;
		else
			return &ranges[mid];
	}
	return NULL;
}

/* Whether stripping took no names away: those of .dynsym are only the exported. */
static bool names_itself(const struct module *module)
{
	const struct elf_section *section = module->image.section;

	return module->vdso || module->image.symtab[MODULE_SYMTAB].index ||
	       section[MODULE_GOPCLNTAB].index ||
	       (section[MODULE_DEBUGDATA].index && unxz_is_built());
}

/* Looks for the supplement of an image with DWARF, whose name in the target is `path`,
 * or asks a server. */
static void find_supplement(struct module *module, const struct target *target,
                            struct elf_image *image, const char *path)
{
	if (!image->has_dwarf || !image->section[MODULE_DEBUGALTLINK].index)
		return;
	module->supplement = debug_supplement_find(target, image, path);
	if (!module->supplement)
		module->supplement_request = debug_supplement_ask(image);
}

void module_find_debug(struct module *module, const struct target *target)
{
	struct elf_image *image = &module->image;

	if (module->debug_sought)
		return;
	module->debug_sought = true;
	if (!image->symtab[MODULE_SYMTAB].index || !image->has_dwarf)
		debug_file_find(&module->debug, target, image, module->path);
	if (module->debug.found)
		find_supplement(module, target, &module->debug.image, module->debug.path);
	else
		find_supplement(module, target, image, module->path);
	if (!module->debug.found && !names_itself(module))
		debug_file_ask(&module->debug, image);
}

/* Fedora leaves the functions' names in its stripped programs: an ELF file with
 * nothing but .symtab, packed. */
static struct elf_image *open_mini(struct module *module)
{
	struct module_view packed = module_section(module, MODULE_DEBUGDATA);
	size_t *total = module->image.total, len;
	struct elf_image *mini;
	uint8_t *bytes;

	if (!packed.data || *total > ELF_MAX_TOTAL - MINI_MAX_BYTES)
		return NULL;
	bytes = unxz(packed.data, packed.len, MINI_MAX_BYTES, &len);
	if (!bytes)
		return NULL;
	mini = xcalloc(1, sizeof *mini);
	if (elf_image_open_memory(mini, bytes, len, total) == 0) {
		*total += len;
		return mini;
	}
	elf_image_free(mini);
	return NULL;
}

static struct module_symbols mini_symbols(struct module *module)
{
	const struct module_symbols none = {0};

	if (module->image.symtab[MODULE_SYMTAB].index || module->debug.found)
		return none;
	if (!module->mini_sought) {
		module->mini_sought = true;
		module->mini = open_mini(module);
	}
	return module->mini ? elf_image_symbols(module->mini, MODULE_SYMTAB) : none;
}

void module_hurry(bool hurry)
{
	if (hurry)
		fetch_hurry();
	else
		fetch_take_time();
}

void module_give_up(void)
{
	fetch_give_up();
}

struct module_symbols module_symbols(struct module *module, enum module_symtab which)
{
	if (which == MODULE_MINI_SYMTAB)
		return mini_symbols(module);
	if (which != MODULE_DEBUG_SYMTAB)
		return elf_image_symbols(&module->image, which);
	/* A file that has both has the same twice. */
	if (module->image.symtab[MODULE_SYMTAB].index || !debug_file_prove(&module->debug))
		return (struct module_symbols){0};
	return elf_image_symbols(&module->debug.image, MODULE_SYMTAB);
}

/* Whether an image needs no supplement, or its own is at hand. */
static bool prove_supplement(struct module *module, struct elf_image *image)
{
	struct module_view unused;

	if (!image->section[MODULE_DEBUGALTLINK].index)
		return true;
	/* What a server has sent was not there when the others were looked for. */
	if (!module->supplement && !module->supplement_request)
		find_supplement(module, NULL, image, "");
	if (!module->supplement && module->supplement_request)
		module->supplement = debug_supplement_take(image,
		                                           module->supplement_request);
	return module->supplement && elf_image_read_dwarf(module->supplement, &unused);
}

/* Nobody but root and us has chosen what it says, the names of other files too. */
static bool is_ours(const struct elf_image *image)
{
	struct stat st;

	return !image->mem && fstat(image->fd, &st) == 0 &&
	       (st.st_uid == 0 || st.st_uid == geteuid()) &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH));
}

bool module_dwarf(struct module *module, struct module_dwarf *dwarf)
{
	struct elf_image *image = &module->image;

	if (!image->has_dwarf && debug_file_prove(&module->debug))
		image = &module->debug.image;
	/* Without the rest it is full of holes, and libdw would look for it in places
	 * that the target may have chosen. */
	if (!image->has_dwarf || !elf_image_read_dwarf(image, &dwarf->line) ||
	    !prove_supplement(module, image))
		return false;
	dwarf->elf = image->elf;
	dwarf->ours = is_ours(image);
	dwarf->supplement = module->supplement ? module->supplement->elf : NULL;
	return true;
}

bool module_function(struct module *module, uint64_t vaddr, struct module_range *range)
{
	if (module->functions == NULL)
		module->functions = functions_new(module);
	return functions_find(module->functions, vaddr, range);
}
