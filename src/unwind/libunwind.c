/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call frame information, executed by libunwind's remote interface over the
 * snapshot. Only libunwind's engine is used: FDEs are found here (fde.h) and
 * vetted (vet.h), and it is asked only about code that has one. Without one it
 * would guess, from RBP or from what looks like a PLT entry.
 *
 * Every frame starts a new cursor, whose registers are those of the walk. So a
 * frame may come from any backend, and which registers are known is kept as the
 * walk's mask, not in libunwind's cursor. Two things follow:
 *
 *   - libunwind takes the PC of a new cursor for exact. It is given the lookup
 *     PC instead, the last byte of the call for a caller; the row of that byte
 *     is the one to use (DWARF 5, 6.4.3), and also the key of libunwind's cache
 *     of rows, which else would mix up a return address with the same address
 *     as that of an interrupted instruction.
 *   - after the step, each register is asked for, and whether libunwind then
 *     turns to access_reg with that register's own number tells that the frame
 *     did not save it. A callee-saved one still holds the caller's value; of the
 *     others nothing is known any more.
 *
 * libunwind wants a table in memory to search. It gets one at an address that no
 * process has, with one entry that fits every PC and names the FDE found.
 *
 * One address space object belongs to one space, so that libunwind's cache of
 * rows never mixes two processes; it is flushed when the space's generation
 * moves. Its global policy is used: that for threads shares one cache among all
 * address spaces.
 */
#include <libunwind.h>

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/mem.h"
#include "module/fde.h"
#include "unwind/backend.h"
#include "unwind/vet.h"

/* Not declared by libunwind.h, but exported for those who look up themselves. */
extern int UNW_ARCH_OBJ(dwarf_search_unwind_table)(unw_addr_space_t as, unw_word_t ip,
                                                   unw_dyn_info_t *di, unw_proc_info_t *pi,
                                                   int need_unwind_info, void *arg);

/* In the hole of addresses that are not canonical, so of no process. */
#define TABLE_ADDR UINT64_C(0x0f0f0f0f0f0f0f00)
#define TABLE_LEN  8

/* No honest frame reads more words; an FDE's program may have any length. */
#define MAX_READS 20000

#define CODE_SLOTS 4096 /* a power of two */
#define ROW_CACHE  4096

/* What is known of the code at one lookup PC. */
struct code {
	uint64_t pc;
	bool known;
	bool usable;    /* it has an FDE, and a safe one */
	bool is_signal; /* a signal trampoline */
	uint64_t fde;   /* address of the FDE */
	uint64_t end;   /* address where the FDE's code ends */
};

struct unwound_space {
	const struct space *space;
	uint64_t generation;
	unw_addr_space_t as;
	struct code *code; /* CODE_SLOTS of them */
};

struct state {
	ARRAY(struct unwound_space) spaces;
};

/* One step: what the accessors work with. */
struct job {
	struct walk *walk;
	const struct code *code;
	struct module_view section; /* where the FDE is */
	uint64_t section_addr;
	unsigned reads;
	bool looking_up;       /* reading the FDE, not the stack */
	bool register_refused; /* an unknown register was asked for */
	unsigned asked;        /* the register that access_reg gave last */
};

#define NOTHING_ASKED ARCH_NREGS

/* The callee-saved registers (System V AMD64 psABI, figure 3.4). */
static bool is_preserved(unsigned reg)
{
	return reg == 3 || reg == ARCH_REG_FP || (reg >= 12 && reg <= 15);
}

/* The 8 bytes at addr as far as `data` (at `base`) has them, zeroes elsewhere. */
static bool read_overlap(uint64_t addr, const uint8_t *data, size_t len, uint64_t base,
                         unw_word_t *value)
{
	uint8_t word[sizeof *value] = {0};
	bool any = false;

	for (size_t i = 0; i < sizeof word; i++) {
		uint64_t into = addr + i - base;

		if (into < len) {
			word[i] = data[into];
			any = true;
		}
	}
	memcpy(value, word, sizeof word);
	return any;
}

static bool read_entry_table(uint64_t addr, unw_word_t *value)
{
	/* {code, FDE}: from the beginning of all code on, the FDE at offset 0. */
	static const int32_t entry[2] = {INT32_MIN, 0};

	return read_overlap(addr, (const uint8_t *)entry, sizeof entry, TABLE_ADDR, value);
}

/* libunwind follows pointers of the CIE that are of no use here, as that to the
 * personality routine. They lie in data that is not at hand: zeroes will do. */
static int read_for_lookup(unw_word_t *value)
{
	*value = 0;
	return 0;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *value, int write,
                      void *arg)
{
	struct job *job = arg;

	(void)as;
	if (write || ++job->reads > MAX_READS)
		return -UNW_EINVAL;
	if (read_entry_table(addr, value) ||
	    read_overlap(addr, job->section.data, job->section.len, job->section_addr,
	                 value))
		return 0;
	if (job->looking_up)
		return read_for_lookup(value);
	return walk_read_word(job->walk, addr, value) ? 0 : -UNW_EINVAL;
}

/* libunwind numbers the registers of x86-64 as DWARF does. */
static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *value, int write,
                      void *arg)
{
	struct job *job = arg;

	(void)as;
	if (write || reg < 0 || reg >= ARCH_NREGS)
		return -UNW_EBADREG;
	job->asked = (unsigned)reg;
	if (reg == ARCH_REG_PC) {
		*value = walk_lookup_pc(job->walk);
		return 0;
	}
	if (!regs_has(&job->walk->regs, (unsigned)reg)) {
		job->register_refused = true;
		return -UNW_EBADREG;
	}
	*value = job->walk->regs.r[reg];
	return 0;
}

static int access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *value,
                        int write, void *arg)
{
	(void)as;
	(void)reg;
	(void)value;
	(void)write;
	(void)arg;
	return -UNW_EBADREG;
}

static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *info,
                          int need_unwind_info, void *arg)
{
	struct job *job = arg;
	unw_dyn_info_t table = {
	        .start_ip = ip,
	        .end_ip = ip + 1,
	        .format = UNW_INFO_FORMAT_REMOTE_TABLE,
	        .u.rti = {.segbase = job->code->fde,
	                  .table_len = TABLE_LEN / sizeof(unw_word_t),
	                  .table_data = TABLE_ADDR},
	};
	int rc;

	job->looking_up = true;
	rc = UNW_ARCH_OBJ(dwarf_search_unwind_table)(as, ip, &table, info, need_unwind_info,
	                                             arg);
	job->looking_up = false;
	return rc;
}

/* libunwind itself takes back what dwarf_search_unwind_table allocated. */
static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *info, void *arg)
{
	(void)as;
	(void)info;
	(void)arg;
}

static int get_dyn_info_list_addr(unw_addr_space_t as, unw_word_t *addr, void *arg)
{
	(void)as;
	(void)addr;
	(void)arg;
	return -UNW_ENOINFO;
}

static int resume(unw_addr_space_t as, unw_cursor_t *cursor, void *arg)
{
	(void)as;
	(void)cursor;
	(void)arg;
	return -UNW_EINVAL;
}

static unw_addr_space_t new_addr_space(void)
{
	unw_accessors_t accessors = {
	        .find_proc_info = find_proc_info,
	        .put_unwind_info = put_unwind_info,
	        .get_dyn_info_list_addr = get_dyn_info_list_addr,
	        .access_mem = access_mem,
	        .access_reg = access_reg,
	        .access_fpreg = access_fpreg,
	        .resume = resume,
	};
	unw_addr_space_t as = unw_create_addr_space(&accessors, 0);

	if (as == NULL)
		abort();
	unw_set_caching_policy(as, UNW_CACHE_GLOBAL);
	unw_set_cache_size(as, ROW_CACHE, 0);
	return as;
}

static struct unwound_space *find_space(struct state *state, const struct space *space)
{
	struct unwound_space *found = NULL;

	for (size_t i = 0; i < state->spaces.n && found == NULL; i++)
		if (state->spaces.v[i].space == space)
			found = &state->spaces.v[i];
	if (found == NULL) {
		struct unwound_space fresh = {
		        .space = space,
		        .generation = space_generation(space),
		        .as = new_addr_space(),
		        .code = xcalloc(CODE_SLOTS, sizeof *fresh.code),
		};

		array_push(&state->spaces, fresh);
		found = &state->spaces.v[state->spaces.n - 1];
	}
	if (found->generation != space_generation(space)) {
		found->generation = space_generation(space);
		unw_flush_cache(found->as, 0, 0);
		memset(found->code, 0, CODE_SLOTS * sizeof *found->code);
	}
	return found;
}

static void look_up_code(const struct fde_table *table, const struct space_map *where,
                         uint64_t pc, struct code *code)
{
	struct fde fde;

	*code = (struct code){.pc = pc, .known = true};
	if (!fde_find(table, pc - where->bias, &fde) || fde.is_debug_frame ||
	    !vet_fde(&fde))
		return;
	code->usable = true;
	code->is_signal = fde.is_signal_frame;
	code->fde = fde.vaddr + where->bias;
	code->end = fde.end + where->bias;
}

static const struct code *find_code(struct unwound_space *space,
                                    const struct fde_table *table,
                                    const struct space_map *where, uint64_t pc)
{
	struct code *slot = &space->code[(pc ^ pc >> 12) & (CODE_SLOTS - 1)];

	if (!slot->known || slot->pc != pc)
		look_up_code(table, where, pc, slot);
	return slot;
}

/* What the caller's register holds, after the step. */
static void take_register(unw_cursor_t *cursor, struct job *job, unsigned reg,
                          struct regs *caller)
{
	unw_word_t value;

	job->asked = NOTHING_ASKED;
	if (unw_get_reg(cursor, (int)reg, &value) < 0)
		return;
	if (job->asked == reg && !is_preserved(reg) && !job->code->is_signal)
		return;
	regs_set(caller, reg, value);
}

static bool take_registers(unw_cursor_t *cursor, struct job *job, struct regs *caller)
{
	unw_word_t pc, sp;

	if (unw_get_reg(cursor, UNW_REG_IP, &pc) < 0 ||
	    unw_get_reg(cursor, UNW_REG_SP, &sp) < 0)
		return false;
	for (unsigned reg = 0; reg < ARCH_NREGS; reg++)
		if (reg != ARCH_REG_SP && reg != ARCH_REG_PC)
			take_register(cursor, job, reg, caller);
	regs_set(caller, ARCH_REG_SP, sp);
	regs_set(caller, ARCH_REG_PC, pc);
	return true;
}

static enum unwind_end failed_end(const struct job *job, int rc)
{
	if (job->register_refused)
		return UNWIND_END_REGISTER;
	return walk_refusal_end(job->walk, rc == -UNW_EBADFRAME ? UNWIND_END_LOOP
	                                                        : UNWIND_END_NO_INFO);
}

static enum unwind_verdict run_step(unw_addr_space_t as, struct job *job,
                                    struct unwind_step *step)
{
	unw_cursor_t cursor;
	int rc = unw_init_remote(&cursor, as, job);

	if (rc == 0)
		rc = unw_step(&cursor);
	if (rc == 0) {
		step->end = UNWIND_END_MARKER;
		return UNWIND_STOP;
	}
	if (rc < 0 || !take_registers(&cursor, job, &step->regs)) {
		step->end = failed_end(job, rc);
		return UNWIND_STOP;
	}
	step->how = job->code->is_signal ? FRAME_SIGNAL : FRAME_CFI;
	step->exact = job->code->is_signal;
	step->other_stack = job->code->is_signal;
	return UNWIND_CALLER;
}

static enum unwind_verdict libunwind_step(void *opaque, struct walk *walk,
                                          struct unwind_step *step)
{
	struct state *state = opaque;
	const struct space_map *where = walk->frame.where;
	struct job job = {.walk = walk, .asked = NOTHING_ASKED};
	const struct fde_table *table;
	struct unwound_space *space;

	if (where->module == NULL)
		return UNWIND_PASS;
	table = unwind_tables_find(walk->tables, where->module);
	space = find_space(state, walk->space);
	job.code = find_code(space, table, where, walk_lookup_pc(walk));
	if (!job.code->usable)
		return UNWIND_PASS;
	/* A trampoline without an FDE right behind code that has one. */
	if (walk->frame.pc >= job.code->end && unwind_is_sigreturn(walk, walk->frame.pc))
		return UNWIND_PASS;
	job.section = fde_section(table);
	job.section_addr = job.section.vaddr + where->bias;
	return run_step(space->as, &job, step);
}

static void *libunwind_state_new(void)
{
	return xcalloc(1, sizeof(struct state));
}

static void unwound_space_fini(struct unwound_space *space)
{
	unw_destroy_addr_space(space->as);
	free(space->code);
}

static void libunwind_forget(void *opaque, const struct space *space)
{
	struct state *state = opaque;

	for (size_t i = 0; i < state->spaces.n; i++) {
		if (state->spaces.v[i].space != space)
			continue;
		unwound_space_fini(&state->spaces.v[i]);
		state->spaces.v[i] = state->spaces.v[--state->spaces.n];
		return;
	}
}

static void libunwind_state_free(void *opaque)
{
	struct state *state = opaque;

	for (size_t i = 0; i < state->spaces.n; i++)
		unwound_space_fini(&state->spaces.v[i]);
	array_fini(&state->spaces);
	free(state);
}

const struct unwind_backend unwind_backend_libunwind = {
        .name = "libunwind",
        .state_new = libunwind_state_new,
        .state_free = libunwind_state_free,
        .forget = libunwind_forget,
        .step = libunwind_step,
};
