/* SPDX-License-Identifier: Apache-2.0 */
#include "output/words.h"

#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	struct {
		double divisor;
		const char *suffix;
	} steps[4]; /* the largest first */
};

static const struct unit units[] = {
        {"nanoseconds", {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}}},
        {"bytes", {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}}},
};

struct words_scale words_scale(const char *unit, int64_t largest)
{
	double size = largest < 0 ? -(double)largest : (double)largest;

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		size_t step = 0;

		if (strcmp(units[i].name, unit) != 0)
			continue;
		while (step < 3 && size < units[i].steps[step].divisor)
			step++;
		return (struct words_scale){
		        .divisor = units[i].steps[step].divisor,
		        .suffix = units[i].steps[step].suffix,
		        .decimals = step < 3 ? 2 : 0,
		};
	}
	return (struct words_scale){.divisor = 1, .suffix = ""};
}

void words_number(char *buf, size_t size, int64_t value, struct words_scale scale)
{
	snprintf(buf, size, "%.*f%s", scale.decimals, (double)value / scale.divisor,
	         scale.suffix);
}

double words_percent(int64_t part, int64_t whole)
{
	return whole == 0 ? 0 : 100 * (double)part / (double)whole;
}
