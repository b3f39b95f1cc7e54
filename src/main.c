/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "options/options.h"
#include "session.h"

/*
 * Without this, a file opened later could become descriptor 1 or 2 and get what
 * is printed. The wrong direction is meant: writing still fails, as it would on
 * a closed descriptor.
 */
static void hold_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) == 0 || errno != EBADF ||
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) == fd)
			continue;
		log_error("descriptor %d is closed, and /dev/null cannot be had in its "
		          "place: %s",
		          fd, strerror(errno));
		_exit(EXIT_CODE_FAILURE);
	}
}

static enum log_level wanted_level(const struct options *options)
{
	if (options->quiet)
		return LOG_LEVEL_QUIET;
	return options->verbose ? LOG_LEVEL_VERBOSE : LOG_LEVEL_NORMAL;
}

static int print(void (*text)(void), struct error *err)
{
	text();
	if (fflush(stdout) != 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot write to stdout: %s",
		                 strerror(errno));
	return 0;
}

static int run(const struct options *options, struct error *err)
{
	switch (options->action) {
	case OPTIONS_HELP:
		return print(options_print_help, err);
	case OPTIONS_VERSION:
		return print(options_print_version, err);
	case OPTIONS_RUN:
		break;
	}
	log_set_level(wanted_level(options));
	return session_run(options, err);
}

int main(int argc, char **argv)
{
	struct options options;
	struct error err = {.code = EXIT_CODE_FAILURE};
	int r;

	hold_standard_descriptors();
	r = options_parse(argc, argv, &options, &err);
	if (r == 0) {
		r = run(&options, &err);
		options_fini(&options);
	}
	if (r == 0)
		return EXIT_CODE_OK;
	log_error("%s", err.text);
	return err.code;
}
