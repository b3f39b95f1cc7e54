/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/resolver.h"

#include <string.h>

#include "base/hashmap.h"
#include "base/mem.h"
#include "module/fde.h"
#include "symbol/lines.h"
#include "symbol/source.h"

/* When the modules read so far hold more, no others are. */
#define MODULES_MAX_BYTES ((size_t)1 << 30)

static const struct symbol_source *const sources[] = {
        &symbol_source_elf,
        &symbol_source_go,
        &symbol_source_plt,
};
#define NSOURCES (sizeof sources / sizeof sources[0])

/* What plt.h puts behind a name. */
#define STUB "@plt"

/* The sources' states for one module, where its functions start, and all answers. */
struct resolver_module {
	struct module_cache *cache; /* of this one alone: others are opened meanwhile */
	struct module *module;
	struct resolver_module *copy_of; /* the one to ask instead; NULL: this one */
	bool is_read;                    /* the sources were opened */
	void *state[NSOURCES];
	struct lines *lines;     /* NULL: none */
	struct fde_table *fdes;  /* NULL: not asked for yet */
	struct hashmap by_vaddr; /* -> index in answers */
	ARRAY(struct resolved) answers;
	struct hashmap by_name; /* a name, by its place -> shown and plain one */
};

void resolver_init(struct resolver *resolver, const struct symbol_options *options)
{
	*resolver = (struct resolver){.options = *options, .compare = MODULE_MAX_COMPARED};
	intern_add(&resolver->strings, "", 0);
}

static void free_module(struct resolver_module *module)
{
	for (size_t i = 0; i < NSOURCES; i++) {
		if (module->state[i])
			sources[i]->close(module->state[i]);
	}
	lines_free(module->lines);
	fde_table_free(module->fdes);
	hashmap_fini(&module->by_vaddr);
	hashmap_fini(&module->by_name);
	array_fini(&module->answers);
	module_cache_free(module->cache);
	free(module);
}

void resolver_fini(struct resolver *resolver)
{
	for (size_t i = 0; i < resolver->modules.n; i++)
		free_module(resolver->modules.v[i]);
	array_fini(&resolver->modules);
	array_fini(&resolver->readers);
	array_fini(&resolver->functions);
	array_fini(&resolver->lines);
	intern_fini(&resolver->strings);
	intern_fini(&resolver->function_keys);
}

struct resolver_module *resolver_module(struct resolver *resolver,
                                        const struct module *module,
                                        const struct target *target)
{
	struct resolver_module *fresh = xcalloc(1, sizeof *fresh);

	fresh->cache = module_cache_new();
	fresh->module = module_reopen(fresh->cache, module);
	if (!fresh->module) {
		free_module(fresh);
		return NULL;
	}
	module_find_debug(fresh->module, target);
	array_push(&resolver->modules, fresh);
	return fresh;
}

/* Opens the sources, unless all modules together have become too large. */
static void read_module(struct resolver *resolver, struct resolver_module *module)
{
	module->is_read = true;
	array_push(&resolver->readers, module);
	if (resolver->bytes > MODULES_MAX_BYTES)
		return;
	for (size_t i = 0; i < NSOURCES; i++)
		module->state[i] = sources[i]->open(module->module);
	if (!resolver->options.no_lines)
		module->lines = lines_new(module->module, !resolver->options.no_inlines);
	resolver->bytes += module_cache_bytes(module->cache);
}

/* The one to be asked about a module: of copies the one that was read first. */
static struct resolver_module *reader_of(struct resolver *resolver,
                                         struct resolver_module *module)
{
	if (module->copy_of || module->is_read)
		return module->copy_of ? module->copy_of : module;
	for (size_t i = 0; i < resolver->readers.n; i++) {
		struct resolver_module *held = resolver->readers.v[i];

		if (module_is_copy(held->module, module->module, &resolver->compare)) {
			module_cache_free(module->cache);
			module->cache = NULL;
			module->copy_of = held;
			return held;
		}
	}
	read_module(resolver, module);
	return module;
}

static bool ask(struct resolver_module *module, uint64_t vaddr,
                struct symbol_answer *answer)
{
	*answer = (struct symbol_answer){0};
	for (size_t i = 0; i < NSOURCES; i++) {
		if (module->state[i] && sources[i]->find(module->state[i], vaddr, answer))
			return true;
	}
	return false;
}

const char *resolver_lookup(struct resolver *resolver, struct resolver_module *module,
                            uint64_t vaddr, uint64_t *distance)
{
	struct symbol_answer answer;

	if (!ask(reader_of(resolver, module), vaddr, &answer))
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
	size_t len = strnlen(name, SYMBOL_NAME_MAX);
	const char *at = memchr(name, '@', len);

	if (at && at > name && strcmp(at, STUB) != 0) {
		const char *version = at + (at[1] == '@' ? 2 : 1);
		size_t left = len - (size_t)(version - name);

		if (left > 0 && strspn(version, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		                                "abcdefghijklmnopqrstuvwxyz"
		                                "0123456789._-") >= left)
			len = (size_t)(at - name);
	}
	return xstrndup(name, len);
}

/* A readable form of a name, also of a stub's; NULL if it is not mangled. */
static char *readable_name(const char *name)
{
	size_t len = strlen(name);
	char *stem, *shown, *both;

	if (len < strlen(STUB) || strcmp(name + len - strlen(STUB), STUB) != 0)
		return demangle(name);
	stem = xstrndup(name, len - strlen(STUB));
	shown = demangle(stem);
	both = shown ? xasprintf("%s" STUB, shown) : NULL;
	free(stem);
	free(shown);
	return both;
}

static uint32_t add_string(struct resolver *resolver, const char *s)
{
	return intern_add(&resolver->strings, s, strlen(s));
}

static uint32_t add_function(struct resolver *resolver,
                             const struct resolved_function *function)
{
	uint32_t n = intern_add(&resolver->function_keys, function, sizeof *function);

	if (n == resolver->functions.n)
		array_push(&resolver->functions, *function);
	return n;
}

/* Sets the names of a function, from what a file has for one. */
static void set_names(struct resolver *resolver, struct resolver_module *module,
                      struct resolved_function *function, const char *name)
{
	uint64_t key = (uint64_t)(uintptr_t)name, both;
	char *system_name, *shown;

	if (!hashmap_get(&module->by_name, key, &both)) {
		system_name = plain_name(name);
		shown = resolver->options.no_demangle ? NULL : readable_name(system_name);
		both = add_string(resolver, system_name);
		both |= (shown ? (uint64_t)add_string(resolver, shown) : both) << 32;
		free(shown);
		free(system_name);
		hashmap_put(&module->by_name, key, both);
	}
	function->system_name = (uint32_t)both;
	function->name = (uint32_t)(both >> 32);
}

/* Adds a line to the answer that is being made. */
static void add_line(struct resolver *resolver, struct resolver_module *module,
                     const struct line_frame *frame)
{
	struct resolved_function function = {.start_line = frame->start_line};
	struct resolved_line line = {.line = frame->line};

	set_names(resolver, module, &function, frame->name);
	if (frame->file)
		function.file = add_string(resolver, frame->file);
	line.function = add_function(resolver, &function);
	array_push(&resolver->lines, line);
}

/* Where the function that an address belongs to starts; else the address. */
static uint64_t function_start(struct resolver_module *module, uint64_t vaddr)
{
	struct fde fde;

	if (!module->fdes)
		module->fdes = fde_table_new(module->module);
	return fde_find(module->fdes, vaddr, &fde) ? fde.start : vaddr;
}

/*
 * The function whose code it is has the name of its symbol, which tells its clones
 * (".cold") apart; the linker knows nothing of those inlined.
 */
static struct resolved work_out(struct resolver *resolver, struct resolver_module *module,
                                uint64_t vaddr)
{
	struct resolved answer = {.start = vaddr, .first = resolver->lines.n};
	struct line_frame frames[LINES_MAX_FRAMES] = {0};
	struct symbol_answer symbol;
	bool found = ask(module, vaddr, &symbol);
	size_t n = module->lines ? lines_find(module->lines, vaddr, frames) : 0;

	if (n == 0) {
		n = 1;
		if (symbol.file && !resolver->options.no_lines) {
			frames[0].file = symbol.file;
			frames[0].line = symbol.line;
		}
	}
	if (found)
		frames[n - 1].name = symbol.name;
	/* An empty name is one that the file's maker had no use for. */
	for (size_t i = 0; i < n; i++) {
		if (frames[i].name && frames[i].name[0] != '\0')
			add_line(resolver, module, &frames[i]);
	}
	answer.nlines = resolver->lines.n - answer.first;
	if (answer.nlines == 0)
		answer.start = function_start(module, vaddr);
	return answer;
}

struct resolved resolver_resolve(struct resolver *resolver, struct resolver_module *module,
                                 uint64_t vaddr)
{
	uint64_t index;

	module = reader_of(resolver, module);
	if (!hashmap_get(&module->by_vaddr, vaddr, &index)) {
		struct resolved answer = work_out(resolver, module, vaddr);

		index = module->answers.n;
		array_push(&module->answers, answer);
		hashmap_put(&module->by_vaddr, vaddr, index);
	}
	return module->answers.v[index];
}
