/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small ELF executable made by hand, for tests of its readers. Layout:
 *
 *   0x0000 ELF header, program headers, notes       R   at 0x400000
 *   0x1000 .text (ELF_BUILD_TEXT bytes of nop)      R X at 0x401000
 *   0x2000 .eh_frame_hdr, .eh_frame, .debug_frame   R   at 0x402000
 *   then   .symtab, .strtab, .shstrtab, section headers
 */
#ifndef CPROF_TESTS_ELF_BUILD_H
#define CPROF_TESTS_ELF_BUILD_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ELF_BUILD_BASE UINT64_C(0x400000)
#define ELF_BUILD_TEXT 0x800u
#define ELF_BUILD_SIZE 0x4000u

/* Sections, by index. */
enum {
	ELF_BUILD_SCN_TEXT = 1,
	ELF_BUILD_SCN_HDR,
	ELF_BUILD_SCN_EH,
	ELF_BUILD_SCN_DEBUG,
	ELF_BUILD_SCN_SYMTAB,
	ELF_BUILD_SCN_STRTAB,
	ELF_BUILD_SCN_NAMES,
	ELF_BUILD_NSCNS,
};

/* Program headers, by index. */
enum {
	ELF_BUILD_PH_HEAD,
	ELF_BUILD_PH_TEXT,
	ELF_BUILD_PH_DATA,
	ELF_BUILD_PH_NOTE,
	ELF_BUILD_PH_HDR,
	ELF_BUILD_NPHS,
};

struct elf_build {
	union {
		uint8_t bytes[ELF_BUILD_SIZE];
		Elf64_Ehdr ehdr;
	} u;
	Elf64_Phdr *ph;
	Elf64_Shdr *sh;
	Elf64_Sym *syms; /* 3: null, "alpha" 0x401000+0x10, "beta" 0x401020+0x10 */
};

static const char elf_build_section_names[] =
        "\0.text\0.eh_frame_hdr\0.eh_frame\0.debug_frame\0.symtab\0.strtab\0.shstrtab";

static inline void elf_build_load(Elf64_Phdr *ph, uint64_t offset, uint64_t len,
                                  uint32_t flags)
{
	*ph = (Elf64_Phdr){.p_type = PT_LOAD,
	                   .p_flags = flags,
	                   .p_offset = offset,
	                   .p_vaddr = ELF_BUILD_BASE + offset,
	                   .p_filesz = len,
	                   .p_memsz = len,
	                   .p_align = 0x1000};
}

static inline void elf_build_section(struct elf_build *b, int index, uint32_t type,
                                     uint64_t flags, uint64_t offset, uint64_t len)
{
	const char *name = elf_build_section_names;

	for (int i = 0; i < index; i++)
		name += strlen(name) + 1;
	b->sh[index] = (Elf64_Shdr){
	        .sh_name = (Elf64_Word)(name - elf_build_section_names),
	        .sh_type = type,
	        .sh_flags = flags,
	        .sh_addr = flags & SHF_ALLOC ? ELF_BUILD_BASE + offset : 0,
	        .sh_offset = offset,
	        .sh_size = len,
	        .sh_addralign = 1,
	};
}

static inline void elf_build_notes(struct elf_build *b)
{
	/* A note of another owner first, then the build id 00 01 … 13. */
	uint32_t *w = (uint32_t *)(void *)(b->u.bytes + 0x800);

	w[0] = 2;
	w[1] = 5;
	w[2] = 77;
	memcpy(w + 3, "X\0", 2);
	w[6] = 4;
	w[7] = 20;
	w[8] = NT_GNU_BUILD_ID;
	memcpy(w + 9, "GNU", 4);
	for (uint8_t i = 0; i < 20; i++)
		b->u.bytes[0x800 + 40 + i] = i;
	b->ph[ELF_BUILD_PH_NOTE] = (Elf64_Phdr){
	        .p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 60, .p_align = 4};
}

static inline void elf_build_symbols(struct elf_build *b)
{
	static const char strings[] = "\0alpha\0beta";

	b->syms = (Elf64_Sym *)(void *)(b->u.bytes + 0x3000);
	b->syms[1] = (Elf64_Sym){.st_name = 1,
	                         .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
	                         .st_shndx = 1,
	                         .st_value = ELF_BUILD_BASE + 0x1000,
	                         .st_size = 0x10};
	b->syms[2] = b->syms[1];
	b->syms[2].st_name = 7;
	b->syms[2].st_value += 0x20;
	memcpy(b->u.bytes + 0x3100, strings, sizeof strings);
	elf_build_section(b, ELF_BUILD_SCN_SYMTAB, SHT_SYMTAB, 0, 0x3000,
	                  3 * sizeof(Elf64_Sym));
	b->sh[ELF_BUILD_SCN_SYMTAB].sh_link = ELF_BUILD_SCN_STRTAB;
	b->sh[ELF_BUILD_SCN_SYMTAB].sh_entsize = sizeof(Elf64_Sym);
	elf_build_section(b, ELF_BUILD_SCN_STRTAB, SHT_STRTAB, 0, 0x3100, sizeof strings);
}

static inline void elf_build_unwind(struct elf_build *b)
{
	/* Version 1; pointer pcrel sdata4, count udata4, table datarel sdata4. */
	static const uint8_t hdr[] = {1, 0x1b, 0x03, 0x3b, 0x1c, 0, 0, 0, 0, 0, 0, 0};

	memcpy(b->u.bytes + 0x2000, hdr, sizeof hdr);
	memset(b->u.bytes + 0x2020, 0xee, 0x20);
	memset(b->u.bytes + 0x2040, 0xdd, 0x20);
	elf_build_section(b, ELF_BUILD_SCN_HDR, SHT_PROGBITS, SHF_ALLOC, 0x2000,
	                  sizeof hdr);
	elf_build_section(b, ELF_BUILD_SCN_EH, SHT_PROGBITS, SHF_ALLOC, 0x2020, 0x20);
	elf_build_section(b, ELF_BUILD_SCN_DEBUG, SHT_PROGBITS, 0, 0x2040, 0x20);
	b->ph[ELF_BUILD_PH_HDR] = (Elf64_Phdr){.p_type = PT_GNU_EH_FRAME,
	                                       .p_offset = 0x2000,
	                                       .p_vaddr = ELF_BUILD_BASE + 0x2000,
	                                       .p_filesz = sizeof hdr,
	                                       .p_memsz = sizeof hdr};
}

static inline void elf_build(struct elf_build *b)
{
	Elf64_Ehdr *ehdr = &b->u.ehdr;

	memset(b, 0, sizeof *b);
	b->ph = (Elf64_Phdr *)(void *)(b->u.bytes + sizeof *ehdr);
	b->sh = (Elf64_Shdr *)(void *)(b->u.bytes + 0x3200);
	memcpy(ehdr->e_ident, ELFMAG, SELFMAG);
	ehdr->e_ident[EI_CLASS] = ELFCLASS64;
	ehdr->e_ident[EI_DATA] = ELFDATA2LSB;
	ehdr->e_ident[EI_VERSION] = EV_CURRENT;
	ehdr->e_type = ET_EXEC;
	ehdr->e_machine = EM_X86_64;
	ehdr->e_version = EV_CURRENT;
	ehdr->e_entry = ELF_BUILD_BASE + 0x1000;
	ehdr->e_phoff = sizeof *ehdr;
	ehdr->e_shoff = 0x3200;
	ehdr->e_ehsize = sizeof *ehdr;
	ehdr->e_phentsize = sizeof(Elf64_Phdr);
	ehdr->e_phnum = ELF_BUILD_NPHS;
	ehdr->e_shentsize = sizeof(Elf64_Shdr);
	ehdr->e_shnum = ELF_BUILD_NSCNS;
	ehdr->e_shstrndx = ELF_BUILD_SCN_NAMES;
	elf_build_load(&b->ph[ELF_BUILD_PH_HEAD], 0, 0x900, PF_R);
	elf_build_load(&b->ph[ELF_BUILD_PH_TEXT], 0x1000, ELF_BUILD_TEXT, PF_R | PF_X);
	elf_build_load(&b->ph[ELF_BUILD_PH_DATA], 0x2000, 0x60, PF_R);
	memset(b->u.bytes + 0x1000, 0x90, ELF_BUILD_TEXT);
	elf_build_section(b, ELF_BUILD_SCN_TEXT, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR,
	                  0x1000, ELF_BUILD_TEXT);
	elf_build_notes(b);
	elf_build_unwind(b);
	elf_build_symbols(b);
	memcpy(b->u.bytes + 0x3180, elf_build_section_names,
	       sizeof elf_build_section_names);
	elf_build_section(b, ELF_BUILD_SCN_NAMES, SHT_STRTAB, 0, 0x3180,
	                  sizeof elf_build_section_names);
}

/* A descriptor of a file with these bytes, which has no name; -1 on failure. */
static inline int elf_build_file(const void *bytes, size_t len)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, bytes, len) != (ssize_t)len) {
		close(fd);
		return -1;
	}
	return fd;
}

#endif
