/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

bool number_id(const char *text, pid_t *id)
{
	unsigned long value;

	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
		return false;
	errno = 0;
	value = strtoul(text, NULL, 10);
	if (errno != 0 || value == 0 || value > INT_MAX)
		return false;
	*id = (pid_t)value;
	return true;
}

bool number_decimal(const char *text, double min, double max, double *out)
{
	size_t whole = strspn(text, "0123456789");
	size_t part = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
	size_t len = whole + part + (text[whole] == '.');
	double value;

	if (text[len] != '\0' || whole + part == 0)
		return false;
	value = strtod(text, NULL);
	if (!(value >= min && value <= max))
		return false;
	*out = value;
	return true;
}

bool number_size(const char *text, uint64_t *out)
{
	static const char units[] = "KMG";
	size_t digits = strspn(text, "0123456789");
	const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	unsigned long long value;

	if (digits == 0 || (text[digits] && (!unit || text[digits + 1])))
		return false;
	errno = 0;
	value = strtoull(text, NULL, 10);
	if (errno != 0 || value == 0 || value > (UINT64_MAX >> 1) >> shift)
		return false;
	*out = (uint64_t)value << shift;
	return true;
}
