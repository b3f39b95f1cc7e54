/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/functions.h"

#include <string.h>

#include "unwind/insn.h"

#define ALIGNMENT    16
#define MAX_DISTANCE (8 * 1024) /* a beginning is looked for no further away */

/* The instructions that do nothing which compilers pad with. */
static const struct {
	uint8_t len;
	uint8_t code[9];
} paddings[] = {
        {9, {0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}},
        {8, {0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}},
        {7, {0x0f, 0x1f, 0x80, 0, 0, 0, 0}},
        {5, {0x0f, 0x1f, 0x44, 0, 0}},
        {4, {0x0f, 0x1f, 0x40, 0}},
        {3, {0x0f, 0x1f, 0}},
        {1, {0x90}},
        {1, {0xcc}},
};

/* Where the padding in front of `end` begins. */
static size_t skip_padding(const uint8_t *code, size_t end)
{
	for (size_t i = 0; i < sizeof paddings / sizeof *paddings;) {
		size_t len = paddings[i].len;

		if (end < len || memcmp(code + end - len, paddings[i].code, len) != 0) {
			i++;
			continue;
		}
		end -= len;
		while (end > 0 && code[end - 1] == 0x66)
			end--;
		i = 0;
	}
	return end;
}

/* Free Pascal pads with zeros, of which many numbers in the code have some, too. */
static size_t skip_zeros(const uint8_t *code, size_t end)
{
	while (end > 0 && code[end - 1] == 0)
		end--;
	return end;
}

/* Whether what ends here never goes on: ret, jmp, a call that does not return. */
static bool does_not_go_on(const uint8_t *code, size_t end)
{
	size_t zeros = skip_zeros(code, end);

	if (zeros > 0 && zeros < end && code[zeros - 1] == 0xc3)
		return true;
	if (end >= 6 && code[end - 6] == 0xff && code[end - 5] == 0x25)
		return true; /* jmp *(%rip) */
	return end >= 5 &&
	       (code[end - 1] == 0xc3 || code[end - 1] == 0xf4 || code[end - 5] == 0xe8 ||
	        code[end - 5] == 0xe9 || code[end - 2] == 0xeb ||
	        (code[end - 2] == 0x0f && code[end - 1] == 0x0b));
}

static bool makes_room(const uint8_t *code, size_t len)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
	struct insn insn;

	if (len >= sizeof endbr64 && memcmp(code, endbr64, sizeof endbr64) == 0) {
		code += sizeof endbr64;
		len -= sizeof endbr64;
	}
	insn = insn_read(code, len);
	return insn.kind == INSN_PUSH || insn.kind == INSN_PUSH_RBP ||
	       (insn.kind == INSN_ADD_RSP && insn.value < 0);
}

static const struct module_range *find_code(struct module *module, uint64_t vaddr)
{
	size_t n;
	const struct module_range *code = module_code(module, &n);

	return module_range_find(code, n, vaddr);
}

/* Whether a function seems to begin at a place in a piece of code. */
static bool seems_to_begin(const uint8_t *code, size_t len, size_t at)
{
	return makes_room(code + at, len - at) &&
	       (at == 0 || does_not_go_on(code, skip_padding(code, at)));
}

bool functions_guess(struct module *module, uint64_t vaddr, uint64_t *start)
{
	const struct module_range *range = find_code(module, vaddr);
	uint64_t last = vaddr & ~(uint64_t)(ALIGNMENT - 1), first;
	uint8_t code[MAX_DISTANCE + ALIGNMENT];
	size_t len;

	if (range == NULL)
		return false;
	first = last > MAX_DISTANCE ? last - MAX_DISTANCE : 0;
	if (first < range->start)
		first = range->start;
	len = module_read(module, first, code, sizeof code);
	for (uint64_t at = last; at >= first && at - first < len; at -= ALIGNMENT) {
		if (seems_to_begin(code, len, at - first) &&
		    (at > first || at == range->start)) {
			*start = at;
			return true;
		}
		if (at < ALIGNMENT)
			break;
	}
	return false;
}

uint64_t functions_guess_end(struct module *module, uint64_t vaddr)
{
	uint64_t first = vaddr & ~(uint64_t)(ALIGNMENT - 1);
	uint8_t code[MAX_DISTANCE];
	size_t len = module_read(module, first, code, sizeof code);

	for (size_t at = ALIGNMENT; at < len; at += ALIGNMENT)
		if (seems_to_begin(code, len, at))
			return first + at;
	return first + (len > ALIGNMENT ? len : ALIGNMENT);
}
