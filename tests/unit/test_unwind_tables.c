/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables that unwinding reads: .eh_frame with and without its header,
 * .debug_frame, what libunwind must not see of them, and Go's .gopclntab.
 * Well-formed ones by hand, then the same with every byte changed and every
 * length cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "module/fde.h"
#include "module/pclntab.h"
#include "unwind/vet.h"

#define FRAME_VADDR 0x10000
#define HDR_VADDR   0x20000

/* ---- writing ---- */

struct bytes {
	uint8_t v[1024];
	size_t n;
};

static void put(struct bytes *b, uint64_t value, size_t len)
{
	assert_true(b->n + len <= sizeof b->v);
	memset(b->v + b->n, 0, len);
	memcpy(b->v + b->n, &value, len < sizeof value ? len : sizeof value);
	b->n += len;
}

static void put_string(struct bytes *b, const char *s)
{
	do
		put(b, (uint8_t)*s, 1);
	while (*s++ != '\0');
}

static void put_block(struct bytes *b, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		put(b, data[i], 1);
}

static void set32(struct bytes *b, size_t at, uint64_t value)
{
	memcpy(b->v + at, &value, 4);
}

/* Fills in the length of the entry that begins at `at`. */
static void close_entry(struct bytes *b, size_t at)
{
	while ((b->n - at) % 4 != 0)
		put(b, 0, 1); /* DW_CFA_nop */
	set32(b, at, b->n - at - 4);
}

/* "zR", code factor 1, data factor -8, return address in column 16; pcrel sdata4 */
static size_t put_cie(struct bytes *b, const char *augmentation)
{
	size_t at = b->n;

	put(b, 0, 4);
	put(b, 0, 4); /* a CIE */
	put(b, 1, 1);
	put_string(b, augmentation);
	put(b, 1, 1);
	put(b, 0x78, 1);
	put(b, 16, 1);
	put(b, strlen(augmentation) - 1, 1);
	for (const char *c = augmentation + 1; *c != '\0' && *c != 'S'; c++)
		put(b, 0x1b, 1);
	put(b, 0x08070c, 3); /* def_cfa rsp+8 */
	put(b, 0x0190, 2);   /* offset 16 at cfa-8 */
	close_entry(b, at);
	return at;
}

static size_t put_fde(struct bytes *b, size_t cie, uint64_t start, uint32_t len,
                      const uint8_t *program, size_t program_len)
{
	size_t at = b->n;

	put(b, 0, 4);
	put(b, b->n - cie, 4);
	put(b, start - (FRAME_VADDR + b->n), 4);
	put(b, len, 4);
	put(b, 0, 1);
	put_block(b, program, program_len);
	close_entry(b, at);
	return at;
}

static const uint8_t push_rbp[] = {0x41, 0x0e, 0x10, 0x86, 0x02};

struct fixture {
	struct bytes frame;
	struct bytes hdr;
	size_t fde[3];
};

/* Two functions under one CIE, a signal trampoline under another. */
static void make_frames(struct fixture *f)
{
	static const uint64_t start[] = {0x1000, 0x1100, 0x3000};
	size_t cie, trampoline;

	memset(f, 0, sizeof *f);
	cie = put_cie(&f->frame, "zR");
	f->fde[0] = put_fde(&f->frame, cie, start[0], 0x80, push_rbp, sizeof push_rbp);
	f->fde[1] = put_fde(&f->frame, cie, start[1], 0x40, push_rbp, sizeof push_rbp);
	trampoline = put_cie(&f->frame, "zRS");
	f->fde[2] = put_fde(&f->frame, trampoline, start[2], 9, NULL, 0);
	put(&f->frame, 0, 4); /* the end */

	put(&f->hdr, 0x3b031b01, 4); /* version, pcrel sdata4, udata4, datarel sdata4 */
	put(&f->hdr, FRAME_VADDR - (HDR_VADDR + 4), 4);
	put(&f->hdr, 3, 4);
	for (size_t i = 0; i < 3; i++) {
		put(&f->hdr, start[i] - HDR_VADDR, 4);
		put(&f->hdr, FRAME_VADDR + f->fde[i] - HDR_VADDR, 4);
	}
}

static struct module_view view(const struct bytes *b, uint64_t vaddr)
{
	return (struct module_view){b->v, b->n, vaddr};
}

static const struct module_view nothing;

static struct fde_table *open_frames(const struct fixture *f, bool with_hdr)
{
	return fde_table_from_views(with_hdr ? view(&f->hdr, HDR_VADDR) : nothing,
	                            view(&f->frame, FRAME_VADDR), nothing);
}

/* ---- .eh_frame ---- */

static void check_frames(const struct fde_table *table)
{
	struct fde fde;

	assert_true(fde_find(table, 0x1000, &fde));
	assert_int_equal(fde.start, 0x1000);
	assert_int_equal(fde.end, 0x1080);
	assert_int_equal(fde.return_column, 16);
	assert_int_equal(fde.data_align, -8);
	assert_false(fde.is_signal_frame);
	assert_memory_equal(fde.program.data, push_rbp, sizeof push_rbp);
	assert_true(vet_fde(&fde));
	assert_true(fde_find(table, 0x107f, &fde));
	assert_int_equal(fde.start, 0x1000);
	assert_true(fde_find(table, 0x1100, &fde));
	assert_int_equal(fde.start, 0x1100);
	assert_true(fde_find(table, 0x3008, &fde));
	assert_true(fde.is_signal_frame);

	assert_false(fde_find(table, 0xfff, &fde));
	assert_false(fde_find(table, 0x1080, &fde));
	assert_false(fde_find(table, 0x1140, &fde));
	assert_false(fde_find(table, 0x3009, &fde));
	assert_false(fde_find(table, UINT64_MAX, &fde));
	assert_false(fde_find(table, 0, &fde));
}

static void test_eh_frame(void **state)
{
	struct fixture f;

	(void)state;
	make_frames(&f);
	for (int with_hdr = 0; with_hdr < 2; with_hdr++) {
		struct fde_table *table = open_frames(&f, with_hdr != 0);

		check_frames(table);
		fde_table_free(table);
	}
	fde_table_free(NULL);
}

static void test_odd_headers(void **state)
{
	static const uint32_t words[] = {0x3b031b00, 0x3bff1b01, 0x3b03ff01, 0x33031b01};
	struct fixture f;

	(void)state;
	make_frames(&f);
	/* Another version, no count, no frame, another shape of table. */
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		struct fde_table *table;

		set32(&f.hdr, 0, words[i]);
		table = open_frames(&f, true);
		check_frames(table);
		fde_table_free(table);
	}
}

static void test_debug_frame(void **state)
{
	struct bytes b = {0};
	struct fixture f;
	struct fde_table *table;
	struct fde fde;
	size_t at;

	(void)state;
	put(&b, 0, 4);
	put(&b, UINT32_MAX, 4); /* a CIE */
	put(&b, 4, 1);
	put_string(&b, "");
	put(&b, 0x0008, 2); /* address size, segment size */
	put(&b, 1, 1);
	put(&b, 0x78, 1);
	put(&b, 16, 1);
	put(&b, 0x08070c, 3);
	close_entry(&b, 0);
	at = b.n;
	put(&b, 0, 4);
	put(&b, 0, 4);
	put(&b, 0x401000, 8);
	put(&b, 0x20, 8);
	put_block(&b, push_rbp, sizeof push_rbp);
	close_entry(&b, at);
	table = fde_table_from_views(nothing, nothing, view(&b, 0));
	assert_true(fde_find(table, 0x40101f, &fde));
	assert_true(fde.is_debug_frame);
	assert_int_equal(fde.start, 0x401000);
	assert_false(fde_find(table, 0x401020, &fde));
	fde_table_free(table);
	/* Both: .eh_frame for what it covers, .debug_frame for the rest. */
	make_frames(&f);
	for (int with_hdr = 0; with_hdr < 2; with_hdr++) {
		table = fde_table_from_views(with_hdr != 0 ? view(&f.hdr, HDR_VADDR)
		                                           : nothing,
		                             view(&f.frame, FRAME_VADDR), view(&b, 0));
		check_frames(table);
		assert_true(fde_find(table, 0x1000, &fde));
		assert_false(fde.is_debug_frame);
		assert_true(fde_find(table, 0x401000, &fde));
		assert_true(fde.is_debug_frame);
		assert_ptr_equal(fde_section(table).data, f.frame.v);
		fde_table_free(table);
	}
}

/* Looks everything up; what is found must be inside of its section. */
static void exercise(const struct fixture *f, const struct bytes *frame, bool with_hdr)
{
	static const uint64_t at[] = {0, 0xfff, 0x1000, 0x1010, 0x1101, 0x3001, UINT64_MAX};
	struct fde_table *table = fde_table_from_views(with_hdr ? view(&f->hdr, HDR_VADDR)
	                                                        : nothing,
	                                               view(frame, FRAME_VADDR), nothing);

	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		struct fde fde;

		if (!fde_find(table, at[i], &fde))
			continue;
		assert_in_range(at[i], fde.start, fde.end - 1);
		assert_true(fde.program.data >= frame->v &&
		            fde.program.data + fde.program.len <= frame->v + frame->n);
		assert_true(fde.initial.data >= frame->v &&
		            fde.initial.data + fde.initial.len <= frame->v + frame->n);
		(void)vet_fde(&fde);
	}
	fde_table_free(table);
}

static void test_damaged_frames(void **state)
{
	struct fixture f, damaged;

	(void)state;
	make_frames(&f);
	for (size_t i = 0; i < f.frame.n; i++)
		for (unsigned value = 0; value < 256; value++) {
			damaged = f;
			damaged.frame.v[i] = (uint8_t)value;
			exercise(&damaged, &damaged.frame, value % 2 == 0);
		}
	for (size_t i = 0; i < f.hdr.n; i++)
		for (unsigned value = 0; value < 256; value++) {
			damaged = f;
			damaged.hdr.v[i] = (uint8_t)value;
			exercise(&damaged, &damaged.frame, true);
		}
	for (size_t n = 0; n < f.frame.n; n++) {
		damaged = f;
		damaged.frame.n = n;
		exercise(&damaged, &damaged.frame, n % 2 == 0);
	}
	for (size_t n = 0; n < f.hdr.n; n++) {
		damaged = f;
		damaged.hdr.n = n;
		exercise(&damaged, &damaged.frame, true);
	}
}

/* ---- what libunwind must not see ---- */

static bool is_let_through(const uint8_t *program, size_t len, uint64_t column)
{
	struct fde fde = {.return_column = column, .program = {program, len}};

	return vet_fde(&fde);
}

#define LET_THROUGH(...)                               \
	is_let_through((const uint8_t[]){__VA_ARGS__}, \
	               sizeof((const uint8_t[]){__VA_ARGS__}), 16)

static void test_vet(void **state)
{
	(void)state;
	assert_true(is_let_through(NULL, 0, 16));
	assert_false(is_let_through(NULL, 0, 17)); /* another return address column */
	assert_false(is_let_through(NULL, 0, UINT64_MAX));
	assert_true(LET_THROUGH(0x41, 0x0e, 0x10, 0x86, 0x02, 0x00));
	assert_false(LET_THROUGH(0x41, 0x0e));             /* cut */
	assert_false(LET_THROUGH(0x9f, 0x02));             /* register 31 */
	assert_false(LET_THROUGH(0xdf));                   /* the same, restored */
	assert_false(LET_THROUGH(0x05, 0xff, 0x7f, 0x02)); /* register 16383 */
	assert_false(LET_THROUGH(0x2d));                   /* GNU_window_save */
	assert_false(LET_THROUGH(0x01, 0, 0, 0, 0));       /* set_loc */
	assert_true(LET_THROUGH(0x0a, 0x0b));              /* remember, restore */
	assert_false(LET_THROUGH(0x0b));                   /* nothing to restore */

	/* A PLT entry's CFA: rsp + 8 + ((rip & 15) >= 11) * 8 */
	assert_true(LET_THROUGH(0x0f, 0x0b, 0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a, 0x3b, 0x2a,
	                        0x33, 0x24, 0x22));
	assert_true(LET_THROUGH(0x0f, 3, 0x76, 0x78, 0x06));        /* *(rbp - 8) */
	assert_false(LET_THROUGH(0x0f, 3, 0x30, 0x31, 0x1b));       /* div */
	assert_false(LET_THROUGH(0x0f, 4, 0x30, 0x2f, 0xfd, 0xff)); /* skip back */
	assert_true(LET_THROUGH(0x0f, 4, 0x30, 0x2f, 0x00, 0x00));  /* skip nothing */
	assert_false(LET_THROUGH(0x0f, 4, 0x30, 0x2f, 0x01, 0x00)); /* skip too far */
	assert_false(LET_THROUGH(0x0f, 9, 0x30));       /* longer than there is */
	assert_false(LET_THROUGH(0x0f, 2, 0x92, 0x07)); /* bregx */
	assert_false(LET_THROUGH(0x10, 0x40, 1, 0x30)); /* for register 64 */
}

/* ---- .gopclntab ---- */

#define TEXT 0x401000

/* Two functions, 0x40 bytes each: the second is a top. */
static void make_pclntab(struct bytes *b, bool is_118)
{
	/* -1 + 1 for 4 bytes, then 24 for 0x38, then 0 again for 4 */
	static const uint8_t deltas[] = {0x02, 0x04, 0x30, 0x38, 0x2f, 0x04, 0x00};
	/* -1 + 2 for 0x10 bytes, then 1 - 1; -1 + 43, then 42 - 1 */
	static const uint8_t files[] = {0x04, 0x10, 0x01, 0x30, 0x00};
	static const uint8_t lines[] = {0x56, 0x10, 0x01, 0x30, 0x00};
	size_t names = 8 + 8 * 8, units, paths, values, funcs, func[2];

	memset(b, 0, sizeof *b);
	put(b, is_118 ? 0xfffffff0 : 0xfffffff1, 4);
	put(b, 0x08010000, 4);
	put(b, 2, 8);
	put(b, 0, 8);
	put(b, TEXT, 8);
	put(b, names, 8);
	put(b, 0, 24); /* units, files, values: below */
	put(b, 0, 8);
	put_string(b, "main.f");
	put_string(b, "runtime.goexit");
	units = b->n;
	put(b, 0x99, 4); /* another unit's */
	put(b, 6, 4);
	put(b, 0, 4);
	paths = b->n;
	put_string(b, "/g.go");
	put_string(b, "/f.go");
	values = b->n;
	put(b, 0xff, 1);
	put_block(b, deltas, sizeof deltas);
	put_block(b, files, sizeof files);
	put_block(b, lines, sizeof lines);
	funcs = b->n;
	set32(b, 8 + 4 * 8, units);
	set32(b, 8 + 5 * 8, paths);
	set32(b, 8 + 6 * 8, values);
	set32(b, 8 + 7 * 8, funcs);
	b->n = funcs + 2 * 8 + 4;
	for (size_t i = 0; i < 2; i++) {
		func[i] = b->n - funcs;
		put(b, i * 0x40, 4);
		put(b, i * 7, 4);
		put(b, 0, 8);
		put(b, 1, 4);
		put(b, i == 0 ? 1 + sizeof deltas : 0, 4);
		put(b, i == 0 ? 1 + sizeof deltas + sizeof files : 0, 4);
		put(b, 0, 4);
		put(b, 1, 4);
		put(b, 0, is_118 ? 0 : 4);
		put(b, 0, 1);
		put(b, i, 1);
		put(b, 0, 2);
		set32(b, funcs + i * 8, i * 0x40);
		set32(b, funcs + i * 8 + 4, func[i]);
	}
	set32(b, funcs + 16, 0x80);
}

static void test_pclntab(void **state)
{
	struct pclntab table;
	struct pclntab_func func;
	struct bytes b;
	uint64_t delta;

	(void)state;
	for (int is_118 = 0; is_118 < 2; is_118++) {
		make_pclntab(&b, is_118 != 0);
		assert_true(pclntab_from_bytes(&table, b.v, b.n, 0));
		assert_false(pclntab_find(&table, TEXT - 1, &func));
		assert_false(pclntab_find(&table, TEXT + 0x80, &func));
		assert_true(pclntab_find(&table, TEXT + 0x3f, &func));
		assert_string_equal(func.name, "main.f");
		assert_int_equal(func.entry, TEXT);
		assert_false(func.is_top || func.writes_sp);
		assert_true(pclntab_sp_delta(&table, &func, TEXT + 3, &delta));
		assert_int_equal(delta, 0);
		assert_true(pclntab_sp_delta(&table, &func, TEXT + 4, &delta));
		assert_int_equal(delta, 24);
		assert_true(pclntab_sp_delta(&table, &func, TEXT + 0x3b, &delta));
		assert_int_equal(delta, 24);
		assert_true(pclntab_sp_delta(&table, &func, TEXT + 0x3c, &delta));
		assert_int_equal(delta, 0);
		assert_false(pclntab_sp_delta(&table, &func, TEXT + 0x40, &delta));
		assert_true(pclntab_find(&table, TEXT + 0x40, &func));
		assert_string_equal(func.name, "runtime.goexit");
		assert_true(func.is_top);
		/* The text may be said to be elsewhere. */
		assert_true(pclntab_from_bytes(&table, b.v, b.n, 0x1000));
		assert_true(pclntab_find(&table, 0x1000, &func));
	}
}

static void test_pclntab_lines(void **state)
{
	(void)state;
	for (int is_118 = 0; is_118 < 2; is_118++) {
		const char *file;
		struct pclntab table;
		struct pclntab_func func;
		struct bytes b;
		uint32_t line;

		make_pclntab(&b, is_118 != 0);
		assert_true(pclntab_from_bytes(&table, b.v, b.n, 0));
		assert_true(pclntab_find(&table, TEXT, &func));
		assert_true(pclntab_line(&table, &func, TEXT + 0xf, &file, &line));
		assert_string_equal(file, "/g.go");
		assert_int_equal(line, 42);
		assert_true(pclntab_line(&table, &func, TEXT + 0x10, &file, &line));
		assert_string_equal(file, "/f.go");
		assert_int_equal(line, 41);
		/* Of the second nothing is said. */
		assert_true(pclntab_find(&table, TEXT + 0x40, &func));
		assert_false(pclntab_line(&table, &func, TEXT + 0x40, &file, &line));
	}
}

static void exercise_pclntab(const struct bytes *b)
{
	/* A block of its own, so that a sanitizer sees a byte too many. */
	uint8_t *exact = malloc(b->n > 0 ? b->n : 1);
	struct pclntab table;

	memcpy(exact, b->v, b->n);
	if (pclntab_from_bytes(&table, exact, b->n, 0))
		for (uint64_t at = TEXT - 8; at < TEXT + 0x88; at += 4) {
			struct pclntab_func func;
			const char *file;
			uint32_t line;
			uint64_t delta;

			if (!pclntab_find(&table, at, &func))
				continue;
			if (pclntab_line(&table, &func, at, &file, &line))
				assert_true(strlen(file) < b->n);
			assert_true(strlen(func.name) < b->n);
			if (pclntab_sp_delta(&table, &func, at, &delta))
				assert_true(delta % 8 == 0);
		}
	free(exact);
}

static void test_damaged_pclntab(void **state)
{
	struct bytes b, damaged;

	(void)state;
	make_pclntab(&b, false);
	for (size_t i = 0; i < b.n; i++)
		for (unsigned value = 0; value < 256; value++) {
			damaged = b;
			damaged.v[i] = (uint8_t)value;
			exercise_pclntab(&damaged);
		}
	for (size_t n = 0; n < b.n; n++) {
		damaged = b;
		damaged.n = n;
		exercise_pclntab(&damaged);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_eh_frame),
	        cmocka_unit_test(test_odd_headers),
	        cmocka_unit_test(test_debug_frame),
	        cmocka_unit_test(test_damaged_frames),
	        cmocka_unit_test(test_vet),
	        cmocka_unit_test(test_pclntab),
	        cmocka_unit_test(test_pclntab_lines),
	        cmocka_unit_test(test_damaged_pclntab),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
