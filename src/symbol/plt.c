/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stub jumps to the address in its slot of the global offset table, and a
 * relocation says of each slot whose address it will hold: so the instructions
 * are decoded as far as is needed to find the slot. On x86_64 linkers write
 * (psABI, "Procedure Linkage Table"; n is the relocation's number)
 *
 *     lazy, 16 bytes      jmp *slot(%rip)   push $n   jmp first stub
 *     IBT, lazy           endbr64   push $n   [bnd] jmp first stub
 *     its .plt.sec        endbr64   [bnd] jmp *slot(%rip)
 *     not lazy, 8 or 16   [endbr64]   [bnd] jmp *slot(%rip)
 *     mold's              endbr64   mov $n, %r11d   jmp *slot(%rip)
 *
 * The sizes of stubs are not believed: at every eighth byte one may begin, and it
 * reaches to the next one, or over 16 bytes. The first stub of a lazy table,
 * which all others jump to, has no function and gets no name.
 */
#include "symbol/plt.h"

#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define STUB_STEP   8
#define STUB_SIZE   16
#define MAX_ALIASES 16
/* A longer name is cut, and no more bytes of names are made than this. */
#define MAX_NAME  ((size_t)4 << 10)
#define MAX_NAMES ((size_t)16 << 20)

/* A function that is chosen at start by what lies at an address. */
struct ifunc {
	uint64_t vaddr;
	uint32_t symbol; /* number in .symtab */
};

struct slots {
	const struct plt_tables *tables;
	Elf64_Rela *sorted; /* by the slot's address */
	size_t n;
	ARRAY(struct ifunc) ifuncs; /* by address, then number */
};

static Elf64_Rela rela_at(const struct module_view *view, size_t i)
{
	Elf64_Rela rela;

	memcpy(&rela, view->data + i * sizeof rela, sizeof rela);
	return rela;
}

static size_t count_rela(const struct module_view *view)
{
	return view->data ? view->len / sizeof(Elf64_Rela) : 0;
}

static bool names_function(const Elf64_Rela *rela)
{
	switch (ELF64_R_TYPE(rela->r_info)) {
	case R_X86_64_JUMP_SLOT:
	case R_X86_64_GLOB_DAT:
	case R_X86_64_IRELATIVE:
		return true;
	default:
		return false;
	}
}

static int compare_slots(const void *a, const void *b)
{
	const Elf64_Rela *x = a, *y = b;

	return (x->r_offset > y->r_offset) - (x->r_offset < y->r_offset);
}

static struct slots sort_slots(const struct plt_tables *tables)
{
	struct slots slots = {.tables = tables};
	size_t most = count_rela(&tables->rela[0]) + count_rela(&tables->rela[1]);

	slots.sorted = xreallocarray(NULL, most + 1, sizeof *slots.sorted);
	for (int which = 0; which < 2; which++) {
		for (size_t i = 0; i < count_rela(&tables->rela[which]); i++) {
			Elf64_Rela rela = rela_at(&tables->rela[which], i);

			if (names_function(&rela))
				slots.sorted[slots.n++] = rela;
		}
	}
	qsort(slots.sorted, slots.n, sizeof *slots.sorted, compare_slots);
	return slots;
}

static const Elf64_Rela *find_slot(const struct slots *slots, uint64_t address)
{
	const Elf64_Rela key = {.r_offset = address};

	return bsearch(&key, slots->sorted, slots->n, sizeof key, compare_slots);
}

static const char *symbol_name(const struct module_symbols *table, size_t i)
{
	if (i == 0 || i >= table->n || table->v[i].st_name >= table->strings_len)
		return NULL;
	return table->strings + table->v[i].st_name;
}

static int compare_ifuncs(const void *a, const void *b)
{
	const struct ifunc *x = a, *y = b;

	if (x->vaddr != y->vaddr)
		return x->vaddr < y->vaddr ? -1 : 1;
	return (x->symbol > y->symbol) - (x->symbol < y->symbol);
}

static void sort_ifuncs(struct slots *slots)
{
	const struct module_symbols *table = &slots->tables->symtab;

	for (size_t i = 0; i < table->n && i < UINT32_MAX; i++) {
		struct ifunc ifunc = {table->v[i].st_value, (uint32_t)i};

		if (ELF64_ST_TYPE(table->v[i].st_info) == STT_GNU_IFUNC &&
		    table->v[i].st_shndx != SHN_UNDEF)
			array_push(&slots->ifuncs, ifunc);
	}
	if (slots->ifuncs.n > 0)
		qsort(slots->ifuncs.v, slots->ifuncs.n, sizeof slots->ifuncs.v[0],
		      compare_ifuncs);
}

/* Of several names the one that index.c would take is not known here: the
 * shortest, and the first of these. */
static const char *ifunc_name(const struct slots *slots, uint64_t address)
{
	const char *best = NULL;
	size_t low = 0, high = slots->ifuncs.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (slots->ifuncs.v[mid].vaddr < address)
			low = mid + 1;
		else
			high = mid;
	}
	for (size_t i = low; i < low + MAX_ALIASES && i < slots->ifuncs.n; i++) {
		const char *name;

		if (slots->ifuncs.v[i].vaddr != address)
			break;
		name = symbol_name(&slots->tables->symtab, slots->ifuncs.v[i].symbol);
		if (name && (!best || strnlen(name, MAX_NAME) < strnlen(best, MAX_NAME)))
			best = name;
	}
	return best;
}

static char *stub_name(const struct slots *slots, const Elf64_Rela *rela)
{
	const struct plt_tables *tables = slots->tables;
	const char *name = symbol_name(&tables->dynsym, ELF64_R_SYM(rela->r_info));

	if (ELF64_R_TYPE(rela->r_info) == R_X86_64_IRELATIVE)
		name = ifunc_name(slots, (uint64_t)rela->r_addend);
	if (!name || name[0] == '\0')
		return NULL;
	return xasprintf("%.*s@plt", (int)MAX_NAME, name);
}

static bool take(struct module_view *code, const char *bytes, size_t len)
{
	if (code->len < len || memcmp(code->data, bytes, len) != 0)
		return false;
	code->data += len;
	code->vaddr += len;
	code->len -= len;
	return true;
}

static int32_t immediate(struct module_view *code)
{
	int32_t value;

	memcpy(&value, code->data, sizeof value);
	code->data += sizeof value;
	code->vaddr += sizeof value;
	code->len -= sizeof value;
	return value;
}

/* The relocation of the stub that begins with these bytes; false if none does. */
static bool decode_stub(const struct slots *slots, struct module_view code,
                        Elf64_Rela *rela)
{
	const struct module_view *numbered = &slots->tables->rela[0];
	bool marked = take(&code, "\xf3\x0f\x1e\xfa", 4); /* endbr64 */
	const Elf64_Rela *found;
	int32_t value;

	if (marked && take(&code, "\x41\xbb", 2) && code.len >= 4)
		(void)immediate(&code);
	if (marked && take(&code, "\x68", 1) && code.len >= 4) { /* push */
		value = immediate(&code);
		if (value < 0 || (size_t)value >= count_rela(numbered))
			return false;
		*rela = rela_at(numbered, (size_t)value);
		return names_function(rela);
	}
	(void)take(&code, "\xf2", 1); /* bnd */
	if (!take(&code, "\xff\x25", 2) || code.len < 4)
		return false;
	value = immediate(&code);
	found = find_slot(slots, code.vaddr + (uint64_t)(int64_t)value);
	if (found)
		*rela = *found;
	return found != NULL;
}

static void read_code(struct plt *plt, const struct slots *slots,
                      const struct module_view *code)
{
	for (size_t at = 0; at < code->len; at += STUB_STEP) {
		struct module_view rest = {code->data + at, code->len - at,
		                           code->vaddr + at};
		struct plt_stub stub = {.start = rest.vaddr};
		Elf64_Rela rela;

		if (plt->names_len >= MAX_NAMES)
			return;
		if (!decode_stub(slots, rest, &rela))
			continue;
		stub.end = stub.start + (rest.len < STUB_SIZE ? rest.len : STUB_SIZE);
		stub.name = stub_name(slots, &rela);
		if (!stub.name)
			continue;
		plt->names_len += strlen(stub.name) + 1;
		array_push(&plt->stubs, stub);
	}
}

static int compare_stubs(const void *a, const void *b)
{
	const struct plt_stub *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

void plt_read(struct plt *plt, const struct plt_tables *tables)
{
	struct slots slots = sort_slots(tables);

	sort_ifuncs(&slots);
	for (size_t i = 0; i < sizeof tables->code / sizeof tables->code[0]; i++) {
		if (tables->code[i].data)
			read_code(plt, &slots, &tables->code[i]);
	}
	if (plt->stubs.n > 0)
		qsort(plt->stubs.v, plt->stubs.n, sizeof plt->stubs.v[0], compare_stubs);
	array_fini(&slots.ifuncs);
	free(slots.sorted);
}

const struct plt_stub *plt_find(const struct plt *plt, uint64_t vaddr)
{
	size_t low = 0, high = plt->stubs.n;

	/* The last stub that starts at or below the address. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (plt->stubs.v[mid].start <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0 || vaddr >= plt->stubs.v[low - 1].end)
		return NULL;
	return &plt->stubs.v[low - 1];
}

void plt_fini(struct plt *plt)
{
	for (size_t i = 0; i < plt->stubs.n; i++)
		free(plt->stubs.v[i].name);
	array_fini(&plt->stubs);
}
