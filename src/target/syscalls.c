/* SPDX-License-Identifier: Apache-2.0 */
#include "target/syscalls.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* Made from the kernel's headers when this is built: [0] = "read", … */
static const char *const names[] = {
#include "target/syscall_names.inc"
};

const char *syscall_name(long nr)
{
	if (nr < 0 || (size_t)nr >= sizeof names / sizeof names[0])
		return NULL;
	return names[nr];
}

enum syscall_object syscall_object(long nr)
{
	switch (nr) {
	case SYS_read:
	case SYS_readv:
	case SYS_pread64:
	case SYS_preadv:
	case SYS_write:
	case SYS_writev:
	case SYS_pwrite64:
	case SYS_pwritev:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_sendfile:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_epoll_pwait:
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
	case SYS_flock:
	case SYS_fcntl:
	case SYS_ioctl:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_splice:
	case SYS_tee:
	case SYS_mq_timedreceive:
	case SYS_mq_timedsend:
#ifdef SYS_io_uring_enter
	case SYS_io_uring_enter:
#endif
		return SYSCALL_OBJECT_FD;
#ifdef SYS_poll
	case SYS_poll:
#endif
	case SYS_ppoll:
		return SYSCALL_OBJECT_POLL;
	case SYS_futex:
		return SYSCALL_OBJECT_FUTEX;
	default:
		return SYSCALL_OBJECT_NONE;
	}
}

/*
 * Of the calls whose EINTR can be undone: those that start again as if nothing had
 * been. Not with a timeout, which would begin anew, and not where part of the work
 * may have been done: then the call ends with that part, a short count.
 */
static bool restarts_unseen(const struct procfs_syscall *call)
{
	switch (call->nr) {
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
	case SYS_epoll_pwait:
		return (int)call->args[3] <= 0; /* milliseconds */
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
	case SYS_semtimedop:
		return call->args[3] == 0;
	case SYS_rt_sigtimedwait:
		return call->args[2] == 0;
	case SYS_io_getevents:
		return call->args[4] == 0;
#ifdef SYS_io_pgetevents
	case SYS_io_pgetevents:
		return call->args[4] == 0;
#endif
	/* Of these the descriptor has its say, too (descriptor.h). */
	case SYS_read:
	case SYS_readv:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_semop:
		return true;
	case SYS_recvfrom:
		return (call->args[3] & MSG_WAITALL) == 0;
	case SYS_recvmsg:
		return (call->args[2] & MSG_WAITALL) == 0;
	case SYS_write:
		return call->args[2] <= PIPE_BUF; /* all of it or nothing, to a pipe */
	default:
		return false; /* io_uring_enter may have a timeout in its extended argument */
	}
}

/* Those that the kernel restarts by itself, with what is left of their time. */
static bool restarts_by_itself(long nr)
{
	switch (nr) {
#ifdef SYS_poll
	case SYS_poll:
#endif
	case SYS_ppoll:
#ifdef SYS_select
	case SYS_select:
#endif
	case SYS_pselect6:
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_futex:
	case SYS_restart_syscall:
#ifdef SYS_pause
	case SYS_pause:
#endif
	case SYS_rt_sigsuspend:
	case SYS_wait4:
	case SYS_waitid:
	case SYS_flock:
	case SYS_fcntl:
	case SYS_msgrcv:
	case SYS_msgsnd:
	case SYS_mq_timedreceive:
	case SYS_mq_timedsend:
		return true;
	default:
		return false;
	}
}

bool syscall_may_be_stopped(const struct procfs_syscall *call)
{
	if (call->running)
		return false;
	return restarts_by_itself(call->nr) || restarts_unseen(call);
}

bool syscall_is_restart(long nr)
{
	return nr == SYS_restart_syscall;
}

bool syscall_is_continued(const struct procfs_syscall *before,
                          const struct procfs_syscall *after)
{
	return !before->running && !after->running && before->sp == after->sp &&
	       before->pc == after->pc &&
	       (before->nr == after->nr || syscall_is_restart(after->nr)) &&
	       memcmp(before->args, after->args, sizeof before->args) == 0;
}
