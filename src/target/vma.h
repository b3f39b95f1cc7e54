/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mapping, asked of the kernel by an address: the PROCMAP_QUERY of a
 * /proc/PID/maps descriptor (linux/fs.h; Linux 6.11). Costs a system call,
 * however many mappings there are.
 */
#ifndef CPROF_TARGET_VMA_H
#define CPROF_TARGET_VMA_H

#include "target/maps.h"

/*
 * The mapping that holds the address; its path is NULL and `deleted` false, whatever
 * they are. 0 or -errno: -ENOENT there is none, -ENOTTY before Linux 6.11,
 * -ESRCH the memory the descriptor was opened for is gone.
 */
int vma_query(int maps_fd, uint64_t addr, struct map *out)
        __attribute__((warn_unused_result));

#endif
