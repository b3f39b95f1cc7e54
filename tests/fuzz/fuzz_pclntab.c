/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as Go's table of functions: what it says of an address lies in the
 * bytes and is such as a stack can have. An input begins, little-endian, with
 *
 *     u32 vaddr of the text, 0: as the table has it   u32 an address in the text
 *
 * and the table follows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "module/pclntab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool is_string_in(const struct pclntab *table, const char *s)
{
	const uint8_t *at = (const uint8_t *)s;

	return at >= table->data && at < table->data + table->len &&
	       strlen(s) < (size_t)(table->data + table->len - at);
}

static void check_address(const struct pclntab *table, uint64_t vaddr)
{
	struct pclntab_func func;
	const char *file;
	uint64_t delta;
	uint32_t line;

	if (!pclntab_find(table, vaddr, &func))
		return;
	require(vaddr >= table->text);
	require(is_string_in(table, func.name));
	if (pclntab_sp_delta(table, &func, vaddr, &delta))
		require(delta % 8 == 0 && delta <= INT32_MAX);
	if (pclntab_line(table, &func, vaddr, &file, &line))
		require(line <= INT32_MAX && is_string_in(table, file));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint32_t text = reader_u32(&r), into = reader_u32(&r);
	struct pclntab table;
	size_t left = reader_left(&r);

	if (r.failed || !pclntab_from_bytes(&table, data + size - left, left, text))
		return 0;
	for (uint64_t i = 0; i < 32; i++)
		check_address(&table, table.text + into + i * i);
	for (uint64_t i = 0; i < 32; i++)
		check_address(&table, table.text + i * i * i);
	check_address(&table, into);
	return 0;
}
