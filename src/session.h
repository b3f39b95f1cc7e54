/* SPDX-License-Identifier: Apache-2.0 */
/* One run: targets, sampler, profile, output, and the closing report. */
#ifndef CPROF_SESSION_H
#define CPROF_SESSION_H

#include "base/error.h"
#include "options/options.h"

/* Runs to the end. 0 when a profile was written, else -1 with *err filled. */
int session_run(const struct options *options, struct error *err);

#endif
