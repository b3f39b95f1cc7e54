/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the separate debug file of a stripped one. Inside of module/ alone. */
#ifndef CPROF_MODULE_DEBUG_H
#define CPROF_MODULE_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

#include "module/elf_image.h"
#include "target/target.h"

/* All zeroes: there is none. */
struct debug_file {
	struct elf_image image;
	bool found;
	bool unproven; /* its checksum has still to be compared */
	uint32_t crc;
	char *path;  /* in the root where it was found */
	bool asked;  /* of a server, whose answer is waited for */
	int request; /* its number (fetch.h) plus one; 0: no server was asked */
	const struct elf_image *owner; /* whose debug file was asked for */
};

/* Looks for the debug file of an image whose name in the target is `path`.
 * Without a target (NULL) it is looked for in our own root alone. */
void debug_file_find(struct debug_file *debug, const struct target *target,
                     struct elf_image *image, const char *path);
/* Asks a server for it. `image` lives as long as the debug file. */
void debug_file_ask(struct debug_file *debug, const struct elf_image *image);
/* Whether there is one, and it is the right one: may have to read all of it, or to
 * wait for a server's answer. */
bool debug_file_prove(struct debug_file *debug);
void debug_file_fini(struct debug_file *debug);

/* Whether what is read of `held` may stand for `other` (elf_image.h); also if there is
 * neither. Of one server's answers to one question that is so. */
bool debug_file_is_copy(const struct debug_file *held, const struct debug_file *other,
                        uint64_t *budget);

/*
 * Opens what .gnu_debugaltlink of an image names: the file with what several debug
 * files have in common (dwz -m). `path` is the image's own in the target's root.
 * NULL if it has no such section, or none of the files there have the build id that
 * it asks for. To be freed with elf_image_free.
 */
struct elf_image *debug_supplement_find(const struct target *target,
                                        struct elf_image *image, const char *path);
/* Asks a server for it. As debug_file.request, 0 if nobody is asked. */
int debug_supplement_ask(struct elf_image *image);
/* Waits for the server's answer. NULL if it has none; else as debug_supplement_find. */
struct elf_image *debug_supplement_take(struct elf_image *image, int request);

/* What .gnu_debuglink says. */
struct debug_link {
	const char *name; /* in the section's bytes; a file's name without a slash */
	uint32_t crc;
};
bool debug_link_parse(struct module_view section, struct debug_link *link);

/* The CRC-32 of .gnu_debuglink, of bytes that follow others with `crc`; first 0. */
uint32_t debug_crc32(uint32_t crc, const uint8_t *data, size_t len);

#endif
