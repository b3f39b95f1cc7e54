/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks and unwind tables of any bytes. Whatever they are, unwinding ends, says
 * why, stays inside its bounds and gives only frames that are in code.
 */
#include "shot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAX_FRAMES 128
#define STACK_LEN  4096

static uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);

/* xorshift64*: the same numbers in every run. */
static uint64_t any(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

/* Where most code addresses are to come from; NULL: from any mapping. */
static const struct space_map *focus;

static uint64_t any_code(struct shot *shot)
{
	size_t n;
	struct space_map *const *maps = space_maps(shot->space, &n);
	const struct space_map *where = focus && any() % 8 != 0 ? focus : maps[any() % n];
	const struct module_range *code;

	if (where->module == NULL || any() % 8 == 0)
		return where->map.start + any() % (where->map.end - where->map.start);
	code = module_code(where->module, &n);
	if (n == 0)
		return where->map.start;
	code += any() % n;
	return where->bias + code->start + any() % (code->end - code->start);
}

/* A number such as stacks and registers hold. */
static uint64_t any_word(struct shot *shot, uint64_t sp)
{
	switch (any() % 8) {
	case 0:
		return any();
	case 1:
		return 0;
	case 2:
		return any() % 4096;
	case 3:
		return UINT64_MAX - any() % 4096;
	case 4:
	case 5:
		return sp + (any() % (2 * STACK_LEN) & ~(uint64_t)7);
	default:
		return any_code(shot);
	}
}

static void make_snapshot(struct shot *shot)
{
	struct snapshot *snap = &shot->snap;
	uint64_t sp = any() % 16 == 0 ? any()
	                              : UINT64_C(0x7ffff0000000) + any() % 65536 * 8;
	size_t len = any() % STACK_LEN;

	snap->regs.valid = any() % 4 == 0 ? (uint32_t)any() : UINT32_MAX;
	for (unsigned reg = 0; reg < ARCH_NREGS; reg++)
		snap->regs.r[reg] = any_word(shot, sp);
	snap->regs.r[ARCH_REG_SP] = sp;
	snap->regs.r[ARCH_REG_PC] = any_code(shot);
	if (any() % 64 != 0)
		snap->regs.valid |= 1u << ARCH_REG_SP | 1u << ARCH_REG_PC;
	for (size_t i = 0; i < STACK_LEN; i += 8) {
		uint64_t word = any_word(shot, sp);

		memcpy(snap->bytes + i, &word, sizeof word);
	}
	snap->nsegments = 1 + any() % 2;
	snap->segment[0] = (struct snapshot_segment){sp - ARCH_RED_ZONE, len, 0};
	snap->segment[1] = (struct snapshot_segment){any_word(shot, sp), STACK_LEN - len,
	                                             len};
}

static void check(const struct shot *shot)
{
	const struct unwind_result *result = &shot->result;

	assert_in_range(result->nframes, 1, MAX_FRAMES);
	assert_true(result->end < UNWIND_NENDS);
	assert_true(strcmp(unwind_end_text(result->end), "?") != 0);
	assert_true(shot->frames[0].exact);
	for (size_t i = 1; i < result->nframes; i++) {
		const struct frame *frame = &shot->frames[i];
		uint64_t pc = frame->exact ? frame->pc : frame->pc - 1;

		assert_non_null(frame->where);
		assert_in_range(pc, frame->where->map.start, frame->where->map.end - 1);
		assert_true(frame->how != FRAME_REGISTERS && frame->how < FRAME_NHOWS);
	}
	if (result->end == UNWIND_END_DEPTH)
		assert_int_equal(result->nframes, MAX_FRAMES);
	if (result->end == UNWIND_END_WINDOW)
		assert_true(result->stack_used > 0);
}

/* What demand reads give: as random as the rest. */
static bool any_read(void *ctx, uint64_t addr, void *buf, size_t len)
{
	uint64_t word = any_word(ctx, addr & ~(uint64_t)7);

	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(word >> (i % 8 * 8));
	return any() % 8 != 0;
}

static void run_many(struct shot *shot, int n)
{
	struct unwind_demand demand = {any_read, shot};
	uint64_t ends[UNWIND_NENDS] = {0}, worst_ns = 0, frames = 0;

	for (int i = 0; i < n; i++) {
		uint64_t before;

		make_snapshot(shot);
		before = clock_thread_cpu_ns();
		shot_unwind(shot, i % 3 == 0 ? &demand : NULL, MAX_FRAMES);
		before = clock_thread_cpu_ns() - before;
		if (before > worst_ns)
			worst_ns = before;
		check(shot);
		ends[shot->result.end]++;
		frames += shot->result.nframes;
	}
	/* Reads are bounded for each frame, so time is; generous for slow machines. */
	assert_true(worst_ns < 2 * NS_PER_SEC);
	print_message("# %d stacks, %llu frames, slowest %llu us\n", n,
	              (unsigned long long)frames, (unsigned long long)(worst_ns / 1000));
	for (size_t i = 0; i < UNWIND_NENDS; i++)
		print_message("# %8llu %s\n", (unsigned long long)ends[i],
		              unwind_end_text((enum unwind_end)i));
}

static void sleep_in_child(void)
{
	shot_ready();
	for (;;)
		pause();
}

static void test_random_stacks(void **state)
{
	enum unwind_method method = *(enum unwind_method *)*state;
	static struct shot shot;

	shot_start(&shot, sleep_in_child);
	shot_open(&shot, method);
	run_many(&shot, 20000);
	shot_end(&shot);
}

/* ---- and of unwind tables ---- */

static char mapped_path[] = "/tmp/test_unwind_random.XXXXXX";

/* Has the damaged file mapped as a program would have it, so that it is opened. */
static void map_in_child(void)
{
	int fd = open(mapped_path, O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 ||
	    mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) ==
	            MAP_FAILED)
		_exit(72);
	sleep_in_child();
}

static const struct space_map *find_mapped(struct shot *shot)
{
	size_t n;
	struct space_map *const *maps = space_maps(shot->space, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(maps[i]->map.path, mapped_path) == 0) {
			assert_non_null(maps[i]->module);
			return maps[i];
		}
	fail_msg("the damaged file is not mapped");
	return NULL;
}

static uint8_t *read_own_program(size_t *len)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	struct stat st;
	uint8_t *image;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	image = malloc((size_t)st.st_size);
	assert_non_null(image);
	*len = (size_t)st.st_size;
	assert_int_equal(read(fd, image, *len), st.st_size);
	close(fd);
	return image;
}

/* Where .eh_frame and its header are in the program's file. */
static size_t find_section(uint8_t *image, size_t len, const char *name,
                           size_t *section_len)
{
	Elf *elf = elf_memory((char *)image, len);
	Elf_Scn *scn = NULL;
	size_t strings, offset = 0;
	GElf_Shdr shdr;

	assert_non_null(elf);
	assert_int_equal(elf_getshdrstrndx(elf, &strings), 0);
	while ((scn = elf_nextscn(elf, scn)) != NULL)
		if (gelf_getshdr(scn, &shdr) != NULL &&
		    strcmp(elf_strptr(elf, strings, shdr.sh_name), name) == 0) {
			offset = shdr.sh_offset;
			*section_len = shdr.sh_size;
		}
	elf_end(elf);
	assert_true(offset > 0);
	return offset;
}

static void damage(uint8_t *bytes, size_t len, unsigned one_in)
{
	for (size_t i = 0; i < len; i++)
		if (any() % one_in == 0)
			bytes[i] = (uint8_t)(any() % 3 == 0 ? any()
			                                    : bytes[i] ^ 1u << any() % 8);
}

static void write_file(const uint8_t *image, size_t len)
{
	int fd = open(mapped_path, O_WRONLY | O_TRUNC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, image, len), (ssize_t)len);
	close(fd);
}

static void test_damaged_tables(void **state)
{
	int fd = mkstemp(mapped_path);
	size_t len, hdr_len, frame_len;
	uint8_t *image = read_own_program(&len);
	uint8_t *copy = malloc(len);
	size_t hdr, frame;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	elf_version(EV_CURRENT);
	hdr = find_section(image, len, ".eh_frame_hdr", &hdr_len);
	frame = find_section(image, len, ".eh_frame", &frame_len);
	for (unsigned round = 0; round < 12; round++) {
		static struct shot shot;

		memcpy(copy, image, len);
		damage(copy + frame, frame_len, 4u << round % 6 * 2);
		if (round % 3 == 2)
			damage(copy + hdr, hdr_len, 64);
		if (round % 3 == 1)
			copy[hdr] = 0; /* no index: one is made */
		write_file(copy, len);
		shot_start(&shot, map_in_child);
		shot_open(&shot, UNWIND_AUTO);
		focus = find_mapped(&shot);
		run_many(&shot, 3000);
		focus = NULL;
		shot_end(&shot);
	}
	free(copy);
	free(image);
}

/* Also after a test that failed. */
static int remove_mapped(void **state)
{
	(void)state;
	return unlink(mapped_path);
}

int main(void)
{
	static enum unwind_method automatic = UNWIND_AUTO, fp = UNWIND_FP;
	const struct CMUnitTest tests[] = {
	        {"random stacks, auto", test_random_stacks, NULL, NULL, &automatic},
	        {"random stacks, frame pointers", test_random_stacks, NULL, NULL, &fp},
	        cmocka_unit_test_teardown(test_damaged_tables, remove_mapped),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
