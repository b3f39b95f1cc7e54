/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the file behind a mapping. Modules have their own (module_open). */
#ifndef CPROF_MODULE_FILE_H
#define CPROF_MODULE_FILE_H

#include "target/maps.h"
#include "target/target.h"

/*
 * A descriptor, for reading, of the regular file that the target has mapped
 * there, even if its name is gone or leads elsewhere by now; or -errno.
 */
int file_open_mapped(const struct target *target, const struct map *map)
        __attribute__((warn_unused_result));

#endif
