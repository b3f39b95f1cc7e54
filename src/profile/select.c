/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/select.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* A copy under way. */
struct copy {
	const struct profile *from;
	struct profile *to;
	uint32_t *locations; /* by old id - 1: the new id, 0 if not copied yet */
};

int64_t profile_label_number(const struct profile *profile,
                             const struct profile_sample *sample, profile_str key)
{
	size_t n;
	const struct profile_label *set = profile_label_set(profile, sample->labels, &n);

	for (size_t i = 0; i < n; i++) {
		if (set[i].key == key && set[i].str == 0)
			return set[i].num;
	}
	return 0;
}

static profile_str copy_string(struct copy *copy, profile_str s)
{
	return profile_string(copy->to, profile_text(copy->from, s));
}

static uint32_t copy_mapping(struct copy *copy, uint32_t id)
{
	struct profile_mapping mapping;

	if (id == 0)
		return 0;
	mapping = copy->from->mappings.v[id - 1];
	mapping.file = copy_string(copy, mapping.file);
	mapping.build_id = copy_string(copy, mapping.build_id);
	return profile_mapping(copy->to, &mapping);
}

static void copy_lines(struct copy *copy, const struct profile_location *location,
                       uint32_t id)
{
	struct profile_line *lines = xcalloc(location->nlines, sizeof *lines);

	for (size_t i = 0; i < location->nlines; i++) {
		const struct profile_line *line =
		        &copy->from->lines.v[location->first_line + i];
		struct profile_function function =
		        copy->from->functions.v[line->function - 1];

		function.name = copy_string(copy, function.name);
		function.system_name = copy_string(copy, function.system_name);
		function.file = copy_string(copy, function.file);
		lines[i] = *line;
		lines[i].function = profile_function(copy->to, &function);
	}
	profile_set_lines(copy->to, id, lines, location->nlines);
	free(lines);
}

static uint32_t copy_location(struct copy *copy, uint32_t id)
{
	const struct profile_location *location = &copy->from->locations.v[id - 1];
	uint32_t to = copy->locations[id - 1];
	char name[256];

	if (to)
		return to;
	if (location->is_pseudo) {
		to = profile_pseudo(copy->to, profile_location_name(copy->from, id, 0, name,
		                                                    sizeof name));
	} else {
		to = profile_location(copy->to, copy_mapping(copy, location->mapping),
		                      location->address);
		if (location->nlines > 0)
			copy_lines(copy, location, to);
	}
	copy->locations[id - 1] = to;
	return to;
}

static uint32_t copy_stack(struct copy *copy, uint32_t stack)
{
	size_t n;
	const uint32_t *from = profile_stack_locations(copy->from, stack, &n);
	uint32_t *to = xcalloc(n, sizeof *to);

	for (size_t i = 0; i < n; i++)
		to[i] = copy_location(copy, from[i]);
	stack = profile_stack(copy->to, to, n);
	free(to);
	return stack;
}

static uint32_t copy_labels(struct copy *copy, uint32_t labels)
{
	size_t n;
	const struct profile_label *from = profile_label_set(copy->from, labels, &n);
	struct profile_label *to = xcalloc(n, sizeof *to);

	for (size_t i = 0; i < n; i++) {
		to[i] = from[i];
		to[i].key = copy_string(copy, from[i].key);
		to[i].str = copy_string(copy, from[i].str);
		to[i].num_unit = copy_string(copy, from[i].num_unit);
	}
	labels = profile_labels(copy->to, to, n);
	free(to);
	return labels;
}

static void copy_frame(struct copy *copy)
{
	const struct profile *from = copy->from;
	struct profile *to = copy->to;

	profile_set_like(to, from);
	for (size_t i = 0; i < from->comments.n; i++)
		profile_comment(to, "%s", profile_text(from, from->comments.v[i]));
}

struct profile *profile_select(const struct profile *from, profile_str key, int64_t pid)
{
	uint32_t main_mapping = profile_main(from, pid);

	struct copy copy = {
	        .from = from,
	        .to = profile_new(),
	        .locations = xcalloc(from->locations.n, sizeof *copy.locations),
	};

	copy_frame(&copy);
	if (main_mapping)
		profile_set_main(copy.to, pid, copy_mapping(&copy, main_mapping));
	for (size_t i = 0; i < from->samples.n; i++) {
		const struct profile_sample *sample = &from->samples.v[i];

		if (profile_label_number(from, sample, key) == pid)
			profile_add(copy.to, copy_stack(&copy, sample->stack),
			            copy_labels(&copy, sample->labels), sample->value);
	}
	free(copy.locations);
	return copy.to;
}
