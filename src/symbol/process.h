/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that a process has for code outside of its modules: its perf map,
 * and its jitdump, which is told by its mapping. Found while the process lives, read
 * when a name is wanted, which is after sampling, so that it has the code that was
 * made meanwhile. Inside of symbol/ alone.
 */
#ifndef CPROF_SYMBOL_PROCESS_H
#define CPROF_SYMBOL_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "target/target.h"

struct symbol_process;

/* Does not keep the target. *held, at first 0, is for all processes of a symbolizer,
 * which it outlives: how many bytes their names take. */
struct symbol_process *symbol_process_new(const struct target *target, size_t *held);
void symbol_process_free(struct symbol_process *process);

/* The next name asked for is of what the process has written by then. What has not been
 * asked since the last time takes no memory any more. */
void symbol_process_renew(struct symbol_process *process);

/* What a process says of its code; good until the next renewal. */
struct symbol_code {
	const char *name;
	const char *file; /* NULL: it does not say */
	uint32_t line;
};

/* Finds the code at an address; false if the process has no name for it. */
bool symbol_process_find(struct symbol_process *process, uint64_t address,
                         struct symbol_code *code);

#endif
