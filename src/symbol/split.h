/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split DWARF (DWARF 5, 7.3.2): most of a unit is in a .dwo file of its own, and
 * libdw opens it by the path that the program's file gives. Inside of symbol/ alone.
 */
#ifndef CPROF_SYMBOL_SPLIT_H
#define CPROF_SYMBOL_SPLIT_H

#include <stdbool.h>

#include <elfutils/libdw.h>

/*
 * The unit that a skeleton stands for. False if its file is not there, or is where
 * another user could replace it: that would be a way to make us open anything. Or, unless
 * `ours` is the program that names it (module.h), where not all may read it.
 */
bool split_unit(Dwarf_Die *skeleton, bool ours, Dwarf_Die *unit);

#endif
