/* SPDX-License-Identifier: Apache-2.0 */
#include "target/roster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct roster *roster_new(void)
{
	return xcalloc(1, sizeof(struct roster));
}

void roster_free(struct roster *roster)
{
	if (!roster)
		return;
	for (size_t i = 0; i < roster_count(roster); i++) {
		target_free(roster->members[i]->target);
		free(roster->members[i]);
	}
	free(roster);
}

ssize_t roster_add(struct roster *roster, struct target *target, bool born)
{
	size_t n = roster_count(roster);
	struct roster_member *member;

	if (n == ROSTER_MAX)
		return -1;
	member = xcalloc(1, sizeof *member);
	member->target = target;
	member->born = born;
	memcpy(member->names[0], target->comm, PROCFS_COMM_LEN);
	roster->members[n] = member;
	/* Publishes what was written before. */
	atomic_store(&roster->n, n + 1);
	return (ssize_t)n;
}

size_t roster_count(const struct roster *roster)
{
	return atomic_load(&roster->n);
}

struct roster_member *roster_get(const struct roster *roster, size_t index)
{
	return roster->members[index];
}

void roster_rename(struct roster_member *member, const char *comm)
{
	unsigned other = 1 - atomic_load(&member->shown);

	if (strncmp(roster_name(member), comm, PROCFS_COMM_LEN) == 0)
		return;
	snprintf(member->names[other], PROCFS_COMM_LEN, "%s", comm);
	atomic_store(&member->shown, other);
}

const char *roster_name(const struct roster_member *member)
{
	return member->names[atomic_load(&member->shown)];
}
