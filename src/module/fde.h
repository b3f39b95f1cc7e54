/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the frame description entry (FDE) of an address and taking it apart.
 * Nothing is executed here. Formats: DWARF 5, 6.4.1 for .debug_frame; the Linux
 * Standard Base, Core, 10.6 for .eh_frame and .eh_frame_hdr.
 *
 * All bytes are hostile: what does not fit is as if it were not there.
 */
#ifndef CPROF_MODULE_FDE_H
#define CPROF_MODULE_FDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "module/module.h"

/* Call frame instructions, in place in their section. */
struct fde_program {
	const uint8_t *data;
	size_t len;
};

/* One FDE together with its common information entry (CIE). */
struct fde {
	uint64_t start; /* vaddr of the code it covers */
	uint64_t end;   /* one past it */
	uint64_t vaddr; /* its own, in .eh_frame; an offset in .debug_frame */
	bool is_debug_frame;
	bool is_signal_frame; /* its caller was interrupted: augmentation 'S' */
	uint64_t code_align;
	int64_t data_align;
	uint64_t return_column;
	uint8_t pointer_encoding;   /* DW_EH_PE_*, of code addresses */
	struct fde_program initial; /* of the CIE */
	struct fde_program program; /* of the FDE */
};

/* The unwind sections of one module, with an index where it has none itself. */
struct fde_table;

struct fde_table *fde_table_new(struct module *module);
/* The same from sections in hand; absent ones have data NULL. For tests, too. */
struct fde_table *fde_table_from_views(struct module_view hdr, struct module_view eh_frame,
                                       struct module_view debug_frame);
void fde_table_free(struct fde_table *table);

/* The FDE that covers a vaddr; false if there is none. */
bool fde_find(const struct fde_table *table, uint64_t vaddr, struct fde *fde);

/* The section the table's FDEs lie in. */
struct module_view fde_section(const struct fde_table *table);

#endif
