/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs: each turns a finished profile into bytes. A writer is one const
 * table in a file of its own; writer.c lists them.
 */
#ifndef CPROF_OUTPUT_WRITER_H
#define CPROF_OUTPUT_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/array.h"
#include "base/error.h"
#include "profile/profile.h"

struct bytes {
	uint8_t *v;
	size_t n;
	size_t cap;
};

struct writer {
	const char *name;            /* as --format takes it: "pprof" */
	const char *const *suffixes; /* file names that mean it; NULL-terminated */
	const char *description;     /* for --help */
	/* Appends the whole output to *out. 0, or -1 with *err filled. */
	int (*write)(struct profile *profile, struct bytes *out, struct error *err);
};

extern const struct writer writer_pprof;  /* .pb.gz .pprof .pb */
extern const struct writer writer_folded; /* .folded .collapsed */
extern const struct writer writer_svg;    /* .svg */
extern const struct writer writer_text;   /* .txt .text */

/* NULL-terminated. */
extern const struct writer *const writers[];

/* By --format's name; NULL if there is none. */
const struct writer *writer_by_name(const char *name);
/* By the file name's end; writer_pprof when the name says nothing. */
const struct writer *writer_by_file(const char *file);

void bytes_append(struct bytes *b, const void *data, size_t len);
void bytes_printf(struct bytes *b, const char *fmt, ...)
        __attribute__((format(printf, 2, 3)));
void bytes_fini(struct bytes *b);

#endif
