/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries that read debug information survive neither every failed allocation nor
 * every file. Where one of them is called a crash is contained: what it was asked for is
 * then unknown. Any other is said in one sentence before it is one: who runs a
 * profiler on a production process should not be left to guess what a bare "Aborted" means.
 */
#ifndef CPROF_BASE_CRASH_H
#define CPROF_BASE_CRASH_H

#include <stdbool.h>

/*
 * From now on a SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT of this process calls
 * `last`, which must be async-signal-safe (NULL: nothing), says so on stderr, and
 * then ends the process as it would have anyway, core dump included. A process
 * made by clone() that shares this memory just ends.
 */
void crash_say(void (*last)(void));

/*
 * Calls fn(arg). False if it crashed, a stack that overflowed included: nothing that it
 * may have left half done is to be touched again, nor freed. A crash that leaves the
 * allocator unusable is not contained, nor is a signal from another process, nor anything
 * before crash_say(). Not to be called from within fn.
 */
bool crash_contain(void (*fn)(void *arg), void *arg);

#endif
