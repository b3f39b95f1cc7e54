/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/fill.h"

#include "base/hashmap.h"
#include "symbol/stand_in.h"

struct fill {
	struct resolver *resolver;
	struct profile *profile;
	struct hashmap known; /* function of the resolver -> of the profile */
	ARRAY(struct profile_line) lines;
};

static profile_str copy_string(struct fill *fill, uint32_t s)
{
	return profile_string(fill->profile, intern_get(&fill->resolver->strings, s, NULL));
}

static uint32_t copy_function(struct fill *fill, uint32_t number)
{
	const struct resolved_function *from = &fill->resolver->functions.v[number];
	uint64_t id;

	if (!hashmap_get(&fill->known, number, &id)) {
		const struct profile_function function = {
		        .name = copy_string(fill, from->name),
		        .system_name = copy_string(fill, from->system_name),
		        .file = copy_string(fill, from->file),
		        .start_line = from->start_line,
		};

		id = profile_function(fill->profile, &function);
		hashmap_put(&fill->known, number, id);
	}
	return (uint32_t)id;
}

/* What a process calls its own code. */
static void add_code(struct fill *fill, const struct symbol_code *code)
{
	const struct symbol_options *options = &fill->resolver->options;
	bool has_line = code->line > 0 && !options->no_lines;
	char *system_name = xstrndup(code->name, SYMBOL_NAME_MAX);
	char *shown = options->no_demangle ? NULL : demangle(system_name);
	const struct profile_function function = {
	        .name = profile_string(fill->profile, shown ? shown : system_name),
	        .system_name = profile_string(fill->profile, system_name),
	        .file = has_line ? profile_string(fill->profile, code->file) : 0,
	};
	const struct profile_line line = {
	        .function = profile_function(fill->profile, &function),
	        .line = has_line ? code->line : 0,
	};

	free(shown);
	free(system_name);
	array_push(&fill->lines, line);
}

/*
 * The offset is that in the file, as it is the same in every process and what
 * other tools want to be told. `start` is where the function begins.
 */
static void add_stand_in(struct fill *fill, const struct profile_location *location,
                         const struct binding *binding, uint64_t start)
{
	struct profile *profile = fill->profile;
	struct profile_function function = {0};
	struct profile_line line = {0};
	const struct profile_mapping *mapping;
	char *name;

	if (location->mapping == 0) {
		name = stand_in_name(NULL, false, start);
	} else {
		mapping = &profile->mappings.v[location->mapping - 1];
		name = stand_in_name(profile_text(profile, mapping->file), binding->is_elf,
		                     start - mapping->start + mapping->offset);
	}
	function.name = profile_string(profile, name);
	free(name);
	line.function = profile_function(profile, &function);
	array_push(&fill->lines, line);
}

/* Puts a location's lines into fill->lines; whether they are more than a stand-in. */
static bool find_lines(struct fill *fill, const struct profile_location *location,
                       const struct binding *binding)
{
	struct resolved found = {.start = location->address - binding->bias};
	struct symbol_code code;

	fill->lines.n = 0;
	if (binding->module)
		found = resolver_resolve(fill->resolver, binding->module, found.start);
	for (size_t i = 0; i < found.nlines; i++) {
		const struct resolved_line *from =
		        &fill->resolver->lines.v[found.first + i];
		const struct profile_line line = {
		        .function = copy_function(fill, from->function),
		        .line = from->line,
		};

		array_push(&fill->lines, line);
	}
	if (binding->process &&
	    symbol_process_find(binding->process, location->address, &code))
		add_code(fill, &code);
	if (fill->lines.n > 0)
		return true;
	add_stand_in(fill, location, binding, found.start + binding->bias);
	return false;
}

void fill_profile(struct resolver *resolver, struct profile *profile,
                  const struct binding *bindings, struct symbol_stats *stats)
{
	static const struct binding none;
	struct fill fill = {.resolver = resolver, .profile = profile};

	for (size_t i = 0; i < profile->locations.n; i++) {
		const struct profile_location *location = &profile->locations.v[i];

		if (location->nlines > 0 || location->is_pseudo)
			continue;
		if (find_lines(&fill, location,
		               location->mapping ? &bindings[location->mapping - 1]
		                                 : &none))
			stats->resolved++;
		else
			stats->unresolved++;
		profile_set_lines(profile, (uint32_t)i + 1, fill.lines.v, fill.lines.n);
	}
	hashmap_fini(&fill.known);
	array_fini(&fill.lines);
}
