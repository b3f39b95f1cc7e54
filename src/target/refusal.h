/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why an attach is not permitted. The kernel says EPERM for a dozen reasons;
 * this gathers what can be known about each and says which it is, and what to
 * do about it. Gathering and judging are apart, so the judgement of situations
 * that this machine cannot make (Yama) is tested from hand-made facts.
 */
#ifndef CPROF_TARGET_REFUSAL_H
#define CPROF_TARGET_REFUSAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "target/procfs.h"
#include "target/target.h"

struct refusal_facts {
	/* The target */
	struct procfs_status target; /* of its first thread */
	char owner[32];              /* the name of its user; "" unknown here */
	bool all_ended;              /* a zombie: no thread of it lives */
	bool kernel_thread;
	bool is_ourselves;
	bool is_32bit;       /* ELF class of its executable */
	bool exe_unreadable; /* /proc/PID/exe could not be opened: class unknown */
	bool not_dumpable;   /* its /proc files are not its own user's */
	bool is_descendant;  /* of ours */
	char tracer_comm[PROCFS_COMM_LEN];
	bool tracer_is_thread_of_ours;
	char lsm_label[128]; /* its AppArmor or SELinux label; "" unconfined */

	/* Ourselves */
	uid_t our_uid; /* real ones: the kernel compares these */
	gid_t our_gid;
	uint64_t our_cap_prm;
	bool have_cap_sys_ptrace; /* effective, in the target's user namespace */
	bool cap_in_bounding_set; /* could be had by sudo or setcap */
	bool in_user_namespace;   /* ours is not the initial one */
	bool same_user_namespace; /* ours is the target's */
	int our_seccomp;          /* as procfs_status.seccomp */
	char our_lsm_label[128];

	/* The system, and what it answered */
	int yama_scope;         /* -1: no Yama here */
	int ptrace_probe_errno; /* of a harmless ptrace call; ESRCH is the good answer,
				   EPERM or ENOSYS mean that the call is forbidden */
	int memory_probe_errno; /* of reading the target's memory; 0 is good */
	int file_probe_errno;   /* of opening a /proc file that only its user and those
				   who may read all files can open; 0 is good */
};

/* Looks at everything and changes nothing; no thread is stopped. */
void refusal_gather(const struct target *target, struct refusal_facts *facts);

/*
 * 0 if the target may be sampled; else -1 with one sentence in *err that names
 * the rule and the remedy, code EXIT_CODE_REFUSED.
 */
int refusal_judge(pid_t pid, const struct refusal_facts *facts, struct error *err);

/* Both of the above. */
int refusal_check(const struct target *target, struct error *err);

#endif
