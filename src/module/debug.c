/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Distributions strip their programs and put the symbols and debug information
 * into files of their own, which may be installed or not. The two agree on
 * addresses. A debug file is found in two ways:
 *
 *   build id        /usr/lib/debug/.build-id/ab/cdef….debug
 *   .gnu_debuglink  a section with a file's name and checksum; the file lies
 *                   beside the program, in .debug/ there, or in the same
 *                   directory below /usr/lib/debug
 *
 * first in the target's root, then in ours, where the debug files of a
 * container's programs can be installed without touching the container; and where
 * there is none, in a third way: a debuginfod server has it, by its build id
 * (fetch.h). That takes as long as it takes, and so is asked for now and taken when
 * its names are wanted.
 *
 * A name proves nothing: an upgrade may have replaced one file and not the
 * other, and names out of the wrong file would be wrong names. Where both have a
 * build id it must be the same, else the checksum must be right. That takes
 * reading the whole file, and so is left for later: found is a file while the
 * target lives, read when its names are wanted.
 */
#include "module/debug.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/reader.h"
#include "module/fetch.h"
#include "target/root.h"

#define DEBUG_DIR  "/usr/lib/debug"
#define CRC_CHUNK  ((size_t)64 << 10)
#define CRC_POLY   0xedb88320u /* of Ethernet and zlib, bits reversed */
#define MAX_TO_CRC ((uint64_t)2 << 30)

uint32_t debug_crc32(uint32_t crc, const uint8_t *data, size_t len)
{
	static uint32_t table[256];

	if (table[1] == 0) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;

			for (int bit = 0; bit < 8; bit++)
				value = value >> 1 ^ (value & 1 ? CRC_POLY : 0);
			table[i] = value;
		}
	}
	crc = ~crc;
	for (size_t i = 0; i < len; i++)
		crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xff];
	return ~crc;
}

/* "libfoo.so.debug\0", zeroes up to a multiple of 4, then the checksum. */
bool debug_link_parse(struct module_view section, struct debug_link *link)
{
	struct reader r = reader_init(section.data, section.len);

	if (!section.data)
		return false;
	link->name = reader_cstr(&r);
	reader_skip(&r, -r.pos & 3);
	link->crc = reader_u32(&r);
	return !r.failed && link->name[0] != '\0' && strchr(link->name, '/') == NULL &&
	       strlen(link->name) <= NAME_MAX;
}

/* What is looked for. */
struct search {
	struct debug_file *debug;
	const struct elf_image *image;
	const struct debug_link *link;    /* NULL: there is none */
	const char *dir;                  /* where the program lies, to go with the link */
	bool is_foreign;                  /* the root is not the one that dir is in */
	const struct root_reader *reader; /* NULL: nobody but us */
};

static bool same_file(int fd, int other)
{
	struct stat a, b;

	return other >= 0 && fstat(fd, &a) == 0 && fstat(other, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Whether an opened file may be it; a checksum then stays to be compared. */
static bool accept(const struct search *search, bool by_link)
{
	struct debug_file *debug = search->debug;
	const char *ours = search->image->build_id, *theirs = debug->image.build_id;

	if (!debug->image.symtab[MODULE_SYMTAB].index)
		return false;
	if (ours[0] != '\0' && theirs[0] != '\0')
		return strcmp(ours, theirs) == 0;
	if (!by_link)
		return false;
	debug->unproven = true;
	debug->crc = search->link->crc;
	return true;
}

static bool try_file(const struct search *search, int root, const char *path, bool by_link)
{
	struct debug_file *debug = search->debug;
	size_t *total = search->image->total, held = *total;
	int fd = root_open_file(root, path, ROOT_FOLLOW, search->reader);

	if (fd < 0)
		return false;
	/* A link may lead back to the program itself. */
	if (same_file(fd, search->image->fd)) {
		close(fd);
		return false;
	}
	if (elf_image_open_fd(&debug->image, fd, total) == 0 && accept(search, by_link)) {
		log_verbose("debug file %s", path);
		debug->found = true;
		debug->path = xstrdup(path);
		return true;
	}
	elf_image_fini(&debug->image);
	*total = held;
	*debug = (struct debug_file){0};
	return false;
}

static bool try_build_id(const struct search *search, int root)
{
	const char *id = search->image->build_id;
	char path[sizeof DEBUG_DIR + 2 * ELF_BUILD_ID_MAX + 32];

	if (strlen(id) < 4)
		return false;
	snprintf(path, sizeof path, DEBUG_DIR "/.build-id/%.2s/%s.debug", id, id + 2);
	return try_file(search, root, path, false);
}

static bool try_link(const struct search *search, int root)
{
	static const char *const formats[][2] = {
	        {"", "/"},
	        {"", "/.debug/"},
	        {DEBUG_DIR, "/"},
	};
	bool found = false;

	if (!search->link)
		return false;
	for (size_t i = 0; i < sizeof formats / sizeof formats[0] && !found; i++) {
		/* Beside the program means beside the target's. */
		if (search->is_foreign && formats[i][0][0] == '\0')
			continue;
		char *path = xasprintf("%s%s%s%s", formats[i][0], search->dir,
		                       formats[i][1], search->link->name);

		found = try_file(search, root, path, true);
		free(path);
	}
	return found;
}

static bool try_root(const struct search *search, int root)
{
	return try_build_id(search, root) || try_link(search, root);
}

void debug_file_find(struct debug_file *debug, const struct target *target,
                     struct elf_image *image, const char *path)
{
	struct debug_link link;
	struct root_reader reader;
	struct search search = {.debug = debug, .image = image};
	const char *slash = strrchr(path, '/');
	char *dir = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	int root = target ? root_open(target) : -1;
	bool is_ours = root >= 0 && root_is_ours(root), found = false;

	search.dir = dir;
	if (target) {
		reader = root_reader_of(target);
		search.reader = &reader;
	}
	if (slash && debug_link_parse(elf_image_section(image, MODULE_DEBUGLINK), &link))
		search.link = &link;
	if (root >= 0) {
		found = try_root(&search, root);
		close(root);
	}
	if (!found && !is_ours) {
		root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		search.is_foreign = target != NULL;
		if (root >= 0) {
			(void)try_root(&search, root);
			close(root);
		}
	}
	free(dir);
}

static bool crc_is_right(const struct debug_file *debug)
{
	uint8_t *chunk;
	uint64_t done = 0;
	uint32_t crc = 0;
	ssize_t n = 1;

	if (debug->image.size > MAX_TO_CRC)
		return false;
	chunk = xmalloc(CRC_CHUNK);
	while (n > 0 && done < debug->image.size) {
		n = pread(debug->image.fd, chunk, CRC_CHUNK, (off_t)done);
		if (n > 0) {
			crc = debug_crc32(crc, chunk, (size_t)n);
			done += (uint64_t)n;
		}
	}
	free(chunk);
	return done == debug->image.size && crc == debug->crc;
}

void debug_file_ask(struct debug_file *debug, const struct elf_image *image)
{
	debug->request = fetch_want(image->build_id) + 1;
	debug->asked = debug->request > 0;
	debug->owner = image;
}

static void take_answer(struct debug_file *debug)
{
	const struct elf_image *owner = debug->owner;
	size_t *total = owner->total, held = *total;
	int request = debug->request, fd = fetch_take(request - 1);

	*debug = (struct debug_file){.request = request};
	if (fd < 0)
		return;
	if (elf_image_open_fd(&debug->image, fd, total) == 0 &&
	    debug->image.symtab[MODULE_SYMTAB].index &&
	    strcmp(debug->image.build_id, owner->build_id) == 0) {
		debug->found = true;
		return;
	}
	log_verbose("debuginfod: what came for build id %s is something else",
	            owner->build_id);
	elf_image_fini(&debug->image);
	*total = held;
	*debug = (struct debug_file){.request = request};
}

bool debug_file_is_copy(const struct debug_file *held, const struct debug_file *other,
                        uint64_t *budget)
{
	if (held->request || other->request)
		return held->request == other->request;
	return held->found == other->found &&
	       (!held->found || elf_image_is_copy(&held->image, &other->image, budget));
}

bool debug_file_prove(struct debug_file *debug)
{
	if (debug->asked)
		take_answer(debug);
	if (debug->found && debug->unproven) {
		debug->unproven = false;
		if (!crc_is_right(debug)) {
			log_verbose("a debug file is not used: its checksum is another");
			debug_file_fini(debug);
		}
	}
	return debug->found;
}

void debug_file_fini(struct debug_file *debug)
{
	if (debug->found)
		elf_image_fini(&debug->image);
	free(debug->path);
	*debug = (struct debug_file){0};
}
