/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crash is said in one sentence before it is one. Libraries that read debug
 * information do not survive every failed allocation; who runs a profiler on a
 * production process should not be left to guess what a bare "Aborted" means.
 */
#ifndef CPROF_BASE_CRASH_H
#define CPROF_BASE_CRASH_H

/*
 * From now on a SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT of this process calls
 * `last`, which must be async-signal-safe (NULL: nothing), says so on stderr, and
 * then ends the process as it would have anyway, core dump included. A process
 * made by clone() that shares this memory just ends.
 */
void crash_say(void (*last)(void));

#endif
