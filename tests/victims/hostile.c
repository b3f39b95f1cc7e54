/* SPDX-License-Identifier: Apache-2.0 */
/* build hostile: -O1 -g -pthread -fno-stack-protector -mno-red-zone -Wl,-z,now */
/*
 * hostile SEED MS [WHAT…]: a process that does all it can to confuse who looks at it, at
 * random but by SEED, for MS milliseconds; then it ends of a signal. WHAT is any of
 *   headers  writes into the headers and unwind tables that are mapped of its program
 *   maps     maps and unmaps code, copies of its program among it, and names it anew
 *   stack    calls itself with wild frame pointers, return addresses and stack pointers
 *   names    renames threads with control bytes, and writes a perf map that lies
 *   forks    forks children that do the same, and ends threads at random
 * and all of it without. Prints "ready PID" like all, and nothing more.
 */
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "victim.h"

#define PAGE 4096ul

static unsigned long seed;
static uint64_t end_ns;
static volatile unsigned sink;

static __thread uint64_t state_of_chance;

static uint64_t chance(void)
{
	if (state_of_chance == 0)
		state_of_chance = seed * 2654435761u +
		                  (uint64_t)(uintptr_t)&state_of_chance;
	state_of_chance ^= state_of_chance << 13;
	state_of_chance ^= state_of_chance >> 7;
	state_of_chance ^= state_of_chance << 17;
	return state_of_chance;
}

static bool over(void)
{
	return victim_clock_ns(CLOCK_MONOTONIC) > end_ns;
}

VICTIM_NOINLINE static void spin_a_while(void)
{
	for (unsigned i = 0; i < 20000 + chance() % 100000; i++)
		sink += i;
}

/* ---- headers ---- */

static void scribble(uintptr_t start, size_t len)
{
	uintptr_t page = start & ~(PAGE - 1);

	if (mprotect((void *)page, start + len - page, PROT_READ | PROT_WRITE) != 0)
		return;
	for (int n = 0; n < 16; n++)
		((volatile unsigned char *)start)[chance() % len] ^=
		        (unsigned char)chance();
}

/* What nothing needs that runs here, found while it is still true: the file header and
 * the program headers, and the unwind tables with some of what follows. */
static struct {
	uintptr_t start;
	size_t len;
} soft[8];
static size_t nsoft;

static int find_soft(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size, (void)data;
	for (int i = 0; i < info->dlpi_phnum && nsoft < 8; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_GNU_EH_FRAME) {
			soft[nsoft].start = info->dlpi_addr + ph->p_vaddr;
			soft[nsoft++].len = ph->p_memsz + 256;
		} else if (ph->p_type == PT_PHDR) {
			soft[nsoft].start = info->dlpi_addr;
			soft[nsoft++].len = ph->p_vaddr + ph->p_memsz;
		}
	}
	return 1; /* of the program alone */
}

static void do_headers(void)
{
	size_t i = chance() % (nsoft ? nsoft : 1);

	if (nsoft)
		scribble(soft[i].start, soft[i].len);
}

/* ---- maps ---- */

/* 0: jmp 0 with a way out: dec %rdi; jnz -5; ret */
static const unsigned char loop[] = {0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3};

static void run_in(void *code)
{
	((void (*)(unsigned long))code)(200000 + chance() % 300000);
}

static void map_program(void)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	size_t len = PAGE * (1 + chance() % 2);
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, fd,
	                (off_t)(PAGE * (chance() % 3)));

	close(fd);
	if (at == MAP_FAILED)
		return;
	if (chance() % 2)
		memset(at, (int)chance(), 64);
	memcpy((char *)at + len - 64, loop, sizeof loop);
	run_in((char *)at + len - 64);
	munmap(at, len);
}

static void map_file(void)
{
	char name[64];
	int fd;

	snprintf(name, sizeof name, "/tmp/cprof-hostile-%d\n\x1b[31m (deleted)",
	         (int)getpid());
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	if (fd < 0)
		return;
	unlink(name);
	if (ftruncate(fd, PAGE) == 0) {
		char *at = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
		                MAP_SHARED, fd, 0);

		if (at != MAP_FAILED) {
			memcpy(at,
			       chance() % 2 ? "\x7f"
			                      "ELF\2\1\1"
			                    : "!<arch>\n",
			       8);
			memcpy(at + 128, loop, sizeof loop);
			run_in(at + 128);
			/* The file shrinks below what is mapped of it. */
			if (chance() % 2 && ftruncate(fd, 0) != 0)
				sink++;
			munmap(at, 16 * PAGE);
		}
	}
	close(fd);
}

static void do_maps(void)
{
	if (chance() % 2)
		map_program();
	else
		map_file();
}

/* ---- stack ---- */

/* Spins with any frame pointer one likes. */
VICTIM_NOINLINE static void spin_with_fp(uint64_t fp)
{
	__asm__ volatile("push %%rbp\n\tmov %0, %%rbp\n\tmov $300000, %%rcx\n"
	                 "1:\tdec %%rcx\n\tjnz 1b\n\tpop %%rbp"
	                 :
	                 : "r"(fp)
	                 : "rcx", "memory", "cc");
}

/* And with any stack pointer; a signal would have nowhere to go. */
VICTIM_NOINLINE static void spin_with_sp(uint64_t sp)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	__asm__ volatile("mov %%rsp, %%r12\n\tmov %0, %%rsp\n\tmov $300000, %%rcx\n"
	                 "1:\tdec %%rcx\n\tjnz 1b\n\tmov %%r12, %%rsp"
	                 :
	                 : "r"(sp)
	                 : "r12", "rcx", "memory", "cc");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static uint64_t wild(void)
{
	static uint64_t cycle[64];
	uint64_t here = (uint64_t)(uintptr_t)&here;

	switch (chance() % 8) {
	case 0: /* a list of frames without end */
		for (int i = 0; i < 62; i += 2) {
			cycle[i] = (uint64_t)(uintptr_t)&cycle[(i + 2) % 62];
			cycle[i + 1] = (uint64_t)(uintptr_t)spin_a_while + 3;
		}
		return (uint64_t)(uintptr_t)cycle;
	case 1:
		return chance();
	case 2:
		return UINT64_MAX - chance() % 256;
	case 3:
		return chance() % 4096;
	case 4:
		return here + (chance() % 65536) * 8;
	case 5:
		return here - (chance() % 4096) * 8;
	case 6:
		return 0xffffffffff600000 + chance() % 4096;
	default:
		return here + chance() % 64;
	}
}

/* A stack full of return addresses, deeper than anybody wants to know. */
VICTIM_NOINLINE static void fill_stack(void)
{
	volatile uint64_t words[32768];

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		words[i] = (uint64_t)(uintptr_t)(i % 2 ? (const void *)spin_a_while
		                                       : (const void *)&words[i + 1]) +
		           (i % 2 ? chance() % 32 : 0);
	spin_with_fp((uint64_t)(uintptr_t)words);
	sink += (unsigned)words[chance() % 32768];
}

static void do_stack(void)
{
	switch (chance() % 3) {
	case 0:
		spin_with_fp(wild());
		break;
	case 1:
		spin_with_sp(wild());
		break;
	default:
		fill_stack();
	}
}

/* ---- names ---- */

static void do_names(void)
{
	char name[64];
	FILE *f;

	for (size_t i = 0; i < 15; i++)
		name[i] = (char)(1 + chance() % 255);
	name[15] = 0;
	prctl(PR_SET_NAME, name);
	snprintf(name, sizeof name, "/tmp/perf-%d.map", (int)getpid());
	f = fopen(name, "we");
	if (!f)
		return;
	for (int i = 0; i < 200; i++) {
		fprintf(f, "%lx %lx ", (unsigned long)chance() >> chance() % 64,
		        (unsigned long)chance() >> chance() % 64);
		for (unsigned n = (unsigned)(chance() % 300); n > 0; n--)
			fputc((int)(chance() % 256), f);
		fputc(chance() % 8 ? '\n' : '\0', f);
	}
	fclose(f);
}

/* ---- forks ---- */

static void *short_life(void *arg)
{
	spin_a_while();
	return arg;
}

static void do_forks(void)
{
	pthread_t thread;
	pid_t pid;

	if (pthread_create(&thread, NULL, short_life, NULL) == 0)
		pthread_detach(thread);
	if (chance() % 4)
		return;
	pid = fork();
	if (pid == 0) {
		spin_a_while();
		if (chance() % 2)
			raise(SIGKILL);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static const struct {
	const char *name;
	void (*act)(void);
} acts[] = {{"headers", do_headers},
            {"maps", do_maps},
            {"stack", do_stack},
            {"names", do_names},
            {"forks", do_forks}};

#define NACTS (sizeof acts / sizeof acts[0])

static unsigned chosen; /* a bit each */

static void *misbehave(void *arg)
{
	while (!over()) {
		size_t i = chance() % NACTS;

		if (chosen & 1u << i)
			acts[i].act();
		spin_a_while();
	}
	return arg;
}

int main(int argc, char **argv)
{
	char map[64];

	victim_init();
	seed = (unsigned long)victim_arg(argc, argv, 1, 1);
	end_ns = victim_clock_ns(CLOCK_MONOTONIC) +
	         1000000u * (uint64_t)victim_arg(argc, argv, 2, 1000);
	for (int a = 3; a < argc; a++) {
		for (size_t i = 0; i < NACTS; i++)
			chosen |= strcmp(argv[a], acts[i].name) == 0 ? 1u << i : 0;
	}
	if (chosen == 0)
		chosen = (1u << NACTS) - 1;
	dl_iterate_phdr(find_soft, NULL);
	victim_ready();
	for (int i = 0; i < 3; i++)
		victim_thread(misbehave, NULL, NULL);
	misbehave(NULL);
	snprintf(map, sizeof map, "/tmp/perf-%d.map", (int)getpid());
	unlink(map);
	raise(SIGKILL);
	return 0;
}
