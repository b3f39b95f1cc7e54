/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot -> frames. The driver walks from the stopped thread's registers
 * outward; for each frame it asks the backends in turn, and the first that
 * knows this code answers with the caller's registers. Nothing here stops or
 * needs the thread.
 */
#ifndef CPROF_UNWIND_UNWIND_H
#define CPROF_UNWIND_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/snapshot.h"
#include "module/space.h"

/* How a frame was found. */
enum frame_how {
	FRAME_REGISTERS, /* the stopped thread's own PC */
	FRAME_CFI,       /* call frame information, by a rule or libunwind */
	FRAME_GO,        /* Go's own table of its functions */
	FRAME_CODE,      /* what its code did to the stack */
	FRAME_POINTER,   /* the chain of frame pointers */
	FRAME_SIGNAL,    /* the frame that a signal interrupted */
	FRAME_NHOWS,
};

struct frame {
	uint64_t pc;
	bool exact; /* pc is the instruction itself; else a return address,
				    and the call is at pc - 1 */
	enum frame_how how;
	struct space_map *where; /* the mapping that holds it, or NULL */
};

/* Why a stack ends where it does. Every stack has one. */
enum unwind_end {
	UNWIND_END_MARKER,   /* the outermost frame, marked as such: complete */
	UNWIND_END_NO_INFO,  /* no unwind data and no frame pointer to follow */
	UNWIND_END_WINDOW,   /* the stack goes on past the bytes that were copied */
	UNWIND_END_MEMORY,   /* it points to memory that was not copied at all */
	UNWIND_END_REGISTER, /* it needs a register whose value is unknown */
	UNWIND_END_BAD_PC,   /* a return address that is in no executable mapping */
	UNWIND_END_DEPTH,    /* more frames than asked for */
	UNWIND_END_LOOP,     /* the stack pointer does not rise */
	UNWIND_NENDS,
};

/* "reached the end", "no unwind data", … for the receipt. */
const char *unwind_end_text(enum unwind_end end);

enum unwind_method {
	UNWIND_AUTO,      /* what is best for each frame */
	UNWIND_RULES,     /* the same without libunwind */
	UNWIND_FP,        /* frame pointers alone */
	UNWIND_LIBUNWIND, /* libunwind alone: the reference */
	UNWIND_TRACKING,  /* auto, but rules only where libunwind does not answer */
	UNWIND_NMETHODS,
};

struct unwinder;

/*
 * Keeps what it learns between stacks. Used from one thread at a time. Spaces
 * and modules are known again by their addresses: modules that it was given must
 * live until it is freed, and spaces too, or until it has forgotten them.
 */
struct unwinder *unwinder_new(enum unwind_method method);
void unwinder_free(struct unwinder *unwinder);
void unwinder_forget(struct unwinder *unwinder, const struct space *space);

#define UNWIND_MAX_BACKENDS 8

/* What the unwinder has done so far. */
struct unwind_stats {
	uint64_t nstacks;
	uint64_t nagain; /* stacks that were walked twice: see UNWIND_TRACKING */
	/* Frames whose caller each backend found. */
	struct {
		const char *name; /* NULL: no more */
		uint64_t nframes;
	} backend[UNWIND_MAX_BACKENDS];
};

struct unwind_stats unwinder_stats(const struct unwinder *unwinder);

/* Where unwinding finds memory that is not in the snapshot; see unwinder_run. */
struct unwind_demand {
	/* Copies len bytes at addr; false if it cannot. */
	bool (*read)(void *ctx, uint64_t addr, void *buf, size_t len);
	void *ctx;
};

struct unwind_result {
	size_t nframes;
	enum unwind_end end;
	/* What the stack would have needed: bytes from SP - ARCH_RED_ZONE upward to
	   reach where it ended or tried to read, when that is above the window and
	   near it (UNWIND_END_WINDOW); else what it did use. The next window's size. */
	size_t stack_used;
};

/*
 * Unwinds one snapshot into at most `max` frames, leaf first. At least one
 * frame is always given. `demand` (may be NULL) is asked for memory that is
 * in no segment; it is for a caller that holds the thread stopped.
 */
struct unwind_result unwinder_run(struct unwinder *unwinder, struct space *space,
                                  const struct snapshot *snap,
                                  const struct unwind_demand *demand, struct frame *frames,
                                  size_t max);

#endif
