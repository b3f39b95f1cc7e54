/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Least privilege, as far as capabilities go; target/sandbox.c does the rest.
 *
 * A profiler of other users' processes needs the rights of a debugger, and reads,
 * with these rights, bytes that may have been made to break it. So the capabilities
 * that sampling uses are kept, and all others dropped, before the first of these
 * bytes is read. Root without them is a user who owns root's files.
 *
 * Root in a container mostly has DAC_OVERRIDE and not DAC_READ_SEARCH. Files of other
 * users, their /proc files among them, are then read by the right to write to them.
 *
 * Without the right to trace anybody, all of them are kept: the kernel then lets us
 * trace whom it does because there is no capability that they have and we do not.
 *
 * Replacing a file in somebody else's directory takes more (sudo in a home
 * directory). Where the output needs that it is kept, but out of effect until the
 * output is written, and by the main thread alone: capabilities are per thread,
 * and those that unwind and sample drop it (privilege_forget_output).
 */
#include "base/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Missing in older headers. */
#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

#define BIT(cap) (UINT64_C(1) << (cap))

/*
 * SYS_PTRACE: other users' threads, memory and /proc files. DAC_READ_SEARCH: their
 * programs and debug files. CHECKPOINT_RESTORE: /proc/PID/map_files. SYS_NICE:
 * priorities (capture/visit.c).
 */
#define FOR_SAMPLING (BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_SYS_NICE))

/* A directory of another user's; the old file's owner for the new one; a sticky
 * directory. */
#define FOR_OUTPUT (BIT(CAP_DAC_OVERRIDE) | BIT(CAP_CHOWN) | BIT(CAP_FOWNER))

/* What was kept for the output; set while there is one thread. */
static uint64_t kept_for_output;

struct capabilities {
	uint64_t effective, permitted, inheritable;
};

/* The system calls themselves: of the calling thread. */
static int get_capabilities(struct capabilities *caps)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	caps->effective = data[0].effective | (uint64_t)data[1].effective << 32;
	caps->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	caps->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	return 0;
}

static int set_capabilities(const struct capabilities *caps)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
	        {(uint32_t)caps->effective, (uint32_t)caps->permitted,
	         (uint32_t)caps->inheritable},
	        {(uint32_t)(caps->effective >> 32), (uint32_t)(caps->permitted >> 32),
	         (uint32_t)(caps->inheritable >> 32)},
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* Before Linux 5.9 it took SYS_ADMIN to follow map_files. */
static uint64_t for_map_files(void)
{
	if (prctl(PR_CAPBSET_READ, CAP_CHECKPOINT_RESTORE, 0, 0, 0) >= 0)
		return BIT(CAP_CHECKPOINT_RESTORE);
	return BIT(CAP_SYS_ADMIN);
}

uint64_t privilege_drop(const struct privilege_wants *wants)
{
	struct capabilities caps;
	uint64_t keep = FOR_SAMPLING | for_map_files();

	if (get_capabilities(&caps) < 0)
		return 0;
	if (!(caps.effective & BIT(CAP_SYS_PTRACE)))
		return caps.permitted;
	if (!(caps.permitted & BIT(CAP_DAC_READ_SEARCH)))
		keep |= BIT(CAP_DAC_OVERRIDE);
	/* The kernel asks for no less. */
	if (wants->kernel_stacks)
		keep |= BIT(CAP_SYS_ADMIN);
	caps.effective &= keep;
	caps.permitted &= keep | (wants->output ? FOR_OUTPUT : 0);
	caps.inheritable = 0;
	kept_for_output = caps.permitted & FOR_OUTPUT & ~keep;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return set_capabilities(&caps) < 0 ? 0 : caps.permitted;
}

static void set_output(bool permitted, bool effective)
{
	struct capabilities caps;
	uint64_t kept;

	if (kept_for_output == 0 || get_capabilities(&caps) < 0)
		return;
	kept = caps.permitted & kept_for_output;
	if (kept == 0 ||
	    (permitted && (caps.effective & kept_for_output) == (effective ? kept : 0)))
		return;
	caps.effective = effective ? caps.effective | kept : caps.effective & ~kept;
	if (!permitted)
		caps.permitted &= ~kept;
	(void)set_capabilities(&caps);
}

void privilege_begin_output(void)
{
	set_output(true, true);
}

void privilege_end_output(void)
{
	set_output(true, false);
}

void privilege_forget_output(void)
{
	set_output(false, false);
}
