/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each table of the one profile is entered into the other, and what its entries
 * became there is noted, for the tables that refer to it. Strings first, samples
 * last.
 */
#include <assert.h>
#include <stdlib.h>

#include "profile/profile.h"

/* What the numbers in `from` are called in `to`. */
struct renumbered {
	uint32_t *strings;
	uint32_t *mappings;  /* by id; 0 stays 0 */
	uint32_t *functions; /* by id */
	uint32_t *locations; /* by id */
	uint32_t *stacks;
	uint32_t *labels;
};

static uint32_t *renumber_strings(struct profile *to, const struct profile *from)
{
	size_t n = intern_count(&from->strings);
	uint32_t *now = xcalloc(n, sizeof *now);

	for (size_t i = 0; i < n; i++) {
		size_t len;
		const char *s = intern_get(&from->strings, (uint32_t)i, &len);

		now[i] = intern_add(&to->strings, s, len);
	}
	return now;
}

static uint32_t *renumber_mappings(struct profile *to, const struct profile *from,
                                   const struct renumbered *now)
{
	uint32_t *ids = xcalloc(from->mappings.n + 1, sizeof *ids);

	for (size_t i = 0; i < from->mappings.n; i++) {
		struct profile_mapping mapping = from->mappings.v[i];

		mapping.file = now->strings[mapping.file];
		mapping.build_id = now->strings[mapping.build_id];
		ids[i + 1] = profile_mapping(to, &mapping);
	}
	return ids;
}

static void merge_mains(struct profile *to, const struct profile *from,
                        const uint32_t *mappings)
{
	if (from->main_pid && to->main_pid == 0)
		to->main_pid = from->main_pid;
	for (size_t i = 0; i < from->mains.nslots; i++) {
		const struct hashmap_slot *slot = &from->mains.slots[i];

		if (slot->used)
			profile_set_main(to, (int64_t)slot->key, mappings[slot->value]);
	}
}

static uint32_t *renumber_functions(struct profile *to, const struct profile *from,
                                    const struct renumbered *now)
{
	uint32_t *ids = xcalloc(from->functions.n + 1, sizeof *ids);

	for (size_t i = 0; i < from->functions.n; i++) {
		struct profile_function function = from->functions.v[i];

		function.name = now->strings[function.name];
		function.system_name = now->strings[function.system_name];
		function.file = now->strings[function.file];
		ids[i + 1] = profile_function(to, &function);
	}
	return ids;
}

/* A location that has lines already keeps them. */
static void copy_lines(struct profile *to, uint32_t id, const struct profile *from,
                       const struct profile_location *location, const uint32_t *functions)
{
	struct profile_line *lines;

	if (location->nlines == 0 || to->locations.v[id - 1].nlines > 0)
		return;
	lines = xcalloc(location->nlines, sizeof *lines);
	for (size_t i = 0; i < location->nlines; i++) {
		lines[i] = from->lines.v[location->first_line + i];
		lines[i].function = functions[lines[i].function];
	}
	profile_set_lines(to, id, lines, location->nlines);
	free(lines);
}

static const char *pseudo_name(const struct profile *profile,
                               const struct profile_location *location)
{
	const struct profile_line *line = &profile->lines.v[location->first_line];

	return profile_text(profile, profile->functions.v[line->function - 1].name);
}

static uint32_t *renumber_locations(struct profile *to, const struct profile *from,
                                    const struct renumbered *now)
{
	uint32_t *ids = xcalloc(from->locations.n + 1, sizeof *ids);

	for (size_t i = 0; i < from->locations.n; i++) {
		const struct profile_location *location = &from->locations.v[i];

		if (location->is_pseudo) {
			ids[i + 1] = profile_named(to, now->mappings[location->mapping],
			                           pseudo_name(from, location));
			continue;
		}
		ids[i + 1] = profile_location(to, now->mappings[location->mapping],
		                              location->address);
		copy_lines(to, ids[i + 1], from, location, now->functions);
	}
	return ids;
}

static uint32_t *renumber_stacks(struct profile *to, const struct profile *from,
                                 const struct renumbered *now)
{
	size_t nstacks = intern_count(&from->stacks);
	uint32_t *ids = xcalloc(nstacks, sizeof *ids);
	ARRAY(uint32_t) stack = {0};

	for (size_t i = 0; i < nstacks; i++) {
		size_t n;
		const uint32_t *locations = profile_stack_locations(from, (uint32_t)i, &n);

		stack.n = 0;
		for (size_t j = 0; j < n; j++)
			array_push(&stack, now->locations[locations[j]]);
		ids[i] = profile_stack(to, stack.v, stack.n);
	}
	array_fini(&stack);
	return ids;
}

static uint32_t *renumber_labels(struct profile *to, const struct profile *from,
                                 const struct renumbered *now)
{
	size_t nsets = intern_count(&from->labels);
	uint32_t *ids = xcalloc(nsets, sizeof *ids);
	ARRAY(struct profile_label) set = {0};

	for (size_t i = 0; i < nsets; i++) {
		size_t n;
		const struct profile_label *labels = profile_label_set(from, (uint32_t)i,
		                                                       &n);

		set.n = 0;
		for (size_t j = 0; j < n; j++) {
			struct profile_label label = labels[j];

			label.key = now->strings[label.key];
			label.str = now->strings[label.str];
			label.num_unit = now->strings[label.num_unit];
			array_push(&set, label);
		}
		ids[i] = profile_labels(to, set.v, set.n);
	}
	array_fini(&set);
	return ids;
}

void profile_merge(struct profile *to, const struct profile *from)
{
	struct renumbered now = {0};

	assert(to->ntypes == from->ntypes);
	now.strings = renumber_strings(to, from);
	now.mappings = renumber_mappings(to, from, &now);
	merge_mains(to, from, now.mappings);
	now.functions = renumber_functions(to, from, &now);
	now.locations = renumber_locations(to, from, &now);
	now.stacks = renumber_stacks(to, from, &now);
	now.labels = renumber_labels(to, from, &now);
	for (size_t i = 0; i < from->samples.n; i++) {
		const struct profile_sample *sample = &from->samples.v[i];

		profile_add(to, now.stacks[sample->stack], now.labels[sample->labels],
		            sample->value);
	}
	free(now.strings);
	free(now.mappings);
	free(now.functions);
	free(now.locations);
	free(now.stacks);
	free(now.labels);
}

static uint32_t take_string(struct profile *to, const struct profile *from, profile_str s)
{
	return profile_string(to, profile_text(from, s));
}

uint32_t profile_take_location(struct profile *to, const struct profile *from, uint32_t id)
{
	const struct profile_location *location = &from->locations.v[id - 1];
	struct profile_mapping mapping;
	uint32_t in = 0;

	if (location->mapping) {
		mapping = from->mappings.v[location->mapping - 1];
		mapping.file = take_string(to, from, mapping.file);
		mapping.build_id = take_string(to, from, mapping.build_id);
		in = profile_mapping(to, &mapping);
	}
	if (location->is_pseudo)
		return profile_named(to, in, pseudo_name(from, location));
	return profile_location(to, in, location->address);
}

uint32_t profile_take_stack(struct profile *to, const struct profile *from, uint32_t stack)
{
	size_t n;
	const uint32_t *locations = profile_stack_locations(from, stack, &n);
	uint32_t *ids = xcalloc(n, sizeof *ids), taken;

	for (size_t i = 0; i < n; i++)
		ids[i] = profile_take_location(to, from, locations[i]);
	taken = profile_stack(to, ids, n);
	free(ids);
	return taken;
}

#define bytes_of(array) ((array).cap * sizeof *(array).v)

static size_t intern_bytes(const struct intern *table)
{
	return bytes_of(table->bytes) + bytes_of(table->entries) +
	       table->nslots * sizeof *table->slots;
}

size_t profile_bytes(const struct profile *profile)
{
	return intern_bytes(&profile->strings) + bytes_of(profile->mappings) +
	       bytes_of(profile->locations) + bytes_of(profile->functions) +
	       bytes_of(profile->lines) + bytes_of(profile->samples) +
	       bytes_of(profile->comments) + intern_bytes(&profile->stacks) +
	       intern_bytes(&profile->labels) + intern_bytes(&profile->location_keys) +
	       intern_bytes(&profile->function_keys) +
	       intern_bytes(&profile->mapping_keys) +
	       profile->sample_index.nslots * sizeof *profile->sample_index.slots +
	       profile->mains.nslots * sizeof *profile->mains.slots;
}
