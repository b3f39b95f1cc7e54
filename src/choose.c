/* SPDX-License-Identifier: Apache-2.0 */
#include "choose.h"

#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "target/by_name.h"
#include "target/refusal.h"

/* So many matches are listed; who has more wants --all, or a better pattern. */
#define MATCHES_SHOWN 50

static bool have_target(const struct roster *roster, pid_t pid)
{
	for (size_t i = 0; i < roster_count(roster); i++) {
		if (roster_get(roster, i)->target->pid == pid)
			return true;
	}
	return false;
}

/* Opens a process and checks that it may be sampled. One is one, however often it
 * is named. */
static int add_target(struct roster *roster, pid_t pid, struct error *err)
{
	struct target *target;

	if (have_target(roster, pid))
		return 0;
	if (roster_count(roster) >= ROSTER_MAX_OPEN)
		return error_set(err, EXIT_CODE_FAILURE,
		                 "more than %d processes at once are too many",
		                 ROSTER_MAX_OPEN);
	target = target_open(pid, err);
	if (!target)
		return -1;
	if (refusal_check(target, err) < 0 || roster_add(roster, target, false) < 0) {
		target_free(target);
		return -1;
	}
	return 0;
}

/* The process that a thread belongs to; 0 if there is no such thread. */
static pid_t process_of(pid_t tid)
{
	struct procfs_status status;
	char path[32], text[4096];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/status", tid);
	n = procfs_read_fixed(AT_FDCWD, path, text, sizeof text);
	if (n < 0 || procfs_parse_status(text, (size_t)n, &status) < 0)
		return 0;
	return status.tgid;
}

/* -t alone names the process as well; with -p it chooses among its threads. */
static int add_thread(const struct options *options, pid_t tid, struct roster *roster,
                      struct pids *tids, struct error *err)
{
	pid_t pid = process_of(tid);

	if (pid == 0)
		return error_set(err, EXIT_CODE_NO_PROCESS, "there is no thread %d", tid);
	if (!have_target(roster, pid)) {
		if (options->pids.n > 0)
			return error_set(
			        err, EXIT_CODE_USAGE,
			        "thread %d belongs to process %d, which no -p names", tid,
			        pid);
		if (add_target(roster, pid, err) < 0)
			return -1;
	}
	array_push(tids, tid);
	return 0;
}

/* None is chosen for the user. */
static int list_matches(const char *name, const struct name_matches *matches,
                        struct error *err)
{
	for (size_t i = 0; i < matches->n && i < MATCHES_SHOWN; i++)
		fprintf(stderr, "%7d  %-15s  %s\n", matches->v[i].pid, matches->v[i].name,
		        matches->v[i].cmdline);
	if (matches->n > MATCHES_SHOWN)
		fprintf(stderr, "         and %zu more\n", matches->n - MATCHES_SHOWN);
	return error_set(err, EXIT_CODE_USAGE,
	                 "--name '%.60s' fits the %zu processes above: choose one with -p "
	                 "PID, or all of them with --all",
	                 name, matches->n);
}

/* Each that may be sampled. Only if that is none it is an error. */
static int add_all(const struct name_matches *matches, struct roster *roster,
                   struct error *err)
{
	size_t nrefused = 0;

	for (size_t i = 0; i < matches->n; i++) {
		if (add_target(roster, matches->v[i].pid, err) == 0 ||
		    err->code == EXIT_CODE_NO_PROCESS)
			continue;
		if (err->code != EXIT_CODE_REFUSED)
			return -1;
		nrefused++;
		log_verbose("left out: %s", err->text);
	}
	if (roster_count(roster) == 0)
		return -1; /* the last one's reason */
	if (nrefused > 0)
		log_info("%zu of %zu processes are left out, as they cannot be attached to "
		         "(-v tells why)",
		         nrefused, matches->n);
	return 0;
}

static int add_by_name(const struct options *options, struct roster *roster,
                       struct error *err)
{
	struct name_matches matches;
	regex_t pattern;
	int r;

	/* The options' parser has tried it. */
	if (regcomp(&pattern, options->name, REG_EXTENDED | REG_NOSUB) != 0)
		abort();
	by_name_find(&pattern, &matches);
	if (matches.n == 0)
		r = error_set(err, EXIT_CODE_NO_PROCESS,
		              "there is no process with a name that '%.60s' fits",
		              options->name);
	else if (options->all)
		r = add_all(&matches, roster, err);
	else if (matches.n > 1)
		r = list_matches(options->name, &matches, err);
	else
		r = add_target(roster, matches.v[0].pid, err);
	name_matches_fini(&matches);
	regfree(&pattern);
	return r;
}

int choose_targets(const struct options *options, pid_t command, struct roster *roster,
                   struct pids *tids, struct error *err)
{
	if (command && add_target(roster, command, err) < 0)
		return -1;
	for (size_t i = 0; i < options->pids.n; i++) {
		if (add_target(roster, options->pids.v[i], err) < 0)
			return -1;
	}
	for (size_t i = 0; i < options->tids.n; i++) {
		if (add_thread(options, options->tids.v[i], roster, tids, err) < 0)
			return -1;
	}
	if (options->name && add_by_name(options, roster, err) < 0)
		return -1;
	return 0;
}
