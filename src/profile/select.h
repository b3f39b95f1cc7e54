/* SPDX-License-Identifier: Apache-2.0 */
/* A part of a profile as a profile of its own. */
#ifndef CPROF_PROFILE_SELECT_H
#define CPROF_PROFILE_SELECT_H

#include "profile/profile.h"

/* The value of a sample's numeric label; 0 if it has none of that key. */
int64_t profile_label_number(const struct profile *profile,
                             const struct profile_sample *sample, profile_str key);

/*
 * The samples of one process, those whose label `key` has its pid, with what they
 * need of mappings, locations and functions, the mapping of its program, and all
 * that is told of the whole. Freed with profile_free.
 */
struct profile *profile_select(const struct profile *from, profile_str key, int64_t pid);

#endif
