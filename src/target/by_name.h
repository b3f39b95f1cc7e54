/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes by name: an extended regular expression (regex(7)), found anywhere in
 * one of a process's names as pgrep(1) does it. A name is its comm; and because
 * that ends after 15 characters and a program may change it, also the last part of
 * its file's name and of the name that it was called by. Arguments are no names: a
 * shell whose command line has the pattern in it does not match.
 */
#ifndef CPROF_TARGET_BY_NAME_H
#define CPROF_TARGET_BY_NAME_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/array.h"

/* Whether a process with these names is meant: `argv0` is the first word of its
 * command line, `exe` the path of its file; both may be "". */
bool by_name_matches(const regex_t *pattern, const char *comm, const char *exe,
                     const char *argv0);

struct name_match {
	pid_t pid;
	char *name;    /* its comm */
	char *cmdline; /* one printable line, or "" */
};

struct name_matches {
	struct name_match *v;
	size_t n;
	size_t cap;
};

/*
 * All processes with such a name, by pid. Not ourselves, nobody whom we descend
 * from, no kernel thread and none that has ended. Freed with name_matches_fini.
 */
void by_name_find(const regex_t *pattern, struct name_matches *matches);
void name_matches_fini(struct name_matches *matches);

#endif
