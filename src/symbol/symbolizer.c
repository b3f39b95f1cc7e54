/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locations -> names. What is learned of a module (its sources, opened when
 * its first address is asked for) and of a symbol (its function in the
 * profile, demangled) is kept, so each is worked out once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/hashmap.h"
#include "base/mem.h"
#include "module/fde.h"
#include "symbol/process.h"
#include "symbol/source.h"
#include "symbol/stand_in.h"
#include "symbol/symbol.h"

/* A longer name is cut: no compiler writes it, and a profile must stay small. */
#define NAME_MAX_LEN ((size_t)16 << 10)

static const struct symbol_source *const sources[] = {
        &symbol_source_elf,
};
#define NSOURCES (sizeof sources / sizeof sources[0])

/* The sources' states for one module, and where its functions start. */
struct names {
	bool opened[NSOURCES];
	void *state[NSOURCES];
	struct fde_table *fdes; /* NULL: not asked for yet */
};

/* What is behind a mapping. Without a module, several processes may have code of
 * their own at the same place. */
struct binding {
	struct module *module;
	uint64_t bias;
	ARRAY(struct symbol_process *) processes;
};

struct symbolizer {
	ARRAY(struct names) names;
	struct hashmap by_module;       /* struct module * -> index in names */
	ARRAY(struct binding) bindings; /* mapping id - 1 */
	ARRAY(struct symbol_process *) processes;
	struct hashmap by_target; /* struct target * -> struct symbol_process * */
	struct symbol_stats stats;
};

struct symbolizer *symbolizer_new(void)
{
	return xcalloc(1, sizeof(struct symbolizer));
}

void symbolizer_free(struct symbolizer *symbolizer)
{
	if (!symbolizer)
		return;
	for (size_t i = 0; i < symbolizer->names.n; i++) {
		struct names *names = &symbolizer->names.v[i];

		for (size_t j = 0; j < NSOURCES; j++) {
			if (names->state[j])
				sources[j]->close(names->state[j]);
		}
		fde_table_free(names->fdes);
	}
	for (size_t i = 0; i < symbolizer->bindings.n; i++)
		array_fini(&symbolizer->bindings.v[i].processes);
	for (size_t i = 0; i < symbolizer->processes.n; i++)
		symbol_process_free(symbolizer->processes.v[i]);
	array_fini(&symbolizer->names);
	array_fini(&symbolizer->bindings);
	array_fini(&symbolizer->processes);
	hashmap_fini(&symbolizer->by_target);
	hashmap_fini(&symbolizer->by_module);
	free(symbolizer);
}

static struct symbol_process *process_of(struct symbolizer *symbolizer,
                                         const struct target *target)
{
	uint64_t key = (uint64_t)(uintptr_t)target, value;
	struct symbol_process *process;

	if (hashmap_get(&symbolizer->by_target, key, &value))
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): the map holds integers */
		return (struct symbol_process *)(uintptr_t)value;
	process = symbol_process_new(target);
	hashmap_put(&symbolizer->by_target, key, (uint64_t)(uintptr_t)process);
	array_push(&symbolizer->processes, process);
	return process;
}

static void bind_process(struct symbolizer *symbolizer, struct binding *binding,
                         const struct target *target)
{
	struct symbol_process *process = process_of(symbolizer, target);

	for (size_t i = 0; i < binding->processes.n; i++) {
		if (binding->processes.v[i] == process)
			return;
	}
	array_push(&binding->processes, process);
}

void symbolizer_bind(struct symbolizer *symbolizer, uint32_t mapping, struct module *module,
                     uint64_t bias, const struct target *target)
{
	const struct binding none = {0};
	struct binding *binding;

	if (mapping == 0)
		return;
	while (symbolizer->bindings.n < mapping)
		array_push(&symbolizer->bindings, none);
	binding = &symbolizer->bindings.v[mapping - 1];
	binding->module = module;
	binding->bias = bias;
	if (module)
		module_find_debug(module, target);
	else if (target)
		bind_process(symbolizer, binding, target);
}

static struct names *names_of(struct symbolizer *symbolizer, struct module *module)
{
	uint64_t key = (uint64_t)(uintptr_t)module, i;

	if (!hashmap_get(&symbolizer->by_module, key, &i)) {
		const struct names fresh = {0};

		i = symbolizer->names.n;
		hashmap_put(&symbolizer->by_module, key, i);
		array_push(&symbolizer->names, fresh);
	}
	return &symbolizer->names.v[i];
}

static bool ask(struct symbolizer *symbolizer, struct module *module, uint64_t vaddr,
                struct symbol_answer *answer)
{
	struct names *names = names_of(symbolizer, module);

	for (size_t i = 0; i < NSOURCES; i++) {
		if (!names->opened[i]) {
			names->opened[i] = true;
			names->state[i] = sources[i]->open(module);
		}
		if (names->state[i] && sources[i]->find(names->state[i], vaddr, answer))
			return true;
	}
	return false;
}

const char *symbolizer_lookup(struct symbolizer *symbolizer, struct module *module,
                              uint64_t vaddr, uint64_t *distance)
{
	struct symbol_answer answer;

	if (!ask(symbolizer, module, vaddr, &answer))
		return NULL;
	if (distance)
		*distance = answer.distance;
	return answer.name;
}

/*
 * A symbol's name without the version that linkers leave in .symtab
 * ("memcpy@@GLIBC_2.14" -> "memcpy"), to be freed.
 */
static char *plain_name(const char *name)
{
	size_t len = strnlen(name, NAME_MAX_LEN);
	const char *at = memchr(name, '@', len);

	if (at && at > name) {
		const char *version = at + (at[1] == '@' ? 2 : 1);
		size_t left = len - (size_t)(version - name);

		if (left > 0 && strspn(version, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		                                "abcdefghijklmnopqrstuvwxyz"
		                                "0123456789._-") >= left)
			len = (size_t)(at - name);
	}
	return xstrndup(name, len);
}

/* What a location is called. */
struct location_name {
	const char *text; /* NULL: by nothing */
	bool is_symbol;   /* of an ELF file */
};

static uint32_t named_function(struct profile *profile, const struct location_name *name)
{
	struct profile_function function = {0};
	char *system_name = name->is_symbol ? plain_name(name->text)
	                                    : xstrndup(name->text, NAME_MAX_LEN);
	char *shown = demangle(system_name);

	function.name = profile_string(profile, shown ? shown : system_name);
	function.system_name = profile_string(profile, system_name);
	free(shown);
	free(system_name);
	return profile_function(profile, &function);
}

static const struct binding *binding_of(const struct symbolizer *symbolizer,
                                        uint32_t mapping)
{
	static const struct binding none;

	if (mapping == 0 || mapping > symbolizer->bindings.n)
		return &none;
	return &symbolizer->bindings.v[mapping - 1];
}

/* Where the function that an address belongs to starts; else the address. */
static uint64_t function_start(struct symbolizer *symbolizer, const struct binding *binding,
                               uint64_t address)
{
	struct names *names;
	struct fde fde;

	if (!binding->module)
		return address;
	names = names_of(symbolizer, binding->module);
	if (!names->fdes)
		names->fdes = fde_table_new(binding->module);
	if (!fde_find(names->fdes, address - binding->bias, &fde))
		return address;
	return fde.start + binding->bias;
}

/*
 * The offset is that in the file, as it is the same in every process and what
 * tools can be given. A stand-in has no system_name, which tells it from a
 * symbol's.
 */
static uint32_t stand_in_function(struct symbolizer *symbolizer, struct profile *profile,
                                  const struct profile_location *location)
{
	struct profile_function function = {0};
	const struct profile_mapping *mapping;
	const struct binding *binding;
	uint64_t start;
	char *name;

	if (location->mapping == 0) {
		name = stand_in_name(NULL, false, location->address);
	} else {
		mapping = &profile->mappings.v[location->mapping - 1];
		binding = binding_of(symbolizer, location->mapping);
		start = function_start(symbolizer, binding, location->address);
		name = stand_in_name(profile_text(profile, mapping->file),
		                     binding->module != NULL,
		                     start - mapping->start + mapping->offset);
	}
	function.name = profile_string(profile, name);
	free(name);
	return profile_function(profile, &function);
}

/* What the processes call it that have code there; nothing if they differ. */
static const char *process_name(const struct binding *binding, uint64_t address)
{
	const char *found = NULL;

	for (size_t i = 0; i < binding->processes.n; i++) {
		const char *name = symbol_process_name(binding->processes.v[i], address);

		if (found && name && strcmp(found, name) != 0)
			return NULL;
		found = name ? name : found;
	}
	return found;
}

static struct location_name name_location(struct symbolizer *symbolizer,
                                          const struct profile_location *location)
{
	const struct binding *binding = binding_of(symbolizer, location->mapping);
	struct location_name name = {.is_symbol = binding->module != NULL};

	if (binding->module)
		name.text = symbolizer_lookup(symbolizer, binding->module,
		                              location->address - binding->bias, NULL);
	else
		name.text = process_name(binding, location->address);
	return name;
}

/* The function of a name, found by the name's place in its table. */
static uint32_t known_function(struct hashmap *known, struct profile *profile,
                               const struct location_name *name)
{
	uint64_t key = (uint64_t)(uintptr_t)name->text, id;

	if (!hashmap_get(known, key, &id)) {
		id = named_function(profile, name);
		hashmap_put(known, key, id);
	}
	return (uint32_t)id;
}

void symbolizer_fill(struct symbolizer *symbolizer, struct profile *profile)
{
	struct hashmap known = {0};

	for (size_t i = 0; i < profile->locations.n; i++) {
		const struct profile_location *location = &profile->locations.v[i];
		struct profile_line line = {0};
		struct location_name name;

		if (location->nlines > 0 || location->is_pseudo)
			continue;
		name = name_location(symbolizer, location);
		if (name.text) {
			line.function = known_function(&known, profile, &name);
			symbolizer->stats.resolved++;
		} else {
			line.function = stand_in_function(symbolizer, profile, location);
			symbolizer->stats.unresolved++;
		}
		profile_set_lines(profile, (uint32_t)i + 1, &line, 1);
	}
	hashmap_fini(&known);
}

struct symbol_stats symbolizer_stats(const struct symbolizer *symbolizer)
{
	return symbolizer->stats;
}
