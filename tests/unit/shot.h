/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of unwinding share: children made by fork, snapshots of their
 * threads, and names for the frames. A child runs a function of the test
 * program itself, so that the test knows each function's name and place.
 */
#ifndef TESTS_UNIT_SHOT_H
#define TESTS_UNIT_SHOT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/snapshot.h"
#include "module/module.h"
#include "module/space.h"
#include "plain.h"
#include "target/target.h"
#include "target/tracer.h"
#include "unwind/unwind.h"

/* clang makes no clones, and has no word for that. */
#ifdef __clang__
#define SHOT_NOINLINE __attribute__((noinline, unused)) PLAIN
#else
#define SHOT_NOINLINE __attribute__((noinline, noclone, unused)) PLAIN
#endif
#define SHOT_MAX_FRAMES 600
#define SHOT_WINDOW     (64 * 1024)

/* Keeps a call from becoming a jump, so that its caller stays on the stack. */
#define SHOT_STAY() __asm__ volatile("" ::: "memory")

struct shot {
	pid_t pid;
	int ready_fd;
	struct target *target;
	struct module_cache *cache;
	struct space *space;
	struct unwinder *unwinder;
	struct snapshot snap;
	struct frame frames[SHOT_MAX_FRAMES];
	struct unwind_result result;
};

/* In the child: tells the parent that it is where it is to be looked at. */
static int shot_ready_pipe = -1;

__attribute__((unused)) static void shot_ready(void)
{
	if (write(shot_ready_pipe, "!", 1) != 1)
		_exit(71);
}

/* A child that runs `run`, which calls shot_ready. */
SHOT_NOINLINE static void shot_start(struct shot *shot, void (*run)(void))
{
	int pipe_fds[2];
	char byte;

	memset(shot, 0, sizeof *shot);
	assert_int_equal(pipe(pipe_fds), 0);
	fflush(stdout);
	shot->pid = plain_fork();
	assert_true(shot->pid >= 0);
	if (shot->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		shot_ready_pipe = pipe_fds[1];
		run();
		_exit(0);
	}
	close(pipe_fds[1]);
	shot->ready_fd = pipe_fds[0];
	assert_int_equal(read(shot->ready_fd, &byte, 1), 1);
}

/* Opens what is needed to unwind the process shot->pid. */
__attribute__((unused)) static void shot_open(struct shot *shot, enum unwind_method method)
{
	struct error err;

	shot->target = target_open(shot->pid, &err);
	assert_non_null(shot->target);
	shot->cache = module_cache_new();
	shot->space = space_new(shot->target, shot->cache);
	shot->unwinder = unwinder_new(method);
	shot->snap.bytes = calloc(1, SNAPSHOT_MAX_BYTES);
}

__attribute__((unused)) static void shot_end(struct shot *shot)
{
	unwinder_free(shot->unwinder);
	space_free(shot->space);
	module_cache_free(shot->cache);
	target_free(shot->target);
	free(shot->snap.bytes);
	if (shot->ready_fd > 0)
		close(shot->ready_fd);
	if (shot->pid > 0) {
		kill(shot->pid, SIGKILL);
		waitpid(shot->pid, NULL, __WALL);
	}
}

/* Fills the snapshot's stack from its registers. */
__attribute__((unused)) static void shot_copy_stack(struct shot *shot, size_t window)
{
	struct snapshot *snap = &shot->snap;
	uint64_t from = snap->regs.r[ARCH_REG_SP] - ARCH_RED_ZONE;
	ssize_t n = target_read_memory(shot->target, from, snap->bytes, window);

	snap->nsegments = 1;
	snap->segment[0] = (struct snapshot_segment){from, n < 0 ? 0 : (size_t)n, 0};
	snap->nbytes = snap->segment[0].len;
}

/* Stops a thread, takes its snapshot, lets it go. */
__attribute__((unused)) static void shot_take(struct shot *shot, pid_t tid, size_t window)
{
	uint64_t deadline = clock_monotonic_ns() + 20 * NS_PER_SEC;
	struct arch_prstatus raw;
	struct tracer_stop stop;

	assert_int_equal(tracer_request(tid), 0);
	while (tracer_next(&stop) == TRACER_NONE) {
		const struct timespec pause = {0, 20000};

		assert_true(clock_monotonic_ns() < deadline);
		nanosleep(&pause, NULL);
	}
	assert_int_equal(stop.event, TRACER_STOPPED);
	assert_int_equal(stop.tid, tid);
	assert_int_equal(tracer_get_regs(&stop, &raw), 0);
	assert_int_equal(arch_regs_from_prstatus(&raw, &shot->snap.regs), 0);
	shot->snap.tid = tid;
	shot_copy_stack(shot, window);
	assert_int_equal(tracer_release(&stop), 0);
}

__attribute__((unused)) static void
shot_unwind(struct shot *shot, const struct unwind_demand *demand, size_t max)
{
	shot->result = unwinder_run(shot->unwinder, shot->space, &shot->snap, demand,
	                            shot->frames, max);
}

/* The whole thing with the usual sizes. */
__attribute__((unused)) static void shot_fire(struct shot *shot)
{
	shot_take(shot, shot->pid, SHOT_WINDOW);
	shot_unwind(shot, NULL, SHOT_MAX_FRAMES);
}

/* The symbol that covers the frame's code, or "?". */
__attribute__((unused)) static const char *shot_name(const struct frame *frame)
{
	uint64_t pc = frame->exact ? frame->pc : frame->pc - 1;

	if (frame->where == NULL || frame->where->module == NULL)
		return "?";
	pc -= frame->where->bias;
	for (enum module_symtab which = 0; which < MODULE_NSYMTABS; which++) {
		struct module_symbols symbols = module_symbols(frame->where->module, which);

		for (size_t i = 0; i < symbols.n; i++) {
			const Elf64_Sym *sym = &symbols.v[i];

			if (GELF_ST_TYPE(sym->st_info) == STT_FUNC && sym->st_shndx != 0 &&
			    pc >= sym->st_value && pc - sym->st_value < sym->st_size &&
			    sym->st_name < symbols.strings_len)
				return symbols.strings + sym->st_name;
		}
	}
	return "?";
}

__attribute__((unused)) static void shot_print(const struct shot *shot)
{
	for (size_t i = 0; i < shot->result.nframes; i++) {
		const struct frame *frame = &shot->frames[i];

		print_message("# %2zu %#14llx how %d exact %d %s (%s)\n", i,
		              (unsigned long long)frame->pc, (int)frame->how, frame->exact,
		              shot_name(frame),
		              frame->where && frame->where->module
		                      ? module_path(frame->where->module)
		                      : "-");
	}
	print_message("# end: %s, stack used %zu of %zu\n",
	              unwind_end_text(shot->result.end), shot->result.stack_used,
	              shot->snap.segment[0].len);
}

/* The index of the first frame of that name from `from` on, or -1. */
__attribute__((unused)) static int shot_find(const struct shot *shot, const char *name,
                                             size_t from)
{
	for (size_t i = from; i < shot->result.nframes; i++)
		if (strcmp(shot_name(&shot->frames[i]), name) == 0)
			return (int)i;
	return -1;
}

/* Fails unless the named frames follow each other, without others in between. */
__attribute__((unused)) static void shot_expect(const struct shot *shot,
                                                const char *const *names, size_t n)
{
	int at = shot_find(shot, names[0], 0);
	bool ok = at >= 0;

	for (size_t i = 0; ok && i < n; i++)
		ok = at + i < shot->result.nframes &&
		     strcmp(shot_name(&shot->frames[at + i]), names[i]) == 0;
	if (!ok) {
		shot_print(shot);
		fail_msg("the stack does not hold %s and its callers", names[0]);
	}
}

#define SHOT_EXPECT(shot, ...)                                  \
	shot_expect((shot), (const char *const[]){__VA_ARGS__}, \
	            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

__attribute__((unused)) static void shot_expect_end(const struct shot *shot,
                                                    enum unwind_end end)
{
	if (shot->result.end == end)
		return;
	shot_print(shot);
	fail_msg("the stack ends with \"%s\", not \"%s\"",
	         unwind_end_text(shot->result.end), unwind_end_text(end));
}

#endif
