/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CPROF_OUTPUT_SVG_SCRIPT_H
#define CPROF_OUTPUT_SVG_SCRIPT_H

/* What a flame graph does when it is clicked; for inside of a CDATA section. */
extern const char svg_script[];

#endif
