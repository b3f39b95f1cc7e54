/* SPDX-License-Identifier: Apache-2.0 */
#include "split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/mem.h"
#include "output/file.h"
#include "profile/select.h"

/* Where in the name an id goes that has no place of its own. */
static size_t place_of_id(const char *name, const struct writer *writer)
{
	size_t len = strlen(name);
	const char *slash = strrchr(name, '/');
	const char *base = slash ? slash + 1 : name, *point;

	for (const char *const *s = writer->suffixes; *s; s++) {
		size_t n = strlen(*s);

		if (strlen(base) > n && strcmp(name + len - n, *s) == 0)
			return len - n;
	}
	point = strrchr(base, '.');
	return point && point != base ? (size_t)(point - name) : len;
}

char *split_name(const char *name, const struct writer *writer, const char *id)
{
	struct bytes out = {0};
	size_t place = place_of_id(name, writer);

	if (!strstr(name, "%p"))
		return xasprintf("%.*s.%s%s", (int)place, name, id, name + place);
	while (*name) {
		if (strncmp(name, "%p", 2) == 0) {
			bytes_append(&out, id, strlen(id));
			name += 2;
			continue;
		}
		/* "%%p" is not ours. */
		size_t n = name[0] == '%' && name[1] ? 2 : 1;

		bytes_append(&out, name, n);
		name += n;
	}
	bytes_append(&out, "", 1);
	return (char *)out.v;
}

static int write_part(const struct profile *profile, profile_str key,
                      const struct writer *writer, const char *file, pid_t pid,
                      struct error *err)
{
	struct profile *selected = profile_select(profile, key, pid);
	struct bytes bytes = {0};
	int r = writer->write(selected, &bytes, err);

	if (r == 0)
		r = output_file_write(file, bytes.v, bytes.n, err);
	bytes_fini(&bytes);
	profile_free(selected);
	return r;
}

/* The pids that the profile has samples of. */
static struct hashmap find_pids(const struct profile *profile, profile_str key)
{
	struct hashmap pids = {0};

	for (size_t i = 0; i < profile->samples.n; i++) {
		int64_t pid = profile_label_number(profile, &profile->samples.v[i], key);

		if (pid > 0)
			hashmap_put(&pids, (uint64_t)pid, 0);
	}
	return pids;
}

ssize_t split_write(struct profile *profile, const struct writer *writer, const char *name,
                    const pid_t *pids, size_t npids, char **first, struct error *err)
{
	profile_str key = profile_string(profile, "process_id");
	struct hashmap sampled = find_pids(profile, key);
	bool empty = sampled.n == 0;
	ssize_t n = 0;

	*first = NULL;
	for (size_t i = 0; i < npids && n >= 0; i++) {
		char id[16], *file;

		/* Two processes that had the same pid one after the other share a file. */
		if (!hashmap_remove(&sampled, (uint64_t)pids[i]) && !(empty && i == 0))
			continue;
		snprintf(id, sizeof id, "%d", pids[i]);
		file = split_name(name, writer, id);
		n = write_part(profile, key, writer, file, pids[i], err) < 0 ? -1 : n + 1;
		if (*first)
			free(file);
		else
			*first = file;
	}
	hashmap_fini(&sampled);
	return n;
}
