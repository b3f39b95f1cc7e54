/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crash.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* Where the handler runs when the stack was too small. */
#define HANDLER_STACK_BYTES (64 * 1024)
/* What no cache of a thread's own holds, so that the allocator takes its lock. */
#define PROBE_BYTES   16384
#define PROBE_SECONDS 3

static pid_t owner;
static void (*last_act)(void);
static __thread sigjmp_buf *way_out;

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

/* Not sent by somebody, but for abort(), which sends its own. */
static bool is_of_thread(const siginfo_t *info)
{
	return info->si_code > 0 || (info->si_signo == SIGABRT && info->si_pid == owner);
}

/* What happens again in here, or later, is no longer caught. */
static void end(int sig)
{
	signal(sig, SIG_DFL);
	say(sig);
	raise(sig);
}

static void on_crash(int sig, siginfo_t *info, void *context)
{
	sigjmp_buf *out = way_out;

	(void)context;
	if (!out || getpid() != owner || !is_of_thread(info)) {
		end(sig);
		return;
	}
	way_out = NULL;
	siglongjmp(*out, 1);
}

static void on_alarm(int sig)
{
	(void)sig;
	end(SIGABRT);
}

/* SA_NODEFER: who jumps out of the handler leaves nothing blocked. */
static void catch_signal(int sig)
{
	struct sigaction action = {.sa_sigaction = on_crash,
	                           .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};

	sigemptyset(&action.sa_mask);
	(void)sigaction(sig, &action, NULL);
}

void crash_say(void (*last)(void))
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

	owner = getpid();
	last_act = last;
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		catch_signal(signals[i]);
}

/* A crash inside of the allocator leaves its lock taken: better an end than a wait for
 * ever. */
static void probe_allocator(void)
{
	void *volatile block;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGALRM, on_alarm);
	alarm(PROBE_SECONDS);
	block = malloc(PROBE_BYTES);
	free(block);
	alarm(0);
	signal(SIGALRM, SIG_DFL);
}

bool crash_contain(void (*fn)(void *arg), void *arg)
{
	stack_t ours = {.ss_sp = xmalloc(HANDLER_STACK_BYTES),
	                .ss_size = HANDLER_STACK_BYTES},
	        old;
	sigjmp_buf out;
	bool crashed;

	(void)sigaltstack(&ours, &old);
	crashed = sigsetjmp(out, 0) != 0;
	if (!crashed) {
		way_out = &out;
		fn(arg);
		way_out = NULL;
	}
	(void)sigaltstack(&old, NULL);
	if (crashed)
		probe_allocator();
	free(ours.ss_sp);
	return !crashed;
}
