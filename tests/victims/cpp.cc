// SPDX-License-Identifier: Apache-2.0
/* build cpp: -O2 -pthread */
/*
 * cpp: two threads that work in a virtual member function of a class template
 * in a namespace, called by a function template:
 *
 *     orchard::Tree<int>::pick(int) <- void orchard::harvest<orchard::Tree<int> >(...)
 *     orchard::Tree<char>::pick(char) <- the same for char
 *
 * half of the time under a lambda, and one of them unwinds exceptions as well.
 */
#include <atomic>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "victim.h"

namespace orchard
{

std::atomic<bool> stop{false};

struct Plant {
	virtual ~Plant() = default;
	virtual void pick(int n) = 0;
};

template <typename Fruit> struct Tree : Plant {
	std::vector<Fruit> fruit = std::vector<Fruit>(997);

	__attribute__((noinline)) void pick(int n) override
	{
		for (volatile int i = 0; i < 40000; i = i + 1)
			fruit[static_cast<size_t>(i * n) % fruit.size()] += 1;
	}
};

template <typename Kind> __attribute__((noinline)) void harvest(Plant &plant, int rounds)
{
	for (int i = 0; i < rounds; i++)
		plant.pick(i + 1);
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) void throwing(int n)
{
	if (n >= 0)
		throw std::runtime_error("ripe");
}

template <typename Fruit> void season(bool throws)
{
	Tree<Fruit> tree;
	std::function<void()> by_lambda = [&tree] { harvest<Tree<Fruit>>(tree, 10); };

	while (!stop) {
		harvest<Tree<Fruit>>(tree, 10);
		by_lambda();
		try {
			if (throws)
				throwing(1);
		} catch (const std::exception &) {
			continue;
		}
	}
}

} // namespace orchard

int main()
{
	victim_init();
	std::thread a(orchard::season<int>, false);
	std::thread b(orchard::season<char>, true);
	victim_ready();
	victim_wait();
	orchard::stop = true;
	a.join();
	b.join();
	return 0;
}
