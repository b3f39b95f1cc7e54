/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with split DWARF and the .dwo file that it names, of which all code is
 * named. The program is the target's, the .dwo file is not (split.c); but whether the
 * two belong together is for the program to say. An input is
 *
 *     u32 size of the program, the program, the .dwo file
 *
 * and the program gets at the other if it calls it /tmp/cprof-fuzz-split.dwo. Whoever
 * fuzzes beside us has another: libdw maps the file, and would not survive that it is
 * cut short meanwhile. So "split" becomes a number.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/reader.h"
#include "name_all.h"

#define DWO_NAME "cprof-fuzz-split"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Copies a program, with the name of the .dwo file changed to one of the same length. */
static uint8_t *rename_dwo(const uint8_t *program, size_t len, const char *name)
{
	uint8_t *copy = xmalloc(len + 1), *at = copy;

	memcpy(copy, program, len);
	while ((at = memmem(at, len - (size_t)(at - copy), DWO_NAME, strlen(DWO_NAME))))
		memcpy(at, name, strlen(DWO_NAME));
	return copy;
}

static bool put(int fd, const uint8_t *data, size_t size)
{
	return fd >= 0 && write(fd, data, size) == (ssize_t)size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct module_cache *cache = module_cache_new();
	struct reader r = reader_init(data, size);
	size_t len = reader_u32(&r);
	const uint8_t *program = reader_bytes(&r, len);
	struct module *module = NULL;
	uint8_t *renamed;
	char path[64];
	int fd, dwo;

	if (!program) {
		module_cache_free(cache);
		return 0;
	}
	log_set_level(LOG_LEVEL_QUIET);
	snprintf(path, sizeof path, "/tmp/cprof-fuzz-%05x.dwo", getpid() & 0xfffff);
	renamed = rename_dwo(program, len, path + strlen("/tmp/"));
	dwo = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (put(fd, renamed, len) && put(dwo, data + r.pos, reader_left(&r)))
		module = module_open_fd(cache, fd, "/fuzz");
	else
		close(fd);
	if (module)
		name_all(module);
	module_cache_free(cache);
	free(renamed);
	close(dwo);
	unlink(path);
	return 0;
}
