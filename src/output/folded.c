/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folded stacks, one a line, the root first, with the value of the last sample
 * type: what flame graph programs read.
 *
 *     main;parse;memchr 12030000
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "output/writer.h"
#include "profile/names.h"

struct folded {
	struct profile *profile;
	struct names names;
	struct intern lines;
	ARRAY(int64_t) values; /* of each line */
};

/* Strings of a profile hold no newline; a ';' would be a frame more. */
static void append_name(struct bytes *line, const char *name)
{
	size_t from = line->n;

	bytes_append(line, name, strlen(name));
	for (size_t i = from; i < line->n; i++)
		if (line->v[i] == ';')
			line->v[i] = ':';
}

static void fold_location(const struct folded *folded, uint32_t location,
                          struct bytes *line)
{
	size_t n;
	const profile_str *name = names_of(&folded->names, location, &n);

	for (size_t i = n; i-- > 0;) {
		if (line->n > 0)
			bytes_append(line, ";", 1);
		append_name(line, profile_text(folded->profile, name[i]));
	}
}

/* Samples that differ in their labels, or in addresses of one name, are one line. */
static void fold_sample(struct folded *folded, const struct profile_sample *sample,
                        struct bytes *line)
{
	const struct profile *profile = folded->profile;
	int64_t value = sample->value[profile->ntypes - 1];
	size_t n;
	const uint32_t *stack = profile_stack_locations(profile, sample->stack, &n);

	if (value == 0)
		return;
	line->n = 0;
	for (size_t i = n; i-- > 0;)
		fold_location(folded, stack[i], line);
	if (line->n == 0)
		bytes_printf(line, "[no stack]");
	uint32_t id = intern_add(&folded->lines, line->v, line->n);
	if (id == folded->values.n)
		array_push(&folded->values, 0);
	folded->values.v[id] += value;
}

static int compare_lines(const void *a, const void *b, void *ctx)
{
	const struct folded *folded = ctx;
	const uint32_t *x = a, *y = b;

	return strcmp(intern_get(&folded->lines, *x, NULL),
	              intern_get(&folded->lines, *y, NULL));
}

static int folded_write(struct profile *profile, struct bytes *out, struct error *err)
{
	struct folded folded = {.profile = profile};
	struct bytes line = {0};

	(void)err;
	names_init(&folded.names, profile);
	for (size_t i = 0; i < profile->samples.n; i++)
		fold_sample(&folded, &profile->samples.v[i], &line);

	size_t n = intern_count(&folded.lines);
	uint32_t *order = xcalloc(n, sizeof *order);
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof *order, compare_lines, &folded);
	for (size_t i = 0; i < n; i++) {
		size_t len;
		const void *text = intern_get(&folded.lines, order[i], &len);

		bytes_append(out, text, len);
		bytes_printf(out, " %" PRId64 "\n", folded.values.v[order[i]]);
	}
	free(order);
	bytes_fini(&line);
	names_fini(&folded.names);
	intern_fini(&folded.lines);
	array_fini(&folded.values);
	return 0;
}

static const char *const suffixes[] = {".folded", ".collapsed", NULL};

const struct writer writer_folded = {
        .name = "folded",
        .suffixes = suffixes,
        .description = "one stack a line, root first, with its value",
        .write = folded_write,
};
