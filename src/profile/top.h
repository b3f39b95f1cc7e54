/* SPDX-License-Identifier: Apache-2.0 */
/* The hottest functions of a profile, by one of its sample types. */
#ifndef CPROF_PROFILE_TOP_H
#define CPROF_PROFILE_TOP_H

#include "profile/profile.h"

struct top_row {
	profile_str name;
	int64_t flat; /* with this function as the leaf (innermost inlined) */
	int64_t cum;  /* with it anywhere; once per sample, also in recursion */
};

struct top {
	struct top_row *rows; /* by flat, then cum, then name; all functions */
	size_t nrows;
	int64_t total; /* sum of that value over all samples */
};

/* `type` is an index into profile->types. Freed with top_fini. */
void top_compute(struct profile *profile, size_t type, struct top *top);
void top_fini(struct top *top);

#endif
