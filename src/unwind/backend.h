/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the driver and its backends. A backend knows one way to get from a
 * frame to its caller; it is a const table, and the driver asks several in turn:
 * the first that knows the code at this PC answers for it, also when its answer
 * is that the stack ends here.
 *
 * To write one: step() sees the frame's registers and PC in the walk, reads
 * memory through walk_read() alone (which notes what could not be read, and so
 * gives the stack its end), and fills *step. It need not check that the caller's
 * PC is code or that SP rises: the driver does that for all.
 */
#ifndef CPROF_UNWIND_BACKEND_H
#define CPROF_UNWIND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unwind/tables.h"
#include "unwind/unwind.h"

/* How often one stack may go on at another place that is not further up. */
#define WALK_MAX_SWITCHES 8

/* How many functions are read for one stack. What was read is kept, so only a stack
 * that was made for it asks for more. */
#define WALK_MAX_READ 64

/* The same of code that was read ahead of PC alone. */
#define WALK_MAX_AHEAD 256

/* What memory could not be read while the current frame was unwound. */
enum walk_refusal {
	WALK_REFUSED_NOTHING,
	WALK_REFUSED_WINDOW, /* just above the copied part of the stack */
	WALK_REFUSED_MEMORY, /* elsewhere */
};

/* A stack on its way from the leaf outward. */
struct walk {
	struct space *space;
	struct unwind_tables *tables; /* shared by all backends */
	const struct snapshot *snap;
	const struct unwind_demand *demand; /* or NULL */
	struct regs regs;                   /* of the frame whose caller is sought */
	struct frame frame;                 /* the same; frame.where is not NULL */
	enum walk_refusal refusal;          /* the first one of this frame */
	uint64_t base;                      /* where the window begins */
	uint64_t window_end;                /* one past its last byte */
	uint64_t high;       /* one past the highest stack byte needed so far */
	unsigned switches;   /* stack switches so far */
	bool left_goroutine; /* Go's scheduler has been seen: see go.c */
	bool complex;        /* this frame has an FDE that no rule can say: rules.c */
	bool no_trampoline;  /* it is known not to return from a signal handler */
	unsigned nread;      /* functions whose code was read: read_code.c */
	unsigned nahead;     /* places whose code was read ahead: read_ahead.c */
	bool dropped;        /* a rule has left a known register behind: rules.c */
};

/* The address whose code says how to leave this frame: the call itself. */
static inline uint64_t walk_lookup_pc(const struct walk *walk)
{
	return walk->frame.exact ? walk->frame.pc : walk->frame.pc - 1;
}

/* Reads stack memory: the snapshot, else on demand, else notes a refusal. */
bool walk_read(struct walk *walk, uint64_t addr, void *buf, size_t len);
bool walk_read_word(struct walk *walk, uint64_t addr, uint64_t *value);

/*
 * Reads code from the module it was mapped from, or the snapshot, or on demand.
 * All of `len` bytes or false: of JIT code nothing may be known.
 */
bool walk_read_text(struct walk *walk, uint64_t addr, void *buf, size_t len);

/*
 * The same of code that no file holds, and else as it is now: the thread may have
 * gone on since, and the code may have been changed. For what can be checked.
 */
bool walk_read_code_now(struct walk *walk, uint64_t addr, void *buf, size_t len);

/* The end of a stack that ends because of what was refused, else `otherwise`. */
enum unwind_end walk_refusal_end(const struct walk *walk, enum unwind_end otherwise);

enum unwind_verdict {
	UNWIND_CALLER, /* step->regs and the rest are the caller's */
	UNWIND_PASS,   /* not known here: ask the next backend */
	UNWIND_STOP,   /* known, and the stack ends: step->end says why */
};

struct unwind_step {
	struct regs regs;
	enum frame_how how;
	bool exact;       /* the caller was interrupted, it did not call */
	bool other_stack; /* the caller's SP may be anywhere */
	/* With UNWIND_STOP: the PC was no return address, but where this function
	 * would have begun. */
	bool never_called;
	enum unwind_end end;
};

struct unwind_backend {
	const char *name;
	/* State that is kept between stacks; both NULL if there is none. */
	void *(*state_new)(void);
	void (*state_free)(void *state);
	/* Drops what it knows of a space that goes; NULL if that is nothing. */
	void (*forget)(void *state, const struct space *space);
	enum unwind_verdict (*step)(void *state, struct walk *walk,
	                            struct unwind_step *step);
};

extern const struct unwind_backend unwind_backend_rules;
extern const struct unwind_backend unwind_backend_complex;
extern const struct unwind_backend unwind_backend_libunwind;
extern const struct unwind_backend unwind_backend_sigreturn;
extern const struct unwind_backend unwind_backend_go;
extern const struct unwind_backend unwind_backend_read_code;
extern const struct unwind_backend unwind_backend_read_ahead;
extern const struct unwind_backend unwind_backend_frame_pointer;

/* Whether the code at addr is the return from a signal handler to the kernel. */
bool unwind_is_sigreturn(struct walk *walk, uint64_t addr);

#endif
