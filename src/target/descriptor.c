/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timeouts of a socket are nowhere in /proc. The socket itself knows them; we
 * have it open for as long as it takes to ask, by pidfd_getfd(2), which takes the
 * right to trace that we have anyway, and Linux 5.6.
 */
#include "target/descriptor.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "target/syscalls.h"

static bool has_timeout(int fd, int option)
{
	struct timeval timeout = {0};
	socklen_t len = sizeof timeout;

	return getsockopt(fd, SOL_SOCKET, option, &timeout, &len) < 0 ||
	       timeout.tv_sec != 0 || timeout.tv_usec != 0;
}

static bool collects(int fd)
{
	int least = 0;
	socklen_t len = sizeof least;

	return getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, &len) < 0 || least > 1;
}

static bool socket_may_be_left(const struct target *target, int number)
{
	int fd;
	bool may;

	if (target->pid_fd < 0)
		return false;
	fd = (int)syscall(SYS_pidfd_getfd, target->pid_fd, number, 0);
	if (fd < 0)
		return false;
	may = !has_timeout(fd, SO_RCVTIMEO) && !has_timeout(fd, SO_SNDTIMEO) &&
	      !collects(fd);
	close(fd);
	return may;
}

bool descriptor_may_be_left(const struct target *target, const struct procfs_syscall *call)
{
	char path[32];
	struct stat file;
	int number = (int)call->args[0];

	switch (call->nr) {
	case SYS_read:
	case SYS_readv:
	case SYS_write:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
		break;
	default:
		return true;
	}
	snprintf(path, sizeof path, "fd/%d", number);
	if (fstatat(target->proc_fd, path, &file, 0) < 0)
		return false;
	if (call->nr == SYS_write)
		return S_ISFIFO(file.st_mode);
	return !S_ISSOCK(file.st_mode) || socket_may_be_left(target, number);
}
