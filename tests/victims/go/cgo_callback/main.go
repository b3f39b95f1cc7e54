// SPDX-License-Identifier: Apache-2.0

// 64 goroutines on 16 Ps that call C, which sleeps 50 us and calls back into
// Go, while Go's own profiler runs. A program like this has crashed in
// profilers' signal handlers. Prints OK when it comes to its end alive, after
// the number of seconds given (3).
package main

/*
#include <time.h>

extern void goCallback(void);

static void sleepAndCallBack(void)
{
	struct timespec ts = {0, 50000};

	nanosleep(&ts, 0);
	goCallback();
}
*/
import "C"

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var (
	callbacks uint64
	work      uint64
)

//export goCallback
func goCallback() {
	x := uint64(1)
	for i := 0; i < 2000; i++ {
		x = x*6364136223846793005 + 1
	}
	atomic.AddUint64(&work, x)
	atomic.AddUint64(&callbacks, 1)
}

func main() {
	seconds := 3.0
	if len(os.Args) > 1 {
		seconds, _ = strconv.ParseFloat(os.Args[1], 64)
	}
	runtime.GOMAXPROCS(16)
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		panic(err)
	}
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	fmt.Println("ready", os.Getpid())
	var wait sync.WaitGroup
	for i := 0; i < 64; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for time.Now().Before(end) {
				C.sleepAndCallBack()
			}
		}()
	}
	wait.Wait()
	pprof.StopCPUProfile()
	fmt.Println("callbacks", atomic.LoadUint64(&callbacks))
	fmt.Println("OK")
}
