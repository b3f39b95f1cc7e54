/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/utf8.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#define REPLACEMENT "\xef\xbf\xbd"

/*
 * By the lead byte: the length, and what the second byte may be. That narrower
 * range keeps out overlong forms, surrogates and what is above U+10FFFF.
 */
struct lead {
	uint8_t first, last; /* lead bytes */
	uint8_t len;
	uint8_t low, high; /* of the second byte */
};

static const struct lead leads[] = {
        {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
        {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f},
        {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
        {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct lead *find_lead(uint8_t byte)
{
	for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++)
		if (byte >= leads[i].first && byte <= leads[i].last)
			return &leads[i];
	return NULL;
}

size_t utf8_sequence(const char *s, size_t len, bool *valid)
{
	const uint8_t *p = (const uint8_t *)s;
	const struct lead *lead = find_lead(p[0]);
	size_t n = 1;

	*valid = p[0] < 0x80;
	if (!lead)
		return 1;
	while (n < lead->len && n < len) {
		uint8_t low = n == 1 ? lead->low : 0x80;
		uint8_t high = n == 1 ? lead->high : 0xbf;

		if (p[n] < low || p[n] > high)
			return n;
		n++;
	}
	*valid = n == lead->len;
	return n;
}

/* U+0000 … U+001F, U+007F, U+0080 … U+009F; of valid UTF-8. */
static bool is_control(const char *s)
{
	uint8_t c = (uint8_t)s[0];

	return c < ' ' || c == 0x7f || (c == 0xc2 && (uint8_t)s[1] < 0xa0);
}

bool utf8_is_clean(const char *s, size_t len)
{
	bool valid = true;

	for (size_t i = 0; i < len;) {
		size_t step;

		/* Nearly all that is ever asked. */
		if (s[i] >= ' ' && s[i] < 0x7f) {
			i++;
			continue;
		}
		step = utf8_sequence(s + i, len - i, &valid);
		if (!valid || is_control(s + i))
			return false;
		i += step;
	}
	return true;
}

char *utf8_clean(const char *s, size_t len, size_t *out_len)
{
	/* Each byte becomes three at most. */
	char *out = xreallocarray(NULL, len + 1, sizeof REPLACEMENT - 1);
	size_t n = 0;

	for (size_t i = 0; i < len;) {
		bool valid;
		size_t step = utf8_sequence(s + i, len - i, &valid);
		bool keep = valid && !is_control(s + i);
		const char *from = keep ? s + i : REPLACEMENT;
		size_t take = keep ? step : sizeof REPLACEMENT - 1;

		memcpy(out + n, from, take);
		n += take;
		i += step;
	}
	out[n] = '\0';
	*out_len = n;
	return out;
}
