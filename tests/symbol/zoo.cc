// SPDX-License-Identifier: Apache-2.0
/* A zoo of C++. The comments name lines for check_lines.py. */
#include "zoo.h"

volatile int sink;

namespace zoo
{

template <typename Animal> struct Cage {
	template <int Legs> inline __attribute__((always_inline)) void walk(Animal x)
	{ /* start walk */
		sink = (int)x + Legs;
		MARK(); /* in walk */
	}
	NOINLINE void open(Animal x)
	{                   /* start open */
		walk<4>(x); /* open calls walk */
		MARK();     /* in open */
	}
};

namespace
{
ALWAYS int hidden(int x)
{ /* start hidden */
	sink = x;
	MARK(); /* in hidden */
	return x;
}
} // namespace

template <typename First, typename... Rest> NOINLINE int feed(First first, Rest... rest)
{                                   /* start feed */
	int n = hidden((int)first); /* feed calls hidden */
	if constexpr (sizeof...(rest) > 0)
		n += feed(rest...);
	else
		MARK(); /* in feed */
	return n;
}

struct Keeper {
	int n;
	NOINLINE explicit Keeper(int x) : n(x)
	{ /* start Keeper */
		sink = x;
		MARK(); /* in Keeper */
	}
	NOINLINE int operator+(const Keeper &other) const
	{               /* start plus */
		MARK(); /* in plus */
		return n + other.n + sink;
	}
};

NOINLINE int call(int x)
{ /* start call */
	auto lambda = [x](int y) NOINLINE {
		sink = x; /* start lambda */
		MARK();   /* in lambda */
		return x + y + sink;
	};
	return lambda(3) + lambda(x);
}

} // namespace zoo

int main(int argc, char **)
{
	zoo::Cage<char> cage;

	cage.open((char)argc);
	return zoo::feed(argc) + (zoo::Keeper(argc) + zoo::Keeper(2)) + zoo::call(argc);
}
