/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ELF image for this processor, in an open file or in memory: its program
 * headers, the few sections that matter, its build id. Inside of module/ alone;
 * everyone else sees struct module. This is where libelf is called.
 *
 * libelf opens with ELF_C_READ, never with a mapping: a file that is truncated
 * while we look would kill us with SIGBUS. And nothing is handed to libelf
 * before its size was compared with the file's and with ELF_MAX_SECTION, since
 * libelf allocates whatever a header asks for.
 */
#ifndef CPROF_MODULE_ELF_IMAGE_H
#define CPROF_MODULE_ELF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gelf.h>
#include <sys/types.h>

#include "base/array.h"
#include "module/module.h"

/* No section larger than this is read. */
#define ELF_MAX_SECTION  ((size_t)512 << 20)
#define ELF_MAX_SECTIONS 65536
#define ELF_MAX_LOADS    256
/* What is read of its notes altogether. */
#define ELF_MAX_NOTES ((size_t)64 << 10)
/* What all images of one cache may hold in memory together. */
#define ELF_MAX_TOTAL ((size_t)1 << 30)

#define ELF_BUILD_ID_MAX 64

#define ELF_PAGE_SIZE 4096
#define ELF_NPAGES    32

struct elf_load {
	uint64_t offset;
	uint64_t vaddr;
	uint64_t filesz;
	uint64_t memsz;
	bool exec;
};

/* A section by its index in the file; index 0: there is none. */
struct elf_section {
	size_t index;
	uint64_t vaddr;
	uint64_t size;
	size_t link;
};

struct elf_page {
	uint64_t offset; /* multiple of ELF_PAGE_SIZE */
	size_t len;      /* 0: nothing here yet */
	uint8_t *data;
};

struct elf_image {
	int fd;       /* -1: in memory */
	uint8_t *mem; /* NULL: a file */
	dev_t dev;    /* of the file, as stat tells them */
	ino_t inode;
	uint64_t size;
	Elf *elf;
	uint64_t entry;
	bool is_go;
	bool has_dwarf;     /* it has a .debug_info */
	bool is_supplement; /* holds debug information alone, and no program */
	size_t notes_len;   /* bytes of notes read so far */
	char build_id[2 * ELF_BUILD_ID_MAX + 1];
	ARRAY(struct elf_load) loads;
	ARRAY(struct module_range) code;
	struct module_range eh_frame_hdr; /* PT_GNU_EH_FRAME, vaddrs */
	struct elf_section section[MODULE_NSECTIONS];
	struct elf_section symtab[MODULE_NSYMTABS];
	struct module_view view[MODULE_NSECTIONS];
	struct module_symbols symbols[MODULE_NSYMTABS];
	unsigned views_read;   /* bit n: view[n] was tried */
	unsigned symbols_read; /* bit n: symbols[n] was tried */
	ARRAY(void *) owned;   /* buffers that views point into */
	struct elf_page page[ELF_NPAGES];
	size_t *total; /* shared by the images of a cache */
};

/*
 * Takes over the descriptor or the malloc'ed bytes, also when it fails; -errno
 * says why: -ENOEXEC it is no ELF file for this processor. Adds the bytes it
 * holds to *total. Freed with elf_image_fini in any case.
 */
int elf_image_open_fd(struct elf_image *image, int fd, size_t *total)
        __attribute__((warn_unused_result));
int elf_image_open_memory(struct elf_image *image, uint8_t *mem, size_t len, size_t *total)
        __attribute__((warn_unused_result));
/* The same of a file that need not be a program: dwz makes relocatable ones. */
int elf_image_open_supplement(struct elf_image *image, int fd, size_t *total)
        __attribute__((warn_unused_result));
void elf_image_fini(struct elf_image *image);
/* The same of one on the heap, which is freed too. NULL is fine. */
void elf_image_free(struct elf_image *image);

/* Whether two images are of one file. */
bool elf_image_is_one(const struct elf_image *a, const struct elf_image *b);

/*
 * Whether what is read of `held` may stand for `other`: they are one file, or have a
 * build id and every byte in common, and `held` cannot be changed by anybody but who
 * could change `other` too. A build id alone proves nothing: whoever made a file has
 * chosen it. What is read to find out is taken off *budget.
 */
bool elf_image_is_copy(const struct elf_image *held, const struct elf_image *other,
                       uint64_t *budget);

/* Bytes at a file offset; the number copied, fewer at the end of the file. */
size_t elf_image_read_at(struct elf_image *image, uint64_t offset, void *buf, size_t len);
/* See module_read, module_offset_to_vaddr, module_section, module_symbols. */
size_t elf_image_read(struct elf_image *image, uint64_t vaddr, void *buf, size_t len);
bool elf_image_offset_to_vaddr(const struct elf_image *image, uint64_t offset,
                               uint64_t *vaddr);
struct module_view elf_image_section(struct elf_image *image, enum module_section which);
struct module_symbols elf_image_symbols(struct elf_image *image, enum module_symtab which);

/*
 * Reads all sections with DWARF, so that libdw finds them in memory and of a size
 * that is bounded; `line` becomes .debug_line's bytes. False if one does not fit.
 */
bool elf_image_read_dwarf(struct elf_image *image, struct module_view *line);

#endif
