/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes belong to a run: lists of children and control groups, names, the
 * accounts of children, and the files that a run is split into. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "profile/select.h"
#include "split.h"
#include "target/by_name.h"
#include "target/cgroup.h"
#include "target/lineage.h"
#include "target/procfs.h"
#include "target/roster.h"

static struct pids parse(const char *text)
{
	struct pids pids = {0};

	procfs_parse_pids(text, strlen(text), &pids);
	return pids;
}

static void test_pid_lists(void **state)
{
	struct pids pids = parse("4711 4713 ");

	(void)state;
	assert_int_equal(pids.n, 2);
	assert_int_equal(pids.v[0], 4711);
	assert_int_equal(pids.v[1], 4713);
	array_fini(&pids);
	/* cgroup.procs; 0 is a process of another pid namespace */
	pids = parse("1\n0\n0\n2147483647\n");
	assert_int_equal(pids.n, 2);
	assert_int_equal(pids.v[1], 2147483647);
	array_fini(&pids);
	assert_int_equal(parse("").n, 0);
	assert_int_equal(parse("\n").n, 0);
	assert_int_equal(parse("2147483648 1").n, 0);
	assert_int_equal(parse("-1 1").n, 0);
	pids = parse("12 x 13");
	assert_int_equal(pids.n, 1);
	array_fini(&pids);
	/* the text ends where it is said to */
	procfs_parse_pids("123456", 3, &pids);
	assert_int_equal(pids.v[0], 123);
	array_fini(&pids);
}

static void test_children_account(void **state)
{
	static const char text[] =
	        "7 (a) S 1 7 7 0 -1 4194560 100 0 0 0 12 34 56 78 20 0 1 "
	        "0 9999 1 2 3\n";
	struct procfs_stat stat;

	(void)state;
	assert_int_equal(procfs_parse_stat(text, strlen(text), &stat), 0);
	assert_int_equal(stat.children_ticks, 56 + 78);
	assert_int_equal(stat.start_ticks, 9999);
}

static void check_candidate(const struct cgroup_mounts *mounts, const char *path, size_t i,
                            const char *want)
{
	char *got = cgroup_candidate(mounts, path, i);

	if (want)
		assert_string_equal(got, want);
	else
		assert_null(got);
	free(got);
}

static void test_cgroup_paths(void **state)
{
	static const char text[] = "24 1 0:22 / /proc rw - proc proc rw\n"
	                           "30 24 0:26 / /sys/fs/cgroup/cpu rw,nosuid shared:9 - "
	                           "cgroup cgroup rw,cpu\n"
	                           "31 24 0:27 / /sys/fs/cgroup/a\\040b rw shared:1 "
	                           "master:2 - cgroup2 none rw\n"
	                           "32 24 0:28 / /x\n"
	                           "33 24";
	struct cgroup_mounts mounts;

	(void)state;
	cgroup_parse_mounts(text, strlen(text), &mounts);
	assert_int_equal(mounts.n, 2);
	assert_int_equal(mounts.v[0].version, 2); /* first, wherever it stands */
	assert_string_equal(mounts.v[0].dir, "/sys/fs/cgroup/a b");
	assert_int_equal(mounts.v[1].version, 1);
	/* below each mount, with or without a slash in front */
	check_candidate(&mounts, "/system.slice/x.service", 0,
	                "/sys/fs/cgroup/a b/system.slice/x.service");
	check_candidate(&mounts, "system.slice", 1, "/sys/fs/cgroup/cpu/system.slice");
	check_candidate(&mounts, "system.slice", 2, NULL);
	check_candidate(&mounts, "/", 0, "/sys/fs/cgroup/a b");
	/* a directory of a mount is itself, and nothing else */
	check_candidate(&mounts, "/sys/fs/cgroup/cpu/y", 0, "/sys/fs/cgroup/cpu/y");
	check_candidate(&mounts, "/sys/fs/cgroup/cpu/y", 1, NULL);
	check_candidate(&mounts, "/sys/fs/cgroup/cpuset", 0,
	                "/sys/fs/cgroup/a b/sys/fs/cgroup/cpuset");
	cgroup_mounts_fini(&mounts);
	cgroup_parse_mounts("", 0, &mounts);
	assert_int_equal(mounts.n, 0);
	check_candidate(&mounts, "x", 0, NULL);
}

static bool matches(const char *pattern, const char *comm, const char *exe,
                    const char *argv0)
{
	regex_t regex;
	bool yes;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	yes = by_name_matches(&regex, comm, exe, argv0);
	regfree(&regex);
	return yes;
}

static void test_names(void **state)
{
	(void)state;
	assert_true(matches("ngin", "nginx", "/usr/sbin/nginx", "nginx: worker process"));
	assert_true(matches("^nginx$", "nginx", "", ""));
	/* a comm ends after 15 characters; the file's name does not */
	assert_true(matches("^a-very-long-program-name$", "a-very-long-pro",
	                    "/opt/a-very-long-program-name", ""));
	assert_true(matches("^bash$", "x", "/usr/bin/dash", "/bin/bash"));
	assert_true(matches("checkpointer", "postgres", "/x/postgres",
	                    "postgres: checkpointer /var"));
	assert_false(matches("sbin", "nginx", "/usr/sbin/nginx", "/usr/sbin/nginx"));
	assert_false(matches("x*", "", "", ""));
}

static void test_lineage(void **state)
{
	/* 0 has waited for 1, which had waited for 2 and for 7 ns that nobody saw; a
	 * process of 100 ns came and went unseen below 0. 3 still runs. */
	struct lineage_member m[] = {
	        {LINEAGE_NONE, false, 50, 1000, 1000 + 30 + 5 + 7 + 100, 0},
	        {0, true, 30, 0, 5 + 7, 0},
	        {1, true, 5, 0, 0, 0},
	        {0, false, 40, 0, 0, 0},
	};

	(void)state;
	lineage_settle(m, 4);
	assert_int_equal(m[0].unseen_ns, 100);
	assert_int_equal(m[1].unseen_ns, 7);
	assert_int_equal(m[2].unseen_ns, 0);
	assert_int_equal(m[3].unseen_ns, 0);
	/* 1's last reading was older than the end of 2: what 2 used is no more unseen at
	 * 0 for that. */
	m[1].waited_ns = 0;
	m[0].waited_ns = 1000 + 30 + 5;
	lineage_settle(m, 4);
	assert_int_equal(m[0].unseen_ns, 0);
	assert_int_equal(m[1].unseen_ns, 0);
	/* the last moments of 1 that its clock did not tell any more */
	m[0].waited_ns = 1000 + 30 + 5 + 3;
	lineage_settle(m, 4);
	assert_int_equal(m[0].unseen_ns, 3);
	/* a circle, and a parent that is not there, do no harm */
	m[0].parent = 1;
	m[0].reaped = true;
	m[3].parent = 99;
	m[3].reaped = true;
	lineage_settle(m, 4);
	lineage_settle(m, 0);
}

/* What a released process still answers. */
static void test_roster(void **state)
{
	struct roster *roster = roster_new();
	pid_t pid = fork();
	struct target *target;
	uint64_t ns;
	char byte;

	(void)state;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	target = target_open(pid, NULL);
	assert_int_equal(roster_add(roster, target, true), 0);
	assert_int_equal(roster_count(roster), 1);
	assert_ptr_equal(roster_get(roster, 0)->target, target);
	assert_string_equal(roster_name(roster_get(roster, 0)), target->comm);
	roster_rename(roster_get(roster, 0), "another");
	assert_string_equal(roster_name(roster_get(roster, 0)), "another");
	target_release(target);
	assert_int_equal(target_read_memory(target, (uint64_t)(uintptr_t)&byte, &byte, 1),
	                 -ESRCH);
	assert_true(target_cpu_ns(target, &ns) < 0);
	target_refresh(target);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	roster_free(roster);
}

static void check_split_name(const char *name, const char *want)
{
	char *got = split_name(name, &writer_pprof, "7");

	assert_string_equal(got, want);
	free(got);
}

static void test_split_names(void **state)
{
	(void)state;
	check_split_name("out.pb.gz", "out.7.pb.gz");
	check_split_name("a.b/out", "a.b/out.7");
	check_split_name("out.prof", "out.7.prof");
	check_split_name("dir/.pb.gz", "dir/.pb.7.gz");
	check_split_name("x-%p.pb.gz", "x-7.pb.gz");
	check_split_name("%p/%p", "7/7");
	/* other signs stay for whom they are for */
	check_split_name("%H%%p-%p", "%H%%p-7");
	check_split_name("%p%", "7%");
}

static uint32_t labels_of(struct profile *profile, int64_t pid)
{
	struct profile_label label = {.key = profile_string(profile, "process_id"),
	                              .num = pid};

	return profile_labels(profile, &label, 1);
}

static const char *file_of_main(const struct profile *profile, int64_t pid)
{
	uint32_t id = profile_main(profile, pid);

	return id ? profile_text(profile, profile->mappings.v[id - 1].file) : NULL;
}

/* Two processes with code of one library each and of one they share. */
static void test_select(void **state)
{
	struct profile *whole = profile_new(), *part;
	struct profile_mapping one = {.start = 0x1000, .limit = 0x2000},
	                       two = {.start = 0x5000, .limit = 0x6000},
	                       both = {.start = 0x9000, .limit = 0xa000};
	int64_t values[] = {3};
	uint32_t l[3], pseudo;

	(void)state;
	profile_add_type(whole, "cpu", "nanoseconds");
	profile_set_period(whole, "cpu", "nanoseconds", 10);
	profile_comment(whole, "of all");
	one.file = profile_string(whole, "/bin/one");
	two.file = profile_string(whole, "/bin/two");
	both.file = profile_string(whole, "/lib/both");
	l[0] = profile_location(whole, profile_mapping(whole, &one), 0x1100);
	l[1] = profile_location(whole, profile_mapping(whole, &both), 0x9100);
	l[2] = profile_location(whole, profile_mapping(whole, &two), 0x5100);
	struct profile_function function = {.name = profile_string(whole, "shared")};
	struct profile_line line = {profile_function(whole, &function), 12};
	profile_set_lines(whole, l[1], &line, 1);
	pseudo = profile_pseudo(whole, "[not sampled]");
	profile_add(whole, profile_stack(whole, l, 2), labels_of(whole, 1), values);
	profile_add(whole, profile_stack(whole, l + 1, 2), labels_of(whole, 2), values);
	profile_add(whole, profile_stack(whole, &pseudo, 1), labels_of(whole, 2), values);

	profile_set_main(whole, 2, whole->locations.v[l[2] - 1].mapping);
	profile_set_main(whole, 3, whole->locations.v[l[0] - 1].mapping);
	part = profile_select(whole, profile_string(whole, "process_id"), 2);
	assert_int_equal(part->samples.n, 2);
	assert_int_equal(part->mappings.n, 2); /* not that of the other */
	assert_int_equal(part->main_pid, 2);
	assert_string_equal(file_of_main(part, 2), "/bin/two");
	assert_int_equal(part->locations.n, 3);
	assert_int_equal(part->functions.n, 2);
	assert_int_equal(part->period, 10);
	assert_int_equal(part->comments.n, 1);
	for (size_t i = 0; i < part->samples.n; i++)
		assert_int_equal(part->samples.v[i].value[0], 3);
	profile_free(part);
	/* nothing of that number: a profile all the same, with its main binary */
	part = profile_select(whole, profile_string(whole, "process_id"), 3);
	assert_int_equal(part->samples.n, 0);
	assert_int_equal(part->mappings.n, 1);
	assert_string_equal(file_of_main(part, 3), "/bin/one");
	profile_free(part);
	profile_free(whole);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pid_lists),
	        cmocka_unit_test(test_children_account),
	        cmocka_unit_test(test_cgroup_paths),
	        cmocka_unit_test(test_names),
	        cmocka_unit_test(test_lineage),
	        cmocka_unit_test(test_roster),
	        cmocka_unit_test(test_split_names),
	        cmocka_unit_test(test_select),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
