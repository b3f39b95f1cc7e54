/* SPDX-License-Identifier: Apache-2.0 */
/* Names all code of a module. */
#ifndef TESTS_FUZZ_NAME_ALL_H
#define TESTS_FUZZ_NAME_ALL_H

#include "symbol/symbol.h"

/* Sixty-four places in each piece of code; more of them find nothing new. */
static inline void name_all(struct module *module)
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

#endif
