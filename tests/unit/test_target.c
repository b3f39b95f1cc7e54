/* SPDX-License-Identifier: Apache-2.0 */
/* Opening real processes, reading them, and starting one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "plain.h"
#include "target/launch.h"
#include "target/target.h"
#include "target/tracer.h"

static char marker[] = "these bytes are read from outside";

static void test_ourselves(void **state)
{
	struct error err;
	struct target *target = target_open(getpid(), &err);
	uint64_t ns = 0, later = 0;
	char buf[sizeof marker], exe[PATH_MAX] = "";

	(void)state;
	assert_non_null(target);
	assert_true(target_alive(target));
	assert_true(strlen(target->comm) > 0);
	assert_true(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
	assert_true(target_runs(target, exe));
	exe[strlen(exe) - 1] = '\0';
	assert_false(target_runs(target, exe));
	assert_true(strlen(target->cmdline) > 0);
	assert_int_equal(target_cpu_ns(target, &ns), 0);
	for (volatile int i = 0; i < 10000000; i++)
		;
	assert_int_equal(target_cpu_ns(target, &later), 0);
	assert_true(later > ns);
	assert_int_equal(
	        target_read_memory(target, (uint64_t)(uintptr_t)marker, buf, sizeof buf),
	        sizeof buf);
	assert_string_equal(buf, marker);
	assert_true(target_read_memory(target, 16, buf, 1) < 0);
	target_free(target);
}

/* A copy that runs into a missing page gives what there is. */
static void test_partial_read(void **state)
{
	long page = sysconf(_SC_PAGESIZE);
	char *two = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct target *target = target_open(getpid(), NULL);
	char buf[256];

	(void)state;
	assert_ptr_not_equal(two, MAP_FAILED);
	memset(two, 'x', 2 * (size_t)page);
	assert_int_equal(munmap(two + page, (size_t)page), 0);
	assert_int_equal(target_read_memory(target, (uint64_t)(uintptr_t)(two + page - 100),
	                                    buf, sizeof buf),
	                 100);
	munmap(two, (size_t)page);
	target_free(target);
}

static void *wait_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

/* The child: its first thread ends, another lives on. */
static void lose_leader(int ready)
{
	pthread_t thread;

	alarm(60);
	pthread_create(&thread, NULL, wait_for_ever, NULL);
	(void)!write(ready, "", 1);
	pthread_exit(NULL);
}

static void test_leader_gone(void **state)
{
	int pipes[2];
	char byte;
	pid_t pid;
	struct target *target;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	pid = plain_fork();
	if (pid == 0)
		lose_leader(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	usleep(100 * 1000);
	target = target_open(pid, NULL);
	assert_non_null(target);
	assert_true(target_alive(target)); /* though /proc/PID/stat says Z */
	kill(pid, SIGKILL);
	waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
	assert_false(target_alive(target)); /* a zombie with nobody left */
	waitpid(pid, NULL, 0);
	assert_false(target_alive(target));
	target_free(target);
	close(pipes[0]);
	close(pipes[1]);
}

static void test_no_process(void **state)
{
	struct error err = {0};
	pid_t pid = plain_fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_null(target_open(pid, &err));
	assert_int_equal(err.code, EXIT_CODE_NO_PROCESS);
	assert_non_null(strstr(err.text, "no process"));
}

static _Atomic pid_t other_tid;

static void *own_tid(void *arg)
{
	(void)arg;
	other_tid = gettid();
	pause();
	return NULL;
}

static void test_thread_is_no_process(void **state)
{
	struct error err = {0};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, own_tid, NULL), 0);
	while (other_tid == 0)
		usleep(1000);
	assert_null(target_open(other_tid, &err));
	assert_non_null(strstr(err.text, "thread of process"));
	pthread_cancel(thread);
	pthread_join(thread, NULL);
}

static void test_launch(void **state)
{
	char sh[] = "sh", c[] = "-c", script[] = "exit 7", *argv[] = {sh, c, script, NULL};
	struct launch launch;
	struct error err;
	struct target *target;
	int status;

	(void)state;
	assert_int_equal(launch_fork(argv, &launch, &err), 0);
	target = target_open(launch.pid, &err);
	assert_non_null(target);
	assert_int_equal(launch_go(&launch, argv[0], &err), 0);
	launch_abandon(&launch); /* too late: does nothing */
	assert_int_equal(waitpid(launch.pid, &status, 0), launch.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	target_free(target);
}

static void test_launch_fails(void **state)
{
	char program[] = "/no/such/program", *argv[] = {program, NULL};
	struct launch launch;
	struct error err = {0};

	(void)state;
	assert_int_equal(launch_fork(argv, &launch, &err), 0);
	assert_int_equal(launch_go(&launch, argv[0], &err), -1);
	assert_int_equal(err.code, EXIT_CODE_FAILURE);
	assert_non_null(strstr(err.text, "/no/such/program"));
	assert_true(waitpid(launch.pid, NULL, 0) < 0 && errno == ECHILD); /* nothing left */

	assert_int_equal(launch_fork(argv, &launch, &err), 0);
	launch_abandon(&launch);
	assert_true(waitpid(launch.pid, NULL, 0) < 0 && errno == ECHILD);
}

/* Waits for the next report, as a sampler's poll does. */
static enum tracer_event next_report(struct tracer_stop *stop)
{
	for (int i = 0; i < 5000; i++) {
		if (tracer_next(stop) != TRACER_NONE) {
			if (stop->event == TRACER_ENDED)
				tracer_take_end(stop);
			return stop->event;
		}
		usleep(1000);
	}
	return TRACER_NONE;
}

/* A report that came before makes a request give way once. */
static int request(pid_t pid)
{
	int r = tracer_request(pid);

	return r == -EINTR ? tracer_request(pid) : r;
}

static void test_stop_and_go(void **state)
{
	struct tracer_stop stop;
	struct arch_prstatus raw;
	struct regs regs;
	pid_t pid = plain_fork();

	(void)state;
	if (pid == 0) {
		alarm(60);
		for (;;)
			;
	}
	assert_int_equal(tracer_init(), 0);
	assert_int_equal(request(pid), 0);
	assert_int_equal(next_report(&stop), TRACER_STOPPED);
	assert_int_equal(stop.tid, pid);
	assert_true(stop.is_interrupt);
	assert_false(stop.group_stop);
	assert_int_equal(tracer_get_regs(&stop, &raw), 0);
	assert_int_equal(arch_regs_from_prstatus(&raw, &regs), 0);
	assert_true(regs_has(&regs, ARCH_REG_SP));
	assert_int_equal(tracer_undo_eintr(&stop, &raw), 0); /* it was in no call */
	assert_int_equal(tracer_release(&stop), 0);

	/* by job control: reported as that, and left as it is */
	kill(pid, SIGSTOP);
	waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WSTOPPED);
	assert_int_equal(request(pid), 0);
	assert_int_equal(next_report(&stop), TRACER_STOPPED);
	assert_true(stop.group_stop);
	assert_int_equal(tracer_release(&stop), 0);

	/* the end of a tracee is reported, too */
	kill(pid, SIGCONT);
	assert_int_equal(request(pid), 0);
	assert_int_equal(next_report(&stop), TRACER_STOPPED);
	kill(pid, SIGKILL);
	(void)tracer_release(&stop);
	assert_int_equal(next_report(&stop), TRACER_ENDED);
	assert_true(WIFSIGNALED(stop.wait_status));
	assert_int_equal(request(pid), -ESRCH);
	tracer_fini();
}

/* A child that waits in epoll_wait, and exits with tenths of a second that it took. */
static pid_t sleeper(int timeout_ms)
{
	pid_t pid = plain_fork();

	if (pid == 0) {
		struct epoll_event event;
		int fd = epoll_create1(0);
		uint64_t start = clock_monotonic_ns();
		int r = epoll_wait(fd, &event, 1, timeout_ms);

		_exit(r == 0 ? (int)((clock_monotonic_ns() - start) / (100 * NS_PER_MS))
		             : 255);
	}
	return pid;
}

static bool is_in_call(pid_t pid, long nr)
{
	struct procfs_syscall call;
	char path[32], text[256];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/syscall", pid);
	n = procfs_read_fixed(AT_FDCWD, path, text, sizeof text);
	return n > 0 && procfs_parse_syscall(text, (size_t)n, &call) == 0 &&
	       !call.running && call.nr == nr;
}

static int slept_with(int timeout_ms, uint64_t asleep_ns)
{
	struct tracer_stop stop;
	struct arch_prstatus raw;
	pid_t pid = sleeper(timeout_ms);
	int undone;

	for (int i = 0; i < 10000 && !is_in_call(pid, SYS_epoll_wait); i++)
		usleep(1000);
	usleep(500 * 1000);
	assert_int_equal(request(pid), 0);
	assert_int_equal(next_report(&stop), TRACER_STOPPED);
	assert_int_equal(tracer_get_regs(&stop, &raw), 0);
	stop.asleep_ns = asleep_ns;
	undone = tracer_undo_eintr(&stop, &raw);
	assert_int_equal(tracer_release(&stop), 0);
	assert_int_equal(undone, 1);
	assert_int_equal(next_report(&stop), TRACER_ENDED);
	assert_true(WIFEXITED(stop.wait_status));
	return WEXITSTATUS(stop.wait_status);
}

/* The clock of the child cannot show less than was left of its timeout. */
static void test_timeouts(void **state)
{
	(void)state;
	assert_int_equal(tracer_init(), 0);
	assert_true(slept_with(5000, 0) >= 54);             /* anew: 0.5 and 5 */
	assert_true(slept_with(3600000, UINT64_MAX) < 250); /* at once, not in an hour */
	assert_true(slept_with(3600000, 3599900 * NS_PER_MS) < 250); /* a tenth is left */
	tracer_fini();
}

/* A signal without a handler, met while it is delivered: to the call it is nothing. */
static void test_ignored_signal(void **state)
{
	struct tracer_stop stop;
	struct arch_prstatus raw;
	pid_t pid = sleeper(1500);

	(void)state;
	assert_int_equal(tracer_init(), 0);
	for (int i = 0; i < 10000 && !is_in_call(pid, SYS_epoll_wait); i++)
		usleep(1000);
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	kill(pid, SIGWINCH);
	assert_int_equal(next_report(&stop), TRACER_STOPPED);
	assert_int_equal(stop.signal, SIGWINCH);
	assert_int_equal(tracer_get_regs(&stop, &raw), 0);
	assert_int_equal(tracer_undo_eintr(&stop, &raw), 1);
	assert_int_equal(tracer_release(&stop), 0);
	assert_int_equal(next_report(&stop), TRACER_ENDED);
	assert_true(WIFEXITED(stop.wait_status));
	assert_in_range(WEXITSTATUS(stop.wait_status), 14, 250);
	tracer_fini();
}

static void on_signal(int number)
{
	(void)number;
}

/* One that has a handler: the call returns EINTR, as it would have. */
static void test_handled_signal(void **state)
{
	const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct sigaction before;
	struct tracer_stop stop;
	struct arch_prstatus raw;
	pid_t pid;

	(void)state;
	sigaction(SIGUSR2, &action, &before);
	pid = sleeper(60000);
	sigaction(SIGUSR2, &before, NULL);
	assert_int_equal(tracer_init(), 0);
	for (int i = 0; i < 10000 && !is_in_call(pid, SYS_epoll_wait); i++)
		usleep(1000);
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	kill(pid, SIGUSR2);
	assert_int_equal(next_report(&stop), TRACER_STOPPED);
	assert_int_equal(stop.signal, SIGUSR2);
	assert_int_equal(tracer_get_regs(&stop, &raw), 0);
	assert_true(tracer_undo_eintr(&stop, &raw) >= 0);
	assert_int_equal(tracer_release(&stop), 0);
	assert_int_equal(next_report(&stop), TRACER_ENDED);
	assert_true(WIFEXITED(stop.wait_status));
	assert_int_equal(WEXITSTATUS(stop.wait_status), 255);
	tracer_fini();
}

static void test_shorten(void **state)
{
	static const struct {
		long nr;
		int timeout;
		uint64_t asleep_ns;
		int left;
	} rows[] = {
	        {SYS_epoll_wait, 1000, 250 * NS_PER_MS, 750},
	        {SYS_epoll_pwait, 1000, 250 * NS_PER_MS, 750},
	        {SYS_epoll_wait, 1000, 999 * NS_PER_US, 1000},
	        {SYS_epoll_wait, 10, NS_PER_SEC, 0},
	        {SYS_epoll_wait, 0, NS_PER_SEC, 0},
	        {SYS_epoll_wait, -1, NS_PER_SEC, -1},     /* for ever */
	        {SYS_semtimedop, 1000, NS_PER_SEC, 1000}, /* a pointer */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct user_regs_struct user = {.r10 = (uint32_t)rows[i].timeout};
		struct arch_prstatus raw = {.len = sizeof user};

		memcpy(raw.words, &user, sizeof user);
		arch_syscall_shorten(&raw, rows[i].nr, rows[i].asleep_ns);
		memcpy(&user, raw.words, sizeof user);
		assert_int_equal((int)user.r10, rows[i].left);
	}
}

/* Registers of a thread that is on its way out of a call with EINTR, in either layout. */
static struct arch_prstatus interrupted(long nr, bool is_32bit)
{
	struct user_regs_struct user = {.orig_rax = (unsigned long long)nr,
	                                .rax = (unsigned long long)-EINTR};
	struct arch_prstatus raw = {.len = is_32bit ? 68 : sizeof user};
	uint32_t narrow[17] = {[6] = (uint32_t)-EINTR, [11] = (uint32_t)nr};

	if (is_32bit)
		memcpy(raw.words, narrow, sizeof narrow);
	else
		memcpy(raw.words, &user, sizeof user);
	return raw;
}

static void test_needs_restart(void **state)
{
	static const struct {
		long nr;
		bool is_32bit, needs;
	} rows[] = {
	        {SYS_epoll_wait, false, true},
	        {SYS_ioctl, false, true},
	        {SYS_close, false, false},
	        {SYS_poll, false, false},
	        {256, true, true},
	        {6, true, false},              /* epoll_wait, close */
	        {SYS_epoll_wait, true, false}, /* another call there */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct arch_prstatus raw = interrupted(rows[i].nr, rows[i].is_32bit);
		long nr;

		assert_true(arch_syscall_interrupted(&raw, &nr));
		assert_int_equal(arch_syscall_needs_restart(nr), rows[i].needs);
		arch_syscall_restart(&raw);
		assert_false(arch_syscall_interrupted(&raw, &nr));
	}
}

static void end_with_seven(int number)
{
	(void)number;
	_exit(7);
}

/* Is met by a signal that its tracer has heard of; then the tracer is gone. */
static void trace_and_die(pid_t pid)
{
	struct tracer_stop stop;

	if (tracer_init() < 0 || ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
		_exit(1);
	kill(pid, SIGUSR1);
	if (next_report(&stop) != TRACER_STOPPED || stop.signal != SIGUSR1)
		_exit(2);
	kill(getpid(), SIGKILL);
}

static void test_signal_outlives_the_tracer(void **state)
{
	struct sigaction action = {.sa_handler = end_with_seven};
	pid_t pid, tracer;
	int status;

	(void)state;
	sigaction(SIGUSR1, &action, NULL);
	pid = plain_fork();
	if (pid == 0) {
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
		alarm(5);
		for (;;)
			;
	}
	tracer = plain_fork();
	if (tracer == 0)
		trace_and_die(pid);
	assert_int_equal(waitpid(tracer, &status, 0), tracer);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		skip(); /* nobody may trace here */
	}
	assert_true(WIFSIGNALED(status));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static int block_sigchld(void **state)
{
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	return pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ourselves),
	        cmocka_unit_test(test_partial_read),
	        cmocka_unit_test(test_leader_gone),
	        cmocka_unit_test(test_no_process),
	        cmocka_unit_test(test_thread_is_no_process),
	        cmocka_unit_test(test_launch),
	        cmocka_unit_test(test_launch_fails),
	        cmocka_unit_test_setup(test_stop_and_go, block_sigchld),
	        cmocka_unit_test_setup(test_timeouts, block_sigchld),
	        cmocka_unit_test_setup(test_ignored_signal, block_sigchld),
	        cmocka_unit_test_setup(test_handled_signal, block_sigchld),
	        cmocka_unit_test(test_shorten),
	        cmocka_unit_test(test_needs_restart),
	        cmocka_unit_test_setup(test_signal_outlives_the_tracer, block_sigchld),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
