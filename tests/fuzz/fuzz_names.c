/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a name: of a symbol, a thread, a file. Demangled it stays within
 * bounds, and what a profile makes of either can be shown. An input is a name up to
 * its first NUL; what follows is another, of a file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/shell.h"
#include "profile/profile.h"
#include "profile/utf8.h"
#include "symbol/symbol.h"

/* What no demangled name goes beyond: its own limit, and the NUL. */
#define LONGEST ((size_t)(64 << 10) + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void show(struct profile *profile, const char *name)
{
	const char *shown = profile_text(profile, profile_string(profile, name));
	char *quoted = shell_quote(name);

	require(utf8_is_clean(shown, strlen(shown)));
	/* One U+FFFD, of three bytes, for each byte at worst. */
	require(strlen(shown) <= 3 * strlen(name));
	require(strlen(quoted) >= strlen(name));
	free(quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *name = xmalloc(size + 1);
	struct profile *profile = profile_new();
	char *demangled;
	size_t len;

	memcpy(name, data, size);
	name[size] = '\0';
	len = strlen(name);
	demangled = demangle(name);
	show(profile, name);
	if (demangled) {
		require(strlen(demangled) < LONGEST);
		show(profile, demangled);
		free(demangled);
	}
	if (len < size)
		show(profile, name + len + 1);
	profile_free(profile);
	free(name);
	return 0;
}
