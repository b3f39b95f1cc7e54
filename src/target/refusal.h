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
#include <sys/types.h>

#include "base/error.h"
#include "target/procfs.h"
#include "target/target.h"

struct refusal_facts {
	struct procfs_status target; /* of the thread group leader */
	bool kernel_thread;
	bool is_ourselves;
	bool is_32bit;       /* ELF class of its executable */
	bool exe_unreadable; /* /proc/PID/exe could not be followed: EACCES */
	char tracer_comm[PROCFS_COMM_LEN];
	bool tracer_is_thread_of_ours;
	int yama_scope;     /* -1: no Yama here */
	bool is_descendant; /* the target descends from us */
	uid_t our_uid;
	gid_t our_gid;
	bool have_cap_sys_ptrace; /* effective, in the target's user namespace */
	bool cap_in_bounding_set; /* could be had by sudo */
	bool in_user_namespace;   /* ours is not the initial one */
	bool same_user_namespace; /* ours is the target's */
	int ptrace_probe_errno;   /* of a harmless ptrace call; ESRCH is the good answer,
				     EPERM or ENOSYS mean that a seccomp filter forbids it */
	int memory_probe_errno;   /* of reading the target's memory; 0 is good */
	int our_seccomp;          /* as procfs_status.seccomp */
	char lsm_label[128];      /* the target's AppArmor/SELinux label; "" unconfined */
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
