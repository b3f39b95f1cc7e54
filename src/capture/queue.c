/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/queue.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

/* What most snapshots fill of their slot. */
#define TOUCHED_BYTES (20 * 1024)

/*
 * A ring. `head` counts what was committed, `tail` what was given back. The
 * semaphore is for sleeping and waking alone; the producer posts it only when the
 * consumer has said that it sleeps. A mutex would not do: the producer may be
 * killed at any instant, and whoever then closes the queue would wait for it.
 */
struct queue {
	struct snapshot *slots;
	size_t capacity;
	uint8_t *
	        bytes; /* capacity x SNAPSHOT_MAX_BYTES, the rest touched only where used */
	_Atomic size_t head;
	_Atomic size_t tail;
	_Atomic bool closed;
	_Atomic bool sleeping;
	sem_t filled;
};

struct queue *queue_new(size_t capacity)
{
	struct queue *queue = xcalloc(1, sizeof *queue);

	assert(capacity > 0 && (capacity & (capacity - 1)) == 0);
	queue->capacity = capacity;
	queue->slots = xcalloc(capacity, sizeof *queue->slots);
	queue->bytes = mmap(NULL, capacity * SNAPSHOT_MAX_BYTES, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (queue->bytes == MAP_FAILED) {
		free(queue->slots);
		free(queue);
		return NULL;
	}
	for (size_t i = 0; i < capacity; i++) {
		queue->slots[i].bytes = queue->bytes + i * SNAPSHOT_MAX_BYTES;
		/* Touched now: a page fault later would be part of a thread's stop. */
		memset(queue->slots[i].bytes, 0, TOUCHED_BYTES);
	}
	sem_init(&queue->filled, 0, 0);
	return queue;
}

void queue_free(struct queue *queue)
{
	if (!queue)
		return;
	sem_destroy(&queue->filled);
	munmap(queue->bytes, queue->capacity * SNAPSHOT_MAX_BYTES);
	free(queue->slots);
	free(queue);
}

size_t queue_room(const struct queue *queue)
{
	return queue->capacity - (atomic_load(&queue->head) - atomic_load(&queue->tail));
}

struct snapshot *queue_reserve(struct queue *queue)
{
	struct snapshot *slot;
	uint8_t *bytes;

	if (queue_room(queue) == 0)
		return NULL;
	slot = &queue->slots[atomic_load(&queue->head) & (queue->capacity - 1)];
	bytes = slot->bytes;
	*slot = (struct snapshot){.bytes = bytes};
	return slot;
}

void queue_commit(struct queue *queue)
{
	atomic_fetch_add(&queue->head, 1);
	if (atomic_load(&queue->sleeping))
		sem_post(&queue->filled);
}

void queue_close(struct queue *queue)
{
	atomic_store(&queue->closed, true);
	/* Whether it sleeps or not: a producer may have ended before its post. */
	sem_post(&queue->filled);
}

static bool is_empty(const struct queue *queue)
{
	return atomic_load(&queue->head) == atomic_load(&queue->tail);
}

struct snapshot *queue_wait(struct queue *queue)
{
	while (is_empty(queue) && !atomic_load(&queue->closed)) {
		/* Said before the queue is looked at again, so that no wake is lost. A post
		 * too many only makes us look once more. */
		atomic_store(&queue->sleeping, true);
		if (is_empty(queue) && !atomic_load(&queue->closed))
			(void)sem_wait(&queue->filled);
		atomic_store(&queue->sleeping, false);
	}
	/* What was committed before the close is still handed out. */
	if (is_empty(queue))
		return NULL;
	return &queue->slots[atomic_load(&queue->tail) & (queue->capacity - 1)];
}

void queue_done(struct queue *queue)
{
	atomic_fetch_add(&queue->tail, 1);
}
