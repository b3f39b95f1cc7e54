/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that sleepers.c sleeps in: how each is prepared, made and woken. */
#ifndef SLEEPERS_CALLS_H
#define SLEEPERS_CALLS_H

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "victim.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

#define SHORT_NS  3000000
#define WAIT_SIG  (SIGRTMIN + 3)
#define PAUSE_SIG (SIGRTMIN + 4)

static int is_short;

struct sleeper {
	const char *name;
	/* Makes what the call needs; -1: this kernel has it not. */
	int (*prepare)(struct sleeper *);
	/* The call, once; -1 with errno as the call sets it. */
	long (*sleep)(struct sleeper *);
	/* Ends a sleep that has no timeout; NULL when it has one. */
	void (*wake)(struct sleeper *);
	int fd;
	int other_fd;
	void *object;
	pthread_t thread;
	_Atomic long rounds;
	_Atomic long eintrs;
	int absent;
};

/* The time of a sleep: short, or about for ever. */
static struct timespec sleep_time(void)
{
	struct timespec ts = {is_short ? 0 : 10000, is_short ? SHORT_NS : 0};

	return ts;
}

static int sleep_ms(void)
{
	return is_short ? SHORT_NS / 1000000 : 10000000;
}

static struct timespec sleep_until(clockid_t clock)
{
	struct timespec ts = sleep_time();
	struct timespec now;

	clock_gettime(clock, &now);
	ts.tv_sec += now.tv_sec + (ts.tv_nsec + now.tv_nsec) / 1000000000;
	ts.tv_nsec = (ts.tv_nsec + now.tv_nsec) % 1000000000;
	return ts;
}

/* ---- what a stop ends with EINTR ------------------------------------------- */

static int prepare_epoll(struct sleeper *s)
{
	struct epoll_event event = {EPOLLIN, {0}};

	s->fd = epoll_create1(EPOLL_CLOEXEC);
	s->other_fd = eventfd(0, EFD_CLOEXEC);
	return epoll_ctl(s->fd, EPOLL_CTL_ADD, s->other_fd, &event);
}

static long sleep_epoll_wait(struct sleeper *s)
{
	struct epoll_event event;

	return epoll_wait(s->fd, &event, 1, sleep_ms());
}

/* Without a timeout: ended by the eventfd. */
static long sleep_epoll_forever(struct sleeper *s)
{
	struct epoll_event event;
	uint64_t value;
	long r = epoll_wait(s->fd, &event, 1, -1);

	if (r == 1 && read(s->other_fd, &value, sizeof(value)) < 0)
		victim_die("eventfd");
	return r;
}

static void wake_eventfd(struct sleeper *s)
{
	uint64_t one = 1;
	ssize_t r = write(s->other_fd, &one, sizeof(one));

	(void)r;
}

static long sleep_epoll_pwait(struct sleeper *s)
{
	struct epoll_event event;
	sigset_t set;

	sigfillset(&set); /* SIGTERM is for victim_wait */
	return epoll_pwait(s->fd, &event, 1, sleep_ms(), &set);
}

static long sleep_epoll_pwait2(struct sleeper *s)
{
	struct epoll_event event;
	struct timespec ts = sleep_time();

	return syscall(SYS_epoll_pwait2, s->fd, &event, 1, &ts, NULL, 8);
}

static int prepare_epoll_pwait2(struct sleeper *s)
{
	struct epoll_event event;
	struct timespec ts = {0, 0};

	if (prepare_epoll(s) != 0)
		return -1;
	return (int)syscall(SYS_epoll_pwait2, s->fd, &event, 1, &ts, NULL, 8);
}

static int prepare_sem(struct sleeper *s)
{
	s->fd = semget(IPC_PRIVATE, 1, 0600);
	return s->fd < 0 ? -1 : 0;
}

static long sleep_semop(struct sleeper *s)
{
	struct sembuf down = {0, -1, 0};

	return semop(s->fd, &down, 1);
}

static void wake_semop(struct sleeper *s)
{
	struct sembuf up = {0, 1, 0};

	semop(s->fd, &up, 1);
}

static long sleep_semtimedop(struct sleeper *s)
{
	struct sembuf down = {0, -1, 0};
	struct timespec ts = sleep_time();

	return semtimedop(s->fd, &down, 1, &ts);
}

static void wait_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, WAIT_SIG);
}

static long sleep_sigtimedwait(struct sleeper *s)
{
	struct timespec ts = sleep_time();
	sigset_t set;

	(void)s;
	wait_set(&set);
	return sigtimedwait(&set, NULL, &ts);
}

static long sleep_sigwaitinfo(struct sleeper *s)
{
	sigset_t set;

	(void)s;
	wait_set(&set);
	return sigwaitinfo(&set, NULL);
}

static void wake_sigwaitinfo(struct sleeper *s)
{
	pthread_kill(s->thread, WAIT_SIG);
}

static int prepare_io_getevents(struct sleeper *s)
{
	aio_context_t *context = calloc(1, sizeof(*context));

	s->object = context;
	return (int)syscall(SYS_io_setup, 8, context);
}

static long sleep_io_getevents(struct sleeper *s)
{
	struct timespec ts = sleep_time();
	struct io_event event;

	return syscall(SYS_io_getevents, *(aio_context_t *)s->object, 1, 1, &event, &ts);
}

static int prepare_socketpair(struct sleeper *s)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -1;
	s->fd = fds[0];
	s->other_fd = fds[1];
	return 0;
}

static int set_timeout(int fd, int option)
{
	struct timeval tv = {is_short ? 0 : 10000, is_short ? SHORT_NS / 1000 : 0};

	return setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv));
}

static int prepare_recv_timeout(struct sleeper *s)
{
	return prepare_socketpair(s) != 0 ? -1 : set_timeout(s->fd, SO_RCVTIMEO);
}

static long sleep_recv(struct sleeper *s)
{
	char text[8];

	return recv(s->fd, text, sizeof(text), 0);
}

static void fill(int fd)
{
	static const char block[4096];
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, block, sizeof(block)) > 0)
		;
	fcntl(fd, F_SETFL, flags);
}

static int prepare_send_timeout(struct sleeper *s)
{
	if (prepare_socketpair(s) != 0)
		return -1;
	fill(s->fd);
	return set_timeout(s->fd, SO_SNDTIMEO);
}

static long sleep_send(struct sleeper *s)
{
	static const char block[4096];

	return send(s->fd, block, sizeof(block), MSG_NOSIGNAL);
}

static int listen_somewhere(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, 8) != 0)
		victim_die("listen");
	return fd;
}

static int prepare_accept(struct sleeper *s)
{
	s->fd = listen_somewhere();
	return 0;
}

static int prepare_accept_timeout(struct sleeper *s)
{
	s->fd = listen_somewhere();
	return set_timeout(s->fd, SO_RCVTIMEO);
}

static long sleep_accept(struct sleeper *s)
{
	int fd = accept(s->fd, NULL, NULL);

	if (fd >= 0)
		close(fd);
	return fd;
}

static void wake_accept(struct sleeper *s)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (getsockname(s->fd, (struct sockaddr *)&address, &size) == 0)
		connect(fd, (struct sockaddr *)&address, size);
	close(fd);
}

/* ---- what the kernel restarts ------------------------------------------------ */

static long sleep_poll(struct sleeper *s)
{
	struct pollfd fd = {s->fd, POLLIN, 0};

	return poll(&fd, 1, sleep_ms());
}

static long sleep_ppoll(struct sleeper *s)
{
	struct pollfd fd = {s->fd, POLLIN, 0};
	struct timespec ts = sleep_time();

	return ppoll(&fd, 1, &ts, NULL);
}

static long sleep_select(struct sleeper *s)
{
	struct timeval tv = {is_short ? 0 : 10000, is_short ? SHORT_NS / 1000 : 0};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(s->fd, &set);
	return select(s->fd + 1, &set, NULL, NULL, &tv);
}

static long sleep_pselect(struct sleeper *s)
{
	struct timespec ts = sleep_time();
	fd_set set;

	FD_ZERO(&set);
	FD_SET(s->fd, &set);
	return pselect(s->fd + 1, &set, NULL, NULL, &ts, NULL);
}

static long sleep_nanosleep(struct sleeper *s)
{
	struct timespec ts = sleep_time();

	(void)s;
	return nanosleep(&ts, NULL);
}

static long sleep_clock_nanosleep(struct sleeper *s)
{
	struct timespec ts = sleep_until(CLOCK_MONOTONIC);

	(void)s;
	errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	return errno == 0 ? 0 : -1;
}

/* The mutex is held by the waking thread, but for a moment at each wake. */
static int prepare_mutex(struct sleeper *s)
{
	s->object = calloc(1, sizeof(pthread_mutex_t));
	return pthread_mutex_init(s->object, NULL);
}

static long sleep_mutex(struct sleeper *s)
{
	errno = pthread_mutex_lock(s->object);
	if (errno != 0)
		return -1;
	pthread_mutex_unlock(s->object);
	return 0;
}

static void wake_mutex(struct sleeper *s)
{
	static int held;

	if (held)
		pthread_mutex_unlock(s->object);
	usleep(200);
	pthread_mutex_lock(s->object);
	held = 1;
}

struct condition {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
};

static int prepare_condvar(struct sleeper *s)
{
	struct condition *c = calloc(1, sizeof(*c));

	s->object = c;
	pthread_mutex_init(&c->mutex, NULL);
	return pthread_cond_init(&c->cond, NULL);
}

static long sleep_condvar(struct sleeper *s)
{
	struct condition *c = s->object;

	pthread_mutex_lock(&c->mutex);
	errno = pthread_cond_wait(&c->cond, &c->mutex);
	pthread_mutex_unlock(&c->mutex);
	return errno == 0 ? 0 : -1;
}

static void wake_condvar(struct sleeper *s)
{
	struct condition *c = s->object;

	pthread_cond_broadcast(&c->cond);
}

static long sleep_condvar_timed(struct sleeper *s)
{
	struct condition *c = s->object;
	struct timespec ts = sleep_until(CLOCK_REALTIME);

	pthread_mutex_lock(&c->mutex);
	errno = pthread_cond_timedwait(&c->cond, &c->mutex, &ts);
	pthread_mutex_unlock(&c->mutex);
	return errno == 0 ? 0 : -1;
}

static int prepare_posix_sem(struct sleeper *s)
{
	s->object = calloc(1, sizeof(sem_t));
	return sem_init(s->object, 0, 0);
}

static long sleep_sem_wait(struct sleeper *s)
{
	return sem_wait(s->object);
}

static void wake_sem_wait(struct sleeper *s)
{
	sem_post(s->object);
}

static long sleep_sem_timedwait(struct sleeper *s)
{
	struct timespec ts = sleep_until(CLOCK_REALTIME);

	return sem_timedwait(s->object, &ts);
}

static int prepare_pipe(struct sleeper *s)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -1;
	s->fd = fds[0];
	s->other_fd = fds[1];
	return 0;
}

static long sleep_read(struct sleeper *s)
{
	uint64_t value;

	return read(s->fd, &value, sizeof(value));
}

static int prepare_full_pipe(struct sleeper *s)
{
	int r = prepare_pipe(s);

	if (r == 0)
		fill(s->other_fd);
	return r;
}

static long sleep_write(struct sleeper *s)
{
	static const char block[4096];

	return write(s->other_fd, block, sizeof(block));
}

static void wake_write(struct sleeper *s)
{
	char block[4096];
	ssize_t r = read(s->fd, block, sizeof(block));

	(void)r;
}

static int prepare_msgq(struct sleeper *s)
{
	s->fd = msgget(IPC_PRIVATE, 0600);
	return s->fd < 0 ? -1 : 0;
}

struct message {
	long type;
	char text[8];
};

static long sleep_msgrcv(struct sleeper *s)
{
	struct message message;

	return msgrcv(s->fd, &message, sizeof(message.text), 0, 0);
}

static void wake_msgrcv(struct sleeper *s)
{
	struct message message = {1, "wake"};

	msgsnd(s->fd, &message, sizeof(message.text), IPC_NOWAIT);
}

static _Thread_local volatile sig_atomic_t handled;

static void on_pause_signal(int number)
{
	(void)number;
	handled = 1;
}

/* pause() itself only ever ends with EINTR: one without the handler is ours. */
static long sleep_pause(struct sleeper *s)
{
	(void)s;
	handled = 0;
	pause();
	errno = EINTR;
	return handled ? 0 : -1;
}

static int prepare_pause(struct sleeper *s)
{
	struct sigaction action;

	(void)s;
	memset(&action, 0, sizeof(action));
	action.sa_handler = on_pause_signal;
	return sigaction(PAUSE_SIG, &action, NULL);
}

static void wake_pause(struct sleeper *s)
{
	pthread_kill(s->thread, PAUSE_SIG);
}

static int prepare_inotify(struct sleeper *s)
{
	static char name[] = "/tmp/sleepers-XXXXXX";

	s->fd = inotify_init1(IN_CLOEXEC);
	s->other_fd = mkstemp(name);
	if (s->fd < 0 || s->other_fd < 0)
		return -1;
	return inotify_add_watch(s->fd, name, IN_ATTRIB) < 0 ? -1 : unlink(name);
}

static long sleep_inotify(struct sleeper *s)
{
	char events[4096];

	return read(s->fd, events, sizeof(events));
}

static void wake_inotify(struct sleeper *s)
{
	fchmod(s->other_fd, 0600);
}

static int prepare_eventfd(struct sleeper *s)
{
	s->fd = eventfd(0, EFD_CLOEXEC);
	s->other_fd = s->fd;
	return s->fd < 0 ? -1 : 0;
}

static int prepare_timerfd(struct sleeper *s)
{
	struct itimerspec spec = {sleep_time(), sleep_time()};

	s->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	return timerfd_settime(s->fd, 0, &spec, NULL);
}

static int prepare_mq(struct sleeper *s)
{
	struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 8};
	char name[64];

	snprintf(name, sizeof(name), "/sleepers-%d-%s", (int)getpid(), s->name);
	s->fd = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	return s->fd < 0 ? -1 : mq_unlink(name);
}

static long sleep_mq_timedreceive(struct sleeper *s)
{
	struct timespec ts = sleep_until(CLOCK_REALTIME);
	char text[8];

	return mq_timedreceive(s->fd, text, sizeof(text), NULL, &ts);
}

static long sleep_mq_receive(struct sleeper *s)
{
	char text[8];

	return mq_receive(s->fd, text, sizeof(text), NULL);
}

static void wake_mq(struct sleeper *s)
{
	mq_send(s->fd, "wake", 4, 0);
}

static int prepare_flock(struct sleeper *s)
{
	char name[] = "/tmp/sleepers-XXXXXX";

	s->fd = mkstemp(name);
	s->other_fd = open(name, O_RDWR | O_CLOEXEC);
	if (s->fd < 0 || s->other_fd < 0 || unlink(name) != 0)
		return -1;
	return flock(s->other_fd, LOCK_EX);
}

static long sleep_flock(struct sleeper *s)
{
	long r = flock(s->fd, LOCK_EX);

	if (r == 0)
		flock(s->fd, LOCK_UN);
	return r;
}

static void wake_flock(struct sleeper *s)
{
	flock(s->other_fd, LOCK_UN);
	usleep(200);
	flock(s->other_fd, LOCK_EX | LOCK_NB);
}

#endif
