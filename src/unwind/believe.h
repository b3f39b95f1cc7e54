/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a word can be a return address: it lies in executable memory, behind a
 * call instruction. For backends that have no table to tell them where it is.
 */
#ifndef CPROF_UNWIND_BELIEVE_H
#define CPROF_UNWIND_BELIEVE_H

#include <stdbool.h>
#include <stdint.h>

#include "unwind/backend.h"

#define BELIEVE_NSITES 4096 /* a power of two */

/* What stands in front of a return address in a module: the code does not change,
 * so what was read is kept. All zero bytes to begin with. */
struct believer {
	struct {
		const struct module *module;
		uint64_t vaddr;
		uint8_t before;
	} site[BELIEVE_NSITES];
};

/*
 * Where the code's bytes are not at hand, as those of JIT code, being executable
 * is enough. may_be_first: a nop will do in Go's code, where a goroutine begins.
 */
bool believer_accepts(struct believer *believer, struct walk *walk, uint64_t ra,
                      bool may_be_first);

#endif
