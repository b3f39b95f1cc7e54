/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads like what a debugger prints of all threads:
 *
 *     Thread 4712 "worker" futex, mutex 0x55d0c8 held by 4711
 *       #0  __lll_lock_wait (libc.so.6)
 *       #1  take_order at src/orders.c:88
 */
#include "output/dump.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* One sample's labels, by what they say. */
struct dumped {
	const struct profile_sample *sample;
	int64_t process, thread;
	const char *name, *state, *object, *process_name;
	int64_t owner;
};

bool dump_suits(const struct profile *profile)
{
	return profile->ntypes == 1 &&
	       strcmp(profile_text(profile, profile->types[0].type), "threads") == 0;
}

static struct dumped read_labels(const struct profile *profile,
                                 const struct profile_sample *sample)
{
	struct dumped dumped = {.sample = sample};
	size_t n;
	const struct profile_label *labels = profile_label_set(profile, sample->labels, &n);
	const struct {
		const char *key;
		const char **str;
		int64_t *num;
	} wanted[] = {
	        {"process_id", NULL, &dumped.process},
	        {"process_name", &dumped.process_name, NULL},
	        {"thread_id", NULL, &dumped.thread},
	        {"thread_name", &dumped.name, NULL},
	        {"state", &dumped.state, NULL},
	        {"wait_object", &dumped.object, NULL},
	        {"wait_owner", NULL, &dumped.owner},
	};

	for (size_t i = 0; i < n; i++) {
		const char *key = profile_text(profile, labels[i].key);

		for (size_t w = 0; w < sizeof wanted / sizeof wanted[0]; w++) {
			if (strcmp(key, wanted[w].key) != 0)
				continue;
			if (wanted[w].str)
				*wanted[w].str = profile_text(profile, labels[i].str);
			else
				*wanted[w].num = labels[i].num;
		}
	}
	return dumped;
}

static int compare(const void *a, const void *b)
{
	const struct dumped *x = a, *y = b;

	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	return (x->thread > y->thread) - (x->thread < y->thread);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* One function of a location; without a line, the file that its code is in. */
static void write_frame(const struct profile *profile, uint32_t location, size_t i,
                        size_t nr, struct bytes *out)
{
	const struct profile_location *l = &profile->locations.v[location - 1];
	char buf[512];

	bytes_printf(out, "  #%-3zu %s", nr,
	             profile_location_name(profile, location, i, buf, sizeof buf));
	if (i < l->nlines) {
		const struct profile_line *line = &profile->lines.v[l->first_line + i];
		const char *file = profile_text(
		        profile, profile->functions.v[line->function - 1].file);

		if (line->line > 0 && file[0]) {
			bytes_printf(out, " at %s:%" PRId64 "\n", file, line->line);
			return;
		}
	}
	if (l->mapping != 0) {
		const char *file = profile_text(profile,
		                                profile->mappings.v[l->mapping - 1].file);

		if (file[0])
			bytes_printf(out, " (%s)", base_name(file));
	}
	bytes_append(out, "\n", 1);
}

static void write_thread(const struct profile *profile, const struct dumped *dumped,
                         struct bytes *out)
{
	size_t n, nr = 0;
	const uint32_t *locations = profile_stack_locations(profile, dumped->sample->stack,
	                                                    &n);

	bytes_printf(out, "Thread %" PRId64, dumped->thread);
	if (dumped->process) {
		bytes_printf(out, " of process %" PRId64, dumped->process);
		if (dumped->process_name)
			bytes_printf(out, " (%s)", dumped->process_name);
	}
	if (dumped->name)
		bytes_printf(out, " \"%s\"", dumped->name);
	if (dumped->state)
		bytes_printf(out, " %s", dumped->state);
	if (dumped->object)
		bytes_printf(out, ", %s", dumped->object);
	if (dumped->owner)
		bytes_printf(out, " held by %" PRId64, dumped->owner);
	bytes_append(out, "\n", 1);
	for (size_t f = 0; f < n; f++) {
		const struct profile_location *l = &profile->locations.v[locations[f] - 1];

		for (size_t i = 0; i < (l->nlines > 0 ? l->nlines : 1); i++)
			write_frame(profile, locations[f], i, nr++, out);
	}
	bytes_append(out, "\n", 1);
}

void dump_write(struct profile *profile, struct bytes *out)
{
	size_t n = profile->samples.n;
	struct dumped *dumped = xcalloc(n + 1, sizeof *dumped);

	for (size_t i = 0; i < n; i++)
		dumped[i] = read_labels(profile, &profile->samples.v[i]);
	qsort(dumped, n, sizeof *dumped, compare);
	for (size_t i = 0; i < n; i++)
		write_thread(profile, &dumped[i], out);
	free(dumped);
}
