/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libdebuginfod is loaded when the first file is wanted: it brings libcurl and a
 * dozen libraries more, which no other run should have to load. It keeps what it
 * gets in a cache directory, remembers what servers did not have, and calls back
 * every second or more often, which is where a request is given up.
 *
 * It may still be busy, with a name server that does not answer, when the program
 * wants to end. So nobody joins the thread; at exit it gets a moment to leave the
 * library, and is then left to its fate.
 */
#include "config.h"

#include "module/fetch.h"

#ifdef HAVE_DEBUGINFOD

#include <dlfcn.h>
#include <elfutils/debuginfod.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/privilege.h"

#define AT_EXIT_NS (1500 * NS_PER_MS)
#define FETCH_NICE 10

enum state {
	STATE_QUEUED,
	STATE_ASKED,
	STATE_DONE,
};

struct request {
	char *build_id;
	enum state state;
	int fd; /* once done: -1 if there is none */
};

/* One for the process: the library's cache and the environment are too. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t change; /* of any request, or of the hurry; CLOCK_MONOTONIC */
	pthread_once_t once;
	ARRAY(struct request) requests;
	size_t next; /* to be asked */
	bool started;
	bool busy;                    /* inside of the library */
	_Atomic uint64_t deadline_ns; /* of everything; UINT64_MAX: none */
	_Atomic uint64_t asked_ns;    /* when the request that is asked was */
} fetch = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .once = PTHREAD_ONCE_INIT,
        .deadline_ns = UINT64_MAX,
};

/* The library, found at run time. */
static struct {
	debuginfod_client *(*begin)(void);
	void (*set_progress)(debuginfod_client *, debuginfod_progressfn_t);
	int (*find)(debuginfod_client *, const unsigned char *, int, char **);
} library;

static void init(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&fetch.change, &attr);
	pthread_condattr_destroy(&attr);
}

static bool load_library(void)
{
	void *handle = dlopen(DEBUGINFOD_SONAME, RTLD_NOW | RTLD_LOCAL);
	struct {
		const char *name;
		void *where;
	} symbols[] = {
	        {"debuginfod_begin", &library.begin},
	        {"debuginfod_set_progressfn", &library.set_progress},
	        {"debuginfod_find_debuginfo", &library.find},
	};

	if (!handle) {
		log_info("no debuginfod server is asked: %s", dlerror());
		return false;
	}
	for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
		void *found = dlsym(handle, symbols[i].name);

		if (!found)
			return false;
		memcpy(symbols[i].where, &found, sizeof found);
	}
	return true;
}

/* The library calls this while it works; not 0 ends that. */
static int give_up(debuginfod_client *client, long done, long size)
{
	uint64_t now = clock_monotonic_ns();

	(void)client;
	return now >= atomic_load(&fetch.deadline_ns) ||
	       now - atomic_load(&fetch.asked_ns) >= FETCH_MAX_S * NS_PER_SEC ||
	       done > FETCH_MAX_BYTES || size > FETCH_MAX_BYTES;
}

static int ask(debuginfod_client *client, const char *build_id)
{
	int fd = -1;

	atomic_store(&fetch.asked_ns, clock_monotonic_ns());
	if (client && give_up(client, 0, 0) == 0)
		fd = library.find(client, (const unsigned char *)build_id, 0, NULL);
	if (fd < 0) {
		log_verbose("debuginfod: no debug file of build id %s: %s", build_id,
		            fd == -1 ? "nobody could be asked" : strerror(-fd));
		return -1;
	}
	log_verbose("debuginfod: a debug file of build id %s", build_id);
	return fd;
}

static void *fetch_main(void *arg)
{
	debuginfod_client *client = load_library() ? library.begin() : NULL;

	(void)arg;
	privilege_forget_output();
	/* The thread that it inherits its priority from may be a hurried one. */
	(void)setpriority(PRIO_PROCESS, 0, FETCH_NICE);
	if (client)
		library.set_progress(client, give_up);
	pthread_mutex_lock(&fetch.lock);
	for (;;) {
		char *build_id;
		int fd;

		while (fetch.next == fetch.requests.n)
			pthread_cond_wait(&fetch.change, &fetch.lock);
		fetch.requests.v[fetch.next].state = STATE_ASKED;
		build_id = fetch.requests.v[fetch.next].build_id;
		fetch.busy = true;
		pthread_mutex_unlock(&fetch.lock);
		fd = ask(client, build_id);
		pthread_mutex_lock(&fetch.lock);
		fetch.busy = false;
		fetch.requests.v[fetch.next].fd = fd;
		fetch.requests.v[fetch.next].state = STATE_DONE;
		fetch.next++;
		pthread_cond_broadcast(&fetch.change);
	}
	return NULL;
}

/* With the lock held: until the thread has something to tell, or that time. */
static bool wait_until(uint64_t until_ns)
{
	struct timespec ts = {.tv_sec = (time_t)(until_ns / NS_PER_SEC),
	                      .tv_nsec = (long)(until_ns % NS_PER_SEC)};

	if (until_ns == UINT64_MAX)
		return pthread_cond_wait(&fetch.change, &fetch.lock) == 0;
	return pthread_cond_timedwait(&fetch.change, &fetch.lock, &ts) == 0;
}

static void leave_library(void)
{
	uint64_t until = clock_monotonic_ns() + AT_EXIT_NS;

	atomic_store(&fetch.deadline_ns, 0);
	pthread_mutex_lock(&fetch.lock);
	while (fetch.busy && wait_until(until))
		continue;
	pthread_mutex_unlock(&fetch.lock);
}

/* With the lock held. */
static bool start_thread(void)
{
	sigset_t all, old;
	pthread_t thread;

	if (fetch.started)
		return true;
	/* Signals are for the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	fetch.started = pthread_create(&thread, NULL, fetch_main, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (fetch.started) {
		pthread_detach(thread);
		(void)atexit(leave_library);
	}
	return fetch.started;
}

bool fetch_is_possible(void)
{
	const char *urls = getenv(DEBUGINFOD_URLS_ENV_VAR);

	return urls && urls[0] != '\0';
}

/* With the lock held. */
static int enter(const char *build_id)
{
	struct request request = {.fd = -1};

	for (size_t i = 0; i < fetch.requests.n; i++) {
		if (strcmp(fetch.requests.v[i].build_id, build_id) == 0)
			return (int)i;
	}
	if (fetch.requests.n >= FETCH_MAX_FILES || !start_thread())
		return -1;
	request.build_id = xstrdup(build_id);
	array_push(&fetch.requests, request);
	pthread_cond_broadcast(&fetch.change);
	return (int)fetch.requests.n - 1;
}

int fetch_want(const char *build_id)
{
	int number;

	if (build_id[0] == '\0' || !fetch_is_possible())
		return -1;
	pthread_once(&fetch.once, init);
	pthread_mutex_lock(&fetch.lock);
	number = enter(build_id);
	pthread_mutex_unlock(&fetch.lock);
	return number;
}

int fetch_take(int number)
{
	int fd = -1;

	pthread_mutex_lock(&fetch.lock);
	while (fetch.requests.v[number].state != STATE_DONE &&
	       clock_monotonic_ns() < atomic_load(&fetch.deadline_ns))
		(void)wait_until(atomic_load(&fetch.deadline_ns));
	if (fetch.requests.v[number].state == STATE_DONE &&
	    fetch.requests.v[number].fd >= 0)
		fd = fcntl(fetch.requests.v[number].fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&fetch.lock);
	return fd;
}

/* Whoever waits looks at the deadline anew. */
static void set_deadline(uint64_t deadline_ns)
{
	pthread_once(&fetch.once, init);
	pthread_mutex_lock(&fetch.lock);
	atomic_store(&fetch.deadline_ns, deadline_ns);
	pthread_cond_broadcast(&fetch.change);
	pthread_mutex_unlock(&fetch.lock);
}

void fetch_hurry(void)
{
	size_t left;

	if (!fetch_is_possible())
		return;
	set_deadline(clock_monotonic_ns() + FETCH_PATIENCE_S * NS_PER_SEC);
	pthread_mutex_lock(&fetch.lock);
	left = fetch.requests.n - fetch.next;
	pthread_mutex_unlock(&fetch.lock);
	if (left > 0)
		log_info("waiting for %zu debug file%s from debuginfod, at most %d seconds",
		         left, left == 1 ? "" : "s", FETCH_PATIENCE_S);
}

void fetch_take_time(void)
{
	if (fetch_is_possible())
		set_deadline(UINT64_MAX);
}

void fetch_give_up(void)
{
	if (fetch_is_possible())
		set_deadline(0);
}

#else

bool fetch_is_possible(void)
{
	return false;
}

int fetch_want(const char *build_id)
{
	(void)build_id;
	return -1;
}

int fetch_take(int request)
{
	(void)request;
	return -1;
}

void fetch_hurry(void)
{
}

void fetch_take_time(void)
{
}

void fetch_give_up(void)
{
}

#endif
