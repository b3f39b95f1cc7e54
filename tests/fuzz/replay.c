/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes libFuzzer's place in `make check`: gives a fuzz target the seeds of its
 * corpus, whole and cut short at every length, and prints TAP. The target
 * fuzz_maps has its seeds in tests/fuzz/corpus/maps. A target that finds fault
 * aborts, and with it ends the plan.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Longer seeds are not tried at every length: that would be quadratic. */
#define EVERY_LENGTH_BELOW 4096

/* ThreadSanitizer looks for races, which no length has that another has not. */
#ifdef __SANITIZE_THREAD__
#define STEP 64
#else
#define STEP 1
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t got;

	*len = 0;
	if (!f)
		return NULL;
	do {
		data = xreallocarray(data, *len + 4096, 1);
		got = fread(data + *len, 1, 4096, f);
		*len += got;
	} while (got > 0);
	fclose(f);
	return data;
}

/* An allocation of exactly this length, so that a sanitizer sees the byte after it. */
static void try(const uint8_t *data, size_t len)
{
	uint8_t *copy = xmalloc(len ? len : 1);

	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static int replay(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	size_t len;
	uint8_t *data = read_file(path, &len);

	free(path);
	if (!data)
		return -1;
	for (size_t n = 0; n < len && n < EVERY_LENGTH_BELOW; n += STEP)
		try(data, n);
	try(data, len);
	free(data);
	return 0;
}

static int is_seed(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir");
	const char *name = strstr(argv[0], "fuzz_");
	struct dirent **seeds;
	char *dir;
	int n;

	(void)argc;
	if (!name)
		return 1;
	for (const char *next = name; next; next = strstr(next + 1, "fuzz_"))
		name = next;
	dir = xasprintf("%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".",
	                name + strlen("fuzz_"));
	n = scandir(dir, &seeds, is_seed, alphasort);
	if (n <= 0) {
		printf("Bail out! no seeds in %s: %s\n", dir,
		       n < 0 ? strerror(errno) : "empty");
		return 1;
	}
	printf("1..%d\n", n);
	for (int i = 0; i < n; i++) {
		printf("%s %d - %s %s\n",
		       replay(dir, seeds[i]->d_name) == 0 ? "ok" : "not ok", i + 1, name,
		       seeds[i]->d_name);
		fflush(stdout);
		free(seeds[i]);
	}
	free(seeds);
	free(dir);
	return 0;
}
