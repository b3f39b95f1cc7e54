/* SPDX-License-Identifier: Apache-2.0 */
/* build jit: -O2 -pthread */
/*
 * jit [CPU_US]: one thread that makes code at run time, uses CPU_US microseconds
 * of CPU time in it, and unmaps it again: each piece at another address, every
 * second one mapped from a file that is removed. At the end prints "pieces N".
 */
#include <sys/mman.h>

#include "victim.h"

#define PIECE  4096
#define NPLACE 65536

static _Atomic unsigned long pieces;

/* A leaf with a frame pointer: counts its argument down. */
static const unsigned char code[] = {
        0x55,             /* push %rbp */
        0x48, 0x89, 0xe5, /* mov %rsp,%rbp */
        0x48, 0xff, 0xcf, /* 1: dec %rdi */
        0x75, 0xfb,       /* jnz 1b */
        0x5d,             /* pop %rbp */
        0xc3,             /* ret */
};

/* A page of code, at a place that changes each time. */
static void *make_piece(unsigned long n)
{
	uintptr_t where = 0x200000000000u + n % NPLACE * 4 * PIECE;
	char name[] = "/tmp/cprof-jit-XXXXXX";
	int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd = -1;
	void *piece;

	if (n % 2) {
		fd = mkstemp(name);
		if (fd < 0 || unlink(name) < 0 || ftruncate(fd, PIECE) < 0)
			victim_die("mkstemp");
	}
	piece = mmap((void *)where, PIECE, PROT_READ | PROT_WRITE,
	             flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	if (piece == MAP_FAILED)
		victim_die("mmap");
	if (fd >= 0)
		close(fd);
	memcpy(piece, code, sizeof code);
	if (mprotect(piece, PIECE, PROT_READ | PROT_EXEC) < 0)
		victim_die("mprotect");
	return piece;
}

static void *run(void *arg)
{
	uint64_t each_ns = (uint64_t)(intptr_t)arg * 1000;

	for (;;) {
		void *piece = make_piece(pieces++);
		void (*call)(long) = (void (*)(long))piece;
		uint64_t end = victim_thread_cpu_ns() + each_ns;

		do
			call(20000);
		while (victim_thread_cpu_ns() < end);
		munmap(piece, PIECE);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long each_us = victim_arg(argc, argv, 1, 1000);

	victim_init();
	(void)victim_thread(run, (void *)(intptr_t)each_us, "jit");
	victim_ready();
	victim_wait();
	printf("pieces %lu\n", (unsigned long)pieces);
	fflush(stdout);
	_exit(0);
}
