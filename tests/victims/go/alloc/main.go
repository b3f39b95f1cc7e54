// SPDX-License-Identifier: Apache-2.0

// A Go program that allocates: two goroutines build trees in main.build <- … <-
// main.grow, so that much happens on the threads' own stacks (systemstack: the
// allocator, the collector) and in the scheduler (mcall).
package main

import (
	"fmt"
	"os"
	"runtime"
)

type node struct {
	left, right *node
	pad         [6]uint64
}

var trees [2]*node

//go:noinline
func build(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{left: build(depth - 1), right: build(depth - 1)}
}

//go:noinline
func grow(which int) {
	for {
		trees[which] = build(12)
		runtime.Gosched()
	}
}

func main() {
	runtime.GOMAXPROCS(2)
	fmt.Println("ready", os.Getpid())
	go grow(0)
	grow(1)
}
