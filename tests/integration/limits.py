#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the sampling may cost, and what it does when that is not enough: measured
from outside, by the CPU clock of the process that samples."""

import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import tap
from victims import Victim

SECONDS = 4


def cost_of(run):
    """The part of one processor that the process which samples used, to its end."""
    tracer = run.begun()
    start, used = time.monotonic(), 0
    last = start
    while True:
        try:
            used = procs.cpu_ns(tracer)
        except OSError:
            break
        if procs.state(tracer) in ("", "Z"):
            break
        last = time.monotonic()
        time.sleep(0.02)
    return used / 1e9 / max(last - start, 0.001)


def ticks(run):
    return int(re.search(r": (\d+) ticks? in", run.stderr)[1])


def sampled(run):
    """The part of the process's CPU time that samples weigh."""
    return 1 - run.profile.cum("cpu")["[not sampled]"] / run.profile.total("cpu")


def start(pid, *args):
    return profiler.Run("-p", pid, "-d", SECONDS, *args)


def test_rate_is_lowered():
    victim = Victim("spinners", 1)
    free = start(victim.pid, "-F", "999", "--max-overhead", "100")
    costs = cost_of(free)
    free.finish()
    tap.ok("--max-overhead)" not in free.stderr, "--max-overhead 100: nothing is lowered",
           str(free))
    limited = start(victim.pid, "-F", "999", "--max-overhead", "1")
    part = cost_of(limited)
    limited.finish()
    tap.contains(limited.stderr, "lowered from 999 Hz to",
                 "--max-overhead 1: the rate is lowered, and it is said")
    tap.contains(limited.stderr, "(--max-overhead)", "and why")
    # The clock of the process counts its start and its end as well.
    tap.at_most(part, 0.02, "the process that samples uses little of a processor "
                            "(%.1f %% without the limit)" % (100 * costs))
    tap.at_least(costs, 2 * part, "which is less than without")
    tap.at_least(limited.profile.total("samples"), 5, "there are samples still")
    told = re.search(r"took ([\d.]+) %", limited.stderr)
    tap.at_most(float(told[1]), 1.3, "what it says that it cost")
    tap.at_least(sampled(limited), 0.5, "and they weigh most of what the process used")


def test_long_pauses():
    victim = Victim("spinners", 1)
    run = start(victim.pid, "--max-pause", "1").finish()
    tap.equal(run.status, 0, "--max-pause 1", str(run))
    told = re.search(r"(\d+) samples? stopped a thread for longer than 1.0 us", run.stderr)
    tap.ok(told, "says how often a pause was longer", str(run))
    tap.equal(int(told[1]) if told else 0, run.profile.total("samples"),
              "which is always")
    free = start(victim.pid, "--max-pause", "1000000").finish()
    tap.ok("--max-pause)" not in free.stderr, "--max-pause 1000000 is never exceeded", str(free))


def test_more_threads_than_processors():
    threads = 8 * len(os.sched_getaffinity(0))
    victim = Victim("spinners", threads)
    run = start(victim.pid).finish()
    tap.equal(run.status, 0, "%d threads that spin, on %d processors"
              % (threads, len(os.sched_getaffinity(0))), str(run))
    tap.at_least(ticks(run), 10 * SECONDS, "ticks go on")
    seen = run.profile.by_label("thread_id", "samples")
    seen.pop(None, None)
    tap.at_least(len(seen), threads, "every thread is sampled", repr(seen))
    tap.at_least(sampled(run), 0.6, "and most of their CPU time")
    tap.equal(procs.traced(victim.pid), {}, "none stays traced")


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_rate_is_lowered,
        test_long_pauses,
        test_more_threads_than_processors,
    ])
