/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dwz takes what several debug files have in common and puts it into another file,
 * the supplement; the section .gnu_debugaltlink of each names it and has its build id.
 * It lies where that says, or below /usr/lib/debug by its build id, in the target's
 * root or in ours; and where it does not, a debuginfod server may have it. In our root
 * a file of another one names debug files alone.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/reader.h"
#include "module/debug.h"
#include "module/fetch.h"
#include "target/root.h"

#define DEBUG_DIR    "/usr/lib/debug"
#define BUILD_ID_DIR DEBUG_DIR "/.build-id"

/* What .gnu_debugaltlink says. */
struct alt_link {
	const char *name; /* absolute, or from the directory of the file that says so */
	char build_id[2 * ELF_BUILD_ID_MAX + 1];
	const struct root_reader *reader; /* for whom it is opened; NULL: for us */
};

/* "/usr/lib/debug/.dwz/x86_64-linux-gnu/libfoo.debug\0", then the build id. */
static bool parse_link(struct module_view section, struct alt_link *link)
{
	struct reader r = reader_init(section.data, section.len);
	const uint8_t *id;
	size_t len;

	*link = (struct alt_link){0};
	if (!section.data)
		return false;
	link->name = reader_cstr(&r);
	len = reader_left(&r);
	id = reader_bytes(&r, len);
	if (r.failed || !id || len < 2 || len > ELF_BUILD_ID_MAX ||
	    strlen(link->name) >= PATH_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		sprintf(link->build_id + 2 * i, "%02x", id[i]);
	return true;
}

/* Takes over an open file if it is what the link asks for; else it is closed. */
static struct elf_image *accept(const struct alt_link *link, size_t *total, int fd)
{
	struct elf_image *image = xcalloc(1, sizeof *image);
	size_t held = *total;

	if (elf_image_open_supplement(image, fd, total) == 0 &&
	    strcmp(image->build_id, link->build_id) == 0)
		return image;
	elf_image_free(image);
	*total = held;
	return NULL;
}

static struct elf_image *try_file(const struct alt_link *link, size_t *total, int root,
                                  const char *path)
{
	int fd = root_open_file(root, path, ROOT_FOLLOW, link->reader);
	struct elf_image *image = fd < 0 ? NULL : accept(link, total, fd);

	if (image)
		log_verbose("debug file %s", path);
	return image;
}

/* Below DEBUG_DIR, and never out of it: links from debug file to debug file go up and
 * down again ("../../.dwz/…"). */
static bool is_debug_file(const char *path)
{
	const char *part, *end;
	int depth = 0;

	if (strncmp(path, DEBUG_DIR "/", strlen(DEBUG_DIR "/")) != 0)
		return false;
	for (part = path + strlen(DEBUG_DIR); *part && depth >= 0; part = end) {
		size_t len;

		part++;
		end = strchrnul(part, '/');
		len = (size_t)(end - part);
		if (len == 2 && memcmp(part, "..", 2) == 0)
			depth--;
		else if (len > 0 && !(len == 1 && *part == '.'))
			depth++;
	}
	return depth > 0;
}

static struct elf_image *try_root(const struct alt_link *link, size_t *total, int root,
                                  const char *dir, bool is_foreign)
{
	char *named = link->name[0] == '/' ? xstrdup(link->name)
	                                   : xasprintf("%s/%s", dir, link->name);
	char *by_id = xasprintf(BUILD_ID_DIR "/%.2s/%s.debug", link->build_id,
	                        link->build_id + 2);
	struct elf_image *found = NULL;

	if (!is_foreign || is_debug_file(named))
		found = try_file(link, total, root, named);
	if (!found)
		found = try_file(link, total, root, by_id);
	free(named);
	free(by_id);
	return found;
}

struct elf_image *debug_supplement_find(const struct target *target,
                                        struct elf_image *image, const char *path)
{
	struct alt_link link;
	const char *slash = strrchr(path, '/');
	struct root_reader reader;
	struct elf_image *found = NULL;
	bool is_ours;
	char *dir;
	int root;

	if (!parse_link(elf_image_section(image, MODULE_DEBUGALTLINK), &link))
		return NULL;
	dir = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	if (target) {
		reader = root_reader_of(target);
		link.reader = &reader;
	}
	root = target ? root_open(target) : -1;
	is_ours = root >= 0 && root_is_ours(root);
	if (root >= 0) {
		found = try_root(&link, image->total, root, dir, false);
		close(root);
	}
	root = found || is_ours ? -1 : open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0) {
		found = try_root(&link, image->total, root, dir, target != NULL);
		close(root);
	}
	free(dir);
	return found;
}

int debug_supplement_ask(struct elf_image *image)
{
	struct alt_link link;

	if (!parse_link(elf_image_section(image, MODULE_DEBUGALTLINK), &link))
		return 0;
	return fetch_want(link.build_id) + 1;
}

struct elf_image *debug_supplement_take(struct elf_image *image, int request)
{
	int fd = fetch_take(request - 1);
	struct elf_image *found = NULL;
	struct alt_link link;

	if (fd < 0)
		return NULL;
	if (parse_link(elf_image_section(image, MODULE_DEBUGALTLINK), &link))
		found = accept(&link, image->total, fd);
	else
		close(fd);
	if (!found)
		log_verbose("debuginfod: a supplement that came is something else");
	return found;
}
