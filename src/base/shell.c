/* SPDX-License-Identifier: Apache-2.0 */
#include "base/shell.h"

#include <string.h>

#include "base/array.h"

/* '=' and '~' mean something at the start of a word; '~' is quoted everywhere. */
static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "0123456789_-+./,:@%=";

struct text {
	char *v;
	size_t n;
	size_t cap;
};

static void text_add(struct text *text, const char *s, size_t len)
{
	array_reserve(text, len);
	memcpy(text->v + text->n, s, len);
	text->n += len;
}

static void text_add_quoted(struct text *text, const char *word)
{
	size_t len = strlen(word);

	if (len > 0 && word[0] != '=' && strspn(word, plain) == len) {
		text_add(text, word, len);
		return;
	}
	array_push(text, '\'');
	for (const char *p = word; *p; p++) {
		if (*p == '\'')
			text_add(text, "'\\'", 3);
		array_push(text, *p);
	}
	array_push(text, '\'');
}

char *shell_quote(const char *word)
{
	struct text text = {0};

	text_add_quoted(&text, word);
	array_push(&text, '\0');
	return text.v;
}

char *shell_join(char *const *words)
{
	struct text text = {0};

	for (size_t i = 0; words[i]; i++) {
		if (i > 0)
			array_push(&text, ' ');
		text_add_quoted(&text, words[i]);
	}
	array_push(&text, '\0');
	return text.v;
}
