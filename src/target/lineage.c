/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a process waits for a child that has ended, the kernel adds to the
 * parent's account of children (cutime and cstime in /proc/PID/stat) what the
 * child used itself, and the child's own account of its children. So the account
 * of a process holds the time of all below it that have been waited for, seen by
 * us or not. Of that, we know from elsewhere the parts
 *
 *     own(c) + account(c)      of each child c that was seen, and waited for;
 *
 * and what is left is the time of children that nobody saw, and of the last
 * moments of those that were seen. Each nanosecond is met once: what account(c)
 * has of grandchildren that were missed was left over at c already.
 *
 * Accounts are read every now and then, and the last reading of a process that
 * ended may be older than the end of its last child. Then its children's parts
 * alone are more than its account, and count as its account: else they would be
 * left over at its own parent, though they are known.
 *
 * A process that ignores SIGCHLD gets no account, and one that ends before its
 * children leaves them to somebody else. What they used is lost to us unless they
 * were seen.
 */
#include "target/lineage.h"

#include "base/array.h"

/* Whether the member's time went into its parent's account. */
static bool is_accounted(const struct lineage_member *members, size_t n, size_t i)
{
	return members[i].reaped && members[i].parent < n && members[i].parent != i;
}

/* All its children are done: what it leaves over, and adds to its parent's parts. */
static uint64_t settle_one(struct lineage_member *member, uint64_t parts_ns)
{
	uint64_t account = member->waited_ns, floor = member->waited0_ns + parts_ns;

	if (account < floor)
		account = floor;
	member->unseen_ns = account - floor;
	return account;
}

void lineage_settle(struct lineage_member *members, size_t n)
{
	uint64_t *parts = xcalloc(n, sizeof *parts);
	size_t *pending = xcalloc(n, sizeof *pending);
	ARRAY(size_t) ready = {0};

	for (size_t i = 0; i < n; i++) {
		members[i].unseen_ns = 0;
		if (is_accounted(members, n, i))
			pending[members[i].parent]++;
	}
	for (size_t i = 0; i < n; i++) {
		if (pending[i] == 0)
			array_push(&ready, i);
	}
	/* From the leaves up: a circle, which cannot be, would never become ready. */
	for (size_t next = 0; next < ready.n; next++) {
		size_t i = ready.v[next];
		uint64_t account = settle_one(&members[i], parts[i]);

		if (!is_accounted(members, n, i))
			continue;
		parts[members[i].parent] += members[i].own_ns + account;
		if (--pending[members[i].parent] == 0)
			array_push(&ready, members[i].parent);
	}
	array_fini(&ready);
	free(parts);
	free(pending);
}
