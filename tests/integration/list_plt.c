/* SPDX-License-Identifier: Apache-2.0 */
/* list_plt FILE: the stubs of its procedure linkage table, "401030 printf@plt". */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "symbol/plt.h"
#include "symbol/source.h"

int main(int argc, char **argv)
{
	struct module_cache *cache = module_cache_new();
	struct module *module = NULL;
	const struct plt *plt;
	void *state;

	if (argc == 2)
		module = module_open_fd(cache, open(argv[1], O_RDONLY | O_CLOEXEC),
		                        argv[1]);
	state = module ? symbol_source_plt.open(module) : NULL;
	if (state) {
		plt = state;
		for (size_t i = 0; i < plt->stubs.n; i++)
			printf("%" PRIx64 " %s\n", plt->stubs.v[i].start,
			       plt->stubs.v[i].name);
		symbol_source_plt.close(state);
	}
	module_cache_free(cache);
	return module ? 0 : 1;
}
