// SPDX-License-Identifier: Apache-2.0

// Go that calls C: main.main <- runtime.main works in C's cpuHog, through cgo.
// Go's own profiler runs as well, so the process gets SIGPROF all the time. (cpuHog
// has a result, so that what calls it for cgo has to wait for it.)
package main

/*
__attribute__((noinline)) int cpuHog(void)
{
	volatile int foo = 1;

	for (int i = 0; i < 200000; i++)
		foo = foo > 1000000 ? 1 : foo * 3 + 1;
	return foo;
}
*/
import "C"

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
)

func main() {
	var ended int32
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() {
		<-end
		atomic.StoreInt32(&ended, 1)
	}()
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		panic(err)
	}
	fmt.Println("ready", os.Getpid())
	for atomic.LoadInt32(&ended) == 0 {
		C.cpuHog()
	}
	pprof.StopCPUProfile()
	fmt.Println("OK")
}
