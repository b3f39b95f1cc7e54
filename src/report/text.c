/* SPDX-License-Identifier: Apache-2.0 */
#include "report/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/mem.h"

void text_add(struct text *text, const char *fmt, ...)
{
	va_list ap;
	char *words;
	size_t len;

	va_start(ap, fmt);
	words = xvasprintf(fmt, ap);
	va_end(ap);
	len = strlen(words);
	array_reserve(text, len + 1);
	memcpy(text->v + text->n, words, len + 1);
	text->n += len;
	free(words);
}

void text_defuse(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
		else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
	}
}

const char *text_duration(char buf[32], uint64_t ns)
{
	static const struct {
		double ns;
		const char *name;
	} units[] = {{1e3, "us"}, {1e6, "ms"}, {1e9, "s"}};
	size_t unit = 0;

	/* 999.6 us is no "1000 us". */
	while (unit < 2 && (double)ns >= 999.5 * units[unit].ns)
		unit++;
	double value = (double)ns / units[unit].ns;
	int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	if (unit == 0 && decimals == 2)
		decimals = 1; /* the clock is not that good */
	snprintf(buf, 32, "%.*f %s", decimals, value, units[unit].name);
	return buf;
}

double text_percent(double part, double whole)
{
	return whole > 0 ? 100 * part / whole : 0;
}

const char *text_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}
