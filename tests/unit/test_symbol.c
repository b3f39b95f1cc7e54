/* SPDX-License-Identifier: Apache-2.0 */
/* Names of real code, of the vDSO, of code without a name; and demangling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <unistd.h>

#include "base/mem.h"
#include "elf_build.h"
#include "module/space.h"
#include "own.h"
#include "symbol/symbol.h"

static const struct symbol_options everything;
/* This program may have been compiled with debug information or not. */
static const struct symbol_options names_alone = {.no_lines = true};

/* A function whose name no other file knows. */
__attribute__((noinline, used)) static int local_landmark(int x)
{
	return x * 3 + getpid();
}

struct fixture {
	struct own own;
	struct symbolizer *symbolizer;
	struct profile *profile;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	own_open(&f->own);
	f->symbolizer = symbolizer_new(&names_alone);
	f->profile = profile_new();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	profile_free(f->profile);
	symbolizer_free(f->symbolizer);
	own_close(&f->own);
	free(f);
	return 0;
}

/* The location of an address of this process, its mapping bound. */
static uint32_t locate(struct fixture *f, uint64_t address)
{
	struct space_map *map = space_find(f->own.space, address);
	struct profile_mapping mapping = {0};

	assert_non_null(map);
	if (map->profile_id == 0) {
		mapping.start = map->map.start;
		mapping.limit = map->map.end;
		mapping.offset = map->map.offset;
		mapping.file = profile_string(f->profile, map->map.path);
		mapping.code = symbolizer_bind(f->symbolizer, map->module, map->bias,
		                               f->own.target);
		map->profile_id = profile_mapping(f->profile, &mapping);
	}
	return profile_location(f->profile, map->profile_id, address);
}

static const struct profile_function *function_of(const struct profile *profile,
                                                  uint32_t location)
{
	const struct profile_location *l = &profile->locations.v[location - 1];

	assert_int_equal(l->nlines, 1);
	assert_int_equal(profile->lines.v[l->first_line].line, 0);
	return &profile->functions.v[profile->lines.v[l->first_line].function - 1];
}

static void expect_symbol(const struct profile *profile, uint32_t location,
                          const char *name, const char *system_name)
{
	const struct profile_function *f = function_of(profile, location);

	assert_string_equal(profile_text(profile, f->name), name);
	assert_string_equal(profile_text(profile, f->system_name), system_name);
	assert_int_equal(f->file, 0);
	assert_int_equal(f->start_line, 0);
}

static void test_own_code(void **state)
{
	struct fixture *f = *state;
	uint64_t at = (uint64_t)(uintptr_t)local_landmark;
	uint32_t first = locate(f, at), second = locate(f, at + 1);
	uint32_t libc = locate(f, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "getenv"));

	symbolizer_fill(f->symbolizer, f->profile);
	expect_symbol(f->profile, first, "local_landmark", "local_landmark");
	expect_symbol(f->profile, second, "local_landmark", "local_landmark");
	assert_ptr_equal(function_of(f->profile, first), function_of(f->profile, second));
	if (function_of(f->profile, libc)->system_name != 0)
		expect_symbol(f->profile, libc, "getenv", "getenv");
	assert_int_equal(symbolizer_stats(f->symbolizer).resolved +
	                         symbolizer_stats(f->symbolizer).unresolved,
	                 3);
	assert_true(symbolizer_stats(f->symbolizer).resolved >= 2);

	/* A second time there is nothing left to do. */
	symbolizer_fill(f->symbolizer, f->profile);
	assert_int_equal(f->profile->lines.n, 3);
	assert_int_equal(symbolizer_stats(f->symbolizer).resolved +
	                         symbolizer_stats(f->symbolizer).unresolved,
	                 3);
}

/* The names that a symbolizer gives to addresses of our own code, one a line. */
static char *names_by(struct symbolizer *symbolizer, struct fixture *f, uint64_t from,
                      size_t n)
{
	struct space_map *map = space_find(f->own.space, from);
	struct profile *profile = profile_new();
	struct profile_mapping mapping = {.start = map->map.start, .limit = map->map.end};
	char *names = xstrdup("");
	uint32_t id;

	mapping.code = symbolizer_bind(symbolizer, map->module, map->bias, f->own.target);
	id = profile_mapping(profile, &mapping);
	for (size_t i = 0; i < n; i++) {
		symbolizer_want(symbolizer, mapping.code, from + 16 * i);
		profile_location(profile, id, from + 16 * i);
	}
	symbolizer_fill(symbolizer, profile);
	for (size_t i = 0; i < n; i++) {
		char buf[4096];
		const char *name = profile_location_name(profile, (uint32_t)i + 1, 0, buf,
		                                         sizeof buf);
		char *longer = xasprintf("%s%s\n", names, name);

		free(names);
		names = longer;
	}
	profile_free(profile);
	return names;
}

/* With a thread of its own, in several profiles: the same names. */
static void test_thread(void **state)
{
	struct fixture *f = *state;
	struct symbolizer *threaded = symbolizer_new(&everything);
	struct symbolizer *plain = symbolizer_new(&everything);
	uint64_t from = (uint64_t)(uintptr_t)local_landmark;
	char *wanted = names_by(plain, f, from, 300);

	assert_non_null(strstr(wanted, "local_landmark\n"));
	assert_int_equal(symbolizer_start(threaded, NULL), 0);
	for (int i = 0; i < 3; i++) {
		char *names = names_by(threaded, f, from, 300);

		assert_string_equal(names, wanted);
		free(names);
	}
	assert_int_equal(symbolizer_stats(threaded).resolved,
	                 3 * symbolizer_stats(plain).resolved);
	/* What nobody asks for in the end is no hindrance. */
	for (size_t i = 0; i < 100000; i++)
		symbolizer_want(threaded, 1, from + i % 5000);
	symbolizer_want(threaded, 0, from);
	symbolizer_free(threaded);
	symbolizer_free(plain);
	free(wanted);
}

/* Against the dynamic linker's own search, over all of libc's exported code. */
static void test_against_dladdr(void **state)
{
	struct fixture *f = *state;
	struct space_map *map = space_find(
	        f->own.space, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "getenv"));
	const struct module_range *code;
	size_t ncode, compared = 0;

	assert_non_null(map);
	assert_non_null(map->module);
	code = module_code(map->module, &ncode);
	srandom(7);
	for (int i = 0; i < 20000; i++) {
		const struct module_range *r = &code[(size_t)random() % ncode];
		uint64_t vaddr = r->start + (uint64_t)random() % (r->end - r->start);
		uint64_t distance = 0;
		const char *name = symbolizer_lookup(f->symbolizer, map->module, vaddr,
		                                     &distance);
		Dl_info info;

		if (!name || module_symbols(map->module, MODULE_SYMTAB).n > 0)
			continue; /* dladdr knows .dynsym alone */
		/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
		if (!dladdr((void *)(uintptr_t)(vaddr + map->bias), &info) ||
		    !info.dli_sname)
			continue;
		/* It knows one of several names, but the start is the same. */
		assert_int_equal((uint64_t)(uintptr_t)info.dli_saddr,
		                 vaddr + map->bias - distance);
		compared++;
	}
	if (module_symbols(map->module, MODULE_SYMTAB).n == 0)
		assert_true(compared > 1000);
}

static void test_vdso(void **state)
{
	struct fixture *f = *state;
	struct space_map *vdso = NULL;
	struct module_symbols symbols;
	uint64_t vaddr = 0, distance;
	struct space_map *const *maps;
	const char *name;
	uint32_t location;
	size_t n;

	maps = space_maps(f->own.space, &n);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(maps[i]->map.path, "[vdso]") == 0)
			vdso = maps[i];
	}
	if (!vdso)
		skip();
	symbols = module_symbols(vdso->module, MODULE_DYNSYM);
	for (size_t i = 0; i < symbols.n; i++) {
		if (strcmp(symbols.strings + symbols.v[i].st_name,
		           "__vdso_clock_gettime") == 0)
			vaddr = symbols.v[i].st_value;
	}
	if (vaddr == 0)
		skip();
	name = symbolizer_lookup(f->symbolizer, vdso->module, vaddr + 1, &distance);
	/* The weak alias is clock_gettime; the global one is preferred. */
	assert_string_equal(name, "__vdso_clock_gettime");
	assert_int_equal(distance, 1);
	location = locate(f, vdso->bias + vaddr + 1);
	symbolizer_fill(f->symbolizer, f->profile);
	expect_symbol(f->profile, location, "__vdso_clock_gettime", "__vdso_clock_gettime");
}

static uint32_t add_location(struct profile *profile, const char *file, uint64_t start,
                             uint64_t offset, uint64_t address)
{
	struct profile_mapping mapping = {
	        .start = start,
	        .limit = start + 0x10000,
	        .offset = offset,
	        .file = profile_string(profile, file),
	};

	return profile_location(profile, profile_mapping(profile, &mapping), address);
}

/* Says whose code a mapping of a profile is. */
static void bind(struct symbolizer *symbolizer, struct profile *profile, uint32_t mapping,
                 struct module *module, uint64_t bias)
{
	profile->mappings.v[mapping - 1].code = symbolizer_bind(symbolizer, module, bias,
	                                                        NULL);
}

static void test_fallbacks(void **state)
{
	static const struct {
		const char *file;
		uint64_t start, offset, address;
		const char *name;
	} rows[] = {
	        {"/usr/lib/libfoo.so", 0x7f0000100000, 0x2000, 0x7f0000100123,
	         "libfoo.so+0x2123"},
	        {"", 0x7f0000200000, 0, 0x7f0000200010, "[anon]"},
	        {"", 0x7f0000200000, 0, 0x7f0000200020, "[anon]"},
	        {"//anon", 0x7f0000300000, 0, 0x7f0000300010, "[anon]"},
	        {"/dev/zero", 0x7f0000310000, 0, 0x7f0000310010, "[anon]"},
	        {"/anon_hugepage", 0x7f0000320000, 0, 0x7f0000320010, "[anon]"},
	        {"/SYSV00000000", 0x7f0000330000, 0, 0x7f0000330010, "[anon]"},
	        {"[anon:v8]", 0x7f0000340000, 0, 0x7f0000340010, "[anon:v8]"},
	        {"[vsyscall]", 0xffffffffff600000, 0, 0xffffffffff600400, "[vsyscall]"},
	        {"/memfd:jit", 0x7f0000400000, 0x1000, 0x7f0000400000, "[memfd:jit]"},
	        {"/ends/in/", 0x7f0000500000, 0, 0x7f0000500001, "/ends/in/+0x1"},
	        {"/bin/memfd:x", 0x7f0000600000, 0, 0x7f0000600001, "memfd:x+0x1"},
	};
	enum { NROWS = sizeof rows / sizeof rows[0] };
	struct profile *profile = profile_new();
	struct symbolizer *symbolizer = symbolizer_new(&everything);
	uint32_t ids[NROWS], nowhere, pseudo;

	(void)state;
	for (size_t i = 0; i < NROWS; i++)
		ids[i] = add_location(profile, rows[i].file, rows[i].start, rows[i].offset,
		                      rows[i].address);
	nowhere = profile_location(profile, 0, 0xdead);
	pseudo = profile_pseudo(profile, "[not sampled]");
	bind(symbolizer, profile, 1, NULL, 0);
	symbolizer_fill(symbolizer, profile);
	for (size_t i = 0; i < NROWS; i++)
		expect_symbol(profile, ids[i], rows[i].name, "");
	expect_symbol(profile, nowhere, "[unknown]", "");
	assert_string_equal(profile_text(profile, function_of(profile, pseudo)->name),
	                    "[not sampled]");
	assert_int_equal(symbolizer_stats(symbolizer).resolved, 0);
	assert_int_equal(symbolizer_stats(symbolizer).unresolved, NROWS + 1);
	symbolizer_free(symbolizer);
	symbolizer_free(NULL);
	profile_free(profile);
}

/*
 * A hand-made file without symbols, mapped at its offset 0x1000, and unwind
 * tables that tell of code at 0x401020 … 0x401040.
 */
static struct module *open_stripped(struct module_cache *cache)
{
	static const uint8_t frames[] = {
	        /* the CIE: version 1, "zR", 1, -8, 16; pointers pcrel sdata4 */
	        16, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0, 0, 0,
	        /* the FDE at 20, whose first address lies at 28 */
	        16, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0};
	const int32_t to_code = 0x401020 - (0x402100 + 28);
	struct elf_build b;

	elf_build(&b);
	memcpy(b.u.bytes + 0x2100, frames, sizeof frames);
	memcpy(b.u.bytes + 0x2100 + 28, &to_code, sizeof to_code);
	elf_build_section(&b, ELF_BUILD_SCN_EH, SHT_PROGBITS, SHF_ALLOC, 0x2100,
	                  sizeof frames);
	b.sh[ELF_BUILD_SCN_SYMTAB].sh_type = SHT_PROGBITS;
	return module_open_fd(cache, elf_build_file(b.u.bytes, sizeof b.u.bytes), "elf");
}

static void test_functions_of_unwind_tables(void **state)
{
	const uint64_t start = 0x7f0000001000;
	static const struct {
		uint64_t into;
		const char *name;
	} rows[] = {
	        {0x1f, "elf+0x101f"}, {0x20, "elf+0x1020"}, {0x21, "elf+0x1020"},
	        {0x3f, "elf+0x1020"}, {0x40, "elf+0x1040"},
	};
	struct module_cache *cache = module_cache_new();
	struct symbolizer *symbolizer = symbolizer_new(&everything);
	struct profile *profile = profile_new();
	struct module *module = open_stripped(cache);
	uint32_t ids[5], vdso;

	(void)state;
	assert_non_null(module);
	for (size_t i = 0; i < 5; i++)
		ids[i] = add_location(profile, "/bin/elf", start, 0x1000,
		                      start + rows[i].into);
	bind(symbolizer, profile, 1, module, start - 0x401000);
	/* An ELF image that is in memory alone has functions nevertheless. */
	vdso = add_location(profile, "[vdso]", 0x7f0000501000, 0x1000, 0x7f000050102f);
	bind(symbolizer, profile, 2, module, 0x7f0000501000 - 0x401000);
	symbolizer_fill(symbolizer, profile);
	for (size_t i = 0; i < 5; i++)
		expect_symbol(profile, ids[i], rows[i].name, "");
	assert_ptr_equal(function_of(profile, ids[1]), function_of(profile, ids[3]));
	expect_symbol(profile, vdso, "[vdso]+0x1020", "");
	assert_int_equal(symbolizer_stats(symbolizer).unresolved, 6);
	profile_free(profile);
	symbolizer_free(symbolizer);
	module_cache_free(cache);
}

/* The names of symbols "alpha" and "beta" of a hand-made file, replaced. */
static void expect_names(const char *mangled, const char *name, const char *system_name)
{
	struct module_cache *cache = module_cache_new();
	struct symbolizer *symbolizer = symbolizer_new(&everything);
	struct profile *profile = profile_new();
	struct elf_build b;
	struct module *module;
	uint32_t location;

	elf_build(&b);
	assert_true(strlen(mangled) < 0x70);
	strcpy((char *)b.u.bytes + 0x3101, mangled);
	b.sh[ELF_BUILD_SCN_STRTAB].sh_size = 0x80;
	module = module_open_fd(cache, elf_build_file(b.u.bytes, sizeof b.u.bytes), "elf");
	assert_non_null(module);
	location = add_location(profile, "/bin/elf", 0x401000, 0x1000, 0x401001);
	bind(symbolizer, profile, 1, module, 0);
	symbolizer_fill(symbolizer, profile);
	expect_symbol(profile, location, name, system_name);
	profile_free(profile);
	symbolizer_free(symbolizer);
	module_cache_free(cache);
}

static void test_names_of_symbols(void **state)
{
	(void)state;
	expect_names("alpha", "alpha", "alpha");
	expect_names("memcpy@@GLIBC_2.14", "memcpy", "memcpy");
	expect_names("memcpy@GLIBC_2.2.5", "memcpy", "memcpy");
	expect_names("odd@", "odd@", "odd@");
	expect_names("odd@@", "odd@@", "odd@@");
	expect_names("@odd", "@odd", "@odd");
	expect_names("main.(*T[go.shape.int]).M@x y", "main.(*T[go.shape.int]).M@x y",
	             "main.(*T[go.shape.int]).M@x y");
	expect_names("_ZN3foo3barEi@@LIB_1", "foo::bar(int)", "_ZN3foo3barEi");
	expect_names("\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd");
}

/* A mapping that several biases share nothing with: names follow the module. */
static void test_bias(void **state)
{
	struct module_cache *cache = module_cache_new();
	struct symbolizer *symbolizer = symbolizer_new(&everything);
	struct profile *profile = profile_new();
	struct elf_build b;
	struct module *module;
	uint32_t alpha, beta, neither;

	(void)state;
	elf_build(&b);
	module = module_open_fd(cache, elf_build_file(b.u.bytes, sizeof b.u.bytes), "elf");
	alpha = add_location(profile, "/bin/elf", 0x7f0000001000, 0x1000, 0x7f000000100f);
	beta = add_location(profile, "/bin/elf", 0x7f0000001000, 0x1000, 0x7f0000001020);
	neither = add_location(profile, "/bin/elf", 0x7f0000001000, 0x1000, 0x7f0000001010);
	bind(symbolizer, profile, 1, module, 0x7f0000001000 - 0x401000);
	symbolizer_fill(symbolizer, profile);
	expect_symbol(profile, alpha, "alpha", "alpha");
	expect_symbol(profile, beta, "beta", "beta");
	expect_symbol(profile, neither, "elf+0x1010", "");
	assert_int_equal(symbolizer_stats(symbolizer).resolved, 2);
	assert_int_equal(symbolizer_stats(symbolizer).unresolved, 1);
	profile_free(profile);
	symbolizer_free(symbolizer);
	module_cache_free(cache);
}

static void test_demangle(void **state)
{
	static const char *const pairs[][2] = {
	        {"_Z3fooi", "foo(int)"},
	        {"_ZN1A1B3barERKS0_", "A::B::bar(A::B const&)"},
	        /* no return type in front */
	        {"_Z3maxIiET_S0_S0_", "max<int>(int, int)"},
	        {"_ZNSt6vectorIiSaIiEE9push_backEOi",
	         "std::vector<int, std::allocator<int> >::push_back(int&&)"},
	        {"_ZNK3$_0clEv", "$_0::operator()() const"},
	        {"_ZN12_GLOBAL__N_14workEv", "(anonymous namespace)::work()"},
	        {"_ZTv0_n24_N3FooD1Ev", "virtual thunk to Foo::~Foo()"},
	        {"_Z4workv.cold", "work() [clone .cold]"},
	        {"_Z4workv.part.0", "work() [clone .part.0]"},
	        /* Rust, legacy: without its hash */
	        {"_ZN4core3fmt9Formatter3pad17h0123456789abcdefE",
	         "core::fmt::Formatter::pad"},
	        {"_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$"
	         "GT$3bar17h930b740aa94f1d3aE",
	         "<Test + 'static as foo::Bar<Test>>::bar"},
	        /* Rust, v0 */
	        {"_RNvCs1234_7mycrate3foo", "mycrate::foo"},
	        {"_RINvNtC3std3mem8align_ofdE", "std::mem::align_of::<f64>"},
	        /* not mangled */
	        {"main", NULL},
	        {"", NULL},
	        {"_", NULL},
	        {"_Z", NULL},
	        {"_Zonk", NULL},
	        {"_Reset", NULL},
	        {"i", NULL}, /* a type's encoding, but as a function it is i */
	};

	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		char *text = demangle(pairs[i][0]);

		if (pairs[i][1]) {
			assert_non_null(text);
			assert_string_equal(text, pairs[i][1]);
		} else {
			assert_null(text);
		}
		free(text);
	}
}

static char *repeat(const char *head, const char *unit, size_t n, const char *tail)
{
	size_t len = strlen(unit);
	char *s = xmalloc(strlen(head) + n * len + strlen(tail) + 1), *p;

	p = stpcpy(s, head);
	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, unit);
	strcpy(p, tail);
	return s;
}

/* Each level names the one before twice: 2^n types, in a few hundred bytes. */
static char *unfolding_cpp(int levels)
{
	char *s = xmalloc((size_t)levels * 16 + 64), *p = stpcpy(s, "_Z1f1XIiiE");

	assert_true(levels < 36);
	for (int i = 0; i < levels; i++) {
		char c = (char)(i < 10 ? '0' + i : 'A' + i - 10);

		p += sprintf(p, "S_IS%c_S%c_E", c, c);
	}
	return s;
}

/* "B" and where the earlier type began, less one, in base 62. */
static char *back_reference(char *p, size_t at)
{
	static const char digits[] =
	        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	*p++ = 'B';
	at--;
	if (at >= 62)
		*p++ = digits[at / 62];
	*p++ = digits[at % 62];
	*p++ = '_';
	return p;
}

static char *unfolding_rust(int levels)
{
	static const char head[] = "_RINvC1a1b";
	char *s = xmalloc((size_t)levels * 16 + 64), *p = stpcpy(s, head);
	size_t last = (size_t)(p - s) - 2;

	p = stpcpy(p, "TppE");
	for (int i = 0; i < levels; i++) {
		size_t start = (size_t)(p - s) - 2;

		*p++ = 'T';
		p = back_reference(p, last);
		p = back_reference(p, last);
		*p++ = 'E';
		last = start;
	}
	strcpy(p, "E");
	return s;
}

static void expect_demangled(char *name, bool possible)
{
	char *text = demangle(name);

	if (possible)
		assert_non_null(text);
	else
		assert_null(text);
	free(text);
	free(name);
}

static void test_demangle_unfolding(void **state)
{
	(void)state;
	expect_demangled(unfolding_cpp(4), true);
	expect_demangled(unfolding_cpp(34), false);
	expect_demangled(unfolding_rust(4), true);
	expect_demangled(unfolding_rust(60), false);
}

static void test_demangle_hostile(void **state)
{
	char *names[] = {
	        repeat("_Z1f", "P", 100000, "i"),
	        repeat("_Z1f", "P", 4000, "i"),
	        repeat("_Z1f", "P", 1000, "i"),
	        repeat("_ZN", "1a", 500, "Ev"),
	        repeat("_Z1f", "1XI", 300, "i"),
	        repeat("_Z1fIiEv", "RT_", 330, ""),
	        repeat("_RNvC1a", "INt", 1000, ""),
	        repeat("_R", "INvC1a1b", 500, "E"),
	        repeat("_RINvC1a1b", "TTTT", 900, "E"),
	        repeat("_ZN", "9999999999", 50, "E"),
	        repeat("_RINvC1a1b", "T", 4000, "p"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char *text = demangle(names[i]);

		if (text)
			assert_true(strlen(text) <= 64 * 1024);
		free(text);
		free(names[i]);
	}
}

static void test_demangle_noise(void **state)
{
	static const char letters[] = "_ZNRSTIEJKLPXv0123456789aitfsC$.";

	(void)state;
	srandom(99);
	for (int round = 0; round < 20000; round++) {
		char name[80] = "_Z";
		size_t len = 3 + (size_t)random() % 76;

		if (round % 2)
			name[1] = 'R';
		for (size_t i = 2; i < len; i++)
			name[i] = letters[(size_t)random() % (sizeof letters - 1)];
		free(demangle(name));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_own_code, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_thread, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_against_dladdr, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_vdso, setup, teardown),
	        cmocka_unit_test(test_fallbacks),
	        cmocka_unit_test(test_functions_of_unwind_tables),
	        cmocka_unit_test(test_names_of_symbols),
	        cmocka_unit_test(test_bias),
	        cmocka_unit_test(test_demangle),
	        cmocka_unit_test(test_demangle_unfolding),
	        cmocka_unit_test(test_demangle_hostile),
	        cmocka_unit_test(test_demangle_noise),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
