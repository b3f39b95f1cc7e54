/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as people write them; false for all that is no such number. */
#ifndef CPROF_BASE_NUMBER_H
#define CPROF_BASE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* "4711", from 1 up: digits alone, so that no sign, blank or unit is overlooked. */
bool number_id(const char *text, pid_t *id);

/* "30", "2.5", ".5": none of strtod's "1e9", "0x1p3", "nan" or " 7". */
bool number_decimal(const char *text, double min, double max, double *out);

/* "500000", "64M", "1G": bytes, or multiples of 1024; not 0. */
bool number_size(const char *text, uint64_t *out);

#endif
