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
#include "name_all.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct module_cache *cache = module_cache_new();
	struct module *module = NULL;

	log_set_level(LOG_LEVEL_QUIET);
	if (fd >= 0 && write(fd, data, size) == (ssize_t)size)
		module = module_open_fd(cache, fd, "/fuzz");
	if (module)
		name_all(module);
	module_cache_free(cache);
	return 0;
}
