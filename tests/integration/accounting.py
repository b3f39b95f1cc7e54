#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A profile's CPU time sums to what the process used.

What it used is read here, from the process's own CPU clock, every few
milliseconds, and taken at the two points of time that the profile names.
"""

import os
import re
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import tap
from victims import Victim

PART = 0.02
NOT_SAMPLED = "[not sampled]"


def check_sum(run, log, what):
    want = log.during(run.profile)
    got = run.profile.total("cpu")
    missing = run.profile.flat("cpu")[NOT_SAMPLED]
    tap.ok(abs(got - want) <= PART * want,
           "%s: %.3f s in the profile, %.3f s used (%+.2f %%; %.2f %% not sampled)"
           % (what, got / 1e9, want / 1e9, 100 * (got - want) / want, 100 * missing / got),
           str(run))
    return missing / got if got else 0.0


def check(what, seconds, *victim_args, hz=None, not_sampled=None):
    victim = Victim(*victim_args)
    log = profiler.CpuLog(victim.pid)
    run = profiler.profile(victim.pid, seconds, hz=hz)
    missing = check_sum(run, log, what)
    if not_sampled is not None:
        tap.at_most(missing, not_sampled, what + ": little is [not sampled]",
                    lambda: profiler.top_text(run.profile))
    return run


def test_one_busy_thread():
    check("one busy thread", 4, "work", 1, "busy", not_sampled=0.02)


def test_more_threads_than_processors():
    run = check("8 busy threads", 5, "work", 8, "busy", not_sampled=0.05)
    threads = [t for t in run.profile.by_label("thread_id", "cpu") if t]
    tap.at_least(len(threads), 8, "each has samples")


def test_bursts():
    check("6 threads that work in bursts", 5, "work", 6, "bursty", not_sampled=0.10)


def test_high_rate():
    check("2 busy threads at 999 Hz", 3, "work", 2, "busy", hz=999, not_sampled=0.02)


def test_threads_that_come_and_go():
    run = check("1000 threads a second", 5, "churn", 1000, 300)
    tap.ok(run.profile.flat("cpu")[NOT_SAMPLED] > 0, "what ran between ticks is shown",
           lambda: profiler.top_text(run.profile))


def test_one_of_many_works():
    """Who has long been idle is found soon after it begins to work. In turns it would
    take 62 ticks, which is more than a turn has."""
    victim = Victim("relay", 2000, 400)
    run = profiler.profile(victim.pid, 8)
    rate = float(re.search(r"rate +([0-9.]+) Hz", run.stderr)[1])
    found = run.profile.total("samples") / (run.profile.total("cpu") / 1e9 * rate)
    tap.at_least(found, 0.55, "the one of 2000 threads that works is seen at most ticks", run)


def wait_for_rest(pid):
    """Until it has used no CPU time for a second, however long that takes."""
    before, now = -1, procs.cpu_ns(pid)
    while now != before:
        time.sleep(1)
        before, now = now, procs.cpu_ns(pid)


def test_a_burst_inside_of_the_run():
    """Nothing at either end of the run: the sum is that of the burst."""
    victim = Victim("work", 2, "wait")
    before = procs.cpu_ns(victim.pid)
    run = profiler.Run("-p", victim.pid, "-d", "0")
    run.begun()
    time.sleep(0.7)
    victim.process.send_signal(signal.SIGUSR1)
    procs.wait_until("it works", lambda: procs.cpu_ns(victim.pid) > before)
    wait_for_rest(victim.pid)
    run.signal(signal.SIGINT)
    run.finish()
    used = procs.cpu_ns(victim.pid) - before
    tap.equal(run.status, 0, "the run ends well", str(run))
    got = run.profile.total("cpu")
    tap.ok(abs(got - used) <= PART * used, "a burst of %.3f s is %.3f s in the profile"
           % (used / 1e9, got / 1e9), str(run))
    tap.at_least(profiler.shares(run.profile, ["operations"])["operations"], 0.95,
                 "nearly all of it in the function that worked",
                 lambda: profiler.top_text(run.profile))


def test_a_target_that_ends():
    victim = Victim("execs", "exit", 2500, 0)
    run = profiler.Run("-p", victim.pid, "-d", "30").finish()
    tap.equal(run.status, 0, "the run ends well", str(run))
    got = run.profile.total("cpu")
    tap.ok(got > 0, "a target that ended has %.3f s of CPU time" % (got / 1e9), str(run))


def test_thread_clocks():
    """-t: the sum of one thread, against that thread's schedstat."""
    victim = Victim("work", 3, "busy")
    tid = procs.tids(victim.pid)[-1]

    def used():
        with open("/proc/%d/task/%d/schedstat" % (victim.pid, tid), encoding="ascii") as f:
            return int(f.read().split()[0])

    log = profiler.CpuLog(victim.pid, used)
    run = profiler.profile(victim.pid, 3, "-t", tid)
    want = log.during(run.profile)
    got = run.profile.total("cpu")
    # its account lags by a tick of the scheduler
    tap.ok(abs(got - want) <= 0.05 * want + 10000000,
           "the thread's sum is its own: %.3f s of %.3f s" % (got / 1e9, want / 1e9), str(run))
    tap.equal({t for t in run.profile.by_label("thread_id", "cpu") if t}, {tid},
              "no other thread is in the profile")


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_one_busy_thread,
        test_more_threads_than_processors,
        test_bursts,
        test_high_rate,
        test_threads_that_come_and_go,
        test_one_of_many_works,
        test_a_burst_inside_of_the_run,
        test_a_target_that_ends,
        test_thread_clocks,
    ])
