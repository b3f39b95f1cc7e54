/* SPDX-License-Identifier: Apache-2.0 */
/* The text form of one instant's stacks of all threads: a thread after the other. */
#ifndef CPROF_OUTPUT_DUMP_H
#define CPROF_OUTPUT_DUMP_H

#include <stdbool.h>

#include "output/writer.h"

/* Whether the profile is such: its samples are threads. */
bool dump_suits(const struct profile *profile);

/* Appends every thread, in the order of processes and thread ids. */
void dump_write(struct profile *profile, struct bytes *out);

#endif
