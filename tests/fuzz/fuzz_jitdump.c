/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a jitdump: what is found covers the address and has a name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "symbol/jitdump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
	const uint8_t *data;
	size_t size;
};

/* In small pieces, so that records lie across them. */
static size_t read_file(void *ctx, uint64_t offset, void *buf, size_t len)
{
	const struct file *file = ctx;
	size_t n;

	if (offset >= file->size)
		return 0;
	n = file->size - (size_t)offset;
	n = n < len ? n : len;
	n = n < 512 ? n : 512;
	memcpy(buf, file->data + offset, n);
	return n;
}

static void try(const struct jitdump *dump, uint64_t address)
{
	const struct code_entry *entry = jitdump_find(dump, address);
	const char *name = NULL;

	if (!entry)
		return;
	if (address < entry->start || address >= entry->end || strlen(entry->name) == 0)
		abort();
	if (jitdump_line(dump, entry, address, &name) > 0 &&
	    strlen(name) > JITDUMP_MAX_NAME)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct file file = {data, size};
	struct jitdump *dump = jitdump_read(read_file, &file);

	if (!dump)
		return 0;
	try(dump, 0);
	try(dump, UINT64_MAX);
	/* Whatever may be an address. */
	for (size_t i = 0; i + 8 <= size; i++) {
		uint64_t address;

		memcpy(&address, data + i, sizeof address);
		try(dump, address);
		try(dump, address + 1);
	}
	jitdump_free(dump);
	return 0;
}
