/* SPDX-License-Identifier: Apache-2.0 */
/* build names: -O1 -g -pthread -ldl */
/* build names_static: -O1 -g -static -pthread -DNO_DLOPEN */
/* build names_library: -O1 -g -shared -fPIC -DLIBRARY=shared_hot */
/* build names_even: -O1 -g -shared -fPIC -DLIBRARY=hot_even -DENTRY */
/* build names_oddx: -O1 -g -shared -fPIC -DLIBRARY=hot_oddx -DENTRY */
/*
 * names [work]          burns in hidden_hot, a function without an exported name
 * names jit             burns in code that it made in anonymous memory, called
 *                       through jit_caller; /tmp/perf-PID.map has it as "jit_code",
 *                       with the pid that it knows itself by
 * names jitdump DIR     the same, in DIR/jit-PID.dump, which is mapped
 * names load LIB        loads a library and burns in it, its function "LIBRARY"
 * names swap EVEN ODDX  loads one of two libraries of the same size, burns in it for
 *                       100 ms, unloads it, loads the other at the same address, …
 *                       from in_even and in_oddx. At its end it says how often one
 *                       came to lie where the other had been: "same N of N"
 */
#include <fcntl.h>
#include <sys/mman.h>
#ifndef NO_DLOPEN
#include <dlfcn.h>
#endif

#include "victim.h"

#ifdef LIBRARY

/* The libraries: a hot function, and one that calls it, by the name of the first or
 * by "entry" in both. */
static VICTIM_NOINLINE void hidden_in_library(void)
{
	VICTIM_BURN(1000000);
	VICTIM_STAY();
}

void LIBRARY(void);
VICTIM_NOINLINE void LIBRARY(void)
{
	hidden_in_library();
	VICTIM_STAY();
}

#ifdef ENTRY
void entry(void);
void entry(void)
{
	LIBRARY();
	VICTIM_STAY();
}
#endif

#else

VICTIM_NOINLINE static void hidden_hot(void)
{
	VICTIM_BURN(1000000);
	VICTIM_STAY();
}

/* Keeps a frame pointer, which code without unwind tables is left by. */
VICTIM_NOINLINE __attribute__((optimize("no-omit-frame-pointer"))) static void
jit_caller(void (*code)(void))
{
	code();
	VICTIM_STAY();
}

/* push %rbp; mov %rsp, %rbp; mov $1000000, %ecx; 1: dec %ecx; jnz 1b; pop; ret */
static const unsigned char loop[] = {0x55, 0x48, 0x89, 0xe5, 0xb9, 0x40, 0x42, 0x0f,
                                     0x00, 0xff, 0xc9, 0x75, 0xfc, 0x5d, 0xc3};

static void (*make_code(void))(void)
{
	char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		victim_die("mmap");
	memcpy(code, loop, sizeof loop);
	return (void (*)(void))(uintptr_t)code;
}

static void write_perf_map(void (*code)(void))
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
	f = fopen(path, "w");
	if (f == NULL)
		victim_die("%s", path);
	fprintf(f, "%lx %zx jit_code\n", (unsigned long)(uintptr_t)code, sizeof loop);
	fclose(f);
}

/* A header, code elsewhere, the code, its move to where it is, and code at the old
 * place, which must not take its name. */
static void write_jitdump(void (*code)(void), const char *dir)
{
	const uint32_t header[10] = {0x4a695444, 1, 40, 62, 0, (uint32_t)getpid()};
	uint64_t now = (uint64_t)(uintptr_t)code, old = now ^ 0x10000000;
	struct {
		uint32_t id, size;
		uint64_t time;
		uint32_t pid, tid;
		uint64_t vma, address, code_size, index;
		char name[16];
		unsigned char code[sizeof loop];
	} __attribute__((packed)) load = {
	        .size = sizeof load,
	        .address = old,
	        .code_size = sizeof loop,
	        .index = 1,
	        .name = "jit_dumped",
	};
	struct {
		uint32_t id, size;
		uint64_t time;
		uint32_t pid, tid;
		uint64_t vma, old, address, code_size, index;
	} __attribute__((packed)) move = {
	        .id = 1,
	        .size = sizeof move,
	        .old = old,
	        .address = now,
	        .code_size = sizeof loop,
	        .index = 1,
	};
	struct {
		uint32_t id, size;
		uint64_t time, address, nlines;
		struct {
			uint64_t address;
			uint32_t line, discriminator;
			char file[8];
		} __attribute__((packed)) lines[2];
	} __attribute__((packed)) info = {
	        .id = 2,
	        .size = sizeof info,
	        .address = old,
	        .nlines = 2,
	        .lines = {{old, 7, 0, "code.js"}, {old + 11, 8, 0, "code.js"}},
	};
	char path[4096];
	FILE *f;

	snprintf(path, sizeof path, "%s/jit-%d.dump", dir, (int)getpid());
	f = fopen(path, "w+");
	if (f == NULL)
		victim_die("%s", path);
	memcpy(load.code, loop, sizeof loop);
	fwrite(header, sizeof header, 1, f);
	fwrite(&info, sizeof info, 1, f);
	fwrite(&load, sizeof load, 1, f);
	fwrite(&move, sizeof move, 1, f);
	strcpy(load.name, "another");
	load.index = 2;
	fwrite(&load, sizeof load, 1, f);
	fflush(f);
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(f), 0) ==
	    MAP_FAILED)
		victim_die("mmap of %s", path);
}

static void burn_code(void (*code)(void))
{
	victim_ready();
	while (!victim_ended())
		jit_caller(code);
}

#ifndef NO_DLOPEN
static void *load(const char *path, const char *name, void (**function)(void))
{
	void *library = dlopen(path, RTLD_NOW);

	*function = library ? (void (*)(void))dlsym(library, name) : NULL;
	if (*function == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		_exit(70);
	}
	return library;
}

static void burn_library(const char *path)
{
	void (*function)(void);

	load(path, "shared_hot", &function);
	victim_ready();
	while (!victim_ended())
		function();
}

static void burn_entry(void (*entry)(void))
{
	uint64_t start = victim_thread_cpu_ns();

	while (victim_thread_cpu_ns() < start + 100000000)
		entry();
}

VICTIM_NOINLINE static void in_even(void (*entry)(void))
{
	burn_entry(entry);
	VICTIM_STAY();
}

VICTIM_NOINLINE static void in_oddx(void (*entry)(void))
{
	burn_entry(entry);
	VICTIM_STAY();
}

static void swap_libraries(char **paths)
{
	void (*before)(void) = NULL;
	long same = 0, n = 0;

	for (; !victim_ended(); n++) {
		void (*entry)(void);
		void *library = load(paths[n % 2], "entry", &entry);

		if (n == 0)
			victim_ready();
		if (n % 2 == 0)
			in_even(entry);
		else
			in_oddx(entry);
		same += entry == before;
		before = entry;
		dlclose(library);
	}
	printf("same %ld of %ld\n", same, n - 1);
}
#endif

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "work";
	void (*code)(void);

	victim_init();
	if (strcmp(what, "jit") == 0) {
		code = make_code();
		write_perf_map(code);
		burn_code(code);
	} else if (strcmp(what, "jitdump") == 0) {
		code = make_code();
		write_jitdump(code, argv[2]);
		burn_code(code);
#ifndef NO_DLOPEN
	} else if (strcmp(what, "load") == 0) {
		burn_library(argv[2]);
	} else if (strcmp(what, "swap") == 0) {
		swap_libraries(argv + 2);
#endif
	} else {
		victim_ready();
		while (!victim_ended())
			hidden_hot();
	}
	return 0;
}

#endif
