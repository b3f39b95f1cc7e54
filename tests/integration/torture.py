#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/torture in small: the profiler is killed, stopped, crashed, started and
ended while its target keeps books. CPROF_TEST_ROUNDS makes it longer."""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import ptrace
import tap
import torture
from ledger import Ledger, by_call, harm

ROUNDS = int(os.environ.get("CPROF_TEST_ROUNDS", "3"))


def check(row, allowed=()):
    tap.diag("%s, %d times: %d signals, %d sleeps, %d children" % (
        row.what, row.rounds, row.signals, row.sleeps, row.families))
    tap.equal((row.held, row.stuck), ([], 0), row.what + ": nobody stays traced or stopped, "
              "and the target goes on", str(row))
    tap.equal(row.odd_ends, [], row.what + ": every run ends as it should")
    tap.equal({k: v for k, v in row.harm.items() if k not in allowed}, {},
              row.what + ": the target's books are in order", str(row))
    tap.equal(sorted(row.left), [], row.what + ": no file is left behind")


def test_torture():
    """A stop that was not undone when its tracer was killed is an EINTR: the one harm
    there may be, counted by scripts/torture."""
    for mode in torture.modes():
        ledger = Ledger()
        for kind in torture.KINDS:
            killed = ("eintr",) if kind in ("kill", "kill-tracer", "segv") else ()
            rounds = ROUNDS if mode == "cpu" else 1 + ROUNDS // 4
            row = torture.torture(kind, rounds, mode, ledger)
            check(row, killed)
            # One that was hurt does not tell what comes next from what came before.
            if row.held or row.stuck:
                ledger.end()
                ledger = Ledger()
        ledger.end()


def test_killed_beside_busy_processes():
    """A killed profiler's tracer waits for threads that get no processor for long. When
    it did not, half of the kills left an EINTR in -m cpu."""
    for mode, rounds in (("cpu", 3 + ROUNDS), ("threads", ROUNDS)):
        row = torture.starved(rounds, mode)
        check(row, ("eintr",))
        tap.at_most(row.harm.get("eintr", 0), 1, row.what + ": calls that fail with EINTR")


def test_long_stop():
    check(torture.long_stop(float(os.environ.get("CPROF_TEST_STOPPED", "6"))))


def test_long_run():
    """Every counter of the books, under sampling and nothing else."""
    ledger = Ledger()
    for mode in torture.modes():
        for what, prefix in (("as root", []), ("from afar", profiler.from_afar())):
            before = ledger.settle()
            run = profiler.profile(ledger.pid, 2, "-m", mode, hz=999, prefix=prefix)
            after = ledger.settle()
            tap.equal((harm(before, after), by_call(before, after)), ({}, {}),
                      "2 s at 999 Hz, -m %s, %s: the target's books are in order" % (mode, what))
            tap.at_least(len(run.profile.samples), 3, "and it was sampled")


# ---- that each of these can fail -------------------------------------------------


def careless(ledger, cycles):
    """Stops all threads as a careless tool does: the signal of a stop is kept, an EINTR
    is not undone."""
    for _ in range(cycles):
        for tid in procs.tids(ledger.pid):
            ptrace.stop_and_go(tid)
        time.sleep(0.002)


def test_control_careless_stops():
    ledger = Ledger()
    before = ledger.settle()
    if not ptrace.stop_and_go(procs.tids(ledger.pid)[-1]):
        tap.skip("this test may not use ptrace")
    careless(ledger, 200)
    after = ledger.settle()
    found = harm(before, after)
    tap.ok("eintr" in found, "stops that are not undone are in the books: %s"
           % ", ".join(sorted(by_call(before, after))), repr(found))


def test_control_held():
    """A thread that stays traced or stopped is noticed."""
    ledger = Ledger()
    tid = procs.tids(ledger.pid)[0]
    if not ptrace.seize(tid) or not ptrace.interrupt(tid):
        tap.skip("this test may not use ptrace")
    os.waitpid(tid, ptrace.WALL)
    tap.equal([list(found) for found in torture.held_by_it(ledger.pid)], [[tid]],
              "a thread that is held is seen")
    tap.ok(not ledger.goes_on(1), "and that the target does not go on")
    ptrace.detach(tid)
    tap.ok(ledger.goes_on(), "until it is let go")


if __name__ == "__main__":
    profiler.require()
    tap.run([test_long_run, test_torture, test_killed_beside_busy_processes, test_long_stop,
             test_control_careless_stops, test_control_held])
