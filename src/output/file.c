/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replacing a file: write all bytes to a file without a name, sync it, give it
 * a temporary name beside the old one (a link cannot replace, only a rename can),
 * rename. Where the file system knows no nameless files, it has its temporary
 * name from the start.
 *
 * A symbolic link stays, and what it points to is replaced, as a shell's `>`
 * would have it. In a directory where everyone may make links (/tmp), the kernel
 * refuses to follow those of others; so the link is followed by the kernel, with
 * stat(), and the path that we found ourselves counts only if it leads to the same
 * file. A link that leads nowhere cannot be compared, and is refused. Where that sysctl
 * (fs.protected_symlinks) is not set we go by the same rule; and what somebody else has
 * put into such a directory, waiting for us, gets no owner and no mode from him.
 *
 * Between the check before a run and the writing after it a directory may be
 * exchanged for a link to another one. So a place that was checked is kept, with its
 * directory open: what is written goes there, wherever the name leads by then.
 */
#include "output/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/privilege.h"

#define LEAST_ROOM   (64 * 1024) /* a file system with less is as good as full */
#define NTEMP_NAMES  100
#define TEMP_NAMELEN 48

/* Where an output goes. */
struct place {
	int dir_fd; /* of the directory; -1: not opened yet */
	char *dir;
	char *base;
	bool exists;
	bool in_place;  /* not replaced but written to */
	struct stat st; /* if it exists */
};

/* The place that was checked last, and the name that led there. */
static struct {
	char *name;
	struct place place;
} checked;

/* The temporary file that a signal handler would have to remove. */
static struct {
	volatile sig_atomic_t exists;
	int dir_fd;
	char name[TEMP_NAMELEN];
} temp;

void output_file_abandon(void)
{
	int saved = errno;

	if (temp.exists)
		unlinkat(temp.dir_fd, temp.name, 0);
	temp.exists = 0;
	errno = saved;
}

static int explain(const char *name, const char *dir, int errnum, struct error *err)
{
	switch (errnum) {
	case ENOENT:
		/* Also of one that is removed but still somebody's, or the kernel's. */
		if (access(dir, F_OK) == 0)
			return error_set(err, EXIT_CODE_FAILURE,
			                 "cannot write '%s': no file can be made in '%s'; "
			                 "name one elsewhere with -o",
			                 name, dir);
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write '%s': there is no directory '%s'; make it, "
		                 "or name another file with -o",
		                 name, dir);
	case EACCES:
	case EPERM:
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write '%s': we have no permission to write to "
		                 "'%s'; name a file elsewhere with -o",
		                 name, dir);
	case EROFS:
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write '%s': its file system is read-only; name a "
		                 "file elsewhere with -o",
		                 name);
	case ENOSPC:
	case EDQUOT:
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write '%s': %s; make room, or name a file "
		                 "elsewhere with -o",
		                 name,
		                 errnum == ENOSPC ? "its file system is full"
		                                  : "the disk quota is used up");
	case EFBIG:
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write '%s': it would be larger than files may "
		                 "be here; see 'ulimit -f'",
		                 name);
	case ESTALE:
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write '%s': it is another file than it was "
		                 "before the run",
		                 name);
	case EPIPE:
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write '%s': whoever read from it has stopped "
		                 "reading",
		                 name);
	default:
		return error_set(err, EXIT_CODE_FAILURE, "cannot write '%s': %s", name,
		                 strerror(errnum));
	}
}

static void set_path(struct place *place, const char *path)
{
	const char *slash = strrchr(path, '/');

	place->base = xstrdup(slash ? slash + 1 : path);
	if (!slash)
		place->dir = xstrdup(".");
	else
		place->dir = xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static void place_fini(struct place *place)
{
	if (place->dir_fd >= 0)
		close(place->dir_fd);
	free(place->dir);
	free(place->base);
}

/* 0 or -errno. */
static int open_directory(struct place *place)
{
	if (place->dir_fd < 0)
		place->dir_fd = open(place->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return place->dir_fd < 0 ? -errno : 0;
}

static int refuse_directory(const char *name, struct error *err)
{
	size_t len = strlen(name);

	while (len > 1 && name[len - 1] == '/')
		len--;
	return error_set(err, EXIT_CODE_FAILURE,
	                 "cannot write '%s': it is a directory; name a file in it, as in "
	                 "-o '%.*s%sprofile.pb.gz'",
	                 name, (int)(len < PATH_MAX ? len : PATH_MAX), name,
	                 name[len - 1] == '/' ? "" : "/");
}

static int find_new_place(const char *name, struct place *place, struct error *err)
{
	struct stat st;

	if (*name == '\0')
		return error_set(err, EXIT_CODE_FAILURE,
		                 "the output has an empty name; name a file with -o");
	if (name[strlen(name) - 1] == '/')
		return refuse_directory(name, err);
	if (lstat(name, &st) == 0)
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write '%s': it is a symbolic link to a file that "
		                 "does not exist; make that file, or remove the link",
		                 name);
	set_path(place, name);
	return 0;
}

/* A directory where everyone may make files, and has made this one. */
static bool is_anothers(const struct stat *dir, const struct stat *st)
{
	return (dir->st_mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH) &&
	       st->st_uid != geteuid() && st->st_uid != dir->st_uid;
}

/* A link, FIFO or the like that somebody else may have laid out for us. */
static bool is_trap(const char *path)
{
	struct stat st, dir;
	struct place place;
	bool trap;

	if (lstat(path, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return false;
	place = (struct place){.dir_fd = -1};
	set_path(&place, path);
	trap = stat(place.dir, &dir) == 0 && is_anothers(&dir, &st);
	place_fini(&place);
	return trap;
}

/* The same of each directory on the way. */
static int refuse_traps(const char *name, struct error *err)
{
	char *path = xstrdup(name), *slash = path;
	int status = 0;

	do {
		slash = *slash ? strchr(slash + 1, '/') : NULL;
		if (slash)
			*slash = '\0';
		if (is_trap(path))
			status = error_set(err, EXIT_CODE_FAILURE,
			                   "cannot write '%s': another user has put '%s' "
			                   "where everybody may make files; name a file "
			                   "elsewhere with -o",
			                   name, path);
		if (slash)
			*slash = '/';
	} while (slash && status == 0);
	free(path);
	return status;
}

static int find_place(const char *name, struct place *place, struct error *err)
{
	struct stat st;
	bool is_link;

	*place = (struct place){.dir_fd = -1};
	if (refuse_traps(name, err) != 0)
		return -1;
	/* What is no link now is not followed if it becomes one. */
	is_link = lstat(name, &place->st) == 0 && S_ISLNK(place->st.st_mode);
	if ((is_link ? stat : lstat)(name, &place->st) != 0) {
		if (errno == ENOENT)
			return find_new_place(name, place, err);
		return explain(name, name, errno, err);
	}
	if (S_ISDIR(place->st.st_mode))
		return refuse_directory(name, err);
	place->exists = true;

	/* /dev/stdout may lead to a file that is not where its link says. */
	char *path = NULL;
	if (S_ISREG(place->st.st_mode))
		path = is_link ? realpath(name, NULL) : xstrdup(name);
	place->in_place = !path || stat(path, &st) != 0 || st.st_dev != place->st.st_dev ||
	                  st.st_ino != place->st.st_ino;
	set_path(place, place->in_place ? name : path);
	free(path);
	return 0;
}

/* Signals that a write may raise: their errno is enough. */
struct write_signals {
	struct sigaction pipe;
	struct sigaction xfsz;
};

static void ignore_signals(struct write_signals *old)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGPIPE, &ignore, &old->pipe);
	sigaction(SIGXFSZ, &ignore, &old->xfsz);
}

static void restore_signals(const struct write_signals *old)
{
	sigaction(SIGPIPE, &old->pipe, NULL);
	sigaction(SIGXFSZ, &old->xfsz, NULL);
}

static int write_some(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			/* Whoever gave us this descriptor made it non-blocking. */
			struct pollfd pfd = {.fd = fd, .events = POLLOUT};
			poll(&pfd, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* 0 or -errno. */
static int write_all(int fd, const void *data, size_t len)
{
	struct write_signals old;

	ignore_signals(&old);
	int status = write_some(fd, data, len);
	restore_signals(&old);
	return status;
}

static int open_in_place(const char *name, const struct place *place)
{
	int flags = O_WRONLY | O_NOCTTY | O_CLOEXEC, fd;

	if (!S_ISFIFO(place->st.st_mode))
		return open(name, flags);
	fd = open(name, flags | O_NONBLOCK);
	if (fd >= 0 || errno != ENXIO)
		return fd;
	log_info("waiting for somebody to read '%s' (Ctrl-C gives up)", name);
	return open(name, flags);
}

/* The name may lead elsewhere by now: nothing is changed before that is known. */
static int write_in_place(const char *name, const struct place *place, const void *data,
                          size_t len)
{
	int fd = open_in_place(name, place), status = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0 || st.st_dev != place->st.st_dev ||
	    st.st_ino != place->st.st_ino)
		status = -ESTALE;
	else if (S_ISREG(st.st_mode) && ftruncate(fd, 0) != 0)
		status = -errno;
	if (status == 0)
		status = write_all(fd, data, len);
	if (close(fd) != 0 && status == 0)
		status = -errno;
	return status;
}

/*
 * Gives the nameless file `fd` a temporary name, or makes a file of such a name
 * when fd is negative. The file's descriptor, or -errno.
 */
static int name_temporary(int dir_fd, int fd)
{
	char self[64];

	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	temp.dir_fd = dir_fd;
	for (int i = 0; i < NTEMP_NAMES; i++) {
		int made;

		snprintf(temp.name, sizeof temp.name, ".cprof-attach-%d-%d.tmp",
		         (int)getpid(), i);
		if (fd < 0)
			made = openat(dir_fd, temp.name,
			              O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		else
			made = linkat(AT_FDCWD, self, dir_fd, temp.name, AT_SYMLINK_FOLLOW);
		if (made >= 0) {
			temp.exists = 1;
			return fd < 0 ? made : fd;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static bool is_removed(int dir_fd)
{
	struct stat dir;

	return fstat(dir_fd, &dir) == 0 && dir.st_nlink == 0;
}

/* Which errno a file system without O_TMPFILE gives depends on its age. */
static int open_temporary(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);

	if (fd >= 0)
		return fd;
	if (is_removed(dir_fd))
		return -ENOENT;
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT)
		return name_temporary(dir_fd, -1);
	return -errno;
}

/* A file that is replaced leaves its owner, if we may, and mode to the new one. */
static void inherit(int fd, const struct place *place)
{
	struct stat old, dir;

	if (fstatat(place->dir_fd, place->base, &old, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(old.st_mode) || fstat(place->dir_fd, &dir) != 0 ||
	    is_anothers(&dir, &old))
		return;
	if (fchown(fd, old.st_uid, old.st_gid) != 0)
		errno = 0; /* then it is ours */
	fchmod(fd, old.st_mode & 0777);
}

static int fill_and_rename(int dir_fd, int fd, const struct place *place, const void *data,
                           size_t len)
{
	int status = write_all(fd, data, len);

	if (status != 0)
		return status;
	inherit(fd, place);
	if (fsync(fd) != 0)
		return -errno;
	if (!temp.exists)
		status = name_temporary(dir_fd, fd);
	if (status >= 0 && renameat(dir_fd, temp.name, dir_fd, place->base) != 0)
		status = -errno;
	if (status < 0)
		return status;
	temp.exists = 0;
	return 0;
}

/* 0 or -errno. */
static int replace(struct place *place, const void *data, size_t len)
{
	int status = open_directory(place), fd;

	if (status != 0)
		return status;
	fd = open_temporary(place->dir_fd);
	status = fd < 0 ? fd : fill_and_rename(place->dir_fd, fd, place, data, len);
	output_file_abandon();
	if (fd >= 0)
		close(fd);
	return status;
}

static int write_named(const char *name, const void *data, size_t len, struct error *err)
{
	bool known = checked.name && strcmp(checked.name, name) == 0;
	struct place here = {.dir_fd = -1}, *place = known ? &checked.place : &here;
	int status;

	if (!known && find_place(name, &here, err) != 0)
		return -1;
	status = place->in_place ? -EBUSY : replace(place, data, len);
	/* A file that is a mount point of its own (as in containers) is busy, too. */
	if (status == -EBUSY)
		status = write_in_place(name, place, data, len);
	if (status != 0)
		status = explain(name, place->in_place ? name : place->dir, -status, err);
	if (!known)
		place_fini(&here);
	return status;
}

int output_file_write(const char *name, const void *data, size_t len, struct error *err)
{
	int status;

	if (strcmp(name, "-") == 0) {
		status = write_all(STDOUT_FILENO, data, len);
		return status == 0 ? 0 : explain("stdout", "stdout", -status, err);
	}
	privilege_begin_output();
	status = write_named(name, data, len, err);
	privilege_end_output();
	return status;
}

static int check_stdout(int binary, struct error *err)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);

	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return error_set(err, EXIT_CODE_FAILURE,
		                 "cannot write to stdout: it is not open for writing; name "
		                 "a file with -o");
	if (binary && isatty(STDOUT_FILENO))
		return error_set(err, EXIT_CODE_FAILURE,
		                 "stdout is a terminal, and the profile is binary; "
		                 "redirect it, name a file with -o, or choose -f text");
	return 0;
}

/* In a sticky directory (/tmp) a file is replaced by its owner or the directory's. */
static bool sticky_forbids(const struct place *place, const struct stat *dir)
{
	uid_t us = geteuid();

	return place->exists && (dir->st_mode & S_ISVTX) && us != 0 &&
	       us != place->st.st_uid && us != dir->st_uid;
}

static bool is_full(int dir_fd)
{
	struct statvfs fs;

	if (fstatvfs(dir_fd, &fs) != 0 || fs.f_blocks == 0)
		return false;
	fsblkcnt_t blocks = geteuid() == 0 ? fs.f_bfree : fs.f_bavail;
	return blocks < LEAST_ROOM / (fs.f_frsize > 0 ? fs.f_frsize : 512) ||
	       (fs.f_files > 0 && fs.f_favail == 0);
}

/* Filters of containers that are older than faccessat2(2) refuse it with EPERM, which
 * the C library takes for an answer. */
static int check_access(int dir_fd, const char *path, int mode)
{
	if (faccessat(dir_fd, path, mode, AT_EACCESS) == 0 ||
	    (errno == EPERM && syscall(SYS_faccessat, dir_fd, path, mode) == 0))
		return 0;
	return errno;
}

/* 0 or the errno that replacing would give. */
static int check_directory(struct place *place)
{
	struct stat dir;
	int r = open_directory(place);

	if (r < 0)
		return -r;
	r = check_access(place->dir_fd, ".", W_OK | X_OK);
	if (r != 0)
		return r;
	if (fstat(place->dir_fd, &dir) != 0)
		return errno;
	if (is_removed(place->dir_fd))
		return ENOENT;
	if (sticky_forbids(place, &dir))
		return EPERM;
	return is_full(place->dir_fd) ? ENOSPC : 0;
}

static void keep_checked(const char *name, const struct place *place)
{
	output_file_forget();
	checked.name = xstrdup(name);
	checked.place = *place;
}

void output_file_forget(void)
{
	if (!checked.name)
		return;
	place_fini(&checked.place);
	free(checked.name);
	checked.name = NULL;
}

int output_file_check(const char *name, int binary, struct error *err)
{
	struct place place;
	const char *subject;
	int errnum = 0;

	if (strcmp(name, "-") == 0)
		return check_stdout(binary, err);
	if (find_place(name, &place, err) != 0)
		return -1;
	subject = place.dir;
	if (place.exists)
		errnum = check_access(AT_FDCWD, name, W_OK);
	if (errnum != 0)
		subject = name;
	else if (!place.in_place)
		errnum = check_directory(&place);
	int status = errnum == 0 ? 0 : explain(name, subject, errnum, err);
	if (status == 0)
		keep_checked(name, &place);
	else
		place_fini(&place);
	return status;
}

static bool is_ours(const struct stat *st)
{
	return st->st_uid == geteuid() && (st->st_mode & S_IWUSR);
}

bool output_file_needs_privilege(const char *name)
{
	const struct place *place = &checked.place;
	struct stat dir;

	if (strcmp(name, "-") == 0)
		return false;
	if (!checked.name || strcmp(checked.name, name) != 0)
		return true;
	if (place->exists && !is_ours(&place->st))
		return true;
	return !place->in_place && (fstat(place->dir_fd, &dir) != 0 || !is_ours(&dir));
}
