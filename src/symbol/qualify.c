/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/qualify.h"

#include <dwarf.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "symbol/scopes.h"

/* Of one name with all that it is in; what does not fit is left out. */
#define NAME_MAX_LEN 1024
/* Of all names together. */
#define NAMES_MAX ((size_t)16 << 20)
/* From an inlined copy to its origin and to its declaration. */
#define CHAIN_MAX 16

struct naming {
	struct qualified *qualified;
	char prefix[NAME_MAX_LEN]; /* "zoo::Cage::" */
};

static const char *own_name(Dwarf_Die *die)
{
	Dwarf_Attribute attribute;

	return dwarf_attr(die, DW_AT_name, &attribute) ? dwarf_formstring(&attribute)
	                                               : NULL;
}

static const char *part_of(Dwarf_Die *die)
{
	const char *name = own_name(die);

	if (name)
		return name;
	return dwarf_tag(die) == DW_TAG_namespace ? "(anonymous namespace)" : "(anonymous)";
}

static void note_function(struct naming *naming, Dwarf_Die *die, size_t len)
{
	struct qualified *qualified = naming->qualified;
	const char *name = own_name(die);
	char *full;

	if (!name || len == 0 || qualified->len > NAMES_MAX)
		return;
	full = xasprintf("%.*s%.*s", (int)len, naming->prefix, NAME_MAX_LEN, name);
	qualified->len += strlen(full);
	hashmap_put(&qualified->by_die, (uint64_t)(uintptr_t)die->addr, qualified->names.n);
	array_push(&qualified->names, full);
}

/* What an entry adds to the names of those below it. */
static enum scopes_visit visit(void *ctx, Dwarf_Die *die, size_t *len)
{
	struct naming *naming = ctx;
	int n;

	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
		note_function(naming, die, *len);
		break;
	case DW_TAG_namespace:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
		break;
	case DW_TAG_lexical_block:
		return SCOPES_ENTER;
	default:
		return SCOPES_PASS;
	}
	n = snprintf(naming->prefix + *len, sizeof naming->prefix - *len,
	             "%s::", part_of(die));
	if (n < 0 || (size_t)n >= sizeof naming->prefix - *len)
		return SCOPES_PASS;
	*len += (size_t)n;
	return SCOPES_ENTER;
}

static bool is_c(Dwarf_Die *unit)
{
	int language = dwarf_srclang(unit);

	return language == DW_LANG_C89 || language == DW_LANG_C ||
	       language == DW_LANG_C99 || language == DW_LANG_C11;
}

/* The entry that has the function's name: the end of a chain of references. */
static bool find_declaration(const Dwarf_Die *function, Dwarf_Die *declaration)
{
	Dwarf_Attribute attribute;

	*declaration = *function;
	for (int i = 0; i < CHAIN_MAX; i++) {
		if (dwarf_hasattr(declaration, DW_AT_name))
			return true;
		if (!dwarf_attr(declaration, DW_AT_abstract_origin, &attribute) &&
		    !dwarf_attr(declaration, DW_AT_specification, &attribute))
			return false;
		if (!dwarf_formref_die(&attribute, declaration))
			return false;
	}
	return false;
}

const char *qualified_name(struct qualified *qualified, Dwarf_Die *function)
{
	struct naming naming = {.qualified = qualified};
	Dwarf_Die die, unit;
	uint64_t index;

	if (!find_declaration(function, &die) || !dwarf_diecu(&die, &unit, NULL, NULL))
		return NULL;
	if (!hashmap_get(&qualified->units, (uint64_t)(uintptr_t)unit.addr, NULL)) {
		hashmap_put(&qualified->units, (uint64_t)(uintptr_t)unit.addr, 0);
		if (!is_c(&unit))
			scopes_walk(&unit, visit, &naming);
	}
	if (hashmap_get(&qualified->by_die, (uint64_t)(uintptr_t)die.addr, &index))
		return qualified->names.v[index];
	return own_name(&die);
}

void qualified_fini(struct qualified *qualified)
{
	for (size_t i = 0; i < qualified->names.n; i++)
		free(qualified->names.v[i]);
	array_fini(&qualified->names);
	hashmap_fini(&qualified->units);
	hashmap_fini(&qualified->by_die);
}
