/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any registers, any stack and any program: unwinding ends, says why, and gives
 * only frames that are in code. An input begins, little-endian, with
 *
 *     u8 method            u8 bit 0: memory may be read on demand
 *     u16 length of the program's ELF file, which is mapped whole at 0x400000
 *     u32 bit n: register n is known
 *     17 u64 registers, by their DWARF numbers
 *     u16 length of the stack, from SP - 128 on
 *
 * and file and stack follow. What is left is memory where rax points to. Code that
 * was made at run time is at 0x700000.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/reader.h"
#include "unwind/unwind.h"

#define MAX_FRAMES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static char file_path[] = "/program", no_path[] = "";
static const struct map maps[] = {
        {.start = 0x400000, .end = 0x500000, .perms = 5, .inode = 1, .path = file_path},
        {.start = 0x700000, .end = 0x708000, .perms = 7, .path = no_path},
};

static void check(const struct unwind_result *result, const struct frame *frames)
{
	require(result->nframes >= 1 && result->nframes <= MAX_FRAMES);
	require(result->end < UNWIND_NENDS && frames[0].exact);
	for (size_t i = 1; i < result->nframes; i++) {
		uint64_t pc = frames[i].exact ? frames[i].pc : frames[i].pc - 1;

		require(frames[i].where != NULL);
		require(pc >= frames[i].where->map.start && pc < frames[i].where->map.end);
		require(frames[i].how != FRAME_REGISTERS && frames[i].how < FRAME_NHOWS);
	}
	require(result->end != UNWIND_END_DEPTH || result->nframes == MAX_FRAMES);
}

static void add_segment(struct snapshot *snap, struct reader *r, uint64_t addr, size_t len)
{
	size_t left = reader_left(r);
	struct snapshot_segment segment = {addr, len < left ? len : left, snap->nbytes};

	if (segment.len > SNAPSHOT_MAX_BYTES - snap->nbytes)
		segment.len = SNAPSHOT_MAX_BYTES - snap->nbytes;
	if (segment.len > 0)
		memcpy(snap->bytes + snap->nbytes, reader_bytes(r, segment.len),
		       segment.len);
	snap->nbytes += segment.len;
	snap->segment[snap->nsegments++] = segment;
}

/* A process has nearly everything somewhere. */
static bool read_demanded(void *ctx, uint64_t addr, void *buf, size_t len)
{
	const struct snapshot *snap = ctx;

	if (snap->nbytes < len)
		return false;
	memcpy(buf, snap->bytes + addr % (snap->nbytes - len + 1), len);
	return true;
}

/* The module of the ELF file that comes next; NULL if it is none. */
static struct module *read_module(struct module_cache *cache, struct reader *r, size_t len)
{
	size_t left = reader_left(r);
	uint8_t *image;

	if (len > left)
		len = left;
	if (len == 0)
		return NULL;
	image = xmalloc(len);
	memcpy(image, reader_bytes(r, len), len);
	return module_open_memory(cache, image, len, file_path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint8_t method = reader_u8(&r), flags = reader_u8(&r);
	uint16_t elf_len = reader_u16(&r), stack_len;
	struct snapshot snap = {.regs.valid = reader_u32(&r)};
	struct unwind_demand demand = {read_demanded, &snap};
	struct module *modules[2] = {NULL, NULL};
	struct frame frames[MAX_FRAMES];
	struct unwind_result result;
	struct module_cache *cache;
	struct unwinder *unwinder;
	struct space *space;

	for (unsigned reg = 0; reg < ARCH_NREGS; reg++)
		snap.regs.r[reg] = reader_u64(&r);
	stack_len = reader_u16(&r);
	if (r.failed)
		return 0;
	cache = module_cache_new();
	modules[0] = read_module(cache, &r, elf_len);
	space = space_of_maps(maps, modules, 2);
	snap.bytes = xmalloc(SNAPSHOT_MAX_BYTES);
	add_segment(&snap, &r, snap.regs.r[ARCH_REG_SP] - ARCH_RED_ZONE, stack_len);
	add_segment(&snap, &r, snap.regs.r[0], SIZE_MAX);
	unwinder = unwinder_new(method % UNWIND_NMETHODS);
	result = unwinder_run(unwinder, space, &snap, flags & 1 ? &demand : NULL, frames,
	                      MAX_FRAMES);
	check(&result, frames);
	unwinder_free(unwinder);
	space_free(space);
	module_cache_free(cache);
	free(snap.bytes);
	return 0;
}
