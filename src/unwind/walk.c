/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/backend.h"

#include "module/module.h"

/* Further than this above the window, memory is not "more of the same stack". */
#define NEAR SNAPSHOT_MAX_BYTES

/* Whether an address belongs to the stack that the window shows the top of. */
static bool is_near(const struct walk *walk, uint64_t addr)
{
	return addr >= walk->base &&
	       addr - walk->base < walk->window_end - walk->base + NEAR;
}

static void note_high(struct walk *walk, uint64_t addr, size_t len)
{
	if (is_near(walk, addr) && addr + len > walk->high)
		walk->high = addr + len;
}

static void refuse(struct walk *walk, uint64_t addr, size_t len)
{
	uint64_t last = addr + len - 1;

	if (walk->refusal != WALK_REFUSED_NOTHING)
		return;
	if (last >= addr && last >= walk->window_end && is_near(walk, last)) {
		walk->refusal = WALK_REFUSED_WINDOW;
		note_high(walk, addr, len);
	} else {
		walk->refusal = WALK_REFUSED_MEMORY;
	}
}

bool walk_read(struct walk *walk, uint64_t addr, void *buf, size_t len)
{
	const struct unwind_demand *demand = walk->demand;

	if (snapshot_read(walk->snap, addr, buf, len) ||
	    (demand != NULL && demand->read(demand->ctx, addr, buf, len))) {
		note_high(walk, addr, len);
		return true;
	}
	refuse(walk, addr, len);
	return false;
}

bool walk_read_word(struct walk *walk, uint64_t addr, uint64_t *value)
{
	return walk_read(walk, addr, value, sizeof *value);
}

bool walk_read_text(struct walk *walk, uint64_t addr, void *buf, size_t len)
{
	const struct unwind_demand *demand = walk->demand;
	const struct space_map *where = space_find(walk->space, addr);

	if (where == NULL || len > where->map.end - addr)
		return false;
	if (where->module != NULL)
		return module_read(where->module, addr - where->bias, buf, len) == len;
	return snapshot_read(walk->snap, addr, buf, len) ||
	       (demand != NULL && demand->read(demand->ctx, addr, buf, len));
}

bool walk_read_code_now(struct walk *walk, uint64_t addr, void *buf, size_t len)
{
	const struct target *target = space_target(walk->space);

	return walk_read_text(walk, addr, buf, len) ||
	       (target != NULL &&
	        target_read_memory(target, addr, buf, len) == (ssize_t)len);
}

enum unwind_end walk_refusal_end(const struct walk *walk, enum unwind_end otherwise)
{
	switch (walk->refusal) {
	case WALK_REFUSED_WINDOW:
		return UNWIND_END_WINDOW;
	case WALK_REFUSED_MEMORY:
		return UNWIND_END_MEMORY;
	case WALK_REFUSED_NOTHING:
		break;
	}
	return otherwise;
}
