/* SPDX-License-Identifier: Apache-2.0 */
#include "output/writer.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct writer *const writers[] = {
        &writer_pprof, &writer_folded, &writer_svg, &writer_text, NULL,
};

const struct writer *writer_by_name(const char *name)
{
	for (const struct writer *const *w = writers; *w; w++)
		if (strcmp((*w)->name, name) == 0)
			return *w;
	return NULL;
}

static bool ends_in(const char *file, const char *suffix)
{
	size_t len = strlen(file), suffix_len = strlen(suffix);

	return len >= suffix_len && strcasecmp(file + len - suffix_len, suffix) == 0;
}

const struct writer *writer_by_file(const char *file)
{
	for (const struct writer *const *w = writers; *w; w++)
		for (const char *const *s = (*w)->suffixes; *s; s++)
			if (ends_in(file, *s))
				return *w;
	return &writer_pprof;
}

void bytes_append(struct bytes *b, const void *data, size_t len)
{
	array_reserve(b, len);
	if (len > 0)
		memcpy(b->v + b->n, data, len);
	b->n += len;
}

void bytes_printf(struct bytes *b, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int len = vsnprintf(NULL, 0, fmt, ap);
	if (len > 0) {
		array_reserve(b, (size_t)len + 1);
		vsnprintf((char *)b->v + b->n, (size_t)len + 1, fmt, again);
		b->n += (size_t)len;
	}
	va_end(again);
	va_end(ap);
}

void bytes_fini(struct bytes *b)
{
	array_fini(b);
}
