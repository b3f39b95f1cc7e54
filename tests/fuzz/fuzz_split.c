/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with split DWARF and the .dwo file that it names, of which all code is
 * named. The program is the target's, the .dwo file is not (split.c); but whether the
 * two belong together is for the program to say. An input is
 *
 *     u32 size of the program, the program, the .dwo file
 *
 * and the program gets at the other if it calls it /tmp/cprof-fuzz-split.dwo.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/reader.h"
#include "symbol/symbol.h"

#define DWO_PATH "/tmp/cprof-fuzz-split.dwo"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool put(int fd, const uint8_t *data, size_t size)
{
	return fd >= 0 && write(fd, data, size) == (ssize_t)size;
}

/* Sixty-four places in each piece of code. */
static void name_all(struct module *module)
{
	const struct symbol_options options = {0};
	struct symbolizer *symbolizer = symbolizer_new(&options);
	struct profile *profile = profile_new();
	const struct profile_mapping mapping = {
	        .limit = UINT64_MAX,
	        .code = symbolizer_bind(symbolizer, module, 0, NULL),
	};
	uint32_t id = profile_mapping(profile, &mapping);
	const struct module_range *ranges;
	size_t n;

	ranges = module_code(module, &n);
	for (size_t i = 0; i < n && i < 32; i++) {
		uint64_t len = ranges[i].end - ranges[i].start;

		for (uint64_t j = 0; j < 64; j++)
			profile_location(profile, id, ranges[i].start + len / 64 * j);
	}
	symbolizer_fill(symbolizer, profile);
	profile_free(profile);
	symbolizer_free(symbolizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct module_cache *cache = module_cache_new();
	struct reader r = reader_init(data, size);
	size_t len = reader_u32(&r);
	const uint8_t *program = reader_bytes(&r, len);
	struct module *module = NULL;
	int fd, dwo;

	log_set_level(LOG_LEVEL_QUIET);
	dwo = open(DWO_PATH, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (program && put(fd, program, len) && put(dwo, data + r.pos, reader_left(&r)))
		module = module_open_fd(cache, fd, "/fuzz");
	else
		close(fd);
	if (module)
		name_all(module);
	module_cache_free(cache);
	close(dwo);
	unlink(DWO_PATH);
	return 0;
}
