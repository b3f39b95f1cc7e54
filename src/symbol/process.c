/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /tmp is everybody's, so a perf map is believed only if it is a regular file,
 * no symlink, of the process's user, of root, or of our own user, and its user may read
 * it: in a mount namespace of his own he can put any file there. The process
 * names it with the pid that it knows itself by, in its own root. Whoever is
 * used to perf may have copied it from a container to where perf looks, our own
 * /tmp, under the pid that we know.
 *
 * Runtimes append to their map as they compile, and some write it anew, so a file that
 * has changed is read again as a whole: once for each profile, when the first name is
 * wanted for it. Samples have no time of their own in a profile: where memory was
 * used again for other code, all samples of a place, earlier ones too, have the name
 * that was the last one when the profile was written.
 *
 * Processes are many, and each can have a file as large as may be read. What is held
 * of all is limited, and what the last profile did not ask for is given up.
 */
#include "symbol/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "module/file.h"
#include "symbol/jitdump.h"
#include "symbol/perf_map.h"
#include "target/maps.h"
#include "target/root.h"

/* Of a larger file, only the last part is read: the newest code. */
#define MAX_BYTES ((size_t)64 << 20)
/* When the files read so far take more memory, no others are read. */
#define HELD_MAX ((size_t)512 << 20)

/* One place to look at. */
struct place {
	int root;
	char path[32];
};

struct symbol_process {
	struct place places[2];
	uid_t uid;
	struct root_reader reader;
	int fd; /* the file as it was seen last; -1: none */
	bool is_read;
	struct stat read; /* the file that `map` is of, as it then was */
	struct perf_map *map;
	int jitdump_fd; /* -1: none */
	struct stat jitdump_read;
	struct jitdump *jitdump;
	size_t *held; /* bytes of the maps and jitdumps of all processes */
};

static bool is_trusted(const struct symbol_process *process, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 &&
	       (st.st_uid == process->uid || st.st_uid == 0 || st.st_uid == geteuid());
}

static int open_map(const struct symbol_process *process)
{
	for (size_t i = 0; i < 2; i++) {
		const struct place *place = &process->places[i];
		int fd = place->root < 0 ? place->root
		                         : root_open_file(place->root, place->path,
		                                          ROOT_NO_FOLLOW, &process->reader);

		if (fd < 0)
			continue;
		if (is_trusted(process, fd))
			return fd;
		log_verbose("%s is not used: it belongs to another user", place->path);
		close(fd);
	}
	return -1;
}

static void name_map(struct place *place, int root, pid_t pid)
{
	place->root = root;
	snprintf(place->path, sizeof place->path, "/tmp/perf-%d.map", pid);
}

/* "/tmp/jit-4711.dump": a mapping of its own that runs no code, made for perf to
 * see that there is such a file. */
static bool is_jitdump(const struct map *map)
{
	const char *slash = strrchr(map->path, '/');
	size_t len = slash ? strlen(slash) : 0;

	return len > strlen("/jit-.dump") && strncmp(slash, "/jit-", 5) == 0 &&
	       strcmp(slash + len - 5, ".dump") == 0 && map->offset == 0;
}

/* The process shows it to us, so nobody else's file can be slipped in. */
static int open_jitdump(const struct target *target)
{
	struct maps maps;
	int fd = -1;

	if (maps_read(target->proc_fd, &maps) < 0)
		return -1;
	for (size_t i = 0; i < maps.n && fd < 0; i++) {
		if (is_jitdump(&maps.v[i]))
			fd = file_open_mapped(target, &maps.v[i]);
	}
	maps_fini(&maps);
	return fd;
}

struct symbol_process *symbol_process_new(const struct target *target, size_t *held)
{
	struct symbol_process *process = xcalloc(1, sizeof *process);
	struct procfs_status status;
	char text[4096];
	ssize_t n = procfs_read_fixed(target->proc_fd, "status", text, sizeof text);

	process->held = held;
	process->fd = process->places[0].root = process->places[1].root = -1;
	process->jitdump_fd = open_jitdump(target);
	if (n < 0 || procfs_parse_status(text, (size_t)n, &status) < 0)
		return process;
	process->uid = status.uid[1];
	process->reader = (struct root_reader){status.uid[3], status.gid[3]};
	name_map(&process->places[0], root_open(target),
	         status.ns_pid > 0 ? status.ns_pid : target->pid);
	name_map(&process->places[1], open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
	         target->pid);
	process->fd = open_map(process);
	return process;
}

static void close_files(struct symbol_process *process)
{
	int fds[] = {process->fd, process->jitdump_fd, process->places[0].root,
	             process->places[1].root};

	for (size_t i = 0; i < 4; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	process->fd = process->jitdump_fd = -1;
	process->places[0].root = process->places[1].root = -1;
}

static void drop_map(struct symbol_process *process)
{
	*process->held -= perf_map_bytes(process->map);
	perf_map_free(process->map);
	process->map = NULL;
}

static void drop_jitdump(struct symbol_process *process)
{
	*process->held -= jitdump_bytes(process->jitdump);
	jitdump_free(process->jitdump);
	process->jitdump = NULL;
}

void symbol_process_free(struct symbol_process *process)
{
	if (!process)
		return;
	close_files(process);
	drop_map(process);
	drop_jitdump(process);
	free(process);
}

static bool has_room(const struct symbol_process *process)
{
	if (*process->held <= HELD_MAX)
		return true;
	log_verbose("names of a process are not read: those of others take %zu bytes",
	            *process->held);
	return false;
}

static struct perf_map *read_map(int fd)
{
	struct stat st;
	size_t len = 0, size;
	off_t from = 0;
	ssize_t n = 1;
	char *text;

	if (fstat(fd, &st) < 0 || st.st_size <= 0)
		return NULL;
	size = (size_t)st.st_size;
	if (size > MAX_BYTES) {
		from = (off_t)(size - MAX_BYTES);
		size = MAX_BYTES;
	}
	text = xmalloc(size);
	while (len < size && n > 0) {
		n = pread(fd, text + len, size - len, from + (off_t)len);
		if (n > 0)
			len += (size_t)n;
	}
	return perf_map_parse(text, len);
}

/* Whether a file is another, or has been written to, since it was read. */
static bool has_changed(const struct stat *read, const struct stat *now)
{
	return now->st_dev != read->st_dev || now->st_ino != read->st_ino ||
	       now->st_size != read->st_size ||
	       now->st_mtim.tv_sec != read->st_mtim.tv_sec ||
	       now->st_mtim.tv_nsec != read->st_mtim.tv_nsec;
}

static size_t read_file(void *ctx, uint64_t offset, void *buf, size_t len)
{
	ssize_t n = pread(*(int *)ctx, buf, len, (off_t)offset);

	return n > 0 ? (size_t)n : 0;
}

static void read_jitdump(struct symbol_process *process)
{
	struct stat now;

	if (process->jitdump_fd < 0 || fstat(process->jitdump_fd, &now) < 0 ||
	    (process->jitdump && !has_changed(&process->jitdump_read, &now)))
		return;
	drop_jitdump(process);
	if (!has_room(process))
		return;
	process->jitdump = jitdump_read(read_file, &process->jitdump_fd);
	process->jitdump_read = now;
	*process->held += jitdump_bytes(process->jitdump);
}

/* The file of now, else the one there was before. */
static void read_perf_map(struct symbol_process *process)
{
	int fd = open_map(process);
	struct stat now;

	if (fd >= 0 && process->fd >= 0)
		close(process->fd);
	if (fd >= 0)
		process->fd = fd;
	if (process->fd < 0 || fstat(process->fd, &now) < 0 ||
	    (process->map && !has_changed(&process->read, &now)))
		return;
	drop_map(process);
	if (!has_room(process))
		return;
	process->map = read_map(process->fd);
	process->read = now;
	*process->held += perf_map_bytes(process->map);
}

void symbol_process_renew(struct symbol_process *process)
{
	if (!process->is_read) {
		drop_map(process);
		drop_jitdump(process);
	}
	process->is_read = false;
}

bool symbol_process_find(struct symbol_process *process, uint64_t address,
                         struct symbol_code *code)
{
	const struct code_entry *entry = NULL;

	if (!process->is_read) {
		process->is_read = true;
		read_perf_map(process);
		read_jitdump(process);
	}
	*code = (struct symbol_code){0};
	if (process->map)
		entry = perf_map_find(process->map, address);
	if (!entry && process->jitdump) {
		entry = jitdump_find(process->jitdump, address);
		if (entry)
			code->line = jitdump_line(process->jitdump, entry, address,
			                          &code->file);
	}
	if (entry)
		code->name = entry->name;
	return entry != NULL;
}
