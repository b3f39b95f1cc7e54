#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Beside a thread that never gives up its processor a run comes to its end, and nobody
who is stopped waits for that thread."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import tap
from victims import Victim

_HOG = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
print("ready", flush=True)
end = time.monotonic() + 20
while time.monotonic() < end:
    pass
"""


def hog(cpu):
    """A process with a real-time priority that never gives up its processor."""
    process = procs.spawn([sys.executable, "-c", _HOG, str(cpu)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    if process.stdout.readline() != b"ready\n":
        tap.skip("no real-time priority here")
    return process


def test_realtime():
    """Nobody waits behind a thread that never gives way: not the run, nor who is stopped."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        tap.skip("has one processor alone")
    for what in ("a target", "another process"):
        one = hog(cpus[0])
        worker = Victim("work", 2, "busy")
        pid = one.pid if what == "a target" else worker.pid
        run = profiler.Run("-p", pid, "-d", "1", "-F", "999").finish()
        tap.equal(one.poll(), None, "%s that keeps a processor: the run ends before it does" % what,
                  str(run))
        tap.equal(run.status, 0, "and well", str(run))
        tap.equal(procs.traced(pid), {}, "and nobody stays traced or stopped")
        one.kill()
        one.wait()


if __name__ == "__main__":
    profiler.require()
    tap.run([test_realtime])
