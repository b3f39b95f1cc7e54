/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that is safe to show out of any bytes: valid UTF-8 (RFC 3629, Unicode 15
 * section 3.9) without control characters, by which a name could speak to the
 * terminal that it is shown on.
 */
#ifndef CPROF_PROFILE_UTF8_H
#define CPROF_PROFILE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * How many bytes at s (len > 0 of them) make up one character. When they do not
 * make one, *valid is false and the result is how many of them one U+FFFD stands
 * for: the longest start of a character, or one byte.
 */
size_t utf8_sequence(const char *s, size_t len, bool *valid);

bool utf8_is_clean(const char *s, size_t len);

/* A copy with U+FFFD for what is neither valid nor safe, to be freed; *out_len
 * excludes its NUL. */
char *utf8_clean(const char *s, size_t len, size_t *out_len);

#endif
