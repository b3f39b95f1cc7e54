/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacks .xz data. Inside of module/ alone; this is where liblzma is called. */
#ifndef CPROF_MODULE_UNXZ_H
#define CPROF_MODULE_UNXZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The unpacked bytes, to be freed, and their number; NULL if the data are
 * damaged, would unpack to more than max bytes, or this is a build without
 * liblzma.
 */
uint8_t *unxz(const uint8_t *data, size_t len, size_t max, size_t *out_len);

/* Whether this build can do so at all. */
bool unxz_is_built(void);

#endif
