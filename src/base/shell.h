/* SPDX-License-Identifier: Apache-2.0 */
/* Words as a POSIX shell reads them, so that what is shown can be pasted. */
#ifndef CPROF_BASE_SHELL_H
#define CPROF_BASE_SHELL_H

/* The word, quoted where a shell would not take it as it stands; to be freed. */
char *shell_quote(const char *word);

/* A NULL-terminated list of words, each quoted, with spaces between; to be freed. */
char *shell_join(char *const *words);

#endif
