/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU time of processes that came and went without having been seen, from what
 * the kernel adds up in whoever waited for them. The file opens with the theory.
 */
#ifndef CPROF_TARGET_LINEAGE_H
#define CPROF_TARGET_LINEAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINEAGE_NONE SIZE_MAX

/* One process that was seen. All times since its birth. */
struct lineage_member {
	size_t parent;       /* its last known one, an index; or LINEAGE_NONE */
	bool reaped;         /* it ended, and somebody has waited for it */
	uint64_t own_ns;     /* CPU time of its own threads, as last seen */
	uint64_t waited0_ns; /* children's time (see procfs_stat) at the start */
	uint64_t waited_ns;  /* and as last seen */
	uint64_t unseen_ns;  /* result: of children, and not in any own_ns */
};

/* Fills in unseen_ns of each. */
void lineage_settle(struct lineage_member *members, size_t n);

#endif
