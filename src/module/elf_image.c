/* SPDX-License-Identifier: Apache-2.0 */
#include "module/elf_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/reader.h"
#include "module/go_search.h"
#include "target/arch.h"

/*
 * A page of the file, out of a small direct-mapped cache: an unwinder that
 * reads a table word by word would else make a system call for each word.
 */
static const struct elf_page *get_page(struct elf_image *image, uint64_t offset)
{
	struct elf_page *page = &image->page[offset / ELF_PAGE_SIZE % ELF_NPAGES];
	ssize_t n;

	if (page->len > 0 && page->offset == offset)
		return page;
	if (!page->data)
		page->data = xmalloc(ELF_PAGE_SIZE);
	n = pread(image->fd, page->data, ELF_PAGE_SIZE, (off_t)offset);
	page->offset = offset;
	page->len = n > 0 ? (size_t)n : 0;
	return page;
}

size_t elf_image_read_at(struct elf_image *image, uint64_t offset, void *buf, size_t len)
{
	size_t done = 0;

	if (offset >= image->size)
		return 0;
	if (len > image->size - offset)
		len = (size_t)(image->size - offset);
	if (image->mem) {
		memcpy(buf, image->mem + offset, len);
		return len;
	}
	while (done < len) {
		size_t in_page = (size_t)(offset % ELF_PAGE_SIZE), n;
		const struct elf_page *page = get_page(image, offset - in_page);

		if (page->len <= in_page)
			break;
		n = page->len - in_page;
		if (n > len - done)
			n = len - done;
		memcpy((uint8_t *)buf + done, page->data + in_page, n);
		done += n;
		offset += n;
	}
	return done;
}

size_t elf_image_read(struct elf_image *image, uint64_t vaddr, void *buf, size_t len)
{
	for (size_t i = 0; i < image->loads.n; i++) {
		const struct elf_load *load = &image->loads.v[i];
		uint64_t at = vaddr - load->vaddr;

		if (vaddr < load->vaddr || at >= load->filesz)
			continue;
		if (len > load->filesz - at)
			len = (size_t)(load->filesz - at);
		return elf_image_read_at(image, load->offset + at, buf, len);
	}
	return 0;
}

/*
 * Segments are mapped by whole pages. Two that meet within a page (lld without
 * -z separate-code) both map that page of the file, at different addresses;
 * asked about code, the one that is executable and begins there is right.
 */
bool elf_image_offset_to_vaddr(const struct elf_image *image, uint64_t offset,
                               uint64_t *vaddr)
{
	int best = 0;

	for (size_t i = 0; i < image->loads.n; i++) {
		const struct elf_load *load = &image->loads.v[i];
		uint64_t first = load->offset - load->offset % ELF_PAGE_SIZE;
		int rank;

		if (offset < first || offset >= load->offset + load->filesz)
			continue;
		rank = 1 + (offset == first) + 2 * load->exec;
		if (rank > best) {
			best = rank;
			*vaddr = load->vaddr + (offset - load->offset);
		}
	}
	return best > 0;
}

/* Whether so many more bytes may be held; they then count. */
static bool take_memory(struct elf_image *image, uint64_t len)
{
	if (len > ELF_MAX_SECTION || *image->total + len > ELF_MAX_TOTAL)
		return false;
	*image->total += (size_t)len;
	return true;
}

/* A section's own bytes, decompressed; NULL if it has none or they do not fit. */
static Elf_Data *section_data(struct elf_image *image, size_t index)
{
	Elf_Scn *scn = elf_getscn(image->elf, index);
	GElf_Shdr shdr;
	Elf_Data *data;
	uint64_t len;

	if (!scn || !gelf_getshdr(scn, &shdr) || shdr.sh_type == SHT_NOBITS)
		return NULL;
	if (shdr.sh_offset > image->size || shdr.sh_size > image->size - shdr.sh_offset)
		return NULL;
	len = shdr.sh_size;
	if (shdr.sh_flags & SHF_COMPRESSED) {
		GElf_Chdr chdr;

		if (!gelf_getchdr(scn, &chdr) || len > ELF_MAX_SECTION ||
		    chdr.ch_size > ELF_MAX_SECTION)
			return NULL;
		len += chdr.ch_size;
	}
	if (!take_memory(image, len))
		return NULL;
	if ((shdr.sh_flags & SHF_COMPRESSED) && elf_compress(scn, 0, 0) < 0)
		return NULL;
	data = elf_rawdata(scn, NULL);
	return data && data->d_buf && data->d_size > 0 ? data : NULL;
}

static void add_code(struct elf_image *image, uint64_t start, uint64_t len)
{
	struct module_range range = {.start = start, .end = start + len};

	if (len > 0 && range.end > range.start)
		array_push(&image->code, range);
}

static int compare_ranges(const void *a, const void *b)
{
	const struct module_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static void set_build_id(struct elf_image *image, const uint8_t *id, size_t len)
{
	if (len > ELF_BUILD_ID_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		sprintf(image->build_id + 2 * i, "%02x", id[i]);
}

/* gABI, "Note Section": namesz, descsz, type, then name and desc, each padded. */
static void read_notes(struct elf_image *image, uint64_t offset, uint64_t size,
                       uint64_t alignment)
{
	size_t left = ELF_MAX_NOTES - image->notes_len;
	size_t len = size < left ? size : left;
	size_t align = alignment == 8 ? 8 : 4;
	uint8_t *bytes = xmalloc(len + 1);
	struct reader r;

	image->notes_len += len;
	len = elf_image_read_at(image, offset, bytes, len);
	r = reader_init(bytes, len);
	while (reader_left(&r) >= 12) {
		uint32_t namesz = reader_u32(&r), descsz = reader_u32(&r);
		uint32_t type = reader_u32(&r);
		const uint8_t *name = reader_bytes(&r, namesz), *desc;

		reader_skip(&r, -r.pos & (align - 1));
		desc = reader_bytes(&r, descsz);
		if (!name || !desc)
			break;
		if (type == NT_GNU_BUILD_ID && namesz == 4 && memcmp(name, "GNU", 4) == 0)
			set_build_id(image, desc, descsz);
		if (type == 4 && namesz == 4 && memcmp(name, "Go\0", 4) == 0)
			image->is_go = true;
		reader_skip(&r, -r.pos & (align - 1));
	}
	free(bytes);
}

static void note_section(struct elf_image *image, size_t index, const GElf_Shdr *shdr,
                         const char *name)
{
	static const struct {
		const char *name;
		enum module_section which;
	} wanted[] = {
	        {".eh_frame_hdr", MODULE_EH_FRAME_HDR},
	        {".eh_frame", MODULE_EH_FRAME},
	        {".debug_frame", MODULE_DEBUG_FRAME},
	        {".gopclntab", MODULE_GOPCLNTAB},
	        {".data.rel.ro.gopclntab", MODULE_GOPCLNTAB},
	        {".gnu_debuglink", MODULE_DEBUGLINK},
	        {".gnu_debugdata", MODULE_DEBUGDATA},
	        {".gnu_debugaltlink", MODULE_DEBUGALTLINK},
	        {".plt", MODULE_PLT},
	        {".plt.sec", MODULE_PLT_SEC},
	        {".plt.got", MODULE_PLT_GOT},
	        {".iplt", MODULE_IPLT},
	        {".rela.plt", MODULE_RELA_PLT},
	        {".rela.dyn", MODULE_RELA_DYN},
	};
	struct elf_section section = {
	        .index = index,
	        .vaddr = shdr->sh_addr,
	        .size = shdr->sh_size,
	        .link = shdr->sh_link,
	};

	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
		if (strcmp(name, wanted[i].name) == 0 && shdr->sh_type != SHT_NOBITS)
			image->section[wanted[i].which] = section;
	}
	if (strcmp(name, ".debug_info") == 0 && shdr->sh_type != SHT_NOBITS)
		image->has_dwarf = true;
	if (shdr->sh_type == SHT_SYMTAB && shdr->sh_entsize == sizeof(Elf64_Sym))
		image->symtab[MODULE_SYMTAB] = section;
	if (shdr->sh_type == SHT_DYNSYM && shdr->sh_entsize == sizeof(Elf64_Sym))
		image->symtab[MODULE_DYNSYM] = section;
	/* The program headers of a debug file may be those of the file it came from,
	 * and then point nowhere. */
	if (shdr->sh_type == SHT_NOTE &&
	    (shdr->sh_flags & SHF_ALLOC || image->is_supplement) &&
	    image->build_id[0] == '\0')
		read_notes(image, shdr->sh_offset, shdr->sh_size, shdr->sh_addralign);
	if (shdr->sh_flags & SHF_EXECINSTR && shdr->sh_flags & SHF_ALLOC)
		add_code(image, shdr->sh_addr, shdr->sh_size);
}

/* The index of the section with the sections' names, or 0. libelf reads it whole. */
static size_t name_section(struct elf_image *image)
{
	size_t index;
	Elf_Scn *scn;
	GElf_Shdr shdr;

	if (elf_getshdrstrndx(image->elf, &index) < 0 || index == SHN_UNDEF)
		return 0;
	scn = elf_getscn(image->elf, index);
	if (!scn || !gelf_getshdr(scn, &shdr) || shdr.sh_flags & SHF_COMPRESSED ||
	    !take_memory(image, shdr.sh_size))
		return 0;
	return index;
}

static void read_sections(struct elf_image *image)
{
	size_t names = name_section(image);
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(image->elf, scn)) != NULL) {
		GElf_Shdr shdr;
		const char *name;

		if (!gelf_getshdr(scn, &shdr))
			break;
		name = names ? elf_strptr(image->elf, names, shdr.sh_name) : NULL;
		note_section(image, elf_ndxscn(scn), &shdr, name ? name : "");
	}
	if (image->code.n == 0) {
		for (size_t i = 0; i < image->loads.n; i++) {
			const struct elf_load *load = &image->loads.v[i];

			if (load->exec)
				add_code(image, load->vaddr, load->filesz);
		}
	}
	if (image->code.n > 0)
		qsort(image->code.v, image->code.n, sizeof image->code.v[0],
		      compare_ranges);
}

static void read_load(struct elf_image *image, const GElf_Phdr *phdr)
{
	struct elf_load load = {
	        .offset = phdr->p_offset,
	        .vaddr = phdr->p_vaddr,
	        .filesz = phdr->p_filesz,
	        .memsz = phdr->p_memsz,
	        .exec = (phdr->p_flags & PF_X) != 0,
	};

	/* What the kernel would not map either. */
	if ((load.vaddr - load.offset) % ELF_PAGE_SIZE != 0 || load.filesz > load.memsz ||
	    load.offset + load.filesz < load.offset ||
	    load.vaddr + load.memsz < load.vaddr || image->loads.n >= ELF_MAX_LOADS)
		return;
	array_push(&image->loads, load);
}

static int read_program_headers(struct elf_image *image)
{
	size_t n;

	if (elf_getphdrnum(image->elf, &n) < 0)
		return -ENOEXEC;
	for (size_t i = 0; i < n && i <= INT16_MAX; i++) {
		GElf_Phdr phdr;

		if (!gelf_getphdr(image->elf, (int)i, &phdr))
			break;
		if (phdr.p_type == PT_LOAD)
			read_load(image, &phdr);
		else if (phdr.p_type == PT_NOTE)
			read_notes(image, phdr.p_offset, phdr.p_filesz, phdr.p_align);
		else if (phdr.p_type == PT_GNU_EH_FRAME &&
		         phdr.p_vaddr + phdr.p_filesz > phdr.p_vaddr)
			image->eh_frame_hdr = (struct module_range){
			        phdr.p_vaddr, phdr.p_vaddr + phdr.p_filesz};
	}
	return image->loads.n > 0 || image->is_supplement ? 0 : -ENOEXEC;
}

/*
 * Before libelf sees the file: whether it is ours at all. More sections than
 * fit into e_shnum are counted in section 0, where a hostile file can claim
 * any number, and libelf would make room for all.
 */
static int check_header(struct elf_image *image)
{
	Elf64_Ehdr ehdr;

	if (elf_image_read_at(image, 0, &ehdr, sizeof ehdr) != sizeof ehdr ||
	    memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 ||
	    ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_ident[EI_DATA] != ELFDATA2LSB ||
	    ehdr.e_machine != ARCH_ELF_MACHINE ||
	    (ehdr.e_type != ET_EXEC && ehdr.e_type != ET_DYN && !image->is_supplement) ||
	    ehdr.e_phnum == PN_XNUM)
		return -ENOEXEC;
	if (ehdr.e_shnum == 0 && ehdr.e_shoff != 0) {
		Elf64_Shdr first = {0};

		elf_image_read_at(image, ehdr.e_shoff, &first, sizeof first);
		if (first.sh_size > ELF_MAX_SECTIONS)
			return -ENOEXEC;
	}
	image->entry = ehdr.e_entry;
	return 0;
}

static int open_image(struct elf_image *image)
{
	int err = check_header(image);

	if (err < 0)
		return err;
	elf_version(EV_CURRENT);
	image->elf = image->mem ? elf_memory((char *)image->mem, (size_t)image->size)
	                        : elf_begin(image->fd, ELF_C_READ, NULL);
	if (!image->elf || elf_kind(image->elf) != ELF_K_ELF)
		return -ENOEXEC;
	err = read_program_headers(image);
	if (err < 0)
		return err;
	read_sections(image);
	if (image->section[MODULE_GOPCLNTAB].index)
		image->is_go = true;
	return 0;
}

static int open_fd(struct elf_image *image)
{
	struct stat st;

	if (fstat(image->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0)
		return -ENOEXEC;
	image->size = (uint64_t)st.st_size;
	image->dev = st.st_dev;
	image->inode = st.st_ino;
	return open_image(image);
}

int elf_image_open_fd(struct elf_image *image, int fd, size_t *total)
{
	*image = (struct elf_image){.fd = fd, .total = total};
	return open_fd(image);
}

int elf_image_open_supplement(struct elf_image *image, int fd, size_t *total)
{
	*image = (struct elf_image){.fd = fd, .total = total, .is_supplement = true};
	return open_fd(image);
}

int elf_image_open_memory(struct elf_image *image, uint8_t *mem, size_t len, size_t *total)
{
	*image = (struct elf_image){.fd = -1, .mem = mem, .size = len, .total = total};
	return open_image(image);
}

void elf_image_fini(struct elf_image *image)
{
	elf_end(image->elf);
	if (image->fd >= 0)
		close(image->fd);
	free(image->mem);
	for (size_t i = 0; i < image->owned.n; i++)
		free(image->owned.v[i]);
	array_fini(&image->owned);
	array_fini(&image->loads);
	array_fini(&image->code);
	for (size_t i = 0; i < ELF_NPAGES; i++)
		free(image->page[i].data);
}

void elf_image_free(struct elf_image *image)
{
	if (image)
		elf_image_fini(image);
	free(image);
}

/* Bytes of a segment as a view of our own. */
static struct module_view copy_view(struct elf_image *image, uint64_t vaddr, uint64_t len)
{
	struct module_view view = {.vaddr = vaddr};
	uint8_t *bytes;

	if (len == 0 || len > image->size || !take_memory(image, len))
		return view;
	bytes = xmalloc((size_t)len);
	array_push(&image->owned, bytes);
	view.len = elf_image_read(image, vaddr, bytes, (size_t)len);
	view.data = view.len > 0 ? bytes : NULL;
	return view;
}

/*
 * Where .eh_frame begins, from the header that points to it: version 1, three
 * pointer encodings, the pointer (LSB core, "The .eh_frame_hdr section"). Only
 * what linkers write: pc-relative or absolute, 4 or 8 bytes.
 */
static bool eh_frame_start(const struct module_view *hdr, uint64_t *vaddr)
{
	struct reader r = reader_init(hdr->data, hdr->len);
	uint8_t version = reader_u8(&r), enc = reader_u8(&r);
	uint64_t value;

	reader_skip(&r, 2);
	switch (enc & 0x0f) {
	case 0x03: /* DW_EH_PE_udata4 */
		value = reader_u32(&r);
		break;
	case 0x0b: /* DW_EH_PE_sdata4 */
		value = (uint64_t)(int64_t)(int32_t)reader_u32(&r);
		break;
	case 0x00: /* DW_EH_PE_absptr */
	case 0x04: /* DW_EH_PE_udata8 */
	case 0x0c: /* DW_EH_PE_sdata8 */
		value = reader_u64(&r);
		break;
	default:
		return false;
	}
	if ((enc & 0xf0) == 0x10) /* DW_EH_PE_pcrel */
		value += hdr->vaddr + 4;
	else if ((enc & 0xf0) != 0)
		return false;
	*vaddr = value;
	return !r.failed && version == 1;
}

/* .eh_frame without section headers: from where the header says to the end of
 * its segment; a zero length ends it before. */
static struct module_view find_eh_frame(struct elf_image *image)
{
	struct module_view hdr = elf_image_section(image, MODULE_EH_FRAME_HDR);
	uint64_t vaddr;

	if (!hdr.data || !eh_frame_start(&hdr, &vaddr))
		return (struct module_view){0};
	for (size_t i = 0; i < image->loads.n; i++) {
		const struct elf_load *load = &image->loads.v[i];

		if (vaddr >= load->vaddr && vaddr - load->vaddr < load->filesz)
			return copy_view(image, vaddr, load->vaddr + load->filesz - vaddr);
	}
	return (struct module_view){0};
}

static struct module_view find_gopclntab(struct elf_image *image)
{
	struct module_range range;

	if (!go_search_pclntab(image, &range))
		return (struct module_view){0};
	return copy_view(image, range.start, range.end - range.start);
}

static struct module_view read_view(struct elf_image *image, enum module_section which)
{
	const struct elf_section *section = &image->section[which];

	if (section->index) {
		Elf_Data *data = section_data(image, section->index);

		if (data)
			return (struct module_view){data->d_buf, data->d_size,
			                            section->vaddr};
	}
	if (which == MODULE_EH_FRAME_HDR)
		return copy_view(image, image->eh_frame_hdr.start,
		                 image->eh_frame_hdr.end - image->eh_frame_hdr.start);
	if (which == MODULE_EH_FRAME)
		return find_eh_frame(image);
	if (which == MODULE_GOPCLNTAB && image->is_go)
		return find_gopclntab(image);
	return (struct module_view){0};
}

struct module_view elf_image_section(struct elf_image *image, enum module_section which)
{
	if (!(image->views_read >> which & 1)) {
		image->views_read |= 1u << which;
		image->view[which] = read_view(image, which);
	}
	return image->view[which];
}

static struct module_symbols read_symbols(struct elf_image *image, enum module_symtab which)
{
	const struct elf_section *section = &image->symtab[which];
	struct module_symbols symbols = {0};
	Elf_Data *table = section->index ? section_data(image, section->index) : NULL;
	Elf_Data *strings = table ? section_data(image, section->link) : NULL;
	const char *end;

	if (!strings)
		return symbols;
	end = memrchr(strings->d_buf, '\0', strings->d_size);
	if (!end)
		return symbols;
	symbols.strings = strings->d_buf;
	symbols.strings_len = (size_t)(end - symbols.strings) + 1;
	symbols.n = table->d_size / sizeof(Elf64_Sym);
	symbols.v = table->d_buf;
	if ((uintptr_t)table->d_buf % _Alignof(Elf64_Sym) != 0) {
		/* An image in memory may hold it anywhere. */
		void *copy = xmalloc(table->d_size);

		memcpy(copy, table->d_buf, table->d_size);
		array_push(&image->owned, copy);
		symbols.v = copy;
	}
	return symbols;
}

struct module_symbols elf_image_symbols(struct elf_image *image, enum module_symtab which)
{
	if (!(image->symbols_read >> which & 1)) {
		image->symbols_read |= 1u << which;
		image->symbols[which] = read_symbols(image, which);
	}
	return image->symbols[which];
}

/* Sections that were compressed before the gABI knew how (".zdebug_info") tell
 * their size in their bytes, and libelf believes it: none of those. */
static bool is_old_compressed(const char *name)
{
	return strncmp(name, ".zdebug", 7) == 0;
}

/* libdw 0.188 follows some references to strings up to a NUL, wherever that is. */
static bool is_open_ended(const char *name, const Elf_Data *data)
{
	return (strcmp(name, ".debug_str") == 0 || strcmp(name, ".debug_line_str") == 0) &&
	       ((const char *)data->d_buf)[data->d_size - 1] != '\0';
}

bool elf_image_read_dwarf(struct elf_image *image, struct module_view *line)
{
	size_t names;
	Elf_Scn *scn = NULL;

	*line = (struct module_view){0};
	if (image->mem || elf_getshdrstrndx(image->elf, &names) < 0)
		return false;
	while ((scn = elf_nextscn(image->elf, scn)) != NULL) {
		GElf_Shdr shdr;
		const char *name;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &shdr))
			return false;
		name = elf_strptr(image->elf, names, shdr.sh_name);
		if (!name || shdr.sh_type == SHT_NOBITS || shdr.sh_size == 0)
			continue;
		if (is_old_compressed(name))
			return false;
		if (strncmp(name, ".debug_", 7) != 0)
			continue;
		data = section_data(image, elf_ndxscn(scn));
		if (!data || is_open_ended(name, data))
			return false;
		if (strcmp(name, ".debug_line") == 0)
			*line = (struct module_view){data->d_buf, data->d_size, 0};
	}
	return true;
}
