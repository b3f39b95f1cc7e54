/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/stand_in.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"

static bool begins_with(const char *s, const char *head)
{
	return strncmp(s, head, strlen(head)) == 0;
}

/* Mappings that have a path for a name, and no file a person could open. */
static bool is_shared_memory(const char *file)
{
	return strcmp(file, "/dev/zero") == 0 || begins_with(file, "/anon_hugepage") ||
	       begins_with(file, "/SYSV");
}

static bool is_memory(const char *file)
{
	return file[0] == '\0' || file[0] == '[' || strcmp(file, "//anon") == 0 ||
	       begins_with(file, "/memfd:") || is_shared_memory(file);
}

static char *memory_name(const char *file)
{
	if (file[0] == '[')
		return xstrdup(file);
	if (begins_with(file, "/memfd:"))
		return xasprintf("[%s]", file + 1);
	return xstrdup("[anon]");
}

char *stand_in_name(const char *file, bool is_elf, uint64_t offset)
{
	const char *slash;

	if (!file)
		return xstrdup("[unknown]");
	if (!is_elf && is_memory(file))
		return memory_name(file);
	slash = strrchr(file, '/');
	if (slash && slash[1] != '\0')
		file = slash + 1;
	return xasprintf("%s+0x%" PRIx64, file, offset);
}
