/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of /proc's text files, and what reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "target/procfs.h"

static void test_schedstat(void **state)
{
	static const char text[] = "5071812 36035 12\n";
	struct procfs_schedstat s;

	(void)state;
	assert_int_equal(procfs_parse_schedstat(text, strlen(text), &s), 0);
	assert_int_equal(s.run_ns, 5071812);
	assert_int_equal(s.wait_ns, 36035);
	assert_int_equal(s.timeslices, 12);
	assert_int_equal(procfs_parse_schedstat("1 2", 3, &s), -EINVAL);
	assert_int_equal(procfs_parse_schedstat("", 0, &s), -EINVAL);
	assert_int_equal(procfs_parse_schedstat("1 x 3", 5, &s), -EINVAL);
	/* 2^64 does not fit, 2^64 - 1 does */
	assert_int_equal(procfs_parse_schedstat("18446744073709551616 0 0", 24, &s),
	                 -EINVAL);
	assert_int_equal(procfs_parse_schedstat("18446744073709551615 0 0", 24, &s), 0);
	assert_true(s.run_ns == UINT64_MAX);
}

static void test_syscall(void **state)
{
	static const char blocked[] = "232 0x5 0x7ffc00000010 0x80 0xffffffff 0x0 0x8 "
	                              "0x7ffc12345678 0x7f12345678\n";
	static const char fault[] = "-1 0x7ffc00000000 0x55aa\n";
	struct procfs_syscall s;

	(void)state;
	assert_int_equal(procfs_parse_syscall("running\n", 8, &s), 0);
	assert_true(s.running);
	assert_int_equal(procfs_parse_syscall(blocked, strlen(blocked), &s), 0);
	assert_false(s.running);
	assert_int_equal(s.nr, 232);
	assert_int_equal(s.args[0], 5);
	assert_true(s.args[3] == 0xffffffff);
	assert_int_equal(s.args[5], 8);
	assert_true(s.sp == 0x7ffc12345678);
	assert_true(s.pc == 0x7f12345678);
	assert_int_equal(procfs_parse_syscall(fault, strlen(fault), &s), 0);
	assert_int_equal(s.nr, -1);
	assert_true(s.sp == 0x7ffc00000000);
	assert_int_equal(s.pc, 0x55aa);
	/* every cut of a line is an error, not a guess */
	for (size_t len = 0; len < strlen(blocked) - 11; len++)
		assert_int_equal(procfs_parse_syscall(blocked, len, &s), -EINVAL);
}

static void test_stat(void **state)
{
	static const char text[] = "31337 (a) R) S 1 31337 31337 0 -1 4194560 100 0 0 0 "
	                           "77 33 0 0 20 0 1 0 123456 0 0\n";
	struct procfs_stat s;

	(void)state;
	assert_int_equal(procfs_parse_stat(text, strlen(text), &s), 0);
	assert_int_equal(s.pid, 31337);
	assert_string_equal(s.comm, "a) R"); /* the last ")" ends the name */
	assert_int_equal(s.state, 'S');
	assert_int_equal(s.ppid, 1);
	assert_int_equal(s.flags, 4194560);
	assert_int_equal(s.utime_ticks, 77);
	assert_int_equal(s.stime_ticks, 33);
	assert_int_equal(s.start_ticks, 123456);
	for (size_t len = 0; len < (size_t)(strstr(text, "123456") - text); len++)
		assert_int_equal(procfs_parse_stat(text, len, &s), -EINVAL);
}

static void test_status(void **state)
{
	static const char text[] =
	        "Name:\tx y\nUmask:\t0022\nState:\tZ (zombie)\nTgid:\t10\n"
	        "Ngid:\t0\nPid:\t11\nPPid:\t1\nTracerPid:\t99\n"
	        "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t11\t3\t1\n"
	        "SigPnd:\t0000000000000001\nShdPnd:\t0000000000000200\n"
	        "SigBlk:\t0000000000010000\nCapPrm:\t000001ffffffffff\n"
	        "CapEff:\t0000000000080000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
	struct procfs_status s;

	(void)state;
	assert_int_equal(procfs_parse_status(text, strlen(text), &s), 0);
	assert_string_equal(s.name, "x y");
	assert_int_equal(s.state, 'Z');
	assert_int_equal(s.tgid, 10);
	assert_int_equal(s.pid, 11);
	assert_int_equal(s.tracer_pid, 99);
	assert_int_equal(s.uid[2], 3);
	assert_int_equal(s.gid[3], 8);
	assert_int_equal(s.ns_pid, 1);
	assert_true(s.cap_prm == 0x1ffffffffff);
	assert_true(s.cap_eff == 0x80000);
	assert_int_equal(s.no_new_privs, 1);
	assert_int_equal(s.seccomp, 2);
	assert_int_equal(s.sig_pending, 1);
	assert_int_equal(s.shared_pending, 0x200);
	assert_int_equal(s.sig_blocked, 0x10000);
	assert_int_equal(procfs_parse_status("Name:\tx\n", 8, &s), -EINVAL);
	assert_int_equal(procfs_parse_status("Tgid:\tq\nPid:\t1\n", 15, &s), -EINVAL);
}

/* A name longer than the kernel's is cut, not written past its end. */
static void test_long_comm(void **state)
{
	static const char text[] =
	        "1 (0123456789abcdefghij) R 0 0 0 0 0 0 0 0 0 0 1 2 0 0 0 0 "
	        "0 0 9 0\n";
	struct procfs_stat s;

	(void)state;
	assert_int_equal(procfs_parse_stat(text, strlen(text), &s), 0);
	assert_string_equal(s.comm, "0123456789abcde");
}

static void test_kernel_frames(void **state)
{
	static const char *const good[] = {"do_epoll_wait", "nf_hook", "entry_SYSCALL_64"};
	char text[] = "[<0>] do_epoll_wait+0x6a5/0x860\n"
	              "\n"
	              "no frame\n"
	              "[<ffffffff81000000>] nf_hook+0x1/0x2 [nf_tables]\n"
	              "[<0>]\n"
	              "[<0>] entry_SYSCALL_64";
	const char *p = text, *end = text + sizeof text - 1;
	char name[32], tiny[4];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_true(procfs_next_kernel_frame(&p, end, name, sizeof name));
		assert_string_equal(name, good[i]);
	}
	assert_false(procfs_next_kernel_frame(&p, end, name, sizeof name));
	p = text;
	assert_true(procfs_next_kernel_frame(&p, end, tiny, sizeof tiny));
	assert_string_equal(tiny, "do_");
	/* whatever is cut off is not looked at */
	for (size_t len = 0; len < sizeof text; len++) {
		p = text;
		while (procfs_next_kernel_frame(&p, text + len, name, sizeof name))
			assert_true(p <= text + len);
	}
}

static void test_switches(void **state)
{
	static const char text[] = "Name:\tx\nState:\tS (sleeping)\nTgid:\t7\nPid:\t8\n"
	                           "voluntary_ctxt_switches:\t150\n"
	                           "nonvoluntary_ctxt_switches:\t545\n";
	struct procfs_status s;

	(void)state;
	assert_int_equal(procfs_parse_status(text, strlen(text), &s), 0);
	assert_int_equal(s.voluntary_switches, 150);
	assert_int_equal(s.involuntary_switches, 545);
}

static void test_real_files(void **state)
{
	char *text, fixed[16], comm[PROCFS_COMM_LEN];
	struct procfs_status status;
	ssize_t n;

	(void)state;
	n = procfs_read(AT_FDCWD, "/proc/self/status", 1 << 20, &text);
	assert_true(n > 0);
	assert_int_equal(procfs_parse_status(text, (size_t)n, &status), 0);
	assert_int_equal(status.pid, getpid());
	assert_int_equal(status.uid[1], geteuid());
	free(text);

	n = procfs_read(AT_FDCWD, "/proc/self/status", 10, &text);
	assert_int_equal(n, 10); /* no more than asked for */
	free(text);
	assert_int_equal(procfs_read(AT_FDCWD, "/proc/self/nothing", 10, &text), -ENOENT);
	assert_null(text);

	assert_int_equal(
	        procfs_read_fixed(AT_FDCWD, "/proc/self/status", fixed, sizeof fixed), 15);
	assert_int_equal(strlen(fixed), 15);

	prctl(PR_SET_NAME, "odd (name)\n");
	assert_int_equal(procfs_read_comm(AT_FDCWD, "/proc/self/comm", comm), 0);
	/* the kernel's own newline is taken off, the name's is not */
	assert_string_equal(comm, "odd (name)\n");
	assert_int_equal(procfs_read_comm(AT_FDCWD, "/proc/self/nothing", comm), -ENOENT);
	assert_string_equal(comm, "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_schedstat),     cmocka_unit_test(test_syscall),
	        cmocka_unit_test(test_stat),          cmocka_unit_test(test_status),
	        cmocka_unit_test(test_long_comm),     cmocka_unit_test(test_real_files),
	        cmocka_unit_test(test_kernel_frames), cmocka_unit_test(test_switches),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
