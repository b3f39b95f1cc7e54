/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/believe.h"

#include "module/module.h"

/* Enough for the longest call. */
#define BEFORE 8

/* What stands in front of a return address. */
enum before {
	BEFORE_UNREAD,
	BEFORE_CALL,
	BEFORE_NOP,
	BEFORE_OTHER,
};

static enum before read_before(struct walk *walk, const struct space_map *where,
                               uint64_t ra)
{
	uint8_t before[BEFORE];
	size_t len = BEFORE;

	if (ra - where->map.start < len)
		len = ra - where->map.start;
	if (!walk_read_text(walk, ra - len, before, len))
		return BEFORE_UNREAD;
	if (arch_is_after_call(before, len))
		return BEFORE_CALL;
	return before[len - 1] == 0x90 ? BEFORE_NOP : BEFORE_OTHER;
}

static enum before find_before(struct believer *believer, struct walk *walk,
                               const struct space_map *where, uint64_t ra)
{
	size_t i = (ra ^ ra >> 12) & (BELIEVE_NSITES - 1);

	if (where->module == NULL)
		return read_before(walk, where, ra);
	if (believer->site[i].module != where->module ||
	    believer->site[i].vaddr != ra - where->bias) {
		believer->site[i].before = read_before(walk, where, ra);
		believer->site[i].module = where->module;
		believer->site[i].vaddr = ra - where->bias;
	}
	return (enum before)believer->site[i].before;
}

bool believer_accepts(struct believer *believer, struct walk *walk, uint64_t ra,
                      bool may_be_first)
{
	const struct space_map *where = space_find(walk->space, ra - 1);

	if (where == NULL)
		return false;
	switch (find_before(believer, walk, where, ra)) {
	case BEFORE_UNREAD:
	case BEFORE_CALL:
		return true;
	case BEFORE_NOP:
		return may_be_first && where->module != NULL && module_is_go(where->module);
	case BEFORE_OTHER:
		break;
	}
	return false;
}
