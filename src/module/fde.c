/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .eh_frame is a sequence of CIEs and FDEs. Each begins with its length and an
 * identifier: 0 marks a CIE, else it is the way back from there to the FDE's
 * CIE. .eh_frame_hdr, which the linker makes, is a table of (code, FDE) pairs
 * sorted by code, for a binary search. Without it, as in some static programs,
 * the section is read through once and such a table is made here.
 *
 * .debug_frame is the same but for its identifiers (all ones marks a CIE, else
 * it is the CIE's offset), and for addresses, which are plain.
 */
#include "module/fde.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/mem.h"
#include "base/reader.h"

/* Pointer encodings (LSB Core, 10.5.1): a format and what it is relative to. */
enum {
	PE_ABSPTR = 0x00,
	PE_ULEB128 = 0x01,
	PE_UDATA2 = 0x02,
	PE_UDATA4 = 0x03,
	PE_UDATA8 = 0x04,
	PE_SLEB128 = 0x09,
	PE_SDATA2 = 0x0a,
	PE_SDATA4 = 0x0b,
	PE_SDATA8 = 0x0c,
	PE_FORMAT = 0x0f,
	PE_PCREL = 0x10,
	PE_DATAREL = 0x30,
	PE_RELATIVE = 0x70,
	PE_INDIRECT = 0x80,
	PE_OMIT = 0xff,
};

/* Real ones have up to five letters. Bounds what one FDE costs to read. */
#define MAX_AUGMENTATION 16

struct index_entry {
	uint64_t start;
	uint64_t end;
	size_t offset;
};

struct fde_table {
	struct module_view section;
	bool is_debug_frame;
	/* The linker's table, used in place: */
	const uint8_t *pairs; /* two int32 each, relative to hdr_vaddr */
	size_t npairs;
	uint64_t hdr_vaddr;
	/* Or our own: */
	ARRAY(struct index_entry) index;
};

static uint64_t read_format(struct reader *r, uint8_t format)
{
	switch (format) {
	case PE_ABSPTR:
	case PE_UDATA8:
	case PE_SDATA8:
		return reader_u64(r);
	case PE_ULEB128:
		return reader_uleb(r);
	case PE_UDATA2:
		return reader_u16(r);
	case PE_UDATA4:
		return reader_u32(r);
	case PE_SLEB128:
		return (uint64_t)reader_sleb(r);
	case PE_SDATA2:
		return (uint64_t)(int16_t)reader_u16(r);
	case PE_SDATA4:
		return (uint64_t)(int32_t)reader_u32(r);
	default:
		r->failed = true;
		return 0;
	}
}

/* A pointer in a section that lies at `vaddr`. */
static uint64_t read_pointer(struct reader *r, uint8_t encoding, uint64_t vaddr)
{
	uint64_t at = vaddr + r->pos;
	uint64_t value = read_format(r, encoding & PE_FORMAT);

	switch (encoding & (PE_RELATIVE | PE_INDIRECT)) {
	case 0:
		return value;
	case PE_PCREL:
		return value + at;
	default:
		r->failed = true;
		return 0;
	}
}

/* The extent of one entry and its identifier. */
struct entry {
	size_t end;   /* offset one past it */
	size_t id_at; /* offset of the identifier */
	uint64_t id;
	bool is_64bit;
};

/* False at the section's end, at its terminator, or where nothing makes sense. */
static bool read_entry(struct reader *r, struct entry *entry)
{
	uint64_t len = reader_u32(r);

	entry->is_64bit = len == UINT32_MAX;
	if (entry->is_64bit)
		len = reader_u64(r);
	if (r->failed || len == 0 || len > reader_left(r))
		return false;
	entry->end = r->pos + len;
	entry->id_at = r->pos;
	entry->id = entry->is_64bit ? reader_u64(r) : reader_u32(r);
	return !r->failed && r->pos <= entry->end;
}

static bool is_cie(const struct fde_table *table, const struct entry *entry)
{
	if (!table->is_debug_frame)
		return entry->id == 0;
	return entry->id == (entry->is_64bit ? UINT64_MAX : UINT32_MAX);
}

/* Reads the augmentation's data; the letters say what is there, in their order. */
static void read_augmentation(struct reader *r, const char *letters, uint64_t vaddr,
                              struct fde *fde)
{
	for (; *letters != '\0'; letters++) {
		uint8_t encoding;

		switch (*letters) {
		case 'L':
			reader_u8(r);
			break;
		case 'R':
			fde->pointer_encoding = reader_u8(r);
			break;
		case 'P':
			encoding = reader_u8(r);
			read_pointer(r, encoding & (PE_FORMAT | PE_PCREL), vaddr);
			break;
		case 'S':
			fde->is_signal_frame = true;
			break;
		case 'B': /* pointer authentication; no data */
			break;
		default:
			r->failed = true;
			return;
		}
	}
}

/* "zPLR": 'z' says that the data's length comes first. Without it there is none. */
static bool read_cie_augmentation(struct reader *r, const char *letters, uint64_t vaddr,
                                  struct fde *fde)
{
	uint64_t len;
	size_t end;

	if (letters[0] == '\0')
		return true;
	if (letters[0] != 'z')
		return false;
	len = reader_uleb(r);
	if (r->failed || len > reader_left(r))
		return false;
	end = r->pos + len;
	read_augmentation(r, letters + 1, vaddr, fde);
	if (r->failed || r->pos > end)
		return false;
	reader_seek(r, end);
	return true;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool read_cie(const struct fde_table *table, size_t offset, struct fde *fde,
                     bool *sized)
{
	struct reader r = reader_init(table->section.data, table->section.len);
	struct entry entry;
	const char *augmentation;
	uint8_t version;

	reader_seek(&r, offset);
	if (!read_entry(&r, &entry) || !is_cie(table, &entry))
		return false;
	r.len = entry.end;
	version = reader_u8(&r);
	if (version != 1 && version != 3 && version != 4)
		return false;
	/* Looked for in a few bytes: each FDE may name a CIE of megabytes without a NUL. */
	if (memchr(r.data + r.pos, '\0', min_size(reader_left(&r), MAX_AUGMENTATION)) ==
	    NULL)
		return false;
	augmentation = reader_cstr(&r);
	if (version == 4 && (reader_u8(&r) != 8 || reader_u8(&r) != 0))
		return false; /* other address sizes, segments */
	fde->code_align = reader_uleb(&r);
	fde->data_align = reader_sleb(&r);
	fde->return_column = version == 1 ? reader_u8(&r) : reader_uleb(&r);
	fde->pointer_encoding = PE_ABSPTR;
	*sized = augmentation[0] == 'z';
	if (!read_cie_augmentation(&r, augmentation, table->section.vaddr, fde) || r.failed)
		return false;
	fde->initial = (struct fde_program){r.data + r.pos, reader_left(&r)};
	return true;
}

static bool cie_offset(const struct fde_table *table, const struct entry *entry,
                       size_t *offset)
{
	uint64_t where = table->is_debug_frame ? entry->id : entry->id_at - entry->id;

	*offset = where;
	return where < table->section.len;
}

/* Reads the FDE at an offset. Returns false if there is none; *next is then 0 at
 * the end of the section, else the offset of the entry after this one. */
static bool read_fde(const struct fde_table *table, size_t offset, struct fde *fde,
                     size_t *next)
{
	struct reader r = reader_init(table->section.data, table->section.len);
	uint64_t range, augmentation_len;
	struct entry entry;
	size_t cie;
	bool sized;

	*next = 0;
	*fde = (struct fde){.is_debug_frame = table->is_debug_frame,
	                    .vaddr = table->section.vaddr + offset};
	reader_seek(&r, offset);
	if (!read_entry(&r, &entry))
		return false;
	*next = entry.end;
	r.len = entry.end;
	if (is_cie(table, &entry) || !cie_offset(table, &entry, &cie) ||
	    !read_cie(table, cie, fde, &sized))
		return false;
	fde->start = read_pointer(&r, fde->pointer_encoding, table->section.vaddr);
	range = read_format(&r, fde->pointer_encoding & PE_FORMAT);
	if (sized) {
		augmentation_len = reader_uleb(&r);
		if (augmentation_len > reader_left(&r))
			return false;
		reader_skip(&r, augmentation_len);
	}
	if (r.failed || range == 0 || range > UINT64_MAX - fde->start)
		return false;
	fde->end = fde->start + range;
	fde->program = (struct fde_program){r.data + r.pos, reader_left(&r)};
	return true;
}

static int compare_entries(const void *a, const void *b)
{
	const struct index_entry *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

static void build_index(struct fde_table *table)
{
	size_t offset = 0, next;
	struct fde fde;

	while (offset < table->section.len) {
		/* A linker leaves 0 for code it dropped. */
		if (read_fde(table, offset, &fde, &next) && fde.start != 0)
			array_push(&table->index,
			           ((struct index_entry){fde.start, fde.end, offset}));
		if (next <= offset)
			break;
		offset = next;
	}
	if (table->index.n > 0)
		qsort(table->index.v, table->index.n, sizeof *table->index.v,
		      compare_entries);
}

/*
 * Takes the header's table if it has the one shape that linkers write: pairs of
 * 4-byte signed numbers relative to the header.
 */
static bool use_header(struct fde_table *table, struct module_view hdr)
{
	struct reader r = reader_init(hdr.data, hdr.len);
	uint8_t version = reader_u8(&r);
	uint8_t frame_encoding = reader_u8(&r);
	uint8_t count_encoding = reader_u8(&r);
	uint8_t table_encoding = reader_u8(&r);
	uint64_t count;

	if (r.failed || version != 1 || frame_encoding == PE_OMIT ||
	    count_encoding == PE_OMIT || table_encoding != (PE_DATAREL | PE_SDATA4))
		return false;
	read_pointer(&r, frame_encoding, hdr.vaddr);
	count = read_pointer(&r, count_encoding, hdr.vaddr);
	if (r.failed || count == 0 || count > reader_left(&r) / 8)
		return false;
	table->pairs = hdr.data + r.pos;
	table->npairs = count;
	table->hdr_vaddr = hdr.vaddr;
	return true;
}

struct fde_table *fde_table_from_views(struct module_view hdr, struct module_view eh_frame,
                                       struct module_view debug_frame)
{
	struct fde_table *table = xcalloc(1, sizeof *table);

	if (eh_frame.data != NULL && eh_frame.len > 0) {
		table->section = eh_frame;
		if (hdr.data == NULL || !use_header(table, hdr))
			build_index(table);
	} else if (debug_frame.data != NULL) {
		table->section = debug_frame;
		table->section.vaddr = 0;
		table->is_debug_frame = true;
		build_index(table);
	}
	return table;
}

struct fde_table *fde_table_new(struct module *module)
{
	struct module_view none = {0};
	struct module_view eh_frame = module_section(module, MODULE_EH_FRAME);

	if (eh_frame.data != NULL && eh_frame.len > 0)
		return fde_table_from_views(module_section(module, MODULE_EH_FRAME_HDR),
		                            eh_frame, none);
	/*
	 * Go's linker writes .debug_frame, but it says nothing of where RBP is
	 * saved, which is what leads across Go's own stack switches.
	 */
	if (module_is_go(module))
		return fde_table_from_views(none, none, none);
	return fde_table_from_views(none, none, module_section(module, MODULE_DEBUG_FRAME));
}

void fde_table_free(struct fde_table *table)
{
	if (table == NULL)
		return;
	array_fini(&table->index);
	free(table);
}

static int32_t pair_word(const struct fde_table *table, size_t pair, size_t word)
{
	int32_t value;

	memcpy(&value, table->pairs + pair * 8 + word * 4, sizeof value);
	return value;
}

/* The offset of the last FDE that begins at or before vaddr, by the header. */
static bool search_pairs(const struct fde_table *table, uint64_t vaddr, size_t *offset)
{
	size_t lo = 0, hi = table->npairs;
	uint64_t where;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		uint64_t start = table->hdr_vaddr +
		                 (uint64_t)(int64_t)pair_word(table, mid, 0);

		if (start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	where = table->hdr_vaddr + (uint64_t)(int64_t)pair_word(table, lo - 1, 1) -
	        table->section.vaddr;
	*offset = where;
	return where < table->section.len;
}

static bool search_index(const struct fde_table *table, uint64_t vaddr, size_t *offset)
{
	size_t lo = 0, hi = table->index.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (table->index.v[mid].start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || table->index.v[lo - 1].end <= vaddr)
		return false;
	*offset = table->index.v[lo - 1].offset;
	return true;
}

bool fde_find(const struct fde_table *table, uint64_t vaddr, struct fde *fde)
{
	size_t offset = 0, next;

	if (!(table->pairs != NULL ? search_pairs(table, vaddr, &offset)
	                           : search_index(table, vaddr, &offset)))
		return false;
	return read_fde(table, offset, fde, &next) && vaddr >= fde->start &&
	       vaddr < fde->end;
}

struct module_view fde_section(const struct fde_table *table)
{
	return table->section;
}
