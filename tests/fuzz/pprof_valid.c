/* SPDX-License-Identifier: Apache-2.0 */
#include "pprof_valid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/mem.h"
#include "profile/utf8.h"
#include "proto/profile.pb-c.h"

#define Pb(message) Perftools__Profiles__##message

/* With many of them, a stack does not say which. */
#define require(holds) ((holds) ? (void)0 : fail(#holds))

static void fail(const char *what)
{
	fprintf(stderr, "this is no profile: %s\n", what);
	abort();
}

/* Malloc'ed. */
static uint8_t *gunzip(const uint8_t *data, size_t len, size_t *out_len)
{
	z_stream z = {.next_in = (uint8_t *)(uintptr_t)data, .avail_in = (uInt)len};
	uint8_t *out = NULL;
	size_t room = 0;
	int status = Z_OK;

	*out_len = 0;
	require(inflateInit2(&z, 15 + 16) == Z_OK);
	while (status == Z_OK) {
		room += 65536;
		out = xreallocarray(out, room, 1);
		z.next_out = out + *out_len;
		z.avail_out = (uInt)(room - *out_len);
		status = inflate(&z, Z_NO_FLUSH);
		*out_len = room - z.avail_out;
	}
	require(status == Z_STREAM_END && z.avail_in == 0);
	inflateEnd(&z);
	return out;
}

static void require_string(const Pb(Profile) * p, int64_t string)
{
	require(string >= 0 && (uint64_t)string < p->n_string_table);
}

static void require_type(const Pb(Profile) * p, const Pb(ValueType) * type)
{
	require_string(p, type->type);
	require_string(p, type->unit);
	require(type->type != 0 && type->unit != 0);
}

static void check_tables(const Pb(Profile) * p)
{
	require(p->n_string_table > 0 && strlen(p->string_table[0]) == 0);
	for (size_t i = 0; i < p->n_string_table; i++)
		require(utf8_is_clean(p->string_table[i], strlen(p->string_table[i])));
	for (size_t i = 0; i < p->n_sample_type; i++)
		require_type(p, p->sample_type[i]);
	require(p->period_type != NULL);
	require_type(p, p->period_type);
	for (size_t i = 0; i < p->n_comment; i++)
		require_string(p, p->comment[i]);
	require(p->drop_frames == 0 && p->keep_frames == 0 && p->default_sample_type == 0);
}

static void check_mappings(const Pb(Profile) * p)
{
	require(p->n_mapping > 0);
	for (size_t i = 0; i < p->n_mapping; i++) {
		const Pb(Mapping) *mapping = p->mapping[i];

		require(mapping->id == i + 1);
		require(mapping->memory_start <= mapping->memory_limit);
		require_string(p, mapping->filename);
		require_string(p, mapping->build_id);
	}
}

static void check_functions(const Pb(Profile) * p)
{
	for (size_t i = 0; i < p->n_function; i++) {
		const Pb(Function) *function = p->function[i];

		require(function->id == i + 1 && function->name != 0);
		require_string(p, function->name);
		require_string(p, function->system_name);
		require_string(p, function->filename);
		require(function->start_line >= 0);
	}
}

static void check_locations(const Pb(Profile) * p)
{
	for (size_t i = 0; i < p->n_location; i++) {
		const Pb(Location) *location = p->location[i];
		const Pb(Mapping) * mapping;

		require(location->id == i + 1 && location->n_line > 0);
		for (size_t j = 0; j < location->n_line; j++) {
			const Pb(Line) *line = location->line[j];

			require(line->line >= 0 && line->function_id >= 1 &&
			        line->function_id <= p->n_function);
		}
		require(location->mapping_id <= p->n_mapping);
		if (location->mapping_id == 0 || location->address == 0)
			continue;
		mapping = p->mapping[location->mapping_id - 1];
		require(location->address >= mapping->memory_start &&
		        location->address < mapping->memory_limit);
	}
}

static void check_label(const Pb(Profile) * p, const Pb(Label) * label)
{
	require(label->key != 0 && (label->str == 0 || label->num == 0));
	require_string(p, label->key);
	require_string(p, label->str);
	require_string(p, label->num_unit);
}

static int64_t check_samples(const Pb(Profile) * p)
{
	int64_t sum = 0;

	for (size_t i = 0; i < p->n_sample; i++) {
		const Pb(Sample) *sample = p->sample[i];

		require(sample->n_value == p->n_sample_type && sample->n_location_id > 0);
		for (size_t j = 0; j < sample->n_location_id; j++)
			require(sample->location_id[j] >= 1 &&
			        sample->location_id[j] <= p->n_location);
		for (size_t j = 0; j < sample->n_label; j++)
			check_label(p, sample->label[j]);
		sum += sample->value[sample->n_value - 1];
	}
	return sum;
}

int64_t pprof_require_valid(const uint8_t *data, size_t len)
{
	size_t raw_len;
	uint8_t *raw = gunzip(data, len, &raw_len);
	Pb(Profile) *p = perftools__profiles__profile__unpack(NULL, raw_len, raw);
	int64_t sum;

	free(raw);
	require(p != NULL);
	check_tables(p);
	check_mappings(p);
	check_functions(p);
	check_locations(p);
	sum = check_samples(p);
	perftools__profiles__profile__free_unpacked(p, NULL);
	return sum;
}
