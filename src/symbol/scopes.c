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
	scopes_visitor visitor;
	void *ctx;
	uint64_t work;
};

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

static void walk_children(struct walk *walk, Dwarf_Die *die, size_t state, unsigned depth)
{
	Dwarf_Die child;

	if (depth >= DEPTH_MAX || !dwarf_haschildren(die) || dwarf_child(die, &child) != 0)
		return;
	do {
		size_t below = state;

		if (walk->visitor(walk->ctx, &child, &below) == SCOPES_ENTER)
			walk_children(walk, &child, below, depth + 1);
	} while (step(walk, &child));
}

void scopes_walk(Dwarf_Die *unit, scopes_visitor visitor, void *ctx)
{
	struct walk walk = {.visitor = visitor, .ctx = ctx};

	walk_children(&walk, unit, 0, 0);
}

struct reading {
	struct scopes *scopes;
	size_t nranges;
};

/* Enters an entry that has code; whether it has. */
static bool add_scope(struct reading *reading, Dwarf_Die *die, uint32_t parent)
{
	struct scopes *scopes = reading->scopes;
	const struct scope scope = {
	        .die = *die,
	        .parent = parent,
	        .inlined = dwarf_tag(die) == DW_TAG_inlined_subroutine,
	};
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;
	bool any = false;

	if (scopes->v.n >= SCOPES_MAX)
		return false;
	while (reading->nranges < RANGES_MAX &&
	       (at = dwarf_ranges(die, at, &base, &start, &end)) > 0) {
		spans_add(&scopes->spans, start, end, (uint32_t)scopes->v.n);
		reading->nranges++;
		any = true;
	}
	if (any)
		array_push(&scopes->v, scope);
	return any;
}

/* The state is the number of the function that an entry is in, and 1; or 0. */
static enum scopes_visit visit(void *ctx, Dwarf_Die *die, size_t *function)
{
	struct reading *reading = ctx;

	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
	case DW_TAG_inlined_subroutine:
		if (!add_scope(reading, die,
		               *function ? (uint32_t)*function - 1 : SPANS_NONE))
			return SCOPES_PASS;
		*function = reading->scopes->v.n;
		return SCOPES_ENTER;
	case DW_TAG_module:
	case DW_TAG_namespace:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_with_stmt:
		return SCOPES_ENTER;
	default:
		return SCOPES_PASS;
	}
}

void scopes_read(struct scopes *scopes, Dwarf_Die *unit)
{
	struct reading reading = {.scopes = scopes};

	scopes_walk(unit, visit, &reading);
	spans_build(&scopes->spans);
}

void scopes_fini(struct scopes *scopes)
{
	array_fini(&scopes->v);
	spans_fini(&scopes->spans);
}
