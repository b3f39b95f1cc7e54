/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   name_addresses [--no-lines] [--no-inlines] [--no-demangle] [--twice] FILE
 *
 * Names the code of an ELF file: reads addresses as its headers count them, in
 * hexadecimal, one a line, and prints a line for each, in which functions are
 * separated by tabs, the innermost inlined one first:
 *
 *     0x1139 <tab> square|/src/shapes.c|12|10 <tab> area|/src/shapes.c|30|25
 *
 * that is the function, its file, the line and the line at which it starts. With
 * --twice all is done once more by the same symbolizer, as in the next profile of a
 * run, and stderr has the seconds of both.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "symbol/symbol.h"

struct addresses {
	ARRAY(uint64_t) v;
};

static void read_addresses(struct addresses *addresses)
{
	char line[64];

	while (fgets(line, sizeof line, stdin))
		array_push(&addresses->v, strtoull(line, NULL, 16));
}

/* A profile with a location for each address; those may be the same. */
static struct profile *make_profile(const struct addresses *addresses, const char *file,
                                    uint32_t code, uint32_t *ids)
{
	struct profile *profile = profile_new();
	struct profile_mapping mapping = {
	        .limit = UINT64_MAX,
	        .file = profile_string(profile, file),
	        .code = code,
	};
	uint32_t id = profile_mapping(profile, &mapping);

	for (size_t i = 0; i < addresses->v.n; i++)
		ids[i] = profile_location(profile, id, addresses->v.v[i]);
	return profile;
}

static void print_location(const struct profile *profile, uint32_t id)
{
	const struct profile_location *location = &profile->locations.v[id - 1];

	printf("0x%" PRIx64, location->address);
	for (size_t i = 0; i < location->nlines; i++) {
		const struct profile_line *line =
		        &profile->lines.v[location->first_line + i];
		const struct profile_function *function =
		        &profile->functions.v[line->function - 1];

		printf("\t%s|", profile_text(profile, function->name));
		printf("%s|%" PRId64 "|%" PRId64, profile_text(profile, function->file),
		       line->line, function->start_line);
	}
	putchar('\n');
}

static double seconds_since(uint64_t from_ns)
{
	return (double)(clock_monotonic_ns() - from_ns) / (double)NS_PER_SEC;
}

int main(int argc, char **argv)
{
	struct symbol_options options = {0};
	struct module_cache *cache = module_cache_new();
	struct addresses addresses = {0};
	struct symbolizer *symbolizer;
	struct profile *profile;
	struct module *module;
	uint64_t start = clock_monotonic_ns();
	bool twice = false;
	uint32_t *ids, code;
	double first;
	int fd;

	for (int i = 1; i < argc - 1; i++) {
		options.no_lines |= strcmp(argv[i], "--no-lines") == 0;
		options.no_inlines |= strcmp(argv[i], "--no-inlines") == 0;
		options.no_demangle |= strcmp(argv[i], "--no-demangle") == 0;
		twice |= strcmp(argv[i], "--twice") == 0;
	}
	fd = argc > 1 ? open(argv[argc - 1], O_RDONLY | O_CLOEXEC) : -1;
	module = fd < 0 ? NULL : module_open_fd(cache, fd, argv[argc - 1]);
	if (!module) {
		fprintf(stderr, "name_addresses: give an ELF file of this processor\n");
		return 2;
	}
	read_addresses(&addresses);
	ids = xcalloc(addresses.v.n, sizeof *ids);
	symbolizer = symbolizer_new(&options);
	code = symbolizer_bind(symbolizer, module, 0, NULL);
	profile = make_profile(&addresses, argv[argc - 1], code, ids);
	symbolizer_fill(symbolizer, profile);
	first = seconds_since(start);
	for (size_t i = 0; i < addresses.v.n; i++)
		print_location(profile, ids[i]);
	profile_free(profile);
	if (twice) {
		start = clock_monotonic_ns();
		profile = make_profile(&addresses, argv[argc - 1], code, ids);
		symbolizer_fill(symbolizer, profile);
		fprintf(stderr, "%.4f %.4f\n", first, seconds_since(start));
		profile_free(profile);
	}
	symbolizer_free(symbolizer);
	module_cache_free(cache);
	free(ids);
	array_fini(&addresses.v);
	return 0;
}
