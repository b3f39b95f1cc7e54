/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the dynamic linker needs of a file is mapped: the program headers, the
 * build id (PT_NOTE), unwind tables (PT_GNU_EH_FRAME), and through PT_DYNAMIC
 * the exported symbols. Section headers, .symtab and DWARF are not. So the
 * segments are put back to where they were in the file, and two section
 * headers are written for the symbols; then whoever reads ELF files can read
 * it, with all the checks a file gets.
 *
 * Nothing in memory says how many symbols there are. The hash tables hold every
 * symbol that can be looked up: DT_HASH has their number in its head, of
 * DT_GNU_HASH the last chain has to be followed to its end (gABI, "Hash Table";
 * the GNU one: an entry's lowest bit ends its chain).
 *
 * glibc adds the load bias to the addresses in PT_DYNAMIC, musl does not. What
 * points into a segment either way is taken.
 */
#include "module/memory_image.h"

#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "module/elf_image.h"

#define MAX_PHDRS   512
#define MAX_DYNAMIC 4096
#define MAX_PHOFF   ((uint64_t)64 << 10)

/* The three that are written: none, .dynstr, .dynsym. */
enum {
	SCN_DYNSTR = 1,
	SCN_DYNSYM,
	NSCNS,
};

struct build {
	memory_image_reader read;
	void *ctx;
	uint64_t start; /* address of the file's first byte */
	uint64_t bias;
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[MAX_PHDRS];
	uint8_t *bytes;
	size_t len; /* without the section headers */
};

static bool read_exactly(const struct build *b, uint64_t addr, void *buf, size_t len)
{
	return b->read(b->ctx, addr, buf, len) == len;
}

static bool is_load(const Elf64_Phdr *phdr)
{
	return phdr->p_type == PT_LOAD && phdr->p_filesz > 0;
}

static bool read_headers(struct build *b)
{
	Elf64_Ehdr *ehdr = &b->ehdr;

	return read_exactly(b, b->start, ehdr, sizeof *ehdr) &&
	       memcmp(ehdr->e_ident, ELFMAG, SELFMAG) == 0 &&
	       ehdr->e_phentsize == sizeof b->phdr[0] && ehdr->e_phnum > 0 &&
	       ehdr->e_phnum <= MAX_PHDRS && ehdr->e_phoff < MAX_PHOFF &&
	       read_exactly(b, b->start + ehdr->e_phoff, b->phdr,
	                    ehdr->e_phnum * sizeof b->phdr[0]);
}

/* How long the file has to be, and where it is loaded. Segments that overlap are
 * copied more than once, but not for ever. */
static bool measure(struct build *b, size_t max)
{
	bool have_start = false;
	uint64_t sum = 0;

	for (size_t i = 0; i < b->ehdr.e_phnum; i++) {
		const Elf64_Phdr *phdr = &b->phdr[i];

		if (!is_load(phdr))
			continue;
		if (phdr->p_offset > max || phdr->p_filesz > max - phdr->p_offset)
			return false;
		sum += phdr->p_filesz;
		if (phdr->p_offset + phdr->p_filesz > b->len)
			b->len = (size_t)(phdr->p_offset + phdr->p_filesz);
		if (!have_start && phdr->p_offset < ELF_PAGE_SIZE) {
			b->bias = b->start - (phdr->p_vaddr - phdr->p_offset);
			have_start = true;
		}
	}
	return have_start && sum <= max && b->len >= sizeof b->ehdr;
}

/* A page that is missing leaves zeroes; what comes after it is copied. */
static void copy_segment(struct build *b, const Elf64_Phdr *phdr)
{
	uint64_t addr = phdr->p_vaddr + b->bias, done = 0;

	while (done < phdr->p_filesz) {
		done += b->read(b->ctx, addr + done, b->bytes + phdr->p_offset + done,
		                (size_t)(phdr->p_filesz - done));
		if (done < phdr->p_filesz)
			done += ELF_PAGE_SIZE - (addr + done) % ELF_PAGE_SIZE;
	}
}

/* The bytes from a vaddr to the end of its segment; NULL if it is in none. */
static const uint8_t *at_vaddr(const struct build *b, uint64_t vaddr, uint64_t *left)
{
	for (size_t i = 0; i < b->ehdr.e_phnum; i++) {
		const Elf64_Phdr *phdr = &b->phdr[i];
		uint64_t at = vaddr - phdr->p_vaddr;

		if (is_load(phdr) && vaddr >= phdr->p_vaddr && at < phdr->p_filesz) {
			*left = phdr->p_filesz - at;
			return b->bytes + phdr->p_offset + at;
		}
	}
	return NULL;
}

/* The same of an address in PT_DYNAMIC, relocated or not. */
static const uint8_t *at_pointer(const struct build *b, uint64_t value, uint64_t *left)
{
	const uint8_t *found = at_vaddr(b, value - b->bias, left);

	return found ? found : at_vaddr(b, value, left);
}

static uint32_t word(const uint8_t *table, uint64_t index)
{
	uint32_t value;

	memcpy(&value, table + 4 * index, sizeof value);
	return value;
}

/* DT_HASH: nbucket, nchain; there is a chain entry for each symbol. */
static uint64_t count_by_hash(const struct build *b, uint64_t pointer)
{
	uint64_t left = 0;
	const uint8_t *table = at_pointer(b, pointer, &left);

	return table && left >= 8 ? word(table, 1) : 0;
}

/* DT_GNU_HASH: nbuckets, first symbol, bloom words, shift; bloom filter of 8
 * bytes a word, buckets, chains beginning with the first symbol's. */
static uint64_t count_by_gnu_hash(const struct build *b, uint64_t pointer)
{
	uint64_t left = 0, nbuckets, first, chains, last = 0;
	const uint8_t *table = at_pointer(b, pointer, &left);

	if (!table || left < 16)
		return 0;
	left /= 4; /* words */
	nbuckets = word(table, 0);
	first = word(table, 1);
	chains = 4 + 2 * (uint64_t)word(table, 2) + nbuckets;
	if (chains > left)
		return 0;
	for (uint64_t i = chains - nbuckets; i < chains; i++) {
		if (word(table, i) > last)
			last = word(table, i);
	}
	if (last < first)
		return first;
	while (chains + last - first < left && !(word(table, chains + last - first) & 1))
		last++;
	return last + 1;
}

/* What PT_DYNAMIC points to. */
struct dynamic {
	uint64_t symtab, strtab, strsz, hash, gnu_hash;
};

static void read_dynamic(const struct build *b, const Elf64_Phdr *phdr,
                         struct dynamic *dynamic)
{
	uint64_t left = 0;
	const uint8_t *at = at_vaddr(b, phdr->p_vaddr, &left);
	Elf64_Dyn dyn;

	if (!at)
		return;
	for (size_t i = 0; i < MAX_DYNAMIC && left >= sizeof dyn; i++) {
		memcpy(&dyn, at + i * sizeof dyn, sizeof dyn);
		left -= sizeof dyn;
		if (dyn.d_tag == DT_NULL)
			return;
		if (dyn.d_tag == DT_SYMTAB)
			dynamic->symtab = dyn.d_un.d_ptr;
		else if (dyn.d_tag == DT_STRTAB)
			dynamic->strtab = dyn.d_un.d_ptr;
		else if (dyn.d_tag == DT_STRSZ)
			dynamic->strsz = dyn.d_un.d_val;
		else if (dyn.d_tag == DT_HASH)
			dynamic->hash = dyn.d_un.d_ptr;
		else if (dyn.d_tag == DT_GNU_HASH)
			dynamic->gnu_hash = dyn.d_un.d_ptr;
	}
}

static struct dynamic find_dynamic(const struct build *b)
{
	struct dynamic dynamic = {0};

	for (size_t i = 0; i < b->ehdr.e_phnum; i++) {
		if (b->phdr[i].p_type == PT_DYNAMIC)
			read_dynamic(b, &b->phdr[i], &dynamic);
	}
	return dynamic;
}

/* Fills in the section headers of the symbols; false if there are none. */
static bool describe_symbols(const struct build *b, Elf64_Shdr *shdr)
{
	struct dynamic dynamic = find_dynamic(b);
	uint64_t table_left = 0, strings_left = 0, n;
	const uint8_t *table = at_pointer(b, dynamic.symtab, &table_left);
	const uint8_t *strings = at_pointer(b, dynamic.strtab, &strings_left);

	if (!dynamic.symtab || !dynamic.strtab || !table || !strings)
		return false;
	n = dynamic.gnu_hash ? count_by_gnu_hash(b, dynamic.gnu_hash) : 0;
	/* Of a library that exports nothing, or if both are there. */
	if (dynamic.hash && count_by_hash(b, dynamic.hash) > n)
		n = count_by_hash(b, dynamic.hash);
	if (n > table_left / sizeof(Elf64_Sym))
		n = table_left / sizeof(Elf64_Sym);
	shdr[SCN_DYNSTR] = (Elf64_Shdr){
	        .sh_type = SHT_STRTAB,
	        .sh_flags = SHF_ALLOC,
	        .sh_offset = (uint64_t)(strings - b->bytes),
	        .sh_size = dynamic.strsz < strings_left ? dynamic.strsz : strings_left,
	        .sh_addralign = 1,
	};
	shdr[SCN_DYNSYM] = (Elf64_Shdr){
	        .sh_type = SHT_DYNSYM,
	        .sh_flags = SHF_ALLOC,
	        .sh_offset = (uint64_t)(table - b->bytes),
	        .sh_size = n * sizeof(Elf64_Sym),
	        .sh_link = SCN_DYNSTR,
	        .sh_entsize = sizeof(Elf64_Sym),
	        .sh_addralign = 8,
	};
	return n > 0;
}

uint8_t *memory_image_make(memory_image_reader read, void *ctx, uint64_t start, size_t max,
                           size_t *len)
{
	struct build *b = xcalloc(1, sizeof *b);
	Elf64_Shdr shdr[NSCNS] = {0};
	uint8_t *bytes = NULL;
	size_t tables;

	*b = (struct build){.read = read, .ctx = ctx, .start = start};
	if (max <= sizeof shdr + 8 || !read_headers(b) ||
	    !measure(b, max - sizeof shdr - 8))
		goto out;
	tables = (b->len + 7) / 8 * 8;
	bytes = b->bytes = xcalloc(1, tables + sizeof shdr);
	for (size_t i = 0; i < b->ehdr.e_phnum; i++) {
		if (is_load(&b->phdr[i]))
			copy_segment(b, &b->phdr[i]);
	}
	/* As they were read and checked, not as they may have become since. */
	b->ehdr.e_shoff = b->ehdr.e_shnum = b->ehdr.e_shstrndx = 0;
	if (describe_symbols(b, shdr)) {
		b->ehdr.e_shoff = tables;
		b->ehdr.e_shnum = NSCNS;
		b->ehdr.e_shentsize = sizeof shdr[0];
	}
	memcpy(bytes, &b->ehdr, sizeof b->ehdr);
	memcpy(bytes + tables, shdr, sizeof shdr);
	*len = tables + sizeof shdr;
out:
	free(b);
	return bytes;
}

static size_t read_target(void *ctx, uint64_t addr, void *buf, size_t len)
{
	ssize_t n = target_read_memory(ctx, addr, buf, len);

	return n > 0 ? (size_t)n : 0;
}

static bool same_file(const struct map *a, const struct map *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major &&
	       a->dev_minor == b->dev_minor && strcmp(a->path, b->path) == 0;
}

uint8_t *memory_image_of(const struct target *target, const struct map *map, size_t max,
                         size_t *len)
{
	const struct map *first = NULL;
	struct maps maps;
	uint8_t *bytes = NULL;

	if (maps_read(target->proc_fd, &maps) < 0)
		return NULL;
	/* A library may be loaded twice: what belongs together begins below. */
	for (size_t i = 0; i < maps.n && maps.v[i].start <= map->start; i++) {
		if (maps.v[i].offset == 0 && same_file(&maps.v[i], map))
			first = &maps.v[i];
	}
	if (first)
		/* NOLINTNEXTLINE(clang-diagnostic-cast-qual): it is only read from */
		bytes = memory_image_make(
		        read_target, (void *)(uintptr_t)target, first->start,
		        max < MEMORY_IMAGE_MAX ? max : MEMORY_IMAGE_MAX, len);
	maps_fini(&maps);
	return bytes;
}
