/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/names.h"

#include <limits.h>

void names_init(struct names *names, struct profile *profile)
{
	char buf[PATH_MAX];

	*names = (struct names){0};
	for (size_t i = 0; i < profile->locations.n; i++) {
		size_t nlines = profile->locations.v[i].nlines;

		array_push(&names->first, names->name.n);
		for (size_t j = 0; j < (nlines > 0 ? nlines : 1); j++) {
			const char *name = profile_location_name(profile, (uint32_t)i + 1,
			                                         j, buf, sizeof buf);
			profile_str str = profile_string(profile, name);

			array_push(&names->name, str);
		}
	}
	array_push(&names->first, names->name.n);
}

void names_fini(struct names *names)
{
	array_fini(&names->name);
	array_fini(&names->first);
}

const profile_str *names_of(const struct names *names, uint32_t location, size_t *n)
{
	size_t first = names->first.v[location - 1];

	*n = names->first.v[location] - first;
	return names->name.v + first;
}
