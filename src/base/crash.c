/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crash.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static pid_t owner;
static void (*last_act)(void);

static void say(int sig)
{
	char text[] = "cprof-attach: ended by signal 00, by a bug or for want of memory: "
	              "the target has been let go, and nothing more is written\n";
	char *digits = strchr(text, '0');
	ssize_t ignored;

	if (getpid() != owner)
		return;
	digits[0] = (char)('0' + sig / 10);
	digits[1] = (char)('0' + sig % 10);
	if (last_act)
		last_act();
	ignored = write(STDERR_FILENO, text, sizeof text - 1);
	(void)ignored;
}

/* SA_RESETHAND: what happens again when it returns is no longer caught. */
static void on_crash(int sig)
{
	say(sig);
	raise(sig);
}

void crash_say(void (*last)(void))
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	struct sigaction action = {.sa_handler = on_crash,
	                           .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

	owner = getpid();
	last_act = last;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		(void)sigaction(signals[i], &action, NULL);
}
