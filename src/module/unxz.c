/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "module/unxz.h"

bool unxz_is_built(void)
{
#ifdef HAVE_LZMA
	return true;
#else
	return false;
#endif
}

#ifdef HAVE_LZMA

#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

/* What the decoder may use: xz -9 needs 65 MiB. */
#define MEMORY_LIMIT ((uint64_t)96 << 20)
#define FIRST_SIZE   ((size_t)64 << 10)

/* Makes room for more of the output; false when that would be more than max. */
static bool grow(lzma_stream *stream, uint8_t **out, size_t max)
{
	size_t used = (size_t)stream->total_out, size;

	if (stream->avail_out > 0)
		return true;
	if (used >= max)
		return false;
	size = used == 0 ? FIRST_SIZE : 2 * used;
	if (size > max)
		size = max;
	*out = xreallocarray(*out, size, 1);
	stream->next_out = *out + used;
	stream->avail_out = size - used;
	return true;
}

uint8_t *unxz(const uint8_t *data, size_t len, size_t max, size_t *out_len)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret r = lzma_stream_decoder(&stream, MEMORY_LIMIT, 0);
	uint8_t *out = NULL;

	stream.next_in = data;
	stream.avail_in = len;
	while (r == LZMA_OK && grow(&stream, &out, max))
		r = lzma_code(&stream, LZMA_FINISH);
	*out_len = (size_t)stream.total_out;
	lzma_end(&stream);
	if (r == LZMA_STREAM_END && *out_len > 0)
		return out;
	free(out);
	return NULL;
}

#else

uint8_t *unxz(const uint8_t *data, size_t len, size_t max, size_t *out_len)
{
	(void)data;
	(void)len;
	(void)max;
	*out_len = 0;
	return NULL;
}

#endif
