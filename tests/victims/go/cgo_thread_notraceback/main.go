// SPDX-License-Identifier: Apache-2.0

// A Go program in which C starts a thread of its own, which works in
// cpuHogThread <- cpuHogDriver. Go knows no way to look into that thread.
// Go's own profiler runs as well.
package main

/*
#cgo LDFLAGS: -pthread
#include <pthread.h>

static volatile int cpuHogStop;
static volatile int cpuHogCount;
static pthread_t cpuHogPthread;

__attribute__((noinline)) static void cpuHogThread(void)
{
	for (int i = 0; i < 200000; i++)
		cpuHogCount = cpuHogCount > 1000000 ? 1 : cpuHogCount * 3 + 1;
}

__attribute__((noinline)) static void *cpuHogDriver(void *arg)
{
	while (!cpuHogStop)
		cpuHogThread();
	return arg;
}

static int startCpuHog(void)
{
	return pthread_create(&cpuHogPthread, 0, cpuHogDriver, 0);
}

static void stopCpuHog(void)
{
	cpuHogStop = 1;
	pthread_join(cpuHogPthread, 0);
}
*/
import "C"

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		panic(err)
	}
	if C.startCpuHog() != 0 {
		panic("no thread")
	}
	fmt.Println("ready", os.Getpid())
	<-end
	C.stopCpuHog()
	pprof.StopCPUProfile()
	fmt.Println("OK")
}
