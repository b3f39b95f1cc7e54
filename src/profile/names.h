/* SPDX-License-Identifier: Apache-2.0 */
/* The names of all locations, looked up once for those who walk every stack. */
#ifndef CPROF_PROFILE_NAMES_H
#define CPROF_PROFILE_NAMES_H

#include "profile/profile.h"

struct names {
	ARRAY(profile_str) name;
	ARRAY(size_t) first; /* location - 1 -> its first in `name`; and one more */
};

/* Enters stand-ins for what has no name into the profile's strings. */
void names_init(struct names *names, struct profile *profile);
void names_fini(struct names *names);

/* The names of a location, innermost first; at least one. */
const profile_str *names_of(const struct names *names, uint32_t location, size_t *n);

#endif
