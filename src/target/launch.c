/* SPDX-License-Identifier: Apache-2.0 */
#include "target/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a shell's status is for a command that cannot be run. */
#define CANNOT_RUN 126

#define REAP_STEP_MS 10

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The child's side: waits for its byte, then becomes the program. */
static void __attribute__((noreturn))
run_child(char *const argv[], int go_fd, int result_fd)
{
	char byte;
	ssize_t n;
	int failure;

	do
		n = read(go_fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1) /* our parent gave up */
		_exit(CANNOT_RUN);
	/* Where Yama lets only ancestors trace: our tracer is a child of our parent. */
	(void)prctl(PR_SET_PTRACER, getppid());
	execvp(argv[0], argv);
	failure = errno;
	(void)!write(result_fd, &failure, sizeof failure);
	_exit(CANNOT_RUN);
}

int launch_fork(char *const argv[], struct launch *launch, struct error *err)
{
	int go[2], result[2];

	*launch = (struct launch){.go_fd = -1, .result_fd = -1};
	if (pipe2(go, O_CLOEXEC) < 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot make a pipe: %s",
		                 strerror(errno));
	if (pipe2(result, O_CLOEXEC) < 0) {
		error_set(err, EXIT_CODE_FAILURE, "cannot make a pipe: %s",
		          strerror(errno));
		goto close_go;
	}
	launch->pid = fork();
	if (launch->pid < 0) {
		error_set(err, EXIT_CODE_FAILURE, "cannot start a process: %s",
		          strerror(errno));
		goto close_result;
	}
	if (launch->pid == 0) {
		close(go[1]);
		close(result[0]);
		run_child(argv, go[0], result[1]);
	}
	close(go[0]);
	close(result[1]);
	launch->go_fd = go[1];
	launch->result_fd = result[0];
	return 0;
close_result:
	close(result[0]);
	close(result[1]);
close_go:
	close(go[0]);
	close(go[1]);
	launch->pid = 0;
	return -1;
}

int launch_go(struct launch *launch, const char *program, struct error *err)
{
	int failure;
	ssize_t n;

	(void)!write(launch->go_fd, "", 1);
	close_fd(&launch->go_fd);
	do
		n = read(launch->result_fd, &failure, sizeof failure);
	while (n < 0 && errno == EINTR);
	close_fd(&launch->result_fd);
	if (n == 0)
		return 0;
	if (n != sizeof failure)
		failure = EIO;
	while (waitpid(launch->pid, NULL, 0) < 0 && errno == EINTR)
		;
	return error_set(err, EXIT_CODE_FAILURE, "cannot run %s: %s", program,
	                 strerror(failure));
}

bool launch_reap(struct launch *launch, int ms)
{
	while (!launch->ended) {
		pid_t r = waitpid(launch->pid, &launch->wait_status, ms < 0 ? 0 : WNOHANG);

		launch->ended = r == launch->pid;
		if (r < 0 || ms == 0)
			break;
		if (r == 0)
			usleep(REAP_STEP_MS * 1000);
		if (ms > 0)
			ms = ms > REAP_STEP_MS ? ms - REAP_STEP_MS : 0;
	}
	return launch->ended;
}

void launch_abandon(struct launch *launch)
{
	if (launch->go_fd < 0)
		return;
	close_fd(&launch->go_fd);
	close_fd(&launch->result_fd);
	while (waitpid(launch->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
