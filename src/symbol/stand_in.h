/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What code is called that no source has a name for. A stand-in names what is
 * known for certain, and as many addresses by one name as belong together, so
 * that a list of the hottest functions stays readable:
 *
 *   "libfoo.so+0x1a2b"  a function of a file, by the offset in the file at which
 *                       its unwind table says that it starts; where that says
 *                       nothing, the offset of the address itself
 *   "[anon]"            code in memory without a file, as JIT compilers make
 *   "[memfd:jit]"       it: nothing tells where functions begin, so all is one.
 *   "[stack]"           What the memory has for a name is kept
 *   "[unknown]"         an address in no mapping
 */
#ifndef CPROF_SYMBOL_STAND_IN_H
#define CPROF_SYMBOL_STAND_IN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The name for code at an offset of a mapping's file, to be freed. `file` is
 * what /proc/PID/maps has for a name, NULL if there is no mapping; `is_elf` says
 * that an ELF image is known to be there.
 */
char *stand_in_name(const char *file, bool is_elf, uint64_t offset);

#endif
