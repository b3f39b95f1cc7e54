// SPDX-License-Identifier: Apache-2.0

// A Go program in which C starts a thread of its own, which works in
// cpuHogThread <- cpuHogDriver. The program has told Go how to look into C,
// and answers with two addresses that are not those of any caller: what an
// outside profiler shows must not come from there. Go's own profiler runs as well.
package main

/*
#cgo LDFLAGS: -pthread
#include <pthread.h>
#include <stdint.h>

struct tracebackArg {
	uintptr_t context;
	uintptr_t sigContext;
	uintptr_t *buf;
	uintptr_t max;
};

struct symbolizerArg {
	uintptr_t pc;
	const char *file;
	uintptr_t lineno;
	const char *func;
	uintptr_t entry;
	uintptr_t more;
	uintptr_t data;
};

static void invented(void)
{
}

static void traceback(void *parg)
{
	struct tracebackArg *arg = parg;

	if (arg->max < 3)
		return;
	arg->buf[0] = (uintptr_t)invented + 1;
	arg->buf[1] = (uintptr_t)invented + 2;
	arg->buf[2] = 0;
}

static void symbolizer(void *parg)
{
	struct symbolizerArg *arg = parg;

	arg->file = "invented.c";
	arg->lineno = 1;
	arg->func = "invented";
	arg->entry = (uintptr_t)invented;
	arg->more = 0;
}

static void *tracebackPointer(void)
{
	return (void *)traceback;
}

static void *symbolizerPointer(void)
{
	return (void *)symbolizer;
}

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
	"runtime"
	"runtime/pprof"
	"syscall"
)

func main() {
	runtime.SetCgoTraceback(0, C.tracebackPointer(), nil, C.symbolizerPointer())
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
