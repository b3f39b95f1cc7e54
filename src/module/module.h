/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ELF file, or an ELF image in the target's memory (the vDSO), that the
 * target runs code from. Opened once for each identity and kept open, so that
 * its tables can still be read when the target is gone. What unwind/ and
 * symbol/ both stand on.
 *
 * The bytes are hostile: every length and offset is checked against the file,
 * and whatever does not fit is as if it were not there.
 *
 * Addresses: "vaddr" is an address as the ELF file's own headers count it; the
 * address in the process is vaddr + bias, and the bias belongs to a mapping
 * (space.h), not to the module.
 */
#ifndef CPROF_MODULE_MODULE_H
#define CPROF_MODULE_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gelf.h>

#include "target/maps.h"
#include "target/target.h"

struct module;
struct module_cache;

/* A section's bytes in memory and where it lies; data NULL when there is none. */
struct module_view {
	const uint8_t *data;
	size_t len;
	uint64_t vaddr;
};

enum module_section {
	MODULE_EH_FRAME_HDR,
	MODULE_EH_FRAME,
	MODULE_DEBUG_FRAME,
	MODULE_GOPCLNTAB,
	MODULE_DEBUGLINK,
	MODULE_DEBUGDATA,
	MODULE_DEBUGALTLINK,
	MODULE_PLT,
	MODULE_PLT_SEC,
	MODULE_PLT_GOT,
	MODULE_IPLT,
	MODULE_RELA_PLT,
	MODULE_RELA_DYN,
	MODULE_NSECTIONS,
};

struct module_cache *module_cache_new(void);
/* Frees the cache and every module in it. NULL is fine. */
void module_cache_free(struct module_cache *cache);
/* How many files and images it knows, also those that are none. */
size_t module_cache_count(const struct module_cache *cache);
/* How many bytes its modules hold in memory. */
size_t module_cache_bytes(const struct module_cache *cache);

/*
 * The module behind a file mapping or the vDSO of a target, opened now if it is
 * new: through /proc/PID/map_files, then /proc/PID/root, with device and inode
 * compared, so that a deleted or replaced file is still the one that runs. Where
 * the file is out of reach, an image is made of what is mapped of it: it has the
 * exported symbols, the unwind tables and the build id. Targets share what is known
 * to be one file; an image of its memory is a target's own.
 * NULL when it has none (anonymous memory) or cannot be read; a file that
 * failed once is not tried again. Owned by the cache.
 */
struct module *module_open(struct module_cache *cache, const struct target *target,
                           const struct map *map);

/*
 * The module of a file that is open already (the descriptor is taken over), or
 * of an ELF image in memory (malloc'ed; taken over too). NULL if it is none
 * that could run here; what was handed over is then closed or freed. Owned by
 * the cache.
 */
struct module *module_open_fd(struct module_cache *cache, int fd, const char *path);
struct module *module_open_memory(struct module_cache *cache, uint8_t *image, size_t len,
                                  const char *path);

/*
 * The same file or image once more, in a cache of one's own: a module is used from
 * one thread at a time, and whoever looks up names does so for seconds. NULL if it
 * cannot be opened again. The two share nothing but what they were opened from.
 */
struct module *module_reopen(struct module_cache *cache, const struct module *module);

/* For module_is_copy, of all that are compared in a run. */
#define MODULE_MAX_COMPARED ((uint64_t)1 << 30)

/*
 * Whether what is read of `held` may stand for `other`: one file, or one that holds
 * the same and will (elf_image.h); and the same of their debug files and supplements,
 * which both have been looked for. May read both, as far as *budget goes.
 */
bool module_is_copy(const struct module *held, const struct module *other,
                    uint64_t *budget);

/* The name to show: its path in the target, or "[vdso]". */
const char *module_path(const struct module *module);
/* Lowercase hex of the GNU build id, or "". */
const char *module_build_id(const struct module *module);
/* Whether it is the vDSO's image. */
bool module_is_vdso(const struct module *module);

/* A section's bytes, read when first asked for (decompressed if need be). */
struct module_view module_section(struct module *module, enum module_section which);

/*
 * Copies bytes at a vaddr out of the file's PT_LOAD segments (what the memory
 * held before relocation). The number of bytes, fewer at a segment's end; 0
 * when there are none.
 */
size_t module_read(struct module *module, uint64_t vaddr, void *buf, size_t len);

/*
 * The vaddr that lies at a file offset according to the program headers;
 * false if no PT_LOAD covers it. This gives an executable mapping its bias:
 * of two segments that share a page of the file, the executable one answers.
 */
bool module_offset_to_vaddr(const struct module *module, uint64_t offset, uint64_t *vaddr);

/* Whether it holds Go code: it has a .gopclntab (or the like in data.rel.ro), or
 * Go's note. The section's view is then found also where it has no name. */
bool module_is_go(struct module *module);

/* What stands at a vaddr once the file is loaded at bias 0, if a relocation of the
 * dynamic linker's puts an address there; else 0. Reads through all of them. */
uint64_t module_relocation(struct module *module, uint64_t vaddr);

/* The entry point's vaddr, or 0. */
uint64_t module_entry(const struct module *module);

/* A run of vaddrs, `end` is one past the last. */
struct module_range {
	uint64_t start;
	uint64_t end;
};

/*
 * Where code is, sorted by address: the executable sections, or the executable
 * segments of a file without section headers.
 */
const struct module_range *module_code(const struct module *module, size_t *n);

/* The one of these sorted ranges that holds a vaddr, or NULL. */
const struct module_range *module_range_find(const struct module_range *ranges, size_t n,
                                             uint64_t vaddr);

enum module_symtab {
	MODULE_SYMTAB,       /* .symtab: every symbol, unless the file was stripped */
	MODULE_DYNSYM,       /* .dynsym: what the dynamic linker needs */
	MODULE_DEBUG_SYMTAB, /* .symtab of its separate debug file, once found */
	MODULE_MINI_SYMTAB,  /* .symtab in .gnu_debugdata, as Fedora packs it */
	MODULE_NSYMTABS,
};

/*
 * A symbol table as it stands in the file (System V gABI, "Symbol Table"). The
 * last byte of `strings` is a NUL; an st_name may still lie outside.
 */
struct module_symbols {
	const Elf64_Sym *v;
	size_t n;
	const char *strings;
	size_t strings_len;
};

/*
 * Looks for the debug file of a module that has no .symtab or no DWARF itself, in
 * the root of a target that runs it, then in ours (debug.h), and keeps it open; asks
 * debuginfod servers if there is none and nothing else has the names. Once for each
 * module, while the target lives; later calls do nothing.
 */
void module_find_debug(struct module *module, const struct target *target);

/*
 * Whether somebody waits for a profile: debug files that servers were asked for
 * are then waited for a few seconds altogether (fetch.h), not as long as it takes.
 * For all modules of this process.
 */
void module_hurry(bool hurry);
/* That nobody will wait for anything any more. */
void module_give_up(void);

/*
 * Reads a symbol table when first asked for, waiting for the debug file if a
 * server was asked for it; n is 0 if there is none. Good as
 * long as the module.
 */
struct module_symbols module_symbols(struct module *module, enum module_symtab which);

/*
 * The function that covers a vaddr, by all symbol tables; false if none says so. Makes
 * an index when first asked.
 */
bool module_function(struct module *module, uint64_t vaddr, struct module_range *range);

/* The files that a module's DWARF is in, for libdw, which reads whole sections. */
struct module_dwarf {
	Elf *elf;
	Elf *supplement;         /* what .gnu_debugaltlink names (dwz -m); NULL: nothing */
	struct module_view line; /* .debug_line, decompressed */
	bool ours;               /* nobody but root and us could have written it */
};

/*
 * Its own or its debug file's, with all sections that libdw would touch vetted and
 * decompressed. False if there is none, or a part of it is missing. To be asked
 * once; good as long as the module.
 */
bool module_dwarf(struct module *module, struct module_dwarf *dwarf);

#endif
