// SPDX-License-Identifier: Apache-2.0

// A Go program without cgo: two goroutines that work in
// main.leaf <- main.middle <- main.outer <- main.worker <- runtime.goexit.
// It prints where these functions begin, "code NAME ADDRESS", for builds
// without names.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

var sink [2]uint64

//go:noinline
func leaf(n uint64, where *uint64) {
	x := n
	for i := 0; i < 200000; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	*where += x
}

//go:noinline
func middle(n uint64, where *uint64) {
	leaf(n, where)
	*where++
}

//go:noinline
func outer(n uint64, where *uint64) {
	middle(n, where)
	*where++
}

//go:noinline
func worker(where *uint64, tell chan<- []uintptr) {
	pcs := make([]uintptr, 16)
	tell <- pcs[:runtime.Callers(1, pcs)]
	for n := uint64(0); ; n++ {
		outer(n, where)
	}
}

func main() {
	runtime.GOMAXPROCS(2)
	tell := make(chan []uintptr, 2)
	go worker(&sink[0], tell)
	go worker(&sink[1], tell)
	frames := runtime.CallersFrames(<-tell)
	for {
		frame, more := frames.Next()
		fmt.Printf("code %s 0x%x\n", frame.Function, frame.Entry)
		if !more {
			break
		}
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	fmt.Println("ready", os.Getpid())
	<-end
}
