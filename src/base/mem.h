/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that cannot fail: out of memory ends the program with status 1. */
#ifndef CPROF_BASE_MEM_H
#define CPROF_BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>

/* Ends it; for libraries that ask what to do. */
void out_of_memory(void) __attribute__((noreturn));

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
/* Room for n elements of `size` bytes; the product is checked. */
void *xreallocarray(void *old, size_t n, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xvasprintf(const char *fmt, va_list ap)
        __attribute__((malloc, returns_nonnull, format(printf, 1, 0)));
char *xasprintf(const char *fmt, ...)
        __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

#endif
