/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/scopes.h"

#include <dwarf.h>

/* Inlining is not so deep; and as deep as we recurse. */
#define DEPTH_MAX 96
/* Of one unit, entries with ranges of their own, and those ranges. */
#define SCOPES_MAX ((size_t)1 << 20)
#define RANGES_MAX ((size_t)4 << 20)
/* How many bytes of entries are stepped over. Those within each other are stepped
 * over once for each level, where no DW_AT_sibling spares that. */
#define WORK_MAX ((uint64_t)512 << 20)

struct walk {
	struct scopes *scopes;
	size_t nranges;
	uint64_t work;
};

/* Enters an entry that has code; whether it has. */
static bool add_scope(struct walk *walk, Dwarf_Die *die, uint32_t parent, bool inlined)
{
	const struct scope scope = {.die = *die, .parent = parent, .inlined = inlined};
	uint32_t number = (uint32_t)walk->scopes->v.n;
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;
	bool any = false;

	if (walk->scopes->v.n >= SCOPES_MAX)
		return false;
	while (walk->nranges < RANGES_MAX &&
	       (at = dwarf_ranges(die, at, &base, &start, &end)) > 0) {
		spans_add(&walk->scopes->spans, start, end, number);
		walk->nranges++;
		any = true;
	}
	if (any)
		array_push(&walk->scopes->v, scope);
	return any;
}

/* Whether there may be code below an entry; *parent becomes the function that it
 * is in. */
static bool enter(struct walk *walk, Dwarf_Die *die, uint32_t *parent)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
	case DW_TAG_inlined_subroutine:
		if (!add_scope(walk, die, *parent,
		               dwarf_tag(die) == DW_TAG_inlined_subroutine))
			return false;
		*parent = (uint32_t)walk->scopes->v.n - 1;
		return true;
	case DW_TAG_module:
	case DW_TAG_namespace:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_with_stmt:
		return true;
	default:
		return false;
	}
}

/* Goes to the next sibling; false at the last. A DW_AT_sibling may lead anywhere,
 * but not back: that would be without end. */
static bool step(struct walk *walk, Dwarf_Die *die)
{
	Dwarf_Off from = dwarf_dieoffset(die), to;

	if (dwarf_siblingof(die, die) != 0)
		return false;
	to = dwarf_dieoffset(die);
	if (to <= from)
		return false;
	walk->work += to - from;
	return walk->work < WORK_MAX;
}

static void walk_children(struct walk *walk, Dwarf_Die *die, uint32_t parent,
                          unsigned depth)
{
	Dwarf_Die child;

	if (depth >= DEPTH_MAX || !dwarf_haschildren(die) || dwarf_child(die, &child) != 0)
		return;
	do {
		uint32_t within = parent;

		if (enter(walk, &child, &within))
			walk_children(walk, &child, within, depth + 1);
	} while (step(walk, &child));
}

void scopes_read(struct scopes *scopes, Dwarf_Die *unit)
{
	struct walk walk = {.scopes = scopes};

	walk_children(&walk, unit, SPANS_NONE, 0);
	spans_build(&scopes->spans);
}

void scopes_fini(struct scopes *scopes)
{
	array_fini(&scopes->v);
	spans_fini(&scopes->spans);
}
