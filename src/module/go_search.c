/* SPDX-License-Identifier: Apache-2.0 */
#include "module/go_search.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define CHUNK       (64 * 1024)
#define ALIGNMENT   8
#define HEADER_LEN  72
#define MAX_DYNAMIC 4096

/* Of a relocation table no more than this is read. */
#define MAX_RELOCATIONS ((size_t)4 << 20)

/* The table's first words: see pclntab.c. */
static bool is_header(const uint8_t *p, uint64_t room)
{
	static const uint8_t tail[] = {0xff, 0xff, 0xff, 0, 0, 1, 8};
	uint64_t word[8];

	if ((p[0] != 0xf0 && p[0] != 0xf1) || memcmp(p + 1, tail, sizeof tail) != 0)
		return false;
	memcpy(word, p + 8, sizeof word);
	/* names, units, files, values and functions, in this order */
	for (size_t i = 3; i < 7; i++)
		if (word[i] < HEADER_LEN || word[i] > word[i + 1])
			return false;
	return word[0] > 0 && word[7] < room && word[0] < (room - word[7]) / 8;
}

static bool search_load(struct elf_image *image, const struct elf_load *load,
                        uint8_t *chunk, struct module_range *range)
{
	for (uint64_t at = 0; at < load->filesz; at += CHUNK - HEADER_LEN) {
		size_t len = elf_image_read_at(image, load->offset + at, chunk, CHUNK);

		if (len > load->filesz - at)
			len = (size_t)(load->filesz - at);
		for (size_t i = -(load->vaddr + at) % ALIGNMENT; i + HEADER_LEN <= len;
		     i += ALIGNMENT)
			if (is_header(chunk + i, load->filesz - at - i)) {
				*range = (struct module_range){load->vaddr + at + i,
				                               load->vaddr + load->filesz};
				return true;
			}
		if (len < CHUNK)
			break;
	}
	return false;
}

bool go_search_pclntab(struct elf_image *image, struct module_range *range)
{
	uint8_t *chunk = xmalloc(CHUNK);
	bool found = false;

	for (size_t i = 0; i < image->loads.n && !found; i++)
		found = !image->loads.v[i].exec &&
		        search_load(image, &image->loads.v[i], chunk, range);
	free(chunk);
	return found;
}

/* The relocations with an addend, from the dynamic section (gABI). */
static bool find_relocations(struct elf_image *image, uint64_t *vaddr, uint64_t *len)
{
	GElf_Phdr phdr;
	size_t n;

	*vaddr = *len = 0;
	if (elf_getphdrnum(image->elf, &n) < 0)
		return false;
	for (size_t i = 0; i < n && i <= INT16_MAX; i++) {
		if (!gelf_getphdr(image->elf, (int)i, &phdr))
			return false;
		if (phdr.p_type != PT_DYNAMIC)
			continue;
		for (size_t k = 0; k < MAX_DYNAMIC; k++) {
			Elf64_Dyn dyn;

			if (elf_image_read(image, phdr.p_vaddr + k * sizeof dyn, &dyn,
			                   sizeof dyn) != sizeof dyn ||
			    dyn.d_tag == DT_NULL)
				break;
			if (dyn.d_tag == DT_RELA)
				*vaddr = dyn.d_un.d_ptr;
			else if (dyn.d_tag == DT_RELASZ)
				*len = dyn.d_un.d_val;
		}
	}
	return *vaddr != 0;
}

uint64_t go_search_relocation(struct elf_image *image, uint64_t vaddr)
{
	uint64_t at, len;

	if (!find_relocations(image, &at, &len))
		return 0;
	for (size_t i = 0; i < len / sizeof(Elf64_Rela) && i < MAX_RELOCATIONS; i++) {
		Elf64_Rela rela;

		if (elf_image_read(image, at + i * sizeof rela, &rela, sizeof rela) !=
		    sizeof rela)
			break;
		if (rela.r_offset == vaddr &&
		    ELF64_R_TYPE(rela.r_info) == R_X86_64_RELATIVE)
			return (uint64_t)rela.r_addend;
	}
	return 0;
}
