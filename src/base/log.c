/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"

#define CLEAR_LINE   "\r\033[K"
#define PREFIX       "cprof-attach: "
#define PROGRESS_MAX 256

static _Atomic int level = LOG_LEVEL_NORMAL;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static char progress[PROGRESS_MAX]; /* the line on the terminal, or "" */

void log_set_level(enum log_level new_level)
{
	level = (int)new_level;
}

enum log_level log_level(void)
{
	return (enum log_level)level;
}

/*
 * Names come from processes that may hate us: what would move the cursor or
 * speak to the terminal (C0, DEL, and C1 as UTF-8 spells it) is shown as '?'.
 */
static void defuse(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		if ((*p < ' ' && *p != '\n' && *p != '\t') || *p == 0x7f)
			*p = '?';
		else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
	}
}

/* stderr may be closed or a full pipe's end; nobody is left to be told. */
static void put(const char *s)
{
	size_t len = strlen(s);

	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, s, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		s += n;
		len -= (size_t)n;
	}
}

/* Each message is one write, so that it also stays whole beside other programs'. */
__attribute__((format(printf, 1, 0))) static void say(const char *fmt, va_list ap)
{
	char *text = xvasprintf(fmt, ap);

	defuse(text);
	pthread_mutex_lock(&lock);
	char *line = xasprintf("%s" PREFIX "%s\n%s", progress[0] ? CLEAR_LINE : "", text,
	                       progress);
	put(line);
	pthread_mutex_unlock(&lock);
	free(line);
	free(text);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void log_info(const char *fmt, ...)
{
	va_list ap;

	if (level < LOG_LEVEL_NORMAL)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void log_verbose(const char *fmt, ...)
{
	va_list ap;

	if (level < LOG_LEVEL_VERBOSE)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

/*
 * A line that wraps cannot be taken away by \r. Bytes are taken for columns, but
 * no character is cut in half.
 */
static void cut_to_terminal(char *line)
{
	struct winsize size = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 ||
	    strlen(line) < size.ws_col)
		return;
	size_t end = size.ws_col - 1u;
	while (end > 0 && ((unsigned char)line[end] & 0xc0) == 0x80)
		end--;
	line[end] = '\0';
}

void log_progress(const char *fmt, ...)
{
	va_list ap;

	if (level < LOG_LEVEL_NORMAL || !isatty(STDERR_FILENO))
		return;
	pthread_mutex_lock(&lock);
	va_start(ap, fmt);
	vsnprintf(progress, sizeof progress, fmt, ap);
	va_end(ap);
	defuse(progress);
	cut_to_terminal(progress);
	put(CLEAR_LINE);
	put(progress);
	pthread_mutex_unlock(&lock);
}

void log_progress_end(void)
{
	pthread_mutex_lock(&lock);
	if (progress[0])
		put(CLEAR_LINE);
	progress[0] = '\0';
	pthread_mutex_unlock(&lock);
}
