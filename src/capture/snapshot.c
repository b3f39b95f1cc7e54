/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/snapshot.h"

#include <string.h>

/* The bytes from addr on that some segment holds; their number in *len, or NULL. */
static const uint8_t *find_bytes(const struct snapshot *snap, uint64_t addr, size_t *len)
{
	for (size_t i = 0; i < snap->nsegments; i++) {
		const struct snapshot_segment *segment = &snap->segment[i];
		uint64_t into = addr - segment->addr;

		if (addr >= segment->addr && into < segment->len) {
			*len = segment->len - into;
			return snap->bytes + segment->offset + into;
		}
	}
	return NULL;
}

bool snapshot_read(const struct snapshot *snap, uint64_t addr, void *buf, size_t len)
{
	uint8_t *out = buf;

	if (len > UINT64_MAX - addr)
		return false;
	while (len > 0) {
		size_t have;
		const uint8_t *bytes = find_bytes(snap, addr, &have);

		if (bytes == NULL)
			return false;
		if (have > len)
			have = len;
		memcpy(out, bytes, have);
		out += have;
		addr += have;
		len -= have;
	}
	return true;
}
