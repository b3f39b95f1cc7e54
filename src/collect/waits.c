/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/waits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/mem.h"
#include "target/syscalls.h"

/* What makes one number differ from another; without holes. */
struct wait_key {
	uint32_t state; /* strings */
	uint32_t object;
	int32_t owner;
};

struct waits {
	struct intern strings;
	struct intern keys; /* entry n is number n + 1 */
};

struct waits *waits_new(void)
{
	struct waits *waits = xcalloc(1, sizeof *waits);

	(void)intern_add(&waits->strings, "", 0);
	return waits;
}

void waits_free(struct waits *waits)
{
	if (!waits)
		return;
	intern_fini(&waits->strings);
	intern_fini(&waits->keys);
	free(waits);
}

const char *waits_state_name(enum snapshot_state state, long syscall, char *buf,
                             size_t size)
{
	const char *name = syscall_name(syscall);

	switch (state) {
	case SNAPSHOT_RUNNING:
		return "running";
	case SNAPSHOT_RUNNABLE:
		return "runnable-waiting";
	case SNAPSHOT_FAULT:
		return "page-fault";
	case SNAPSHOT_JOB_STOP:
		return "stopped";
	case SNAPSHOT_UNKNOWN:
		return "sleeping";
	case SNAPSHOT_SYSCALL:
		break;
	}
	if (name)
		return name;
	snprintf(buf, size, "syscall_%ld", syscall);
	return buf;
}

static uint32_t enter(struct waits *waits, const char *state, const char *object,
                      pid_t owner)
{
	struct wait_key key = {
	        .state = intern_add(&waits->strings, state, strlen(state)),
	        .object = intern_add(&waits->strings, object, strlen(object)),
	        .owner = owner,
	};

	return intern_add(&waits->keys, &key, sizeof key) + 1;
}

uint32_t waits_of(struct waits *waits, const struct snapshot *snap)
{
	char buf[32];

	return enter(waits, waits_state_name(snap->state, snap->syscall, buf, sizeof buf),
	             snap->wait_object, snap->wait_owner);
}

uint32_t waits_of_state(struct waits *waits, enum snapshot_state state)
{
	char buf[32];

	return enter(waits, waits_state_name(state, -1, buf, sizeof buf), "", 0);
}

uint32_t waits_take(struct waits *waits, const struct waits *from, uint32_t id)
{
	const struct wait_key *key;

	if (id == 0)
		return 0;
	key = intern_get(&from->keys, id - 1, NULL);
	return enter(waits, intern_get(&from->strings, key->state, NULL),
	             intern_get(&from->strings, key->object, NULL), key->owner);
}

size_t waits_bytes(const struct waits *waits)
{
	return waits->strings.bytes.cap + waits->keys.bytes.cap +
	       (waits->strings.entries.cap + waits->keys.entries.cap) *
	               sizeof(struct intern_entry);
}

static profile_str text_of(const struct waits *waits, struct profile *profile,
                           uint32_t string)
{
	return profile_string(profile, intern_get(&waits->strings, string, NULL));
}

size_t waits_labels(const struct waits *waits, uint32_t id, struct profile *profile,
                    struct profile_label *labels)
{
	const struct wait_key *key;
	size_t n = 0;

	if (id == 0)
		return 0;
	key = intern_get(&waits->keys, id - 1, NULL);
	labels[n++] = (struct profile_label){
	        .key = profile_string(profile, "state"),
	        .str = text_of(waits, profile, key->state),
	};
	if (key->object)
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "wait_object"),
		        .str = text_of(waits, profile, key->object),
		};
	if (key->owner)
		labels[n++] = (struct profile_label){
		        .key = profile_string(profile, "wait_owner"),
		        .num = key->owner,
		};
	return n;
}

size_t waits_kernel_frames(struct profile *profile, const struct snapshot *snap,
                           uint32_t *locations, size_t max)
{
	const char *text = (const char *)snap->bytes + snap->kernel_offset;
	const char *end = text + snap->kernel_len;
	struct profile_mapping kernel = {.is_kernel = true};
	char name[256];
	uint32_t mapping;
	size_t n = 0;

	if (snap->kernel_len == 0)
		return 0;
	kernel.file = profile_string(profile, "[kernel.kallsyms]");
	mapping = profile_mapping(profile, &kernel);
	while (n < max && procfs_next_kernel_frame(&text, end, name, sizeof name))
		locations[n++] = profile_named(profile, mapping, name);
	return n;
}
