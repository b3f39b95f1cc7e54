/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/perf_map.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct perf_map {
	char *text;
	size_t len;
	struct code_map code; /* in order of the lines */
};

/* A hexadecimal number, with or without 0x, and the space behind it. */
static bool parse_hex(char **at, const char *end, uint64_t *value)
{
	char *s = *at;
	size_t ndigits = 0;

	if (end - s > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	*value = 0;
	for (; s < end; s++, ndigits++) {
		char c = *s;
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (unsigned)((c | 0x20) - 'a') + 10;
		else
			break;
		if (*value >> 60 != 0)
			return false;
		*value = *value << 4 | digit;
	}
	if (ndigits == 0 || s == end || *s != ' ')
		return false;
	while (s < end && *s == ' ')
		s++;
	*at = s;
	return true;
}

/* One line; `end` is its newline, which becomes the end of the name. */
static void parse_line(struct perf_map *map, char *line, char *end)
{
	uint64_t start, size;

	if (!parse_hex(&line, end, &start) || !parse_hex(&line, end, &size))
		return;
	if (end > line && end[-1] == '\r')
		end--;
	*end = '\0';
	if (*line != '\0')
		code_map_add(&map->code, start, size, line);
}

/* Where the last PERF_MAP_MAX_LINES lines begin. */
static char *last_lines(char *text, size_t len)
{
	size_t lines = 0;

	for (size_t i = len; i > 0; i--) {
		if (text[i - 1] == '\n' && lines++ == PERF_MAP_MAX_LINES)
			return text + i;
	}
	return text;
}

struct perf_map *perf_map_parse(char *text, size_t len)
{
	struct perf_map *map = xcalloc(1, sizeof *map);
	char *line = last_lines(text, len), *end = text + len, *newline;

	map->text = text;
	map->len = len;
	while (line < end && (newline = memchr(line, '\n', (size_t)(end - line)))) {
		parse_line(map, line, newline);
		line = newline + 1;
	}
	code_map_build(&map->code);
	return map;
}

void perf_map_free(struct perf_map *map)
{
	if (!map)
		return;
	code_map_fini(&map->code);
	free(map->text);
	free(map);
}

size_t perf_map_bytes(const struct perf_map *map)
{
	return map ? map->len + code_map_bytes(&map->code) : 0;
}

const struct code_entry *perf_map_find(const struct perf_map *map, uint64_t address)
{
	return code_map_find(&map->code, address);
}
