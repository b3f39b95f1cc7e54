/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile in memory: sample types, mappings, locations, interned stacks and
 * label sets, and their values. It knows nothing of processes: outputs are
 * tested from profiles made by hand. The shape is that of pprof's
 * profile.proto, because that is the richest of the formats written.
 *
 * Ids of mappings, locations and functions are 1, 2, 3 … in order of entry, 0
 * means none. Ids of stacks and label sets count from 0.
 */
#ifndef CPROF_PROFILE_PROFILE_H
#define CPROF_PROFILE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/array.h"
#include "base/hashmap.h"
#include "base/intern.h"

#define PROFILE_MAX_TYPES 4

/* Strings of a profile are numbers in its string table, `strings`; 0 is "". */
typedef uint32_t profile_str;

struct profile_value_type {
	profile_str type; /* "cpu" */
	profile_str unit; /* "nanoseconds" */
};

struct profile_mapping {
	uint64_t start;
	uint64_t limit;
	uint64_t offset;
	profile_str file;
	profile_str build_id; /* lowercase hex */
	bool is_kernel;
	uint32_t code; /* whose code it is, as symbolizer_bind numbers it; 0: unknown */
};

struct profile_function {
	profile_str name;        /* to show */
	profile_str system_name; /* as the linker knows it; 0: the name is a stand-in
				    ("libfoo.so+0x12"), not a symbol's */
	profile_str file;
	int64_t start_line;
};

struct profile_line {
	uint32_t function; /* id */
	int64_t line;      /* 0: unknown */
};

struct profile_location {
	uint32_t mapping; /* id, or 0 */
	uint64_t address;
	bool is_pseudo;    /* stands for no code: "[not sampled]", or has no address */
	size_t first_line; /* its lines are profile.lines.v[first_line …] */
	size_t nlines;     /* innermost inlined function first */
};

/* A label has a string value, or a number with an optional unit. */
struct profile_label {
	profile_str key;
	profile_str str; /* 0: a number */
	int64_t num;
	profile_str num_unit;
};

struct profile_sample {
	uint32_t stack;
	uint32_t labels;
	int64_t value[PROFILE_MAX_TYPES];
};

struct profile {
	struct profile_value_type types[PROFILE_MAX_TYPES];
	size_t ntypes; /* the last one is what readers show first */
	struct profile_value_type period_type;
	int64_t period;
	int64_t time_ns; /* start, since the epoch */
	int64_t duration_ns;
	struct intern strings;                    /* entry 0 is "" */
	ARRAY(struct profile_mapping) mappings;   /* id - 1 */
	ARRAY(struct profile_location) locations; /* id - 1 */
	ARRAY(struct profile_function) functions; /* id - 1 */
	ARRAY(struct profile_line) lines;
	ARRAY(struct profile_sample) samples; /* distinct (stack, labels) */
	ARRAY(profile_str) comments;
	struct hashmap mains; /* pid -> id of the mapping of its main binary */
	int64_t main_pid;     /* the first process of those, or 0 */
	struct intern stacks; /* entry: uint32_t location ids, leaf first */
	struct intern labels; /* entry: struct profile_label[]; entry 0 has none */
	/* How the entries above are found again. */
	struct intern location_keys;
	struct intern function_keys;
	struct intern mapping_keys;
	struct hashmap sample_index;
};

/* An empty profile. profile_free(NULL) is fine. */
struct profile *profile_new(void);
void profile_free(struct profile *profile);

/* Adds a sample type; at most PROFILE_MAX_TYPES, before the first sample. */
void profile_add_type(struct profile *profile, const char *type, const char *unit);
void profile_set_period(struct profile *profile, const char *type, const char *unit,
                        int64_t period);

/* Gives an empty profile the types, the period and the times of another. */
void profile_set_like(struct profile *profile, const struct profile *other);

/*
 * Enters a string; bytes that are no valid UTF-8, and control characters, become
 * U+FFFD. NULL is "".
 */
profile_str profile_string(struct profile *profile, const char *s);
/* The string behind a number; good until the next profile_string. */
const char *profile_text(const struct profile *profile, profile_str s);

/*
 * Says which mapping (an id) is that of the program a process runs; the last word
 * counts. Readers are to take the profile for one of the first process said.
 */
void profile_set_main(struct profile *profile, int64_t pid, uint32_t mapping);
/* The mapping of a process's program, or 0. */
uint32_t profile_main(const struct profile *profile, int64_t pid);

/* Each returns the id of an equal entry, made now if there is none. */
uint32_t profile_mapping(struct profile *profile, const struct profile_mapping *mapping);
uint32_t profile_location(struct profile *profile, uint32_t mapping, uint64_t address);
uint32_t profile_function(struct profile *profile, const struct profile_function *function);
/* A location that stands for no code, with one function of that name. */
uint32_t profile_pseudo(struct profile *profile, const char *name);
/* The same in a mapping (or 0): code whose address is hidden from us. */
uint32_t profile_named(struct profile *profile, uint32_t mapping, const char *name);

/*
 * Whether it holds as many stacks, locations or mappings as it should ever hold (some 200
 * MiB of memory). No program has so many; a target that makes them up could take all
 * memory otherwise. Nothing is refused: who adds stacks must ask.
 */
bool profile_is_full(const struct profile *profile);

/* Gives a location its lines (copied), innermost first; once for each. */
void profile_set_lines(struct profile *profile, uint32_t location,
                       const struct profile_line *lines, size_t n);

uint32_t profile_stack(struct profile *profile, const uint32_t *locations, size_t n);
/* Order does not matter: sets are sorted by key before they are compared. */
uint32_t profile_labels(struct profile *profile, const struct profile_label *labels,
                        size_t n);

/* Adds values[ntypes] to the sample of this stack and these labels. */
void profile_add(struct profile *profile, uint32_t stack, uint32_t labels,
                 const int64_t *values);

/*
 * Adds the samples of another profile of the same types, with all that they refer
 * to; comments, times and the period stay as they are. A location that has lines
 * in both keeps those of `to`.
 */
void profile_merge(struct profile *to, const struct profile *from);

/* One location or stack of another profile, entered here without its lines. */
uint32_t profile_take_location(struct profile *to, const struct profile *from, uint32_t id);
uint32_t profile_take_stack(struct profile *to, const struct profile *from, uint32_t stack);

/* How many bytes it holds, its own tables all counted. */
size_t profile_bytes(const struct profile *profile);

void profile_comment(struct profile *profile, const char *fmt, ...)
        __attribute__((format(printf, 2, 3)));

/* Views of interned entries; good until the next entry is made. */
const uint32_t *profile_stack_locations(const struct profile *profile, uint32_t stack,
                                        size_t *n);
const struct profile_label *profile_label_set(const struct profile *profile,
                                              uint32_t labels, size_t *n);

/* The name a reader would show for a location's line `i`, or "file+0xoffset"
 * put together in buf when it has none. */
const char *profile_location_name(const struct profile *profile, uint32_t location,
                                  size_t i, char *buf, size_t size);

#endif
