/* SPDX-License-Identifier: Apache-2.0 */
#include "base/reader.h"

#include <string.h>

struct reader reader_init(const void *data, size_t len)
{
	return (struct reader){.data = data, .len = data ? len : 0};
}

size_t reader_left(const struct reader *r)
{
	return r->failed ? 0 : r->len - r->pos;
}

void reader_seek(struct reader *r, size_t pos)
{
	if (r->failed || pos > r->len)
		r->failed = true;
	else
		r->pos = pos;
}

/* The next n bytes, or NULL. Everything below goes through here. */
static const uint8_t *take(struct reader *r, size_t n)
{
	if (n > reader_left(r))
		r->failed = true;
	if (r->failed)
		return NULL;
	const uint8_t *p = r->data + r->pos;
	r->pos += n;
	return p;
}

void reader_skip(struct reader *r, size_t n)
{
	if (n > 0)
		take(r, n);
}

static uint64_t little_endian(struct reader *r, size_t n)
{
	const uint8_t *p = take(r, n);
	uint64_t value = 0;

	if (!p)
		return 0;
	for (size_t i = n; i-- > 0;)
		value = value << 8 | p[i];
	return value;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)little_endian(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
	return (uint16_t)little_endian(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)little_endian(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return little_endian(r, 8);
}

/*
 * Ten bytes hold 70 bits. Of the tenth, only the lowest bit is part of a 64-bit
 * number; `sign_fill` is what its other six may be besides zero.
 */
static uint64_t leb(struct reader *r, uint8_t sign_fill, unsigned *shift, uint8_t *last)
{
	uint64_t value = 0;

	for (*shift = 0; *shift < 70; *shift += 7) {
		*last = reader_u8(r);
		if (r->failed)
			return 0;
		if (*shift == 63 && *last != sign_fill && *last > 1)
			break;
		value |= (uint64_t)(*last & 0x7f) << *shift;
		if (!(*last & 0x80)) {
			*shift += 7;
			return value;
		}
	}
	r->failed = true;
	return 0;
}

uint64_t reader_uleb(struct reader *r)
{
	unsigned shift;
	uint8_t last;

	return leb(r, 0, &shift, &last);
}

int64_t reader_sleb(struct reader *r)
{
	unsigned shift;
	uint8_t last = 0;
	uint64_t value = leb(r, 0x7f, &shift, &last);

	/* A tenth byte of 1 would be bit 63 without the sign's bits above it. */
	if (shift == 70 && last == 1)
		r->failed = true;
	if (r->failed)
		return 0;
	if (shift < 64 && (last & 0x40))
		value |= ~UINT64_C(0) << shift;
	return (int64_t)value;
}

const char *reader_cstr(struct reader *r)
{
	size_t left = reader_left(r);
	const uint8_t *start = left > 0 ? r->data + r->pos : NULL;
	const uint8_t *nul = start ? memchr(start, '\0', left) : NULL;

	if (!nul) {
		r->failed = true;
		return NULL;
	}
	take(r, (size_t)(nul - start) + 1);
	return (const char *)start;
}

const uint8_t *reader_bytes(struct reader *r, size_t n)
{
	return take(r, n);
}
