/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/split.h"

#include <dwarf.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static bool is_ours(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/* Nobody else may put something else into its place: not in any directory on the way
 * to it, but for those like /tmp, where each may move only what is his. And unless `ours`
 * is who has named it, all may read it and go there. */
static bool is_safe(const char *path, bool ours)
{
	mode_t need = ours ? 0 : S_IROTH;
	char real[PATH_MAX];
	struct stat st;
	char *slash;

	if (!realpath(path, real) || stat(real, &st) < 0 || !S_ISREG(st.st_mode) ||
	    !is_ours(&st) || (st.st_mode & need) != need)
		return false;
	need = ours ? 0 : S_IXOTH;
	while ((slash = strrchr(real, '/')) != NULL) {
		slash[slash == real ? 1 : 0] = '\0';
		if (lstat(real, &st) < 0 || !is_ours(&st) || (st.st_mode & need) != need ||
		    ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX)))
			return false;
		if (slash == real)
			return true;
	}
	return false;
}

static const char *text_of(Dwarf_Die *die, unsigned name, unsigned old_name)
{
	Dwarf_Attribute attribute;

	if (!dwarf_attr(die, name, &attribute) &&
	    (old_name == 0 || !dwarf_attr(die, old_name, &attribute)))
		return NULL;
	return dwarf_formstring(&attribute);
}

bool split_unit(Dwarf_Die *skeleton, bool ours, Dwarf_Die *unit)
{
	const char *name = text_of(skeleton, DW_AT_dwo_name, DW_AT_GNU_dwo_name);
	const char *dir = text_of(skeleton, DW_AT_comp_dir, 0);
	char *path;
	bool safe;

	/* A relative name is looked for beside the program first; one without a
	 * directory of its own nowhere else than there and in the directory where it
	 * was compiled. */
	if (!name || (name[0] != '/' && (!dir || dir[0] != '/')))
		return false;
	path = name[0] == '/' ? xstrdup(name) : xasprintf("%s/%s", dir, name);
	safe = is_safe(path, ours);
	free(path);
	return safe &&
	       dwarf_cu_info(skeleton->cu, NULL, NULL, NULL, unit, NULL, NULL, NULL) == 0 &&
	       unit->addr != NULL;
}
