/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread was doing, as labels of its samples: `state`, and with
 * --wait-detail what it waited for. Few of them are different: they go by small
 * numbers, 0 for none.
 */
#ifndef CPROF_COLLECT_WAITS_H
#define CPROF_COLLECT_WAITS_H

#include <stddef.h>
#include <stdint.h>

#include "capture/snapshot.h"
#include "profile/profile.h"

#define WAITS_MAX_LABELS 3

struct waits;

struct waits *waits_new(void);
void waits_free(struct waits *waits);

/* "running", "runnable-waiting", "page-fault", "stopped", "sleeping", or the name of
 * the system call. `buf` holds what has no name: "syscall_999". */
const char *waits_state_name(enum snapshot_state state, long syscall, char *buf,
                             size_t size);

/* The number for what this snapshot shows. */
uint32_t waits_of(struct waits *waits, const struct snapshot *snap);
/* The number of a state by itself. */
uint32_t waits_of_state(struct waits *waits, enum snapshot_state state);

/* The number in `waits` for what is number `id` in another. */
uint32_t waits_take(struct waits *waits, const struct waits *from, uint32_t id);

/* How many bytes it holds. */
size_t waits_bytes(const struct waits *waits);

/* Fills labels[WAITS_MAX_LABELS]; how many. */
size_t waits_labels(const struct waits *waits, uint32_t id, struct profile *profile,
                    struct profile_label *labels);

/*
 * Adds the kernel's frames of a sleeping thread to `locations`, leaf first, at most
 * `max`: how many.
 */
size_t waits_kernel_frames(struct profile *profile, const struct snapshot *snap,
                           uint32_t *locations, size_t max);

#endif
