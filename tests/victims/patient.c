/* SPDX-License-Identifier: Apache-2.0 */
/* build patient: -O2 -fomit-frame-pointer */
/*
 * patient KIND: a program of one thread that sleeps in a call on a socket or a pipe,
 * and whose stack cannot be followed without a register that nobody has saved: an
 * array of a size that is not known in advance makes wait_for keep its place in one.
 * "plain": there is nothing that a stop could do to the call; "timeout": it has an hour
 * that would begin anew; "waitall", "lowat", "write": the first half is done.
 */
#include <alloca.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "victim.h"

#define HALF 100000

static char bytes[8 * HALF];
static volatile size_t some = 64;

VICTIM_NOINLINE static void wait_for(int fd, size_t len, int flags, int writes)
{
	volatile char *place = alloca(some);

	*place = 1;
	victim_ready();
	printf("%zd\n", writes ? write(fd, bytes, len) : recv(fd, bytes, len, flags));
	VICTIM_STAY();
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "plain";
	const struct timeval hour = {3600, 0};
	const int least = 2 * HALF;
	int ends[2], flags = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		victim_die("socketpair");
	if (strcmp(kind, "write") == 0 && pipe(ends) < 0)
		victim_die("pipe");
	if (strcmp(kind, "timeout") == 0)
		setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof(hour));
	if (strcmp(kind, "lowat") == 0)
		setsockopt(ends[0], SOL_SOCKET, SO_RCVLOWAT, &least, sizeof(least));
	if (strcmp(kind, "waitall") == 0)
		flags = MSG_WAITALL;
	if (flags || strcmp(kind, "lowat") == 0)
		(void)!write(ends[1], bytes, HALF);
	if (strcmp(kind, "write") == 0)
		wait_for(ends[1], sizeof(bytes), 0, 1);
	else
		wait_for(ends[0], 2 * HALF, flags, 0);
	return 0;
}
