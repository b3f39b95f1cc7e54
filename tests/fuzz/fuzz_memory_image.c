/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a target's memory that holds an ELF file: the file made of it is
 * opened, and all that is asked of a module is asked of it. An input begins with
 *
 *     u16 pages that are missing, one bit each of the first 16
 *
 * and the rest is the memory, mapped at MEMORY_AT.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "module/fde.h"
#include "module/memory_image.h"
#include "module/module.h"
#include "symbol/index.h"

#define MEMORY_AT UINT64_C(0x7f0000000000)
#define PAGE      4096
/* Of a fuzzer's time, not of what it finds, a larger file is a waste. */
#define MAX_FILE ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
	const uint8_t *data;
	size_t size;
	uint16_t missing;
};

static size_t read_memory(void *ctx, uint64_t addr, void *buf, size_t len)
{
	const struct memory *memory = ctx;
	uint64_t at = addr - MEMORY_AT;
	size_t n = 0;

	if (addr < MEMORY_AT)
		return 0;
	while (n < len && at + n < memory->size) {
		uint64_t page = (at + n) / PAGE;

		if (page < 16 && memory->missing >> page & 1)
			break;
		((uint8_t *)buf)[n] = memory->data[at + n];
		n++;
	}
	return n;
}

static void look_at(struct module *module)
{
	struct symbol_index index = {0};
	struct fde_table *fdes = fde_table_new(module);
	size_t ncode;
	const struct module_range *code = module_code(module, &ncode);
	uint64_t vaddr;
	struct fde fde;

	for (int which = 0; which < MODULE_NSYMTABS; which++) {
		struct module_symbols table = module_symbols(module, which);

		symbol_index_add(&index, &table, code, ncode);
	}
	symbol_index_build(&index, code, ncode);
	for (size_t i = 0; i < ncode; i++) {
		const struct index_symbol *symbol;

		symbol = symbol_index_find(&index, code[i].start);
		if (symbol && strlen(symbol->name) == 0)
			abort();
		(void)fde_find(fdes, code[i].start, &fde);
		if (module_offset_to_vaddr(module, i * PAGE, &vaddr)) {
			uint8_t bytes[64];

			(void)module_read(module, vaddr, bytes, sizeof bytes);
		}
	}
	symbol_index_fini(&index);
	fde_table_free(fdes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	struct memory memory = {.missing = reader_u16(&r)};
	struct module_cache *cache;
	struct module *module;
	uint8_t *bytes;
	size_t len;

	if (r.failed)
		return 0;
	memory.data = data + 2;
	memory.size = size - 2;
	bytes = memory_image_make(read_memory, &memory, MEMORY_AT, MAX_FILE, &len);
	if (!bytes)
		return 0;
	if (len > MAX_FILE)
		abort();
	cache = module_cache_new();
	module = module_open_memory(cache, bytes, len, "/a.out");
	if (module)
		look_at(module);
	module_cache_free(cache);
	return 0;
}
