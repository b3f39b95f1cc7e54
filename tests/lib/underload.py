# SPDX-License-Identifier: Apache-2.0
"""A server under load, profiled and left alone in turn, and then attached to and
detached from many times."""

import time

import loads
import procs
import profiler
import torture


class Result:
    def __init__(self, name):
        self.name = name
        self.profiled_s = 0.0
        self.samples = 0
        self.requests = 0
        self.failures = []
        self.log_errors = []
        self.attaches = 0
        self.bad_runs = []
        self.held = []
        self.ratios = []

    def clean(self):
        return not (self.failures or self.log_errors or self.bad_runs or self.held)


def _profile(pids, seconds, how):
    """One run on all processes that are still there (a server's may come and go), and its
    status."""
    args = [a for pid in pids if procs.state(pid) not in ("", "Z") for a in ("-p", pid)]
    run = profiler.Run(*args, "-d", "%g" % seconds, *how)
    return run, torture.reap(run)


def _count(result, run, status):
    # 4: a process ended before it was looked at
    if status not in (0, 4):
        result.bad_runs.append("status %s: %s" % (status, run.stderr))
    if status == 0:
        read = profiler.Profile.read(run.path)
        result.samples += read.total("samples")
    torture.forget(run)


def _rate(load, action):
    """Requests a second meanwhile, and what came of the action."""
    before, then = load.requests(), time.monotonic()
    outcome = action()
    return (load.requests() - before) / (time.monotonic() - then), outcome


def run(name, seconds, period, rest, attaches, how=("-F", 999, "-m", "cpu")):
    """`seconds` of profiling in pieces of `period`, each between two of `rest` without.
    how: more options for the profiler."""
    result = Result(name)
    load = loads.start(name)
    without, _ = _rate(load, lambda: time.sleep(rest))
    while result.profiled_s < seconds:
        during, done = _rate(load, lambda: _profile(load.pids(), period, how))
        # Reading a profile takes a processor, too, which is not the profiler's fault.
        _count(result, *done)
        later, _ = _rate(load, lambda: time.sleep(rest))
        result.ratios.append(2 * during / ((without + later) or 1))
        without = later
        result.profiled_s += period
    for _ in range(attaches):
        _count(result, *_profile(load.pids(), 0.1, how))
        result.attaches += 1
    for pid in load.pids():
        result.held += torture.held_by_it(pid)
    result.requests = load.requests()
    # Before the load ends: a server may complain of clients that go away.
    result.log_errors = load.log_errors()
    load.finish()
    result.failures = load.failures
    return result
