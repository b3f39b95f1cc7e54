/* SPDX-License-Identifier: Apache-2.0 */
/* Whether bytes are a profile as readers of proto/profile.proto want it. */
#ifndef TESTS_FUZZ_PPROF_VALID_H
#define TESTS_FUZZ_PPROF_VALID_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decodes a gzipped profile and aborts unless it is one: string 0 is empty and all are
 * UTF-8, ids are 1 … N, whatever names another entry names one that is there, labels
 * have keys, samples a value of each type and a stack, addresses lie in their mappings.
 * Returns the sum of the last value of all samples.
 */
int64_t pprof_require_valid(const uint8_t *data, size_t len);

#endif
