/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/spans.h"

#include <stdlib.h>

void spans_add(struct spans *spans, uint64_t start, uint64_t end, uint32_t value)
{
	struct span span = {start, end, value, (uint32_t)spans->spans.n};

	if (start < end && spans->spans.n < UINT32_MAX)
		array_push(&spans->spans, span);
}

static int compare_spans(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static void emit(struct spans *spans, uint64_t start, uint32_t value)
{
	struct span_edge edge = {start, value};

	if (spans->edges.n > 0) {
		struct span_edge *last = &spans->edges.v[spans->edges.n - 1];

		if (last->value == value)
			return;
		if (last->start == start) {
			last->value = value;
			return;
		}
	}
	array_push(&spans->edges, edge);
}

struct open_spans {
	ARRAY(uint32_t) v; /* that began and may still reach on; the last one on top */
	uint64_t at;       /* everything below is decided */
};

/* Decides everything below `to`. */
static void advance(struct spans *spans, struct open_spans *open, uint64_t to)
{
	while (open->at < to) {
		const struct span *top;

		if (open->v.n == 0) {
			emit(spans, open->at, SPANS_NONE);
			open->at = to;
			return;
		}
		top = &spans->spans.v[open->v.v[open->v.n - 1]];
		if (top->end <= open->at) {
			open->v.n--;
			continue;
		}
		emit(spans, open->at, top->value);
		open->at = top->end < to ? top->end : to;
	}
}

void spans_build(struct spans *spans)
{
	struct open_spans open = {0};

	if (spans->spans.n == 0)
		return;
	qsort(spans->spans.v, spans->spans.n, sizeof spans->spans.v[0], compare_spans);
	for (size_t i = 0; i < spans->spans.n; i++) {
		advance(spans, &open, spans->spans.v[i].start);
		array_push(&open.v, (uint32_t)i);
	}
	advance(spans, &open, UINT64_MAX);
	array_fini(&open.v);
	array_fini(&spans->spans);
}

uint32_t spans_find(const struct spans *spans, uint64_t address)
{
	size_t low = 0, high = spans->edges.n;

	/* The last edge at or below the address. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (spans->edges.v[mid].start <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 ? spans->edges.v[low - 1].value : SPANS_NONE;
}

void spans_fini(struct spans *spans)
{
	array_fini(&spans->spans);
	array_fini(&spans->edges);
}
