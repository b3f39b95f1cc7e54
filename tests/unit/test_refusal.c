/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rule forbids an attach: judged from facts made up here, so that every
 * setting of every system is seen; and gathered from real processes.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "target/refusal.h"

#define PID   4711
#define OURS  1000
#define OTHER 26
#define ROOT  0

/* A process of ours that a plain user may attach to. */
static struct refusal_facts permitted(void)
{
	return (struct refusal_facts){
	        .target = {.name = "postgres",
	                   .state = 'S',
	                   .tgid = PID,
	                   .pid = PID,
	                   .uid = {OURS, OURS, OURS, OURS},
	                   .gid = {OURS, OURS, OURS, OURS}},
	        .owner = "alice",
	        .our_uid = OURS,
	        .our_gid = OURS,
	        .cap_in_bounding_set = true,
	        .same_user_namespace = true,
	        .yama_scope = -1,
	        .ptrace_probe_errno = ESRCH,
	};
}

/* The same when the kernel says no. */
static struct refusal_facts denied(void)
{
	struct refusal_facts facts = permitted();

	facts.memory_probe_errno = EPERM;
	return facts;
}

static void check_permitted(const struct refusal_facts *facts)
{
	struct error err = {0};

	if (refusal_judge(PID, facts, &err) != 0)
		fail_msg("%s", err.text);
}

/* Refused, in one sentence with all of these parts (NULL-terminated). */
static void check_refused(const struct refusal_facts *facts, const char *const *parts)
{
	struct error err = {0};

	assert_int_equal(refusal_judge(PID, facts, &err), -1);
	assert_int_equal(err.code, EXIT_CODE_REFUSED);
	assert_null(strchr(err.text, '\n'));
	assert_true(strlen(err.text) < sizeof err.text - 200);
	for (size_t i = 0; parts[i]; i++) {
		if (!strstr(err.text, parts[i]))
			fail_msg("no '%s' in: %s", parts[i], err.text);
	}
}

static void check_not_said(const struct refusal_facts *facts, const char *part)
{
	struct error err = {0};

	assert_int_equal(refusal_judge(PID, facts, &err), -1);
	if (strstr(err.text, part))
		fail_msg("'%s' in: %s", part, err.text);
}

#define refused(facts, ...) check_refused((facts), (const char *const[]){__VA_ARGS__, NULL})

static void test_permitted(void **state)
{
	struct refusal_facts f = permitted();

	(void)state;
	check_permitted(&f);
	/* Whoever may read the memory may attach, whatever else is true. */
	f.target.uid[0] = f.target.uid[1] = f.target.uid[2] = OTHER;
	f.have_cap_sys_ptrace = true;
	f.same_user_namespace = false;
	f.yama_scope = 2;
	snprintf(f.lsm_label, sizeof f.lsm_label, "docker-default (enforce)");
	check_permitted(&f);
	/* A first thread that has ended has no memory to read. */
	f = permitted();
	f.target.state = 'Z';
	f.memory_probe_errno = ESRCH;
	check_permitted(&f);
}

static void test_what_no_right_overcomes(void **state)
{
	struct refusal_facts f = permitted();

	(void)state;
	f.have_cap_sys_ptrace = true;
	f.is_ourselves = true;
	refused(&f, "process 4711 (postgres)", "cprof-attach itself");
	f.is_ourselves = false;
	f.kernel_thread = true;
	refused(&f, "is a kernel thread", "perf");
	f.kernel_thread = false;
	f.all_ended = true;
	refused(&f, "is a zombie");
	f.all_ended = false;
	f.is_32bit = true;
	refused(&f, "32-bit");
	f.is_32bit = false;
	f.target.tracer_pid = 99;
	strcpy(f.tracer_comm, "gdb");
	refused(&f, "already traced by process 99 (gdb)", "detach");
	f.tracer_comm[0] = '\0';
	refused(&f, "already traced by process 99 (?)");
	f.tracer_is_thread_of_ours = true;
	check_permitted(&f);
}

/* Rights to trace and none to read files: setcap, or a container that drops them all. */
static void test_files_closed(void **state)
{
	struct refusal_facts f = permitted();

	(void)state;
	f.have_cap_sys_ptrace = true;
	f.file_probe_errno = EACCES;
	refused(&f, "/proc", "CAP_DAC_READ_SEARCH");
	/* Only what is known to matter; and first that which matters more. */
	f.file_probe_errno = ENOENT;
	check_permitted(&f);
	f = denied();
	f.target.uid[0] = OTHER;
	f.file_probe_errno = EACCES;
	refused(&f, "belongs to");
}

/* These come before the question of rights: rights would not help. */
static void test_absolute_before_rights(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	f.target.uid[0] = OTHER;
	f.yama_scope = 1;
	f.kernel_thread = true;
	refused(&f, "kernel thread");
	f.kernel_thread = false;
	f.target.tracer_pid = 5;
	refused(&f, "already traced");
	f.target.tracer_pid = 0;
	f.ptrace_probe_errno = EPERM;
	refused(&f, "may not call ptrace");
}

static void test_ptrace_forbidden(void **state)
{
	struct refusal_facts f = permitted();

	(void)state;
	f.ptrace_probe_errno = EPERM;
	f.our_seccomp = 2;
	refused(&f, "seccomp filter forbids it", "--security-opt seccomp=");
	f.ptrace_probe_errno = ENOSYS;
	refused(&f, "seccomp filter forbids it");
	f.our_seccomp = 0;
	refused(&f, "may not call ptrace", "though no seccomp filter is set");
	f.ptrace_probe_errno = 0;
	check_permitted(&f);
}

static void test_another_user(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	f.target.uid[0] = f.target.uid[1] = f.target.uid[2] = OTHER;
	strcpy(f.owner, "postgres");
	refused(&f, "belongs to postgres (uid 26) and not to you (uid 1000)", "sudo",
	        "or run it as postgres");
	f.owner[0] = '\0';
	refused(&f, "belongs to another user (uid 26)", "or run it as that user");
	/* Being that user would not be enough. */
	f.yama_scope = 1;
	refused(&f, "belongs to", "sudo");
	check_not_said(&f, "that user");
	f.yama_scope = 0;
	f.target.uid[0] = ROOT;
	strcpy(f.owner, "root");
	refused(&f, "belongs to root (uid 0)", "sudo");
	check_not_said(&f, "or run it as");
	/* The kernel reports EACCES where the files of /proc are closed. */
	f.memory_probe_errno = EACCES;
	refused(&f, "belongs to root");
}

static void test_container_without_the_capability(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	f.our_uid = f.our_gid = ROOT;
	f.cap_in_bounding_set = false;
	for (int i = 0; i < 4; i++)
		f.target.uid[i] = OTHER;
	refused(&f, "belongs to", "--cap-add=SYS_PTRACE");
	check_not_said(&f, "sudo");
	f.our_uid = OURS;
	refused(&f, "--cap-add=SYS_PTRACE");
	check_not_said(&f, "sudo");
	/* Same user, but the target has capabilities that root here lacks. */
	f = denied();
	for (int i = 0; i < 4; i++)
		f.target.uid[i] = f.target.gid[i] = ROOT;
	f.our_uid = f.our_gid = ROOT;
	f.our_cap_prm = 0xa80425fb;
	f.target.cap_prm = 0x1ffffffffff;
	refused(&f, "holds capabilities", "--cap-add=SYS_PTRACE");
}

static void test_set_ids(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	f.target.uid[1] = f.target.uid[2] = ROOT;
	refused(&f, "other user ids than yours", "setuid", "sudo");
	f = denied();
	f.target.uid[2] = ROOT;
	refused(&f, "other user ids than yours");
	f = denied();
	f.target.gid[1] = 43;
	refused(&f, "other group ids than yours", "setgid");
	/* The filesystem ids are not asked for. */
	f = denied();
	f.target.uid[3] = ROOT;
	refused(&f, "could not be determined");
}

static void test_capabilities_and_dumpable(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	f.target.cap_prm = 1 << 13;
	f.not_dumpable = true;
	refused(&f, "holds capabilities", "0x2000", "setcap");
	f.our_cap_prm = 1 << 13;
	refused(&f, "not dumpable", "PR_SET_DUMPABLE", "sudo");
	/* A process of another user looks not dumpable too, for other reasons. */
	f.target.uid[0] = OTHER;
	refused(&f, "belongs to");
}

static void test_yama(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	f.yama_scope = 1;
	refused(&f, "ptrace_scope is 1", "children alone", "sudo", "-- COMMAND");
	f.yama_scope = 2;
	refused(&f, "ptrace_scope is 2", "CAP_SYS_PTRACE", "sudo", "sysctl");
	f.yama_scope = 3;
	refused(&f, "ptrace_scope is 3", "even to root", "reboot");
	f.have_cap_sys_ptrace = true;
	refused(&f, "ptrace_scope is 3");
	/* 3 comes before whose it is: nobody at all may. */
	f.have_cap_sys_ptrace = false;
	f.target.uid[0] = OTHER;
	refused(&f, "ptrace_scope is 3");
	f.yama_scope = 2;
	refused(&f, "belongs to");
	/* Not the rule that forbids it: */
	f = denied();
	f.yama_scope = 1;
	f.is_descendant = true;
	refused(&f, "could not be determined");
	f = denied();
	f.yama_scope = 2;
	f.have_cap_sys_ptrace = true;
	refused(&f, "could not be determined");
	f.yama_scope = 0;
	refused(&f, "could not be determined");
}

static void test_user_namespaces(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	f.same_user_namespace = false;
	refused(&f, "rootless container", "sudo");
	f.in_user_namespace = true;
	refused(&f, "another user namespace", "outside of this container");
	check_not_said(&f, "sudo");
	/* Ids seen through another namespace say nothing. */
	f.target.uid[0] = 65534;
	refused(&f, "another user namespace");
	f.have_cap_sys_ptrace = true;
	refused(&f, "could not be determined");
}

static void test_security_modules(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	f.have_cap_sys_ptrace = true;
	strcpy(f.lsm_label, "docker-default (enforce)");
	refused(&f, "AppArmor (profile docker-default (enforce))", "apparmor=unconfined");
	strcpy(f.lsm_label, "system_u:system_r:postgresql_t:s0");
	refused(&f, "SELinux (system_u:system_r:postgresql_t:s0)", "ausearch");
	f.lsm_label[0] = '\0';
	strcpy(f.our_lsm_label, "snap.tool.cli (enforce)");
	refused(&f, "AppArmor (profile snap.tool.cli");
	/* What is known goes before what is supposed. */
	f.have_cap_sys_ptrace = false;
	f.yama_scope = 1;
	refused(&f, "ptrace_scope is 1");
}

static void test_undetermined(void **state)
{
	struct refusal_facts f = denied();

	(void)state;
	refused(&f, "could not be determined", "Operation not permitted", "sudo");
	f.have_cap_sys_ptrace = true;
	refused(&f, "could not be determined", "outside of any container");
	f.memory_probe_errno = ENOSYS;
	refused(&f, "could not be determined");
}

/* Each of 2^11 combinations of what may be wrong gets a sentence, or none when
 * nothing forbids it. */
static void test_every_combination(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 1u << 11; bits++) {
		struct refusal_facts f = permitted();
		struct error err = {0};
		bool absolute = (bits & 7) != 0;
		int r;

		f.kernel_thread = bits & 1;
		f.target.tracer_pid = bits & 2 ? 7 : 0;
		f.ptrace_probe_errno = bits & 4 ? EPERM : ESRCH;
		f.memory_probe_errno = bits & 8 ? EPERM : 0;
		f.have_cap_sys_ptrace = bits & 16;
		f.same_user_namespace = !(bits & 32);
		f.target.uid[0] = bits & 64 ? OTHER : OURS;
		f.not_dumpable = bits & 128;
		f.yama_scope = (int)(bits >> 8 & 3);
		f.cap_in_bounding_set = bits & 1024;
		r = refusal_judge(PID, &f, &err);
		assert_int_equal(r, absolute || (bits & 8) ? -1 : 0);
		assert_int_equal(r < 0, err.text[0] != '\0');
	}
}

/*
 * Real processes
 */

/* A child that sleeps; back when it has prepared itself. */
static pid_t start_child(void (*prepare)(void))
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (prepare)
			prepare();
		close(fds[0]);
		close(fds[1]);
		for (;;)
			pause();
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct refusal_facts gather(pid_t pid)
{
	struct refusal_facts facts;
	struct error err = {0};
	struct target *target = target_open(pid, &err);

	if (!target)
		fail_msg("%s", err.text);
	refusal_gather(target, &facts);
	target_free(target);
	return facts;
}

static void test_gather_a_child(void **state)
{
	pid_t pid = start_child(NULL);
	struct refusal_facts f = gather(pid);

	(void)state;
	assert_int_equal(f.target.pid, pid);
	assert_int_equal(f.our_uid, getuid());
	assert_int_equal(f.target.uid[0], getuid());
	assert_int_equal(f.target.tracer_pid, 0);
	assert_true(f.is_descendant);
	assert_true(f.same_user_namespace);
	assert_false(f.kernel_thread);
	assert_false(f.is_32bit);
	assert_false(f.is_ourselves);
	assert_false(f.all_ended);
	assert_false(f.not_dumpable);
	assert_int_equal(f.memory_probe_errno, 0);
	assert_int_equal(f.ptrace_probe_errno, ESRCH);
	check_permitted(&f);
	end_child(pid);
}

static void test_gather_ourselves(void **state)
{
	struct refusal_facts f = gather(getpid());

	(void)state;
	assert_true(f.is_ourselves);
	assert_false(f.is_descendant);
	refused(&f, "cprof-attach itself");
}

static void test_gather_a_parent(void **state)
{
	struct refusal_facts f;

	(void)state;
	/* 0: it is outside of this pid namespace. */
	if (getppid() == 0)
		skip();
	f = gather(getppid());
	assert_false(f.is_descendant);
	assert_false(f.is_ourselves);
}

static void test_gather_a_zombie(void **state)
{
	pid_t pid = start_child(NULL);
	siginfo_t info;
	struct refusal_facts f;

	(void)state;
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	f = gather(pid);
	assert_int_equal(f.target.state, 'Z');
	assert_true(f.all_ended);
	refused(&f, "zombie");
	waitpid(pid, NULL, 0);
}

static void close_ourselves(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}

static void test_gather_not_dumpable(void **state)
{
	pid_t pid = start_child(close_ourselves);
	struct refusal_facts f = gather(pid);

	(void)state;
	/* The files of such a process are root's: of root's own, too. */
	assert_int_equal(f.not_dumpable, getuid() != 0);
	end_child(pid);
}

static void test_gather_kernel_thread(void **state)
{
	struct refusal_facts f;
	struct error err;
	struct target *target = target_open(2, &err);

	(void)state;
	if (!target || strcmp(target->comm, "kthreadd") != 0) {
		target_free(target);
		skip();
	}
	refusal_gather(target, &f);
	target_free(target);
	assert_true(f.kernel_thread);
	refused(&f, "kernel thread");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_permitted),
	        cmocka_unit_test(test_what_no_right_overcomes),
	        cmocka_unit_test(test_files_closed),
	        cmocka_unit_test(test_absolute_before_rights),
	        cmocka_unit_test(test_ptrace_forbidden),
	        cmocka_unit_test(test_another_user),
	        cmocka_unit_test(test_container_without_the_capability),
	        cmocka_unit_test(test_set_ids),
	        cmocka_unit_test(test_capabilities_and_dumpable),
	        cmocka_unit_test(test_yama),
	        cmocka_unit_test(test_user_namespaces),
	        cmocka_unit_test(test_security_modules),
	        cmocka_unit_test(test_undetermined),
	        cmocka_unit_test(test_every_combination),
	        cmocka_unit_test(test_gather_a_child),
	        cmocka_unit_test(test_gather_ourselves),
	        cmocka_unit_test(test_gather_a_parent),
	        cmocka_unit_test(test_gather_a_zombie),
	        cmocka_unit_test(test_gather_not_dumpable),
	        cmocka_unit_test(test_gather_kernel_thread),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
