/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, enum exit_code code, const char *fmt, ...)
{
	/* Not straight into err->text: an argument may be its old text. */
	char text[sizeof err->text];
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	memcpy(err->text, text, sizeof text);
	err->code = code;
	return -1;
}
