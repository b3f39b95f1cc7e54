/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CPROF_UNWIND_VET_H
#define CPROF_UNWIND_VET_H

#include <stdbool.h>

#include "module/fde.h"

/*
 * Whether an FDE may be given to libunwind, which trusts what it reads: an
 * honest compiler's always may. The file says what it refuses.
 */
bool vet_fde(const struct fde *fde);

#endif
