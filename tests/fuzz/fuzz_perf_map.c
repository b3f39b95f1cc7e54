/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a perf map: what is found covers the address and has a name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "symbol/perf_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(const struct perf_map *map, uint64_t address)
{
	const struct code_entry *entry = perf_map_find(map, address);

	if (entry &&
	    (address < entry->start || address >= entry->end || strlen(entry->name) == 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xmalloc(size > 0 ? size : 1);
	struct perf_map *map;

	memcpy(text, data, size);
	map = perf_map_parse(text, size);
	try(map, 0);
	try(map, UINT64_MAX);
	/* Each number of the text, and its neighbours. */
	for (size_t i = 0; i + 1 < size; i++) {
		char digits[17] = "";

		memcpy(digits, data + i, size - i < 16 ? size - i : 16);
		for (uint64_t near = 0; near < 3; near++)
			try(map, strtoull(digits, NULL, 16) + near - 1);
	}
	perf_map_free(map);
	return 0;
}
