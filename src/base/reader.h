/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded little-endian reader over bytes that somebody else controls. The
 * first access past the end sets `failed`; from then on every read returns
 * zeroes and moves nothing, so a parser checks once, at its end.
 */
#ifndef CPROF_BASE_READER_H
#define CPROF_BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
	const uint8_t *data;
	size_t len;
	size_t pos;
	bool failed;
};

struct reader reader_init(const void *data, size_t len);
size_t reader_left(const struct reader *r);
/* Moves to an absolute position; past the end fails. */
void reader_seek(struct reader *r, size_t pos);
void reader_skip(struct reader *r, size_t n);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* LEB128 of at most 64 bits; a longer one fails (DWARF 5, 7.6). */
uint64_t reader_uleb(struct reader *r);
int64_t reader_sleb(struct reader *r);
/* A NUL-terminated string inside the data; NULL (and failed) without a NUL. */
const char *reader_cstr(struct reader *r);
/* n bytes in place, or NULL. */
const uint8_t *reader_bytes(struct reader *r, size_t n);

#endif
