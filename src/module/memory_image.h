/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ELF file written again from what the target has mapped of it. For files
 * that are gone or cannot be opened: a deleted or replaced library where
 * /proc/PID/map_files is not for us, a memfd. Inside of module/ alone.
 */
#ifndef CPROF_MODULE_MEMORY_IMAGE_H
#define CPROF_MODULE_MEMORY_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "target/maps.h"
#include "target/target.h"

/* No file is made that is larger. */
#define MEMORY_IMAGE_MAX ((size_t)256 << 20)

/* Copies bytes at an address; how many there were, 0 if none. */
typedef size_t (*memory_image_reader)(void *ctx, uint64_t addr, void *buf, size_t len);

/*
 * The file whose first byte is mapped at `start`, of at most `max` bytes: its
 * segments at their offsets, the program headers as they were, and section
 * headers for .dynsym and .dynstr alone. What cannot be read is zero. Malloc'ed;
 * NULL if there is no ELF header or it makes no sense. Whether the rest of it
 * does is for its reader to find out.
 */
uint8_t *memory_image_make(memory_image_reader read, void *ctx, uint64_t start, size_t max,
                           size_t *len);

/* The same for the file behind a mapping of a target that lives. */
uint8_t *memory_image_of(const struct target *target, const struct map *map, size_t max,
                         size_t *len);

#endif
