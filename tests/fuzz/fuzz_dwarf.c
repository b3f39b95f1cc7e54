/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ELF file with debug information, of which all code is named; also what it has
 * packed (.gnu_debugdata). Only the file's own bytes are read: what it names elsewhere
 * is not there.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "symbol/symbol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Locations all over the code; more of them find nothing new. */
static void locate(struct profile *profile, struct module *module, uint32_t code)
{
	const struct profile_mapping mapping = {.limit = UINT64_MAX, .code = code};
	uint32_t id = profile_mapping(profile, &mapping);
	const struct module_range *ranges;
	size_t n;

	ranges = module_code(module, &n);
	for (size_t i = 0; i < n && i < 32; i++) {
		uint64_t len = ranges[i].end - ranges[i].start;

		for (uint64_t j = 0; j < 64; j++)
			profile_location(profile, id, ranges[i].start + len / 64 * j);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct symbol_options options = {0};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct module_cache *cache = module_cache_new();
	struct symbolizer *symbolizer = symbolizer_new(&options);
	struct profile *profile = profile_new();
	struct module *module = NULL;

	log_set_level(LOG_LEVEL_QUIET);
	if (fd >= 0 && write(fd, data, size) == (ssize_t)size)
		module = module_open_fd(cache, fd, "/fuzz");
	if (module) {
		locate(profile, module, symbolizer_bind(symbolizer, module, 0, NULL));
		symbolizer_fill(symbolizer, profile);
	}
	profile_free(profile);
	symbolizer_free(symbolizer);
	module_cache_free(cache);
	return 0;
}
