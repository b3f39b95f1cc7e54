/* SPDX-License-Identifier: Apache-2.0 */
#include "base/shell.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* '=' and '~' are plain only past the start of a word. */
static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "0123456789_-+./,:@%=";

char *shell_quote(const char *word)
{
	size_t len = strlen(word), n = 0;
	char *quoted;

	if (len > 0 && word[0] != '=' && strspn(word, plain) == len)
		return xstrdup(word);
	/* Each ' becomes '\'' */
	quoted = xreallocarray(NULL, len + 1, 4);
	quoted[n++] = '\'';
	for (const char *p = word; *p; p++) {
		if (*p == '\'') {
			memcpy(quoted + n, "'\\'", 3);
			n += 3;
		}
		quoted[n++] = *p;
	}
	quoted[n++] = '\'';
	quoted[n] = '\0';
	return quoted;
}

char *shell_join(char *const *words)
{
	char *line = xstrdup("");

	for (size_t i = 0; words[i]; i++) {
		char *word = shell_quote(words[i]);
		char *longer = xasprintf("%s%s%s", line, i > 0 ? " " : "", word);

		free(word);
		free(line);
		line = longer;
	}
	return line;
}
