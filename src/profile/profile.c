/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries are found again by a key in a table of interned bytes, which counts
 * its entries as the arrays here do: key number n belongs to element n, and to
 * id n + 1. Keys are structs of our own without holes, not the public ones,
 * whose padding may hold anything.
 */
#include "profile/profile.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "profile/utf8.h"

/* See profile_is_full(). */
#define MAX_STACK_BYTES ((size_t)64 * 1024 * 1024)
#define MAX_LOCATIONS   ((size_t)512 * 1024)
#define MAX_MAPPINGS    ((size_t)64 * 1024)

struct mapping_key {
	uint64_t start;
	uint64_t limit;
	uint64_t offset;
	uint32_t file;
	uint32_t build_id;
	uint32_t is_kernel;
	uint32_t code;
};

struct function_key {
	uint32_t name;
	uint32_t system_name;
	uint32_t file;
	uint32_t zero;
	int64_t start_line;
};

struct location_key {
	uint64_t address; /* or the name, of a pseudo location */
	uint32_t mapping;
	uint32_t is_pseudo;
};

struct profile *profile_new(void)
{
	struct profile *profile = xcalloc(1, sizeof *profile);

	intern_add(&profile->strings, "", 0);
	intern_add(&profile->labels, NULL, 0);
	return profile;
}

void profile_free(struct profile *profile)
{
	if (!profile)
		return;
	intern_fini(&profile->strings);
	array_fini(&profile->mappings);
	array_fini(&profile->locations);
	array_fini(&profile->functions);
	array_fini(&profile->lines);
	array_fini(&profile->samples);
	array_fini(&profile->comments);
	intern_fini(&profile->stacks);
	intern_fini(&profile->labels);
	intern_fini(&profile->location_keys);
	intern_fini(&profile->function_keys);
	intern_fini(&profile->mapping_keys);
	hashmap_fini(&profile->sample_index);
	hashmap_fini(&profile->mains);
	free(profile);
}

void profile_add_type(struct profile *profile, const char *type, const char *unit)
{
	assert(profile->ntypes < PROFILE_MAX_TYPES && profile->samples.n == 0);
	struct profile_value_type *t = &profile->types[profile->ntypes++];

	t->type = profile_string(profile, type);
	t->unit = profile_string(profile, unit);
}

void profile_set_period(struct profile *profile, const char *type, const char *unit,
                        int64_t period)
{
	profile->period_type.type = profile_string(profile, type);
	profile->period_type.unit = profile_string(profile, unit);
	profile->period = period;
}

void profile_set_like(struct profile *profile, const struct profile *other)
{
	for (size_t i = 0; i < other->ntypes; i++)
		profile_add_type(profile, profile_text(other, other->types[i].type),
		                 profile_text(other, other->types[i].unit));
	profile_set_period(profile, profile_text(other, other->period_type.type),
	                   profile_text(other, other->period_type.unit), other->period);
	profile->time_ns = other->time_ns;
	profile->duration_ns = other->duration_ns;
}

profile_str profile_string(struct profile *profile, const char *s)
{
	size_t len = s ? strlen(s) : 0;

	if (utf8_is_clean(s, len))
		return intern_add(&profile->strings, s, len);
	char *cleaned = utf8_clean(s, len, &len);
	profile_str str = intern_add(&profile->strings, cleaned, len);
	free(cleaned);
	return str;
}

const char *profile_text(const struct profile *profile, profile_str s)
{
	return intern_get(&profile->strings, s, NULL);
}

uint32_t profile_mapping(struct profile *profile, const struct profile_mapping *mapping)
{
	struct mapping_key key = {
	        .start = mapping->start,
	        .limit = mapping->limit,
	        .offset = mapping->offset,
	        .file = mapping->file,
	        .build_id = mapping->build_id,
	        .is_kernel = mapping->is_kernel,
	        .code = mapping->code,
	};
	uint32_t n = intern_add(&profile->mapping_keys, &key, sizeof key);

	if (n == profile->mappings.n)
		array_push(&profile->mappings, *mapping);
	return n + 1;
}

void profile_set_main(struct profile *profile, int64_t pid, uint32_t mapping)
{
	assert(mapping > 0 && mapping <= profile->mappings.n);
	if (profile->main_pid == 0)
		profile->main_pid = pid;
	hashmap_put(&profile->mains, (uint64_t)pid, mapping);
}

uint32_t profile_main(const struct profile *profile, int64_t pid)
{
	uint64_t mapping;

	return hashmap_get(&profile->mains, (uint64_t)pid, &mapping) ? (uint32_t)mapping
	                                                             : 0;
}

uint32_t profile_location(struct profile *profile, uint32_t mapping, uint64_t address)
{
	struct location_key key = {.address = address, .mapping = mapping};
	struct profile_location location = {.mapping = mapping, .address = address};

	assert(mapping <= profile->mappings.n);
	uint32_t n = intern_add(&profile->location_keys, &key, sizeof key);
	if (n == profile->locations.n)
		array_push(&profile->locations, location);
	return n + 1;
}

uint32_t profile_function(struct profile *profile, const struct profile_function *function)
{
	struct function_key key = {
	        .name = function->name,
	        .system_name = function->system_name,
	        .file = function->file,
	        .start_line = function->start_line,
	};
	uint32_t n = intern_add(&profile->function_keys, &key, sizeof key);

	if (n == profile->functions.n)
		array_push(&profile->functions, *function);
	return n + 1;
}

uint32_t profile_pseudo(struct profile *profile, const char *name)
{
	return profile_named(profile, 0, name);
}

uint32_t profile_named(struct profile *profile, uint32_t mapping, const char *name)
{
	profile_str str = profile_string(profile, name);
	struct location_key key = {.address = str, .mapping = mapping, .is_pseudo = 1};
	struct profile_location location = {.mapping = mapping, .is_pseudo = true};

	uint32_t n = intern_add(&profile->location_keys, &key, sizeof key);
	if (n == profile->locations.n) {
		struct profile_function function = {.name = str};
		struct profile_line line = {
		        .function = profile_function(profile, &function),
		};

		array_push(&profile->locations, location);
		profile_set_lines(profile, n + 1, &line, 1);
	}
	return n + 1;
}

void profile_set_lines(struct profile *profile, uint32_t location,
                       const struct profile_line *lines, size_t n)
{
	assert(location > 0 && location <= profile->locations.n);
	struct profile_location *l = &profile->locations.v[location - 1];

	assert(l->nlines == 0);
	l->first_line = profile->lines.n;
	l->nlines = n;
	for (size_t i = 0; i < n; i++) {
		assert(lines[i].function > 0 && lines[i].function <= profile->functions.n);
		array_push(&profile->lines, lines[i]);
	}
}

bool profile_is_full(const struct profile *profile)
{
	return profile->stacks.bytes.n > MAX_STACK_BYTES ||
	       profile->locations.n > MAX_LOCATIONS || profile->mappings.n > MAX_MAPPINGS;
}

uint32_t profile_stack(struct profile *profile, const uint32_t *locations, size_t n)
{
	return intern_add(&profile->stacks, locations, n * sizeof *locations);
}

static int compare_labels(const void *a, const void *b)
{
	const struct profile_label *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->str != y->str)
		return x->str < y->str ? -1 : 1;
	if (x->num != y->num)
		return x->num < y->num ? -1 : 1;
	return (x->num_unit > y->num_unit) - (x->num_unit < y->num_unit);
}

/*
 * Readers take a number 0 without a unit, or a label without a key, for no
 * label at all. Left out here, so that sets which differ in that alone are one.
 */
static bool label_says_something(const struct profile_label *label)
{
	return label->key != 0 &&
	       (label->str != 0 || label->num != 0 || label->num_unit != 0);
}

uint32_t profile_labels(struct profile *profile, const struct profile_label *labels,
                        size_t n)
{
	struct profile_label *set = xcalloc(n, sizeof *set); /* holes are zero, too */
	size_t nset = 0;

	for (size_t i = 0; i < n; i++) {
		if (!label_says_something(&labels[i]))
			continue;
		struct profile_label *to = &set[nset++];

		to->key = labels[i].key;
		to->str = labels[i].str;
		to->num = labels[i].str ? 0 : labels[i].num;
		to->num_unit = labels[i].str ? 0 : labels[i].num_unit;
	}
	qsort(set, nset, sizeof *set, compare_labels);
	uint32_t id = intern_add(&profile->labels, set, nset * sizeof *set);
	free(set);
	return id;
}

static int64_t add_saturated(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return a < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

void profile_add(struct profile *profile, uint32_t stack, uint32_t labels,
                 const int64_t *values)
{
	uint64_t key = (uint64_t)stack << 32 | labels;
	uint64_t index;

	assert(stack < intern_count(&profile->stacks));
	assert(labels < intern_count(&profile->labels));
	if (!hashmap_get(&profile->sample_index, key, &index)) {
		struct profile_sample sample = {.stack = stack, .labels = labels};

		index = profile->samples.n;
		array_push(&profile->samples, sample);
		hashmap_put(&profile->sample_index, key, index);
	}
	int64_t *sums = profile->samples.v[index].value;
	for (size_t i = 0; i < profile->ntypes; i++)
		sums[i] = add_saturated(sums[i], values[i]);
}

void profile_comment(struct profile *profile, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	profile_str str = profile_string(profile, text);
	array_push(&profile->comments, str);
	free(text);
}

const uint32_t *profile_stack_locations(const struct profile *profile, uint32_t stack,
                                        size_t *n)
{
	size_t len;
	const uint32_t *locations = intern_get(&profile->stacks, stack, &len);

	*n = len / sizeof *locations;
	return locations;
}

const struct profile_label *profile_label_set(const struct profile *profile,
                                              uint32_t labels, size_t *n)
{
	size_t len;
	const struct profile_label *set = intern_get(&profile->labels, labels, &len);

	*n = len / sizeof *set;
	return set;
}

/* "libfoo.so+0x1a2b": the offset in the file, as symbolizers want it. */
static const char *stand_in(const struct profile *profile,
                            const struct profile_location *location, char *buf, size_t size)
{
	if (location->mapping == 0) {
		snprintf(buf, size, "0x%" PRIx64, location->address);
		return buf;
	}
	const struct profile_mapping *mapping = &profile->mappings.v[location->mapping - 1];
	const char *file = profile_text(profile, mapping->file);
	const char *slash = strrchr(file, '/');
	const char *name = slash && slash[1] ? slash + 1 : file;

	snprintf(buf, size, "%s+0x%" PRIx64, *name ? name : "[anon]",
	         location->address - mapping->start + mapping->offset);
	return buf;
}

const char *profile_location_name(const struct profile *profile, uint32_t location,
                                  size_t i, char *buf, size_t size)
{
	assert(location > 0 && location <= profile->locations.n);
	const struct profile_location *l = &profile->locations.v[location - 1];

	if (l->nlines == 0)
		return stand_in(profile, l, buf, size);
	assert(i < l->nlines);
	const struct profile_line *line = &profile->lines.v[l->first_line + i];
	const struct profile_function *function = &profile->functions.v[line->function - 1];
	const char *name = profile_text(profile, function->name);
	return *name ? name : stand_in(profile, l, buf, size);
}
