/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as /proc/PID/maps: the list stays sorted, and find and equal agree with it. */
#include <stdint.h>
#include <stdlib.h>

#include "target/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct maps maps, again;
	size_t nbad, nbad_again;

	maps_parse((const char *)data, size, &maps, &nbad);
	maps_parse((const char *)data, size, &again, &nbad_again);
	require(nbad == nbad_again && maps_equal(&maps, &again));
	for (size_t i = 0; i < maps.n; i++) {
		const struct map *map = &maps.v[i];

		require(map->start < map->end && map->path);
		require(i == 0 || map->start >= maps.v[i - 1].end);
		require(maps_find(&maps, map->start) == map);
		require(maps_find(&maps, map->end - 1) == map);
		require(maps_find(&maps, map->end) != map);
	}
	maps_fini(&maps);
	maps_fini(&again);
	return 0;
}
