/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/top.h"

#include <stdlib.h>
#include <string.h>

#include "profile/names.h"

struct rows {
	struct profile *profile;
	struct names names;
	struct hashmap by_name;
	ARRAY(struct top_row) row;
	ARRAY(size_t) seen_in; /* row -> the last sample (+ 1) that counted it */
};

static size_t find_row(struct rows *rows, profile_str name)
{
	struct top_row row = {.name = name};
	uint64_t index;

	if (!hashmap_get(&rows->by_name, name, &index)) {
		index = rows->row.n;
		array_push(&rows->row, row);
		array_push(&rows->seen_in, 0);
		hashmap_put(&rows->by_name, name, index);
	}
	return (size_t)index;
}

static void count_location(struct rows *rows, size_t sample, uint32_t location,
                           int64_t value)
{
	size_t n;
	const profile_str *name = names_of(&rows->names, location, &n);

	for (size_t i = 0; i < n; i++) {
		size_t row = find_row(rows, name[i]);

		if (rows->seen_in.v[row] == sample + 1)
			continue;
		rows->seen_in.v[row] = sample + 1;
		rows->row.v[row].cum += value;
	}
}

static void count_sample(struct rows *rows, size_t sample, int64_t value)
{
	size_t n, nnames;
	const uint32_t *stack = profile_stack_locations(
	        rows->profile, rows->profile->samples.v[sample].stack, &n);

	for (size_t i = 0; i < n; i++)
		count_location(rows, sample, stack[i], value);
	if (n > 0) {
		const profile_str *leaf = names_of(&rows->names, stack[0], &nnames);
		rows->row.v[find_row(rows, leaf[0])].flat += value;
	}
}

static int compare_rows(const void *a, const void *b, void *ctx)
{
	const struct top_row *x = a, *y = b;
	const struct profile *profile = ctx;

	if (x->flat != y->flat)
		return x->flat > y->flat ? -1 : 1;
	if (x->cum != y->cum)
		return x->cum > y->cum ? -1 : 1;
	return strcmp(profile_text(profile, x->name), profile_text(profile, y->name));
}

void top_compute(struct profile *profile, size_t type, struct top *top)
{
	struct rows rows = {.profile = profile};

	*top = (struct top){0};
	names_init(&rows.names, profile);
	for (size_t i = 0; i < profile->samples.n; i++) {
		int64_t value = profile->samples.v[i].value[type];

		count_sample(&rows, i, value);
		top->total += value;
	}
	if (rows.row.n > 0)
		qsort_r(rows.row.v, rows.row.n, sizeof *rows.row.v, compare_rows, profile);
	top->rows = rows.row.v;
	top->nrows = rows.row.n;
	array_fini(&rows.seen_in);
	hashmap_fini(&rows.by_name);
	names_fini(&rows.names);
}

void top_fini(struct top *top)
{
	free(top->rows);
	*top = (struct top){0};
}
