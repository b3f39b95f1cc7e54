# SPDX-License-Identifier: Apache-2.0
"""The victim `ledger`: what is done to it stands in its books."""

import mmap
import struct
import time

import procs
import tap
from victims import Victim

ENTRY = 32
NENTRIES = 64

# What must stay 0 whatever is done to the process; `settle` adds what was lost.
HARM = ["eintr", "rt_lost", "rt_disordered", "rt_altered", "std_lost", "std_odd",
        "std_altered", "timer_lost", "chld_lost", "chld_odd", "wait_odd"]


class Ledger:
    def __init__(self):
        path = procs.temp_dir() + "/ledger"
        self.victim = Victim("ledger", path)
        self.pid = self.victim.pid
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 0)
        self.place = {}
        for i in range(NENTRIES):
            name = self.memory[i * ENTRY:i * ENTRY + 24].rstrip(b"\0").decode("ascii")
            if name:
                self.place[name] = i * ENTRY + 24
        self.stuck_in = []
        tap.cleanup(self.end)
        procs.wait_until("its timer has begun", lambda: self["timer"] > 0)

    def __getitem__(self, name):
        return struct.unpack_from("<q", self.memory, self.place[name])[0]

    def __setitem__(self, name, value):
        struct.pack_into("<q", self.memory, self.place[name], value)

    def all(self):
        return {name: self[name] for name in self.place}

    def end(self):
        """SIGTERM is one of the signals it counts; it is told to end, or killed."""
        self["end"] = 1
        try:
            self.victim.process.wait(5)
        except Exception:
            self.victim.process.kill()
            self.victim.process.wait()

    def goes_on(self, patience=None):
        """Whether all its parts get on from now: work, sleeps, signals, children. If not,
        .stuck_in names those that do not."""
        names = ["work", "sleeps", "rt_received", "std_received", "timer", "itimer",
                 "families"]
        before = self.all()
        try:
            procs.wait_until("it goes on", lambda: all(
                self[name] > before[name] for name in names), patience)
        except AssertionError:
            self.stuck_in = [name for name in names if self[name] <= before[name]]
            return False
        return True

    def settle(self):
        """The books with nothing under way: {entry: value}, with rt_lost and timer_lost."""
        self["hold"] = 1
        try:
            procs.wait_until("sender and families pause", lambda: self["held"] == 2)
            end = time.monotonic() + 10
            while self["rt_sent"] > self["rt_received"] and time.monotonic() < end:
                time.sleep(0.005)
            self["timer_behind"] = 1 << 62
            ticks = self["timer"]
            procs.wait_until("its timer ticks", lambda: self["timer"] > ticks + 20)
            books = self.all()
        finally:
            self["hold"] = 0
        books["rt_lost"] = books["rt_sent"] - books["rt_received"]
        books["timer_lost"] = books["timer_behind"]
        return books


def harm(before, after):
    """What two settled books differ in that they must not: {entry: how much}."""
    return {name: after[name] - before[name] for name in HARM if after[name] != before[name]}


def by_call(before, after):
    """The EINTRs between two books by the call that failed."""
    return {name.split()[1]: after[name] - before[name] for name in after
            if name.startswith("eintr ") and after[name] != before[name]}
