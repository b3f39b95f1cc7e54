# SPDX-License-Identifier: Apache-2.0
"""Other tools that look at a process from outside, on the victim `ledger`, as we do.

Each is used as its manual says: the debuggers, which take one picture of all
threads, once a second; those that watch, all the time."""

import os
import random
import signal
import subprocess
import time

import procs
import profiler
import torture
from ledger import Ledger, by_call, harm

PICTURE_EVERY_S = 1.0
PATIENCE_S = 30  # with a tool that ends by itself


def _spawn(argv):
    return procs.spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _cprof(hz):
    def start(pid, seconds):
        return _spawn([profiler.PATH, "-p", str(pid), "-d", str(seconds), "-F", str(hz), "-o",
                       procs.temp_dir() + "/profile.pb.gz"])

    return start


def _perf(pid, seconds):
    return _spawn([procs.program("perf"), "record", "-q", "-g", "-F", "999", "-p", str(pid),
                   "-o", procs.temp_dir() + "/perf.data", "--", "sleep", str(seconds)])


def _strace(pid, _seconds):
    return _spawn([procs.program("strace"), "-c", "-f", "-o", "/dev/null", "-p", str(pid)])


def _gdb(pid, _seconds):
    return _spawn([procs.program("gdb"), "-nx", "-batch", "-p", str(pid), "-ex",
                   "thread apply all backtrace"])


def _eu_stack(pid, _seconds):
    return _spawn([procs.program("eu-stack"), "-p", str(pid)])


# name -> (start(pid, seconds), whether it takes one picture and ends)
PEERS = {
    "nobody": (None, False),
    "cprof-attach -F 99": (_cprof(99), False),
    "cprof-attach -F 999": (_cprof(999), False),
    "perf record -F 999 -g": (_perf, False),
    "strace -c -f": (_strace, False),
    "gdb, thread apply all bt": (_gdb, True),
    "eu-stack": (_eu_stack, True),
}


def _ends(process):
    """Waits for a tool that should end by itself; whether it did."""
    try:
        process.wait(PATIENCE_S)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def _watch(name, pid, seconds, figures):
    """Lets a tool look for so long."""
    start, is_picture = PEERS[name]
    end = time.monotonic() + seconds
    process = None
    while start and (process is None or is_picture and time.monotonic() < end):
        process = start(pid, seconds)
        figures.runs += 1
        if is_picture:
            figures.hung += not _ends(process)
            time.sleep(max(0, min(PICTURE_EVERY_S, end - time.monotonic())))
    time.sleep(max(0, end - time.monotonic()))
    if start and not is_picture:
        process.send_signal(signal.SIGINT)
        figures.hung += not _ends(process)


class Figures:
    """What one tool did. ratio: work while it looked to work without it."""

    def __init__(self, name):
        self.name = name
        self.runs = 0
        self.hung = 0
        self.eintr = 0
        self.by_call = {}
        self.harm = {}
        self.ratio = 0.0
        self.gap_ns = 0
        self.still_ns = 0
        self.signals = 0
        self.sleeps = 0
        self.kills = 0
        self.left_held = 0
        self.kill_eintr = 0
        self.kill_harm = {}


def watched(name, rounds, seconds):
    """Figures of a tool that is left to do its work."""
    figures = Figures(name)
    ledger = Ledger()
    before = ledger.settle()
    ratios = []
    for _ in range(rounds):
        without = torture.speed(ledger, seconds / 2)
        ledger["gap_max"] = ledger["still_max"] = 0
        work, then = ledger["work"], time.monotonic()
        _watch(name, ledger.pid, seconds, figures)
        during = (ledger["work"] - work) / (time.monotonic() - then)
        figures.gap_ns = max(figures.gap_ns, ledger["gap_max"])
        figures.still_ns = max(figures.still_ns, ledger["still_max"])
        without = (without + torture.speed(ledger, seconds / 2)) / 2
        ratios.append(during / without)
        if procs.state(ledger.pid) == "T":
            os.kill(ledger.pid, signal.SIGCONT)
    after = ledger.settle()
    figures.ratio = torture.median(ratios)
    figures.harm, figures.by_call = harm(before, after), by_call(before, after)
    figures.eintr = figures.harm.pop("eintr", 0)
    figures.signals = sum(after[n] - before[n] for n in ("rt_sent", "std_sent"))
    figures.sleeps = after["sleeps"] - before["sleeps"]
    ledger.end()
    return figures


def _length(name, pid):
    """How long a run lasts: of a picture as measured, else some tenths of a second."""
    start, is_picture = PEERS[name]
    if not is_picture:
        return 0.4
    then = time.monotonic()
    _ends(start(pid, 1))
    return time.monotonic() - then


def killed(figures, kills):
    """Adds what is left when the tool is killed at a random instant of its run."""
    start, _ = PEERS[figures.name]
    if start is None:
        return
    ledger = Ledger()
    length = _length(figures.name, ledger.pid)
    before = ledger.settle()
    for _ in range(kills):
        process = start(ledger.pid, 60)
        time.sleep(random.uniform(0.02, length))
        process.kill()
        process.wait()
        figures.kills += 1
        if torture.held_by_it(ledger.pid):
            figures.left_held += 1
            _add(figures, before, ledger.all())
            os.kill(ledger.pid, signal.SIGCONT)
            ledger.end()
            ledger = Ledger()
            before = ledger.settle()
    _add(figures, before, ledger.settle())
    ledger.end()


def _add(figures, before, after):
    figures.kill_eintr += after["eintr"] - before["eintr"]
    for name, n in harm(before, dict(before, **after)).items():
        if name != "eintr":
            figures.kill_harm[name] = figures.kill_harm.get(name, 0) + n
