/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as each of the kernel's small files; names that come out are strings. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "target/cgroup.h"
#include "target/procfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void try_pids(const char *text, size_t size)
{
	struct pids pids = {0};

	procfs_parse_pids(text, size, &pids);
	for (size_t i = 0; i < pids.n; i++)
		require(pids.v[i] > 0);
	array_fini(&pids);
}

static void try_mounts(const char *text, size_t size)
{
	struct cgroup_mounts mounts;
	char *dir;

	cgroup_parse_mounts(text, size, &mounts);
	for (size_t i = 0; i < mounts.n; i++)
		require(mounts.v[i].version == 1 || mounts.v[i].version == 2);
	for (size_t i = 0; (dir = cgroup_candidate(&mounts, "/system.slice/a", i)); i++) {
		require(i < mounts.n || i == 0);
		free(dir);
	}
	cgroup_mounts_fini(&mounts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct procfs_schedstat schedstat;
	struct procfs_syscall call;
	struct procfs_stat stat;
	struct procfs_status status;
	const char *next = text;
	char name[16];

	require(procfs_parse_schedstat(text, size, &schedstat) <= 0);
	require(procfs_parse_syscall(text, size, &call) <= 0);
	if (procfs_parse_stat(text, size, &stat) == 0)
		require(memchr(stat.comm, '\0', sizeof stat.comm) != NULL);
	if (procfs_parse_status(text, size, &status) == 0)
		require(memchr(status.name, '\0', sizeof status.name) != NULL);
	while (procfs_next_kernel_frame(&next, text + size, name, sizeof name))
		require(name[0] != '\0' && memchr(name, '\0', sizeof name) != NULL);
	try_pids(text, size);
	try_mounts(text, size);
	return 0;
}
