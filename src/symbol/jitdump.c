/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code itself, most of the file, is skipped: a window slides over the file
 * and stops at the head of each record. Names and lines are kept by their place
 * in one growing array and become pointers when all have been read.
 */
#include "symbol/jitdump.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/mem.h"
#include "base/reader.h"
#include "target/arch.h"

#define MAGIC   0x4a695444u
#define VERSION 1
#define WINDOW  ((size_t)64 << 10)
/* Of longer lists of lines only the first part is read. */
#define MAX_INFO  ((size_t)1 << 20)
#define MAX_LINES ((size_t)4 << 20)
/* Of one piece of code. */
#define MAX_PIECE_LINES 16384

enum record {
	RECORD_LOAD = 0,
	RECORD_MOVE = 1,
	RECORD_DEBUG_INFO = 2,
	RECORD_CLOSE = 3,
};

#define HEAD_SIZE 16
#define LOAD_SIZE 40 /* of a load without its name */

/* From this address on, up to the next line's. */
struct line {
	uint64_t address;
	uint32_t line;
	uint32_t file; /* in names */
};

/* A piece of code as it was read. */
struct piece {
	uint64_t start;
	uint64_t size;
	uint32_t name;       /* in names */
	uint32_t first_line; /* in lines */
	uint32_t nlines;
	uint64_t shift; /* how far it was moved from where its lines say it is */
};

struct jitdump {
	ARRAY(char) names;
	ARRAY(struct line) lines;
	ARRAY(struct piece) pieces;
	struct code_map code; /* one entry for each piece, in the same order */
};

struct parse {
	struct jitdump *dump;
	jitdump_reader read;
	void *ctx;
	uint8_t *window;
	uint64_t window_at;
	size_t window_len;
	struct hashmap by_index; /* code index -> piece */
	/* The debug info that waits for its load. */
	uint64_t info_address;
	uint32_t info_first;
	uint32_t info_n;
};

/* Bytes of the file, fewer at its end; good until the next call. */
static struct reader view(struct parse *parse, uint64_t offset, size_t len)
{
	uint64_t at = offset - parse->window_at;

	if (offset < parse->window_at || at > parse->window_len ||
	    len > parse->window_len - at) {
		size_t n = 0, got = 1;

		while (n < WINDOW && got > 0) {
			got = parse->read(parse->ctx, offset + n, parse->window + n,
			                  WINDOW - n);
			n += got;
		}
		parse->window_at = offset;
		parse->window_len = n;
		at = 0;
	}
	if (len > parse->window_len - at)
		len = parse->window_len - (size_t)at;
	return reader_init(parse->window + at, len);
}

static uint32_t keep_name(struct jitdump *dump, const char *name, size_t len)
{
	uint32_t at = (uint32_t)dump->names.n;

	array_reserve(&dump->names, len + 1);
	memcpy(dump->names.v + at, name, len);
	dump->names.v[at + len] = '\0';
	dump->names.n += len + 1;
	return at;
}

static bool has_room(const struct jitdump *dump)
{
	return dump->pieces.n < JITDUMP_MAX_ENTRIES && dump->names.n < JITDUMP_MAX_NAMES;
}

/* Without size, or around the end of memory, it is nothing; see code_map_add. */
static bool makes_sense(const struct piece *piece)
{
	return piece->size > 0 && piece->size <= UINT64_MAX - piece->start;
}

static void take_load(struct parse *parse, uint64_t offset, size_t len)
{
	size_t most = LOAD_SIZE + JITDUMP_MAX_NAME;
	struct reader r = view(parse, offset, len < most ? len : most);
	struct piece piece = {0};
	uint64_t index;
	const char *name;

	reader_skip(&r, 16); /* pid, tid, vma */
	piece.start = reader_u64(&r);
	piece.size = reader_u64(&r);
	index = reader_u64(&r);
	if (r.failed || !makes_sense(&piece) || reader_left(&r) == 0)
		return;
	name = (const char *)r.data + r.pos;
	if (name[0] == '\0')
		return;
	piece.name = keep_name(parse->dump, name, strnlen(name, reader_left(&r)));
	if (parse->info_n > 0 && parse->info_address == piece.start) {
		piece.first_line = parse->info_first;
		piece.nlines = parse->info_n;
	}
	parse->info_n = 0;
	hashmap_put(&parse->by_index, index, parse->dump->pieces.n);
	array_push(&parse->dump->pieces, piece);
}

static void take_move(struct parse *parse, uint64_t offset, size_t len)
{
	struct reader r = view(parse, offset, len);
	struct piece piece;
	uint64_t start, size, number;

	reader_skip(&r, 24); /* pid, tid, vma, old address */
	start = reader_u64(&r);
	size = reader_u64(&r);
	if (!hashmap_get(&parse->by_index, reader_u64(&r), &number) || r.failed)
		return;
	piece = parse->dump->pieces.v[number];
	piece.shift += start - piece.start;
	piece.start = start;
	piece.size = size;
	if (!makes_sense(&piece))
		return;
	array_push(&parse->dump->pieces, piece);
}

/* "The same file as before" is written as the one byte 0xff. */
static bool is_repeat(const char *file)
{
	return (uint8_t)file[0] == 0xff && file[1] == '\0';
}

static void take_lines(struct parse *parse, struct reader *r)
{
	struct jitdump *dump = parse->dump;
	uint32_t file = 0;
	uint64_t n;

	parse->info_address = reader_u64(r);
	n = reader_u64(r);
	if (n > MAX_PIECE_LINES)
		n = MAX_PIECE_LINES;
	for (uint64_t i = 0; i < n && dump->lines.n < MAX_LINES && has_room(dump); i++) {
		struct line line = {.address = reader_u64(r), .line = reader_u32(r)};
		const char *name;

		reader_skip(r, 4);
		name = reader_cstr(r);
		if (!name)
			return;
		if (!is_repeat(name))
			file = keep_name(dump, name, strnlen(name, JITDUMP_MAX_NAME));
		else if (i == 0)
			return;
		line.file = file;
		array_push(&dump->lines, line);
		parse->info_n++;
	}
}

static void take_debug_info(struct parse *parse, uint64_t offset, size_t len)
{
	size_t size = len < MAX_INFO ? len : MAX_INFO, n = 0, got = 1;
	uint8_t *bytes = xmalloc(size);
	struct reader r;

	while (n < size && got > 0) {
		got = parse->read(parse->ctx, offset + n, bytes + n, size - n);
		n += got;
	}
	r = reader_init(bytes, n);
	parse->info_n = 0;
	parse->info_first = (uint32_t)parse->dump->lines.n;
	take_lines(parse, &r);
	free(bytes);
}

/* The size of the header; 0 if it is not one for us. */
static uint32_t check_header(struct parse *parse)
{
	struct reader r = view(parse, 0, 40);
	uint32_t magic = reader_u32(&r), version = reader_u32(&r), size = reader_u32(&r);
	uint32_t machine = reader_u32(&r);

	if (magic != MAGIC || version != VERSION || machine != ARCH_ELF_MACHINE ||
	    size < 40 || reader_left(&r) < 24)
		return 0;
	return size;
}

static void read_records(struct parse *parse, uint64_t offset)
{
	while (offset < JITDUMP_MAX_BYTES && has_room(parse->dump)) {
		struct reader r = view(parse, offset, HEAD_SIZE);
		uint32_t id = reader_u32(&r), size = reader_u32(&r);

		reader_skip(&r, 8);
		if (r.failed || size < HEAD_SIZE || id == RECORD_CLOSE)
			return;
		/* Written to its end? */
		r = view(parse, offset + size - 1, 1);
		if (reader_left(&r) == 0)
			return;
		if (id == RECORD_LOAD)
			take_load(parse, offset + HEAD_SIZE, size - HEAD_SIZE);
		else if (id == RECORD_MOVE)
			take_move(parse, offset + HEAD_SIZE, size - HEAD_SIZE);
		else if (id == RECORD_DEBUG_INFO)
			take_debug_info(parse, offset + HEAD_SIZE, size - HEAD_SIZE);
		offset += size;
	}
}

struct jitdump *jitdump_read(jitdump_reader read, void *ctx)
{
	struct jitdump *dump = xcalloc(1, sizeof *dump);
	struct parse parse = {.dump = dump, .read = read, .ctx = ctx};
	uint32_t header;

	parse.window = xmalloc(WINDOW);
	header = check_header(&parse);
	if (header > 0) {
		read_records(&parse, header);
		for (size_t i = 0; i < dump->pieces.n; i++) {
			const struct piece *piece = &dump->pieces.v[i];

			code_map_add(&dump->code, piece->start, piece->size,
			             dump->names.v + piece->name);
		}
		code_map_build(&dump->code);
	}
	hashmap_fini(&parse.by_index);
	free(parse.window);
	if (header > 0)
		return dump;
	jitdump_free(dump);
	return NULL;
}

void jitdump_free(struct jitdump *dump)
{
	if (!dump)
		return;
	array_fini(&dump->names);
	array_fini(&dump->lines);
	array_fini(&dump->pieces);
	code_map_fini(&dump->code);
	free(dump);
}

size_t jitdump_bytes(const struct jitdump *dump)
{
	if (!dump)
		return 0;
	return dump->names.cap + dump->lines.cap * sizeof dump->lines.v[0] +
	       dump->pieces.cap * sizeof dump->pieces.v[0] + code_map_bytes(&dump->code);
}

const struct code_entry *jitdump_find(const struct jitdump *dump, uint64_t address)
{
	return code_map_find(&dump->code, address);
}

uint32_t jitdump_line(const struct jitdump *dump, const struct code_entry *entry,
                      uint64_t address, const char **file)
{
	const struct piece *piece = &dump->pieces.v[entry - dump->code.entries.v];
	const struct line *found = NULL;

	address -= piece->shift;
	/* In the order of the addresses, as compilers write them. */
	for (uint32_t i = 0; i < piece->nlines; i++) {
		const struct line *line = &dump->lines.v[piece->first_line + i];

		if (line->address > address)
			break;
		found = line;
	}
	if (!found)
		return 0;
	*file = dump->names.v + found->file;
	return found->line;
}
