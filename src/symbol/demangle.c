/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mangled names are written by the target, and both manglings can refer back
 * to parts of themselves, so that a name of some hundred bytes can unfold
 * without end. The demanglers of libiberty limit how deep they recurse, not how
 * much they say. Therefore they are used through their callbacks, which jump
 * out once enough was said. The one for C++ holds no memory at that point; the
 * one for Rust may lose the buffer of one punycode identifier, less than
 * 4 * MANGLED_MAX bytes.
 *
 * libiberty refuses C++ names of more than DEMANGLE_RECURSION_LIMIT / 2 bytes,
 * and they stay mangled. DMGL_NO_RECURSE_LIMIT would lift that, but the stack
 * it then needs grows with the square of the length.
 */
#include "config.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_LIBIBERTY_DEMANGLE_H
#include <libiberty/demangle.h>
#else
#include <demangle.h>
#endif

#include "base/array.h"
#include "symbol/symbol.h"

#define MANGLED_MAX   4096
#define DEMANGLED_MAX ((size_t)64 << 10)

/* Parameters, since overloads differ by them; no return types. */
#define DEMANGLE_OPTIONS (DMGL_PARAMS | DMGL_ANSI | DMGL_RET_DROP)

struct output {
	ARRAY(char) text;
	jmp_buf enough;
};

static void take_text(const char *s, size_t len, void *opaque)
{
	struct output *output = opaque;

	if (len > DEMANGLED_MAX - output->text.n)
		longjmp(output->enough, 1);
	if (len == 0)
		return;
	array_reserve(&output->text, len + 1);
	memcpy(output->text.v + output->text.n, s, len);
	output->text.n += len;
}

static bool looks_mangled(const char *name)
{
	return (name[0] == '_' && (name[1] == 'Z' || name[1] == 'R')) ||
	       strncmp(name, "_GLOBAL_", 8) == 0;
}

static bool run(const char *name, struct output *output)
{
	if (setjmp(output->enough) != 0)
		return false;
	output->text.n = 0;
	if (rust_demangle_callback(name, DEMANGLE_OPTIONS, take_text, output) &&
	    output->text.n > 0)
		return true;
	output->text.n = 0;
	return cplus_demangle_v3_callback(name, DEMANGLE_OPTIONS, take_text, output) &&
	       output->text.n > 0;
}

char *demangle(const char *name)
{
	struct output output = {0};

	if (!looks_mangled(name) || strnlen(name, MANGLED_MAX + 1) > MANGLED_MAX)
		return NULL;
	if (!run(name, &output)) {
		array_fini(&output.text);
		return NULL;
	}
	array_push(&output.text, '\0');
	return output.text.v;
}
