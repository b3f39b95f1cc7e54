/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as .eh_frame_hdr, .eh_frame and .debug_frame: what is found covers the
 * address and lies in its section, and its rules are what a rule can be. An input
 * begins, little-endian, with
 *
 *     u32 address of .eh_frame_hdr   u32 address of .eh_frame
 *     u16 length of .eh_frame_hdr    u16 length of .eh_frame
 *     u32 an address of code
 *
 * and the sections follow, .debug_frame taking what is left.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "module/fde.h"
#include "unwind/cfi.h"
#include "unwind/vet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool is_inside(const struct fde_program *program, const uint8_t *data, size_t size)
{
	return program->data >= data && program->len <= size &&
	       (size_t)(program->data - data) <= size - program->len;
}

static void check_rule(const struct fde *fde, uint64_t at)
{
	struct cfi_rule rule = cfi_rule_at(fde, at, at);
	struct cfi_rule again = cfi_rule_at(fde, at, at);

	require(memcmp(&rule, &again, sizeof rule) == 0);
	require(rule.edge == (at == fde->end - 1));
	switch ((enum cfi_kind)rule.kind) {
	case CFI_COMPLEX:
	case CFI_END:
		require(rule.cfa == 0 && rule.fp == 0 && rule.lost == 0);
		break;
	case CFI_FROM_SP:
	case CFI_FROM_FP:
		require(!fde->is_signal_frame && fde->return_column == ARCH_REG_PC);
		break;
	default: /* there is an FDE */
		abort();
	}
}

static void check_fde(const struct fde *fde, uint64_t at, const uint8_t *data, size_t size)
{
	uint64_t len = fde->end - fde->start;

	require(at >= fde->start && at < fde->end);
	require(is_inside(&fde->initial, data, size));
	require(is_inside(&fde->program, data, size));
	for (uint64_t i = 0; i < 16; i++) {
		check_rule(fde, fde->start + i % len);
		check_rule(fde, fde->start + len / 16 * i);
	}
	check_rule(fde, at);
	check_rule(fde, fde->end - 1);
	(void)vet_fde(fde);
}

static struct module_view take(struct reader *r, size_t len, uint64_t vaddr)
{
	size_t left = reader_left(r);
	struct module_view view = {.vaddr = vaddr, .len = len < left ? len : left};

	view.data = view.len > 0 ? reader_bytes(r, view.len) : NULL;
	return view;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint32_t hdr_vaddr = reader_u32(&r), frame_vaddr = reader_u32(&r);
	uint16_t hdr_len = reader_u16(&r), frame_len = reader_u16(&r);
	uint32_t code = reader_u32(&r);
	struct module_view hdr, frame, debug;
	struct fde_table *table;

	if (r.failed)
		return 0;
	hdr = take(&r, hdr_len, hdr_vaddr);
	frame = take(&r, frame_len, frame_vaddr);
	debug = take(&r, SIZE_MAX, 0);
	table = fde_table_from_views(hdr, frame, debug);
	for (uint64_t i = 0; i < 64; i++) {
		uint64_t at = code + i * i * 8;
		struct fde fde;

		if (fde_find(table, at, &fde))
			check_fde(&fde, at, data, size);
	}
	fde_table_free(table);
	return 0;
}
