/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pprof: proto/profile.proto, gzipped. What readers insist on beyond that file:
 *
 *   - ids of mappings, locations and functions are 1 … N in the order of the
 *     tables: those of struct profile are;
 *   - string 0 is "", and there is at least one mapping;
 *   - a location without lines is dropped by some: it gets a stand-in for a name;
 *   - a mapping that claims to have functions, files or line numbers is not
 *     symbolized again by pprof, so it may claim only what all its locations have,
 *     and a stand-in is no function;
 *   - a comment that begins with "executableInfo=" is taken for data.
 *
 * The messages are built as few large arrays, not one by one, and share with the
 * profile what they can: a profile may have a million samples.
 */
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "output/writer.h"
#include "proto/profile.pb-c.h"

#define Pb(message) Perftools__Profiles__##message

struct encoder {
	struct profile *profile;
	uint32_t *place; /* string of the profile -> its place in the file, or 0 */
	ARRAY(char *) strings;
	ARRAY(void *) blocks; /* to be freed */
	Pb(Profile) file;
};

/* Zeroed room that lives as long as the encoder. */
static void *block(struct encoder *e, size_t n, size_t size)
{
	void *p = xcalloc(n, size);

	array_push(&e->blocks, p);
	return p;
}

/* The place of a string in the file: only those that are asked for get one. */
static int64_t string(struct encoder *e, profile_str s)
{
	struct intern *strings = &e->profile->strings;

	if (s == 0)
		return 0;
	if (e->place[s] == 0) {
		e->place[s] = (uint32_t)e->strings.n;
		array_push(&e->strings,
		           (char *)strings->bytes.v + strings->entries.v[s].offset);
	}
	return e->place[s];
}

static void set_value_type(struct encoder *e, Pb(ValueType) * to,
                           const struct profile_value_type *from)
{
	perftools__profiles__value_type__init(to);
	to->type = string(e, from->type);
	to->unit = string(e, from->unit);
}

static void add_types(struct encoder *e)
{
	const struct profile *profile = e->profile;
	size_t n = profile->ntypes;
	Pb(ValueType) *types = block(e, n + 1, sizeof *types);
	const struct profile_value_type *period = &profile->period_type;

	e->file.sample_type = block(e, n, sizeof *e->file.sample_type);
	e->file.n_sample_type = n;
	for (size_t i = 0; i < n; i++) {
		set_value_type(e, &types[i], &profile->types[i]);
		e->file.sample_type[i] = &types[i];
	}
	if (period->type == 0 && n > 0)
		period = &profile->types[n - 1];
	set_value_type(e, &types[n], period);
	e->file.period_type = &types[n];
	e->file.period = profile->period;
}

/* What all locations of a mapping that were seen so far have. */
struct claims {
	bool any;
	bool functions;
	bool filenames;
	bool line_numbers;
	bool inlines; /* what one of them has */
};

static void weigh_location(const struct profile *profile,
                           const struct profile_location *location, struct claims *claims)
{
	if (!claims->any)
		*claims = (struct claims){true, true, true, true, false};
	for (size_t i = 0; i < location->nlines; i++) {
		const struct profile_line *line =
		        &profile->lines.v[location->first_line + i];
		const struct profile_function *function =
		        &profile->functions.v[line->function - 1];

		claims->functions &= function->system_name != 0;
		claims->filenames &= function->file != 0;
		claims->line_numbers &= line->line != 0;
	}
	claims->inlines |= location->nlines > 1;
}

static void set_mapping(struct encoder *e, Pb(Mapping) * to, size_t id,
                        const struct profile_mapping *from, const struct claims *claims)
{
	perftools__profiles__mapping__init(to);
	to->id = id;
	to->memory_start = from->start;
	to->memory_limit = from->limit;
	to->file_offset = from->offset;
	to->filename = string(e, from->file);
	to->build_id = string(e, from->build_id);
	to->has_functions = claims->functions;
	to->has_filenames = claims->filenames;
	to->has_line_numbers = claims->line_numbers;
	/* Where one location's lines are unknown, so is what was inlined there. */
	to->has_inline_frames = claims->functions && claims->filenames &&
	                        claims->line_numbers && claims->inlines;
}

/* Readers take a file's first mapping for its main binary. */
static void put_main_first(struct encoder *e)
{
	uint32_t id = profile_main(e->profile, e->profile->main_pid);
	Pb(Mapping) * main_mapping;

	if (id == 0)
		return;
	main_mapping = e->file.mapping[id - 1];
	memmove(e->file.mapping + 1, e->file.mapping, (id - 1) * sizeof *e->file.mapping);
	e->file.mapping[0] = main_mapping;
}

static void add_mappings(struct encoder *e)
{
	const struct profile *profile = e->profile;
	const struct profile_mapping none = {0};
	size_t n = profile->mappings.n > 0 ? profile->mappings.n : 1;
	Pb(Mapping) *mappings = block(e, n, sizeof *mappings);
	struct claims *claims = block(e, n + 1, sizeof *claims); /* by id */

	for (size_t i = 0; i < profile->locations.n; i++) {
		const struct profile_location *location = &profile->locations.v[i];

		weigh_location(profile, location, &claims[location->mapping]);
	}
	e->file.mapping = block(e, n, sizeof *e->file.mapping);
	e->file.n_mapping = n;
	for (size_t i = 0; i < n; i++) {
		const struct profile_mapping *from = i < profile->mappings.n
		                                             ? &profile->mappings.v[i]
		                                             : &none;

		set_mapping(e, &mappings[i], i + 1, from, &claims[i + 1]);
		e->file.mapping[i] = &mappings[i];
	}
	put_main_first(e);
}

static void add_locations(struct encoder *e)
{
	const struct profile *profile = e->profile;
	size_t nlocations = profile->locations.n, nlines = profile->lines.n;
	Pb(Location) *locations = block(e, nlocations, sizeof *locations);
	Pb(Line) *lines = block(e, nlines, sizeof *lines);
	Pb(Line) **line_at = block(e, nlines, sizeof *line_at);

	for (size_t i = 0; i < nlines; i++) {
		perftools__profiles__line__init(&lines[i]);
		lines[i].function_id = profile->lines.v[i].function;
		lines[i].line = profile->lines.v[i].line;
		line_at[i] = &lines[i];
	}
	e->file.location = block(e, nlocations, sizeof *e->file.location);
	e->file.n_location = nlocations;
	for (size_t i = 0; i < nlocations; i++) {
		const struct profile_location *from = &profile->locations.v[i];

		perftools__profiles__location__init(&locations[i]);
		locations[i].id = i + 1;
		locations[i].mapping_id = from->mapping;
		locations[i].address = from->address;
		locations[i].n_line = from->nlines;
		locations[i].line = line_at + from->first_line;
		e->file.location[i] = &locations[i];
	}
}

static void add_functions(struct encoder *e)
{
	const struct profile *profile = e->profile;
	size_t n = profile->functions.n;
	Pb(Function) *functions = block(e, n, sizeof *functions);

	e->file.function = block(e, n, sizeof *e->file.function);
	e->file.n_function = n;
	for (size_t i = 0; i < n; i++) {
		const struct profile_function *from = &profile->functions.v[i];
		profile_str system_name = from->system_name ? from->system_name
		                                            : from->name;

		perftools__profiles__function__init(&functions[i]);
		functions[i].id = i + 1;
		functions[i].name = string(e, from->name);
		functions[i].system_name = string(e, system_name);
		functions[i].filename = string(e, from->file);
		functions[i].start_line = from->start_line;
		e->file.function[i] = &functions[i];
	}
}

/* Location ids as the file wants them, of all stacks; stack s begins at start[s]. */
static uint64_t *widen_stacks(struct encoder *e, size_t *start)
{
	const struct profile *profile = e->profile;
	size_t nstacks = intern_count(&profile->stacks), total = 0, n;

	for (size_t s = 0; s < nstacks; s++) {
		start[s] = total;
		profile_stack_locations(profile, (uint32_t)s, &n);
		total += n;
	}
	start[nstacks] = total;
	uint64_t *ids = block(e, total, sizeof *ids);
	for (size_t s = 0; s < nstacks; s++) {
		const uint32_t *stack = profile_stack_locations(profile, (uint32_t)s, &n);

		for (size_t i = 0; i < n; i++)
			ids[start[s] + i] = stack[i];
	}
	return ids;
}

static void set_label(struct encoder *e, Pb(Label) * to, const struct profile_label *from)
{
	perftools__profiles__label__init(to);
	to->key = string(e, from->key);
	to->str = string(e, from->str);
	to->num = from->num;
	to->num_unit = string(e, from->num_unit);
}

/* The labels of all sets; set s begins at start[s]. */
static Pb(Label) * *make_labels(struct encoder *e, size_t *start)
{
	const struct profile *profile = e->profile;
	size_t nsets = intern_count(&profile->labels), total = 0, n;

	for (size_t s = 0; s < nsets; s++) {
		start[s] = total;
		profile_label_set(profile, (uint32_t)s, &n);
		total += n;
	}
	start[nsets] = total;
	Pb(Label) *labels = block(e, total, sizeof *labels);
	Pb(Label) **label_at = block(e, total, sizeof *label_at);
	for (size_t s = 0; s < nsets; s++) {
		const struct profile_label *set = profile_label_set(profile, (uint32_t)s,
		                                                    &n);

		for (size_t i = 0; i < n; i++) {
			set_label(e, &labels[start[s] + i], &set[i]);
			label_at[start[s] + i] = &labels[start[s] + i];
		}
	}
	return label_at;
}

static void add_samples(struct encoder *e)
{
	struct profile *profile = e->profile;
	size_t n = profile->samples.n;
	Pb(Sample) *samples = block(e, n, sizeof *samples);
	size_t *stack_start = block(e, intern_count(&profile->stacks) + 1, sizeof(size_t));
	size_t *label_start = block(e, intern_count(&profile->labels) + 1, sizeof(size_t));
	uint64_t *ids = widen_stacks(e, stack_start);
	Pb(Label) **labels = make_labels(e, label_start);

	e->file.sample = block(e, n, sizeof *e->file.sample);
	e->file.n_sample = n;
	for (size_t i = 0; i < n; i++) {
		struct profile_sample *from = &profile->samples.v[i];
		Pb(Sample) *to = &samples[i];

		perftools__profiles__sample__init(to);
		to->location_id = ids + stack_start[from->stack];
		to->n_location_id = stack_start[from->stack + 1] - stack_start[from->stack];
		to->value = from->value;
		to->n_value = profile->ntypes;
		to->label = labels + label_start[from->labels];
		to->n_label = label_start[from->labels + 1] - label_start[from->labels];
		e->file.sample[i] = to;
	}
}

static void add_comments(struct encoder *e)
{
	const struct profile *profile = e->profile;

	e->file.comment = block(e, profile->comments.n, sizeof *e->file.comment);
	e->file.n_comment = profile->comments.n;
	for (size_t i = 0; i < profile->comments.n; i++)
		e->file.comment[i] = string(e, profile->comments.v[i]);
}

/* Before anything is built: these add to the tables of the profile. */
static void prepare(struct profile *profile)
{
	static const char taken[] = "executableInfo=";
	char buf[PATH_MAX];

	for (size_t i = 0; i < profile->locations.n; i++) {
		uint32_t id = (uint32_t)i + 1;

		if (profile->locations.v[i].nlines > 0)
			continue;
		const char *name = profile_location_name(profile, id, 0, buf, sizeof buf);
		struct profile_function f = {.name = profile_string(profile, name)};
		struct profile_line line = {.function = profile_function(profile, &f)};
		profile_set_lines(profile, id, &line, 1);
	}
	for (size_t i = 0; i < profile->comments.n; i++) {
		const char *text = profile_text(profile, profile->comments.v[i]);

		if (strncmp(text, taken, sizeof taken - 1) != 0)
			continue;
		char *moved = xasprintf(" %s", text);
		profile->comments.v[i] = profile_string(profile, moved);
		free(moved);
	}
}

static void pack(struct profile *profile, struct bytes *out)
{
	static char empty[] = "";
	struct encoder e = {.profile = profile};

	perftools__profiles__profile__init(&e.file);
	e.place = block(&e, intern_count(&profile->strings), sizeof *e.place);
	array_push(&e.strings, empty);
	add_types(&e);
	add_samples(&e);
	add_mappings(&e);
	add_locations(&e);
	add_functions(&e);
	add_comments(&e);
	e.file.time_nanos = profile->time_ns;
	e.file.duration_nanos = profile->duration_ns;
	e.file.string_table = e.strings.v;
	e.file.n_string_table = e.strings.n;

	size_t size = perftools__profiles__profile__get_packed_size(&e.file);
	array_reserve(out, size);
	out->n += perftools__profiles__profile__pack(&e.file, out->v + out->n);

	for (size_t i = 0; i < e.blocks.n; i++)
		free(e.blocks.v[i]);
	array_fini(&e.blocks);
	array_fini(&e.strings);
}

/* Feeds zlib in pieces: it counts in 32 bits. Z_STREAM_END when all went well. */
static int deflate_all(z_stream *z, struct bytes *in, struct bytes *out)
{
	const size_t piece = 1 << 20;
	size_t fed = 0;
	int status;

	do {
		if (z->avail_in == 0 && fed < in->n) {
			size_t left = in->n - fed;

			z->next_in = in->v + fed;
			z->avail_in = (uInt)(left < piece ? left : piece);
			fed += z->avail_in;
		}
		array_reserve(out, piece);
		z->next_out = out->v + out->n;
		z->avail_out = (uInt)piece;
		status = deflate(z, fed < in->n ? Z_NO_FLUSH : Z_FINISH);
		out->n += piece - z->avail_out;
	} while (status == Z_OK || status == Z_BUF_ERROR);
	return status;
}

static int gzip(struct bytes *in, struct bytes *out, struct error *err)
{
	z_stream z = {0};
	const int gzip_window = 15 + 16; /* + 16: gzip's header and trailer */
	int status = deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window, 8,
	                          Z_DEFAULT_STRATEGY);

	if (status == Z_OK) {
		status = deflate_all(&z, in, out);
		deflateEnd(&z);
	}
	if (status != Z_STREAM_END)
		return error_set(err, EXIT_CODE_FAILURE, "cannot compress the profile: %s",
		                 zError(status));
	return 0;
}

static int pprof_write(struct profile *profile, struct bytes *out, struct error *err)
{
	struct bytes packed = {0};

	prepare(profile);
	pack(profile, &packed);
	int status = gzip(&packed, out, err);
	bytes_fini(&packed);
	return status;
}

/* Readers tell gzip by its first bytes, whatever the name says; so .pb is gzipped too. */
static const char *const suffixes[] = {".pb.gz", ".pb", ".pprof", NULL};

const struct writer writer_pprof = {
        .name = "pprof",
        .suffixes = suffixes,
        .description = "pprof's profile.proto, gzipped (go tool pprof, Parca, speedscope)",
        .write = pprof_write,
};
