/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The units of a file and the ranges of their code are listed at once: the index
 * that .debug_aranges might be is missing from what clang compiles. The rest of a
 * unit, its table of lines and its functions, is read when it is needed.
 *
 * libdw checks what it reads, but sets no limits: a row of a table of lines takes
 * 48 bytes of memory and may take one in the file. Nor does it survive everything: files
 * of split DWARF, which it maps, may be cut short meanwhile. So a crash of its is contained, and
 * costs the lines of its module.
 */
#include "symbol/lines.h"

#include <string.h>

#include <dwarf.h>
#include <elfutils/libdw.h>

#include "base/array.h"
#include "base/crash.h"
#include "base/hashmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/reader.h"
#include "symbol/qualify.h"
#include "symbol/scopes.h"
#include "symbol/spans.h"
#include "symbol/split.h"

#define UNITS_MAX       ((size_t)1 << 20)
#define UNIT_RANGES_MAX ((size_t)4 << 20)
/* Bytes of line number programs, of one unit and of all that are read. */
#define PROGRAM_MAX  ((uint64_t)8 << 20)
#define PROGRAMS_MAX ((uint64_t)48 << 20)
/* Bytes of paths put together and of copies. */
#define TEXTS_MAX        ((size_t)16 << 20)
#define TEXT_MAX         65536
#define SCOPES_TOTAL_MAX ((size_t)4 << 20)

struct unit {
	Dwarf_Die die;  /* a skeleton, of a split one */
	Dwarf_Die body; /* with the functions */
	bool is_skeleton;
	bool is_read;
	bool has_lines;
	struct scopes scopes;
};

struct lines {
	struct module *module;
	struct lines *next_broken;
	bool is_broken; /* libdw crashed on it: it is not touched again */
	Dwarf *dwarf;
	Dwarf *supplement;
	bool inlines;
	bool ours;                  /* as struct module_dwarf */
	struct module_view program; /* .debug_line */
	uint64_t programs_read;
	size_t nscopes;
	ARRAY(struct unit) units;
	struct spans spans; /* -> index in units */
	struct qualified qualified;
	struct hashmap by_text; /* a text of libdw's, by its place -> index in texts */
	ARRAY(char *) texts;
	size_t texts_len;
};

static void add_unit(struct lines *lines, Dwarf_Die *die, bool is_skeleton,
                     const struct module_range *code, size_t ncode)
{
	struct unit unit = {.die = *die, .body = *die, .is_skeleton = is_skeleton};
	uint32_t number = (uint32_t)lines->units.n;
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;

	while (lines->spans.spans.n < UNIT_RANGES_MAX &&
	       (at = dwarf_ranges(die, at, &base, &start, &end)) > 0) {
		/* Of what the linker threw away, ranges stay that begin at 0 or so. */
		if (module_range_find(code, ncode, start))
			spans_add(&lines->spans, start, end, number);
	}
	array_push(&lines->units, unit);
}

static void list_units(struct lines *lines)
{
	size_t ncode;
	const struct module_range *code = module_code(lines->module, &ncode);
	Dwarf_CU *cu = NULL;
	Dwarf_Die die;
	uint8_t type;

	while (lines->units.n < UNITS_MAX &&
	       dwarf_get_units(lines->dwarf, cu, &cu, NULL, &type, &die, NULL) == 0) {
		if (type == DW_UT_compile || type == DW_UT_skeleton)
			add_unit(lines, &die, type == DW_UT_skeleton, code, ncode);
	}
	spans_build(&lines->spans);
}

/* libdw's type says with an attribute of GNU C what ours says with _Noreturn. */
static void set_oom_handler(Dwarf *dwarf)
{
	if (dwarf)
		dwarf_new_oom_handler(dwarf, (Dwarf_OOM)out_of_memory);
}

struct opening {
	struct lines *lines;
	const struct module_dwarf *files;
	bool done;
};

static void open_dwarf(void *arg)
{
	struct opening *opening = arg;
	struct lines *lines = opening->lines;
	Elf *supplement = opening->files->supplement;

	lines->dwarf = dwarf_begin_elf(opening->files->elf, DWARF_C_READ, NULL);
	if (lines->dwarf && supplement) {
		lines->supplement = dwarf_begin_elf(supplement, DWARF_C_READ, NULL);
		if (lines->supplement)
			dwarf_setalt(lines->dwarf, lines->supplement);
	}
	set_oom_handler(lines->dwarf);
	set_oom_handler(lines->supplement);
	/* Without the supplement that it asks for, libdw would look for it itself. */
	if (!lines->dwarf || (supplement && !lines->supplement))
		return;
	list_units(lines);
	opening->done = true;
}

/* Calls into libdw; false if that crashed. */
static bool attempt(struct lines *lines, void (*fn)(void *arg), void *arg)
{
	if (crash_contain(fn, arg))
		return true;
	lines->is_broken = true;
	log_info("libdw crashed on the debug information of %s: other lines of it are "
	         "unknown",
	         module_path(lines->module));
	return false;
}

struct lines *lines_new(struct module *module, bool inlines)
{
	struct module_dwarf files;
	struct opening opening = {.files = &files};
	struct lines *lines;

	if (!module_dwarf(module, &files))
		return NULL;
	opening.lines = lines = xcalloc(1, sizeof *lines);
	lines->module = module;
	lines->inlines = inlines;
	lines->ours = files.ours;
	lines->program = files.line;
	if (attempt(lines, open_dwarf, &opening) && opening.done)
		return lines;
	lines_free(lines);
	return NULL;
}

/* What a crash has left stays where it is, and is not lost sight of. */
static void keep_broken(struct lines *lines)
{
	static struct lines *broken;

	lines->next_broken = broken;
	broken = lines;
}

void lines_free(struct lines *lines)
{
	if (lines && lines->is_broken)
		keep_broken(lines);
	if (!lines || lines->is_broken)
		return;
	for (size_t i = 0; i < lines->units.n; i++)
		scopes_fini(&lines->units.v[i].scopes);
	for (size_t i = 0; i < lines->texts.n; i++)
		free(lines->texts.v[i]);
	array_fini(&lines->units);
	array_fini(&lines->texts);
	spans_fini(&lines->spans);
	qualified_fini(&lines->qualified);
	hashmap_fini(&lines->by_text);
	dwarf_end(lines->dwarf);
	dwarf_end(lines->supplement);
	free(lines);
}

/* Whether a unit's line number program is of a size that can be afforded. */
static bool afford_lines(struct lines *lines, Dwarf_Die *die)
{
	struct reader r = reader_init(lines->program.data, lines->program.len);
	Dwarf_Attribute attribute;
	Dwarf_Word offset;
	uint64_t len;

	if (!lines->program.data || !dwarf_attr(die, DW_AT_stmt_list, &attribute) ||
	    dwarf_formudata(&attribute, &offset) != 0)
		return false;
	reader_seek(&r, (size_t)offset);
	len = reader_u32(&r);
	if (len == 0xffffffff) /* the 64-bit format */
		len = reader_u64(&r);
	if (r.failed || len > PROGRAM_MAX || lines->programs_read + len > PROGRAMS_MAX)
		return false;
	lines->programs_read += len;
	return true;
}

static void read_unit(struct lines *lines, struct unit *unit)
{
	unit->is_read = true;
	unit->has_lines = afford_lines(lines, &unit->die);
	if (!lines->inlines || lines->nscopes > SCOPES_TOTAL_MAX)
		return;
	if (unit->is_skeleton && !split_unit(&unit->die, lines->ours, &unit->body))
		return;
	scopes_read(&unit->scopes, &unit->body);
	lines->nscopes += unit->scopes.v.n;
}

/* What was made of a text of libdw's before; NULL: nothing yet. */
static const char *known_text(struct lines *lines, const char *text)
{
	uint64_t index;

	return hashmap_get(&lines->by_text, (uint64_t)(uintptr_t)text, &index)
	               ? lines->texts.v[index]
	               : NULL;
}

static const char *keep_text(struct lines *lines, const char *text, char *made)
{
	lines->texts_len += strlen(made);
	hashmap_put(&lines->by_text, (uint64_t)(uintptr_t)text, lines->texts.n);
	array_push(&lines->texts, made);
	return made;
}

/* A text of a unit, for whoever reads it when a crash is no longer contained: what is
 * in a file that libdw has mapped is copied. */
static const char *stable_text(struct lines *lines, struct unit *unit, const char *text)
{
	const char *known;

	if (!text || !unit->is_skeleton)
		return text;
	known = known_text(lines, text);
	if (known || lines->texts_len > TEXTS_MAX)
		return known;
	return keep_text(lines, text, xasprintf("%.*s", TEXT_MAX, text));
}

/* A file's path, with the directory of the compilation if it is relative. */
static const char *full_path(struct lines *lines, struct unit *unit, const char *path)
{
	Dwarf_Attribute attribute;
	const char *dir = NULL, *known;

	if (!path || path[0] == '/' || path[0] == '<')
		return stable_text(lines, unit, path);
	known = known_text(lines, path);
	if (known)
		return known;
	if (dwarf_attr(&unit->die, DW_AT_comp_dir, &attribute))
		dir = dwarf_formstring(&attribute);
	if (!dir || lines->texts_len > TEXTS_MAX)
		return stable_text(lines, unit, path);
	return keep_text(lines, path, xasprintf("%.4096s/%.4096s", dir, path));
}

/* The row of the table of lines that an address is in. */
static bool find_row(struct lines *lines, struct unit *unit, uint64_t vaddr,
                     struct line_frame *frame)
{
	Dwarf_Line *row = unit->has_lines ? dwarf_getsrc_die(&unit->die, vaddr) : NULL;
	int line = 0;

	if (!row)
		return false;
	frame->file = full_path(lines, unit, dwarf_linesrc(row, NULL, NULL));
	if (dwarf_lineno(row, &line) == 0 && line > 0)
		frame->line = (uint32_t)line;
	return true;
}

static uint32_t number_of(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value;

	if (!dwarf_attr_integrate(die, name, &attribute) ||
	    dwarf_formudata(&attribute, &value) != 0 || value > INT32_MAX)
		return 0;
	return (uint32_t)value;
}

/* NULL where there is none, or nothing in it. */
static const char *text_of(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;
	const char *text;

	if (!dwarf_attr_integrate(die, name, &attribute))
		return NULL;
	text = dwarf_formstring(&attribute);
	return text && text[0] != '\0' ? text : NULL;
}

static const char *name_of(struct lines *lines, struct unit *unit, Dwarf_Die *die)
{
	const char *name = text_of(die, DW_AT_linkage_name);

	if (!name)
		name = text_of(die, DW_AT_MIPS_linkage_name);
	if (!name)
		name = qualified_name(&lines->qualified, die);
	return stable_text(lines, unit, name);
}

/* Where an inlined function was called: the place in the one around it. */
static void find_call(struct lines *lines, struct unit *unit, Dwarf_Die *die,
                      struct line_frame *frame)
{
	uint32_t number = number_of(die, DW_AT_call_file);
	Dwarf_Files *files;
	size_t nfiles;

	frame->line = number_of(die, DW_AT_call_line);
	if (unit->has_lines && dwarf_getsrcfiles(&unit->body, &files, &nfiles) == 0 &&
	    number < nfiles)
		frame->file = full_path(lines, unit,
		                        dwarf_filesrc(files, number, NULL, NULL));
}

/* The functions from the innermost one, number `scope`, to the one around all. */
static size_t find_functions(struct lines *lines, struct unit *unit, uint32_t number,
                             struct line_frame *frames)
{
	size_t n = 0;

	while (number != SPANS_NONE && n < LINES_MAX_FRAMES) {
		struct scope *scope = &unit->scopes.v.v[number];
		struct line_frame *frame = &frames[n++];

		frame->name = name_of(lines, unit, &scope->die);
		frame->start_line = number_of(&scope->die, DW_AT_decl_line);
		if (!scope->inlined)
			break;
		number = scope->parent;
		if (n < LINES_MAX_FRAMES) {
			frames[n] = (struct line_frame){0};
			find_call(lines, unit, &scope->die, &frames[n]);
		}
	}
	return n;
}

struct search {
	struct lines *lines;
	uint64_t vaddr;
	struct line_frame *frames;
	size_t n;
};

static void find(void *arg)
{
	struct search *search = arg;
	struct lines *lines = search->lines;
	uint32_t number = spans_find(&lines->spans, search->vaddr);
	struct unit *unit;
	bool found;

	if (number == SPANS_NONE)
		return;
	unit = &lines->units.v[number];
	if (!unit->is_read)
		read_unit(lines, unit);
	search->frames[0] = (struct line_frame){0};
	found = find_row(lines, unit, search->vaddr, &search->frames[0]);
	search->n = find_functions(lines, unit,
	                           spans_find(&unit->scopes.spans, search->vaddr),
	                           search->frames);
	if (search->n == 0)
		search->n = found;
}

size_t lines_find(struct lines *lines, uint64_t vaddr, struct line_frame *frames)
{
	struct search search = {.lines = lines, .vaddr = vaddr, .frames = frames};

	if (lines->is_broken)
		return 0;
	if (attempt(lines, find, &search))
		return search.n;
	frames[0] = (struct line_frame){0};
	return 0;
}
