/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capabilities of this process: kept where sampling uses them, else dropped.
 * The file opens with the theory.
 */
#ifndef CPROF_BASE_PRIVILEGE_H
#define CPROF_BASE_PRIVILEGE_H

#include <stdbool.h>
#include <stdint.h>

/* What else is wanted, besides sampling. */
struct privilege_wants {
	bool output; /* replacing files: in effect between the two calls below alone */
	bool kernel_stacks; /* /proc/PID/task/TID/stack */
};

/*
 * Gives up for good what is not needed, of the calling thread and those that it
 * makes from then on. Returns the capabilities that are left, a bit each; 0 also
 * where there were none.
 */
uint64_t privilege_drop(const struct privilege_wants *wants);

/* Around making and replacing files: takes what was kept for it into effect, and
 * out of it again. Without effect where nothing was kept. */
void privilege_begin_output(void);
void privilege_end_output(void);

/* In a thread or process that writes no output: drops what was kept for it. */
void privilege_forget_output(void);

#endif
