/* SPDX-License-Identifier: Apache-2.0 */
/* Functions inlined three deep. The comments name lines for check_lines.py. */
#include "zoo.h"

volatile int sink;

ALWAYS void deepest(int x)
{ /* start deepest */
	sink = x;
	MARK(); /* in deepest */
	sink = x + 1;
}

ALWAYS void middle(int x)
{                       /* start middle */
	deepest(x * 3); /* middle calls deepest */
	MARK();         /* in middle */
}

NOINLINE void outer(int x)
{ /* start outer */
	sink = x;
	MARK();        /* in outer */
	middle(x + 1); /* outer calls middle */
	deepest(x);    /* outer calls deepest */
}

int main(int argc, char **argv)
{ /* start main */
	(void)argv;
	outer(argc);
	MARK(); /* in main */
	return 0;
}
