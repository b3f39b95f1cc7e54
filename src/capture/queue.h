/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded way from the capture process (one producer) to the thread that
 * unwinds (one consumer). The producer never waits: a full queue is a missed
 * sample, and counted as that.
 */
#ifndef CPROF_CAPTURE_QUEUE_H
#define CPROF_CAPTURE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "capture/snapshot.h"

struct queue;

/* `capacity` is a power of two. */
struct queue *queue_new(size_t capacity);
void queue_free(struct queue *queue);

/* Producer: an empty snapshot to fill, or NULL when full. */
struct snapshot *queue_reserve(struct queue *queue);
/* Producer: hands over the one that was reserved. */
void queue_commit(struct queue *queue);
/* Producer: no more will come; wakes the consumer. */
void queue_close(struct queue *queue);

/* How many more snapshots fit now, as the producer sees it. */
size_t queue_room(const struct queue *queue);

/* Consumer: waits for the oldest; NULL when closed and empty. */
struct snapshot *queue_wait(struct queue *queue);
/* Consumer: gives the slot of the last queue_wait back. */
void queue_done(struct queue *queue);

#endif
