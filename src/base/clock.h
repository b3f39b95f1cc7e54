/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CPROF_BASE_CLOCK_H
#define CPROF_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_SEC UINT64_C(1000000000)
#define NS_PER_MS  UINT64_C(1000000)
#define NS_PER_US  UINT64_C(1000)

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_monotonic_ns(void);
/* The CPU time that the calling thread has used. */
uint64_t clock_thread_cpu_ns(void);
/* CLOCK_REALTIME in nanoseconds since the epoch. */
uint64_t clock_realtime_ns(void);

#endif
