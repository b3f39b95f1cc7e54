/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that a JIT compiler writes, with the code itself, into a jitdump
 * file (Linux: tools/perf/Documentation/jitdump-specification.txt), as node
 * --perf-prof and java with perf's agent do. A header
 *
 *     u32 magic 'JiTD'  u32 version  u32 size of the header  u32 ELF machine
 *     u32 0             u32 pid      u64 time                u64 flags
 *
 * and records, each with a head of u32 id, u32 size, u64 time:
 *
 *     0 load        u32 pid  u32 tid  u64 vma  u64 address  u64 code size
 *                   u64 index, the name up to a NUL, the code
 *     1 move        u32 pid  u32 tid  u64 vma  u64 old address  u64 address
 *                   u64 code size  u64 index
 *     2 debug info  u64 address  u64 number of lines; for each u64 address
 *                   u32 line  u32 discriminator, the file up to a NUL. It comes
 *                   before the load it belongs to
 *     3 close       the end
 *
 * in the byte order of the machine, which has to be ours. The records come in
 * order of time. What moves stays known at its old place too, for samples from
 * before.
 */
#ifndef CPROF_SYMBOL_JITDUMP_H
#define CPROF_SYMBOL_JITDUMP_H

#include <stddef.h>
#include <stdint.h>

#include "symbol/code_map.h"

/* So much is read of a file, so many pieces are taken, and so much of their
 * names together. */
#define JITDUMP_MAX_BYTES   ((uint64_t)1 << 30)
#define JITDUMP_MAX_ENTRIES ((size_t)2 << 20)
#define JITDUMP_MAX_NAMES   ((size_t)64 << 20)
/* A longer name is cut. */
#define JITDUMP_MAX_NAME ((size_t)4 << 10)

struct jitdump;

/* Copies bytes at an offset of the file; how many there were, 0 at its end. */
typedef size_t (*jitdump_reader)(void *ctx, uint64_t offset, void *buf, size_t len);

/*
 * Reads a file as far as it makes sense: a record that is cut short is still
 * being written. NULL if it is no jitdump of this machine.
 */
struct jitdump *jitdump_read(jitdump_reader read, void *ctx);
void jitdump_free(struct jitdump *dump);
/* How much memory it takes. Of NULL, 0. */
size_t jitdump_bytes(const struct jitdump *dump);

/* The last piece that was put at an address, or NULL; its name is not empty.
 * Good as long as the dump. */
const struct code_entry *jitdump_find(const struct jitdump *dump, uint64_t address);

/*
 * The source line of an address inside of a piece that was found, and its file
 * (good as long as the dump); 0 if the compiler did not say.
 */
uint32_t jitdump_line(const struct jitdump *dump, const struct code_entry *entry,
                      uint64_t address, const char **file);

#endif
