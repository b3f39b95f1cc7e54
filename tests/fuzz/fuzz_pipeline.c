/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any program, any threads of it, all the way: maps are read, modules opened, stacks
 * unwound, summed up and named, and a pprof file written, as in a run. What comes
 * out is decoded and is a profile that every reader accepts, and what went in is all
 * there. An input begins, little-endian, with
 *
 *     u8 the unwinder      u8 the mode (two bits) and FLAG_…
 *     u8 another format to write           u8 after so many snapshots a part ends
 *     u16 length of the ELF file           u16 length of the file of run-time names
 *     u16 length of more lines for /proc/PID/maps
 *
 * and these three follow, then snapshots: struct shot, as it stands there. The file is
 * mapped whole at PROGRAM_AT, code that was made at run time is at JIT_AT.
 *
 * /proc/PID is a directory that is made for this; the memory of "the process" is our own.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/reader.h"
#include "capture/sampler_impl.h"
#include "collect/collector.h"
#include "output/writer.h"
#include "pprof_valid.h"

#define PROGRAM_AT    UINT64_C(0x400000)
#define MEMORY_BYTES  ((size_t)1 << 20)
#define JIT_AT        UINT64_C(0x700000)
#define NO_PLACE      "/nowhere"
#define MAX_SNAPSHOTS 7
#define PAGE          ((size_t)4096)
#define NAMES_PID     7 /* in the namespace of the process */

enum {
	FLAG_DELETED = 1 << 2, /* the ELF file is only in memory */
	FLAG_JITDUMP = 1 << 3, /* the run-time names are a jitdump, not a perf map */
	FLAG_NO_TRACEBACK = 1 << 4,
	FLAG_PROCESSES = 1 << 5, /* samples tell the process */
	FLAG_NO_LINES = 1 << 6,
	FLAG_EXTEND = 1 << 7, /* stacks are followed where they lead */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* ---- the process ------------------------------------------------------------- */

/* Where its /proc/PID is; its root is in there. */
static struct {
	char *dir;
	int fd;
	bool have_memory; /* PROGRAM_AT was free */
} proc;

static const char *const places[] = {"root/tmp", "root/jit-7.dump", "root/program", "root",
                                     "maps",     "status"};

static char *place(const char *name)
{
	return xasprintf("%s/%s", proc.dir, name);
}

static void remove_proc(void)
{
	char *names = xasprintf("%s/root/tmp/perf-%d.map", proc.dir, NAMES_PID);

	(void)unlink(names);
	free(names);
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		char *path = place(places[i]);

		(void)remove(path);
		free(path);
	}
	(void)rmdir(proc.dir);
	free(proc.dir);
}

static void write_file(const char *name, const void *data, size_t len)
{
	int fd = openat(proc.fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	require(fd >= 0 && (len == 0 || write(fd, data, len) == (ssize_t)len));
	close(fd);
}

static void make_proc(void)
{
	const char *tmp = getenv("TMPDIR");
	int uid = (int)geteuid();
	char status[128];
	void *memory;

	if (proc.dir)
		return;
	log_set_level(LOG_LEVEL_QUIET);
	proc.dir = xasprintf("%s/cprof-fuzz-XXXXXX", tmp ? tmp : "/tmp");
	require(mkdtemp(proc.dir) != NULL);
	(void)atexit(remove_proc);
	proc.fd = open(proc.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	require(proc.fd >= 0 && mkdirat(proc.fd, "root", 0700) == 0 &&
	        mkdirat(proc.fd, "root/tmp", 0700) == 0);
	snprintf(status, sizeof status,
	         "Name:\tp\nState:\tR\nTgid:\t9\nPid:\t9\nUid:\t%d\t%d\t%d\t%d\nNSpid:"
	         "\t9\t%d\n",
	         uid, uid, uid, uid, NAMES_PID);
	write_file("status", status, strlen(status));
	memory = mmap((void *)(uintptr_t)PROGRAM_AT, MEMORY_BYTES, PROT_NONE,
	              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	proc.have_memory = memory == (void *)(uintptr_t)PROGRAM_AT;
}

static void map_program(const uint8_t *elf, size_t len)
{
	size_t room = (len + PAGE - 1) & ~(PAGE - 1);
	void *at = (void *)(uintptr_t)PROGRAM_AT;

	if (!proc.have_memory)
		return;
	require(mmap(at, MEMORY_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	             -1, 0) == at);
	if (len == 0)
		return;
	require(mprotect(at, room, PROT_READ | PROT_WRITE) == 0);
	memcpy(at, elf, len);
}

/* "400000-500000 r-xp 00000000 fe:00 4711 /program\n", and what else there is. */
static void write_maps(unsigned flags, const uint8_t *more, size_t len)
{
	struct stat program, dump;
	char head[512];
	size_t n;
	char *text;

	require(fstatat(proc.fd, "root/program", &program, 0) == 0 &&
	        fstatat(proc.fd, "root/jit-7.dump", &dump, 0) == 0);
	n = (size_t)snprintf(head, sizeof head,
	                     "%" PRIx64 "-%" PRIx64 " r-xp 00000000 %x:%x %ju %s\n"
	                     "%" PRIx64 "-%" PRIx64 " rwxp 00000000 00:00 0\n"
	                     "%" PRIx64 "-%" PRIx64 " r--p 00000000 %x:%x %ju %s\n",
	                     PROGRAM_AT, PROGRAM_AT + MEMORY_BYTES, major(program.st_dev),
	                     minor(program.st_dev),
	                     (uintmax_t)(flags & FLAG_DELETED ? 1 : program.st_ino),
	                     flags & FLAG_DELETED ? NO_PLACE " (deleted)" : "/program",
	                     JIT_AT, JIT_AT + 0x8000, JIT_AT + 0x8000, JIT_AT + 0x9000,
	                     major(dump.st_dev), minor(dump.st_dev), (uintmax_t)dump.st_ino,
	                     flags & FLAG_JITDUMP ? "/jit-7.dump" : NO_PLACE);
	text = xmalloc(n + len + 1);
	memcpy(text, head, n);
	if (len > 0)
		memcpy(text + n, more, len);
	write_file("maps", text, n + len);
	free(text);
}

static struct target *make_target(void)
{
	struct target *target = xcalloc(1, sizeof *target);

	target->pid = getpid();
	target->proc_fd = openat(proc.fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	target->task_fd = target->pid_fd = -1;
	target->cmdline = xstrdup("");
	target->memory_tid = xcalloc(1, sizeof *target->memory_tid);
	atomic_store(target->memory_tid, getpid());
	return target;
}

/* ---- its threads --------------------------------------------------------------- */

struct shot {
	uint8_t kind;  /* enum snapshot_kind, but for the marks */
	uint8_t state; /* enum snapshot_state */
	uint8_t thread;
	uint8_t kernel_len;
	uint16_t syscall;
	uint16_t cpu_ns;
	uint16_t wall_ns;
	uint16_t stack_len;
	uint16_t memory_len; /* what is known of where rax points to */
	uint8_t replaces;
	uint8_t object_len;
	uint32_t valid; /* bit n: register n is known */
	uint32_t unused;
	uint64_t regs[ARCH_NREGS];
};

/* What has gone in, as far as it is known what must come out. */
struct expected {
	int64_t cpu_ns;
	bool is_known;
};

static size_t take(struct reader *r, size_t len, void *to)
{
	size_t left = reader_left(r);

	if (len > left)
		len = left;
	if (len > 0)
		memcpy(to, reader_bytes(r, len), len);
	return len;
}

static void add_segment(struct snapshot *snap, struct reader *r, uint64_t addr, size_t len)
{
	size_t n = take(r, len, snap->bytes + snap->nbytes);

	snap->segment[snap->nsegments++] = (struct snapshot_segment){addr, n, snap->nbytes};
	snap->nbytes += n;
}

static void fill(struct snapshot *snap, const struct shot *shot, struct reader *r)
{
	snap->kind = (enum snapshot_kind)(shot->kind % SNAPSHOT_CREDITS);
	snap->state = (enum snapshot_state)(shot->state % (SNAPSHOT_UNKNOWN + 1));
	snap->tid = 1 + shot->thread % 3;
	snap->thread_serial = (uint64_t)snap->tid;
	snprintf(snap->comm, sizeof snap->comm, "t\xff%d", shot->thread);
	snap->time_ns = clock_monotonic_ns();
	snap->cpu_ns = shot->cpu_ns;
	snap->wait_ns = shot->wall_ns;
	snap->syscall = (int16_t)shot->syscall;
	snap->count = 1;
	snap->wall_ns = shot->wall_ns;
	snap->sleeps = shot->replaces & 2;
	snap->replaces = shot->replaces & 1;
	snap->regs.valid = shot->valid;
	memcpy(snap->regs.r, shot->regs, sizeof shot->regs);
	(void)take(r, shot->object_len, snap->wait_object);
	if (snap->kind == SNAPSHOT_NO_STACK)
		return;
	add_segment(snap, r, shot->regs[ARCH_REG_SP] - ARCH_RED_ZONE, shot->stack_len);
	if (shot->memory_len > 0)
		add_segment(snap, r, shot->regs[0], shot->memory_len);
	snap->kernel_offset = snap->nbytes;
	snap->kernel_len = take(r, shot->kernel_len, snap->bytes + snap->nbytes);
	snap->nbytes += snap->kernel_len;
}

/* A part of the run ends here, and another begins. */
static void cut(struct sampler *sampler, struct queue *queue, struct collector *collector)
{
	struct snapshot *mark = queue_reserve(queue);

	collector_cut(collector, SEGMENT_ASKED);
	mark->kind = SNAPSHOT_CUT;
	mark->cut = sampler_take_segment(sampler);
	queue_commit(queue);
}

struct input {
	uint8_t method, flags, format, cut_after;
	struct reader *snapshots;
};

static void hand_over(const struct input *input, struct sampler *sampler,
                      struct queue *queue, struct collector *collector,
                      struct expected *expected)
{
	struct shot shot;

	for (unsigned i = 0; i < MAX_SNAPSHOTS; i++) {
		struct snapshot *snap;

		if (i == input->cut_after)
			cut(sampler, queue, collector);
		if (reader_left(input->snapshots) < sizeof shot)
			return;
		(void)take(input->snapshots, sizeof shot, &shot);
		snap = queue_reserve(queue);
		require(snap != NULL);
		fill(snap, &shot, input->snapshots);
		if (input->flags & FLAG_EXTEND && snap->kind == SNAPSHOT_STOPPED)
			collector_extend(collector, snap);
		if (snap->state == SNAPSHOT_RUNNING || snap->state == SNAPSHOT_RUNNABLE)
			expected->cpu_ns += (int64_t)snap->cpu_ns;
		queue_commit(queue);
	}
}

/* ---- what comes of it ------------------------------------------------------------ */

struct parts {
	struct segment *v[2];
	size_t n;
};

static void give(void *ctx, struct segment *segment)
{
	struct parts *parts = ctx;

	require(parts->n < 2);
	parts->v[parts->n++] = segment;
}

static size_t held(void *ctx)
{
	(void)ctx;
	return 0;
}

/* Completes and writes a part; what its samples say of CPU time. */
static int64_t finish(struct segment *segment, const struct input *input)
{
	const struct writer *other = writers[input->format % 4];
	struct bytes out = {0}, more = {0};
	struct error err;
	int64_t cpu_ns;

	segment_complete(segment);
	require(writer_pprof.write(segment->profile, &out, &err) == 0);
	cpu_ns = pprof_require_valid(out.v, out.n);
	require(other->write(segment->profile, &more, &err) == 0);
	bytes_fini(&out);
	bytes_fini(&more);
	segment_free(segment);
	return cpu_ns;
}

static void run(const struct input *input)
{
	static const enum profile_mode modes[] = {MODE_CPU, MODE_WALL, MODE_BLOCK,
	                                          MODE_THREADS};
	static struct sampler sampler; /* of which the collector knows some places */
	enum profile_mode mode = modes[input->flags % 4];
	struct roster *roster = roster_new();
	struct queue *queue = queue_new(MAX_SNAPSHOTS + 1);
	struct parts parts = {.n = 0};
	const struct collector_options options = {
	        .types = {.modes = mode,
	                  .last_mode = mode,
	                  .frequency_hz = 99,
	                  .roster = roster,
	                  .label_processes = input->flags & FLAG_PROCESSES},
	        .unwinder = input->method % UNWIND_NMETHODS,
	        .symbols = {.no_lines = input->flags & FLAG_NO_LINES},
	        .max_depth = 128,
	        .no_traceback = input->flags & FLAG_NO_TRACEBACK,
	        .share_bytes = SIZE_MAX,
	        .can_cut = true,
	        .give = give,
	        .held = held,
	        .give_ctx = &parts,
	};
	struct expected expected = {.is_known = mode == MODE_CPU};
	struct collector *collector;
	int64_t cpu_ns = 0;
	struct error err;

	memset(&sampler, 0, sizeof sampler);
	sampler.cut_fd = -1;
	sampler.cut.at_ns = clock_monotonic_ns();
	require(queue != NULL && roster_add(roster, make_target(), false) == 0);
	collector = collector_new(queue, &options);
	require(collector_start(collector, &sampler, &err) == 0);
	hand_over(input, &sampler, queue, collector, &expected);
	queue_close(queue);
	collector_join(collector);
	give(&parts, collector_last(collector));
	for (size_t i = 0; i < parts.n; i++)
		cpu_ns += finish(parts.v[i], input);
	require(!expected.is_known || cpu_ns == expected.cpu_ns);
	collector_free(collector);
	queue_free(queue);
	roster_free(roster);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	struct input input = {.snapshots = &r};
	const uint8_t *elf, *names, *maps;
	size_t elf_len, names_len, maps_len;

	input.method = reader_u8(&r);
	input.flags = reader_u8(&r);
	input.format = reader_u8(&r);
	input.cut_after = reader_u8(&r);
	elf_len = reader_u16(&r);
	names_len = reader_u16(&r);
	maps_len = reader_u16(&r);
	elf = reader_bytes(&r, elf_len);
	names = reader_bytes(&r, names_len);
	maps = reader_bytes(&r, maps_len);
	if (r.failed)
		return 0;
	make_proc();
	write_file("root/program", elf, elf_len);
	write_file("root/jit-7.dump", names, names_len);
	write_file("root/tmp/perf-7.map", names, names_len);
	map_program(elf, elf_len);
	write_maps(input.flags, maps, maps_len);
	run(&input);
	return 0;
}
