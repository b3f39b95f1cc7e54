/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as .eh_frame_hdr, before an .eh_frame of any bytes: what its binary
 * search finds is an FDE of that section, the same one each time, and covers the
 * address. An input begins, little-endian, with
 *
 *     u32 address of .eh_frame_hdr   u32 address of .eh_frame
 *     u16 length of .eh_frame_hdr    u16 how far apart the addresses asked for are
 *     u32 the first of these addresses
 *
 * and the two sections follow.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "module/fde.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool is_inside(const struct fde_program *program, struct module_view section)
{
	return program->data >= section.data && program->len <= section.len &&
	       (size_t)(program->data - section.data) <= section.len - program->len;
}

static void check_address(const struct fde_table *table, uint64_t vaddr)
{
	struct module_view section = fde_section(table);
	struct fde fde, again;

	if (!fde_find(table, vaddr, &fde))
		return;
	require(vaddr >= fde.start && vaddr < fde.end && !fde.is_debug_frame);
	require(fde.vaddr - section.vaddr < section.len);
	require(is_inside(&fde.initial, section) && is_inside(&fde.program, section));
	require(fde_find(table, vaddr, &again) && again.vaddr == fde.vaddr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint32_t hdr_vaddr = reader_u32(&r), frame_vaddr = reader_u32(&r);
	uint16_t hdr_len = reader_u16(&r), step = reader_u16(&r);
	uint32_t code = reader_u32(&r);
	struct module_view hdr = {.vaddr = hdr_vaddr}, frame = {.vaddr = frame_vaddr};
	struct fde_table *table;

	if (r.failed)
		return 0;
	hdr.len = hdr_len < reader_left(&r) ? hdr_len : reader_left(&r);
	hdr.data = reader_bytes(&r, hdr.len);
	frame.len = reader_left(&r);
	frame.data = reader_bytes(&r, frame.len);
	table = fde_table_from_views(hdr, frame, (struct module_view){0});
	for (uint64_t i = 0; i < 256; i++)
		check_address(table, code + i * step);
	check_address(table, UINT64_MAX);
	check_address(table, 0);
	fde_table_free(table);
	return 0;
}
