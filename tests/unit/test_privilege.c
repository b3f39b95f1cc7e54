/* SPDX-License-Identifier: Apache-2.0 */
/* What is given up, in children of the test, since it is for good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/privilege.h"
#include "config.h"
#include "target/sandbox.h"

#define BIT(cap) (UINT64_C(1) << (cap))

/* Runs it in a child; the line in which an expectation failed, or 0. */
static int in_child(int (*check)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(check());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status) == 0 ? 0 : WEXITSTATUS(status);
}

/* An exit status holds 255 lines: enough, counted from the first check. */
static int first_line;
#define expect(condition)                             \
	do {                                          \
		if (!(condition))                     \
			return __LINE__ - first_line; \
	} while (0)

static uint64_t effective(void)
{
	char line[128];
	unsigned long long caps = 0;
	FILE *f = fopen("/proc/thread-self/status", "r");

	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	}
	if (f)
		fclose(f);
	return caps;
}

static int drop_all(void)
{
	uint64_t before = effective(), after;

	first_line = __LINE__;
	uint64_t kept = privilege_drop(&(struct privilege_wants){0});
	after = effective();
	expect(after == kept);
	expect((after & ~before) == 0);
	expect((after & BIT(CAP_SYS_PTRACE)) == (before & BIT(CAP_SYS_PTRACE)));
	expect((after & BIT(CAP_SYS_NICE)) == (before & BIT(CAP_SYS_NICE)));
	expect(!(after & (BIT(CAP_DAC_OVERRIDE) | BIT(CAP_SETUID) | BIT(CAP_NET_ADMIN) |
	                  BIT(CAP_SYS_MODULE) | BIT(CAP_KILL) | BIT(CAP_CHOWN))));
	privilege_begin_output();
	expect(effective() == after);
	return 0;
}

static int keep_output(void)
{
	first_line = __LINE__;
	uint64_t kept = privilege_drop(&(struct privilege_wants){.output = true}),
	         sampling = effective();

	expect(kept & BIT(CAP_DAC_OVERRIDE));
	expect(!(sampling & BIT(CAP_DAC_OVERRIDE)));
	privilege_begin_output();
	expect(effective() ==
	       (sampling | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_CHOWN) | BIT(CAP_FOWNER)));
	privilege_end_output();
	expect(effective() == sampling);
	privilege_begin_output();
	privilege_forget_output();
	expect(effective() == sampling);
	privilege_begin_output();
	expect(effective() == sampling);
	return 0;
}

static void test_capabilities(void **state)
{
	(void)state;
	assert_int_equal(in_child(drop_all), 0);
	if (!(effective() & BIT(CAP_DAC_OVERRIDE)) || geteuid() != 0)
		skip();
	assert_int_equal(in_child(keep_output), 0);
}

static void *return_arg(void *arg)
{
	return arg;
}

static int return_0(void *arg)
{
	(void)arg;
	return 0;
}

static bool fails_with(long result, int error)
{
	return result == -1 && errno == error;
}

static int what_is_refused(void)
{
	char name[] = "true", *const argv[] = {name, NULL};
	static char stack[64 * 1024] __attribute__((aligned(16)));

	first_line = __LINE__;
	expect(sandbox_enter() > 0);
	expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	expect(fails_with(execv("/bin/true", argv), EPERM));
	expect(fails_with(fork(), EPERM));
	expect(fails_with(clone(return_0, stack + sizeof stack, SIGCHLD, NULL), EPERM));
	expect(fails_with(syscall(SYS_clone3, NULL, 0), ENOSYS));
	expect(fails_with(unshare(CLONE_FILES), EPERM));
	expect(fails_with(kill(getppid(), SIGUSR1), EPERM));
	expect(fails_with(syscall(SYS_tgkill, getppid(), getppid(), SIGUSR1), EPERM));
	expect(fails_with(syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0), EPERM));
	expect(fails_with(syscall(SYS_ptrace, PTRACE_POKEDATA, getppid(), 0, 0), EPERM));
	expect(fails_with(syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0),
	                  EPERM));
	expect(fails_with(setuid(getuid()), EPERM));
	expect(fails_with(mknod("/tmp/cprof-test-never", S_IFCHR, 0), EPERM));
	/* the same calls under the numbers of x32 */
	expect(fails_with(syscall(0x40000000 + SYS_execve, "/bin/true", argv, NULL),
	                  EPERM));
	return 0;
}

static int what_is_not(void)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	pthread_t thread;
	int status;
	pid_t pid;

	first_line = __LINE__;
	expect(sandbox_enter() > 0);
	expect(pthread_create(&thread, NULL, return_arg, NULL) == 0);
	expect(pthread_join(thread, NULL) == 0);
	pid = clone(return_0, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
	expect(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	expect(kill(getppid(), 0) == 0);
	expect(kill(getppid(), SIGCONT) == 0);
	signal(SIGUSR1, SIG_IGN);
	expect(raise(SIGUSR1) == 0);
	expect(fails_with(syscall(SYS_ptrace, PTRACE_DETACH, getpid(), 0, 0), ESRCH));
	expect(close(open("/proc/self/maps", O_RDONLY)) == 0);
	return 0;
}

static int raises_abort(void)
{
	expect(sandbox_enter() > 0);
	abort();
}

static void test_sandbox(void **state)
{
	int status;
	pid_t pid;

	(void)state;
#ifdef INSTRUMENTED
	skip();
#endif
	assert_int_equal(in_child(what_is_refused), 0);
	assert_int_equal(in_child(what_is_not), 0);
	pid = fork();
	if (pid == 0)
		_exit(raises_abort());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_capabilities),
	        cmocka_unit_test(test_sandbox),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
