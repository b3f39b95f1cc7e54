/* SPDX-License-Identifier: Apache-2.0 */
/* build borrowed: -O2 -pthread */
/*
 * borrowed: one thread in code made at run time of which some leaves RBP to its
 * caller, as HotSpot's does:
 *
 *     leaf <- middle <- outer <- jumper <- borrow_thread
 *
 * In all of them RBP is jumper's frame, so whoever follows it misses two or three.
 * outer never returns, and begins by looking whether the stack is large enough. It
 * is not called, but jumped to with a return address of jumper's choice. Prints
 * "code NAME START END" for each.
 */
#include <sys/mman.h>

#include "victim.h"

#define ROOM 4096
#define EACH 64

static const unsigned char code[4][EACH] = {
        /* leaf: counts down */
        {
                0x48, 0x83, 0xec, 0x18,       /* sub $24,%rsp */
                0xb9, 0x20, 0x4e, 0x00, 0x00, /* mov $20000,%ecx */
                0xff, 0xc9,                   /* 1: dec %ecx */
                0x75, 0xfc,                   /* jnz 1b */
                0x48, 0x8d, 0x64, 0x24, 0x18, /* lea 24(%rsp),%rsp */
                0xc3,                         /* ret */
        },
        /* middle */
        {
                0x55,                         /* push %rbp */
                0x48, 0x83, 0xec, 0x20,       /* sub $32,%rsp */
                0xe8, 0xb6, 0xff, 0xff, 0xff, /* call leaf */
                0x74, 0x02,                   /* jz 1f */
                0xff, 0xd0,                   /* call *%rax */
                0x48, 0x83, 0xc4, 0x20,       /* 1: add $32,%rsp */
                0x5d,                         /* pop %rbp */
                0xc3,                         /* ret */
        },
        /* outer */
        {
                0x89, 0x84, 0x24, 0x00, 0xc0, 0xfe, 0xff, /* mov %eax,-0x14000(%rsp) */
                0x55,                                     /* push %rbp */
                0x48, 0x83, 0xec, 0x40,                   /* sub $64,%rsp */
                0xe8, 0xaf, 0xff, 0xff, 0xff,             /* 1: call middle */
                0xeb, 0xf9,                               /* jmp 1b */
        },
        /* jumper */
        {
                0x55,                                     /* push %rbp */
                0x48, 0x89, 0xe5,                         /* mov %rsp,%rbp */
                0x48, 0x8d, 0x05, 0x07, 0x00, 0x00, 0x00, /* lea 1f(%rip),%rax */
                0x50,                                     /* push %rax */
                0xe9, 0xaf, 0xff, 0xff, 0xff,             /* jmp outer */
                0x90,                                     /* nop */
                0x5d,                                     /* 1: pop %rbp */
                0xc3,                                     /* ret */
        },
};

static void *borrow_thread(void *room)
{
	void (*jumper)(void) = (void (*)(void))((char *)room + 3 * EACH);

	jumper();
	VICTIM_STAY();
	return NULL;
}

int main(void)
{
	static const char *const names[] = {"leaf", "middle", "outer", "jumper"};
	char *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                  -1, 0);

	victim_init();
	if (room == MAP_FAILED)
		victim_die("mmap");
	memcpy(room, code, sizeof code);
	if (mprotect(room, ROOM, PROT_READ | PROT_EXEC) < 0)
		victim_die("mprotect");
	for (size_t i = 0; i < 4; i++)
		printf("code %s %p %p\n", names[i], (void *)(room + i * EACH),
		       (void *)(room + (i + 1) * EACH));
	(void)victim_thread(borrow_thread, room, "borrow");
	victim_ready();
	victim_wait();
	_exit(0);
}
