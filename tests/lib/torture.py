# SPDX-License-Identifier: Apache-2.0
"""What may happen to a profiler, done to it many times while the victim `ledger`
keeps books. Each function does it `rounds` times and gives a Row; nothing here
judges, so that a test can assert and scripts/torture can print."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import procs
import profiler
from ledger import Ledger, by_call, harm

MODES = ["cpu", "wall", "block", "threads"]


class Row:
    """What came of it. held: threads that stayed traced or stopped; stuck: times
    that the target did not go on; harm: what stands wrong in the books; ratio:
    work while it was done to work without a profiler, by wall-clock time."""

    def __init__(self, what, rounds):
        self.what = what
        self.rounds = rounds
        self.held = []
        self.stuck = 0
        self.stuck_in = []
        self.left = set()
        self.odd_ends = []
        self.harm = {}
        self.by_call = {}
        self.ratio = None
        self.signals = 0
        self.sleeps = 0
        self.families = 0
        self.hurried = False

    def take_books(self, before, after):
        self.harm = harm(before, after)
        self.by_call = by_call(before, after)
        self.signals = sum(after[n] - before[n] for n in ("rt_sent", "std_sent"))
        self.sleeps = after["sleeps"] - before["sleeps"]
        self.families = after["families"] - before["families"]

    def clean(self, allowed=()):
        return (not self.held and not self.stuck and not self.odd_ends
                and not set(self.harm) - set(allowed))

    def __str__(self):
        return "%s: held %r, stuck %d in %r, odd ends %r, left %r, harm %r %r" % (
            self.what, self.held, self.stuck, self.stuck_in, self.odd_ends, sorted(self.left), self.harm,
            self.by_call)


def modes():
    """The modes that this build has, by asking it."""
    found = []
    for mode in MODES:
        done = subprocess.run([profiler.PATH, "-m", mode, "-p", "2147483647", "-o", "-"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 2:
            found.append(mode)
    return found


def held_by_it(pid):
    """The threads that stay traced or stopped. One that was asked to stop and waits for a
    CPU is traced until it gets one, for as long as an orphaned tracer waits; that holds
    nothing. Afterwards nobody may be traced, however often one looks."""
    end = time.monotonic() + 7
    while procs.traced(pid) and time.monotonic() < end:
        time.sleep(0.01)
    for _ in range(5):
        found = procs.traced(pid)
        if found:
            return [found]
        time.sleep(0.002)
    return []


def either():
    """Half of the runs have the right to meet threads where they run."""
    return random.choice([[], profiler.from_afar()])


def start(pid, mode="cpu", hz=999, at=None):
    """A profiler at work, met at a random instant of its life. `at`: how long after its
    start; the first 100 ms are those of starting and attaching."""
    run = profiler.Run("-p", pid, "-d", "60", "-F", hz, "-m", mode, prefix=either())
    time.sleep(random.uniform(0.02, 0.35) if at is None else at)
    return run


def forget(run):
    """What a run leaves open and lying about, of which a thousand are too many."""
    run.errors.close()
    run.printed.close()
    shutil.rmtree(run.directory, True)


def reap(run):
    try:
        run.process.wait(procs.PATIENCE)
    except subprocess.TimeoutExpired:
        run.process.kill()
        run.process.wait()
        return "hangs"
    return run.process.returncode


def speed(ledger, seconds):
    work, then = ledger["work"], time.monotonic()
    time.sleep(seconds)
    return (ledger["work"] - work) / (time.monotonic() - then)


def median(values):
    values = sorted(values)
    return values[len(values) // 2] if values else None


class Hurry:
    """Whether somebody wants an end now: a long row is then cut short, and true of what
    was done. Only SIGINT, and only within `with`."""

    def __init__(self):
        self.asked = False

    def __enter__(self):
        self.before = signal.signal(signal.SIGINT, self.ask)
        return self

    def ask(self, *_):
        self.asked = True

    def __exit__(self, *_):
        signal.signal(signal.SIGINT, self.before)


def incidents(ledger, what, rounds, once):
    """Does once(row) so many times, and looks at the target after each."""
    row = Row(what, 0)
    with Hurry() as hurry:
        count_incidents(ledger, row, rounds, once, hurry)
    return row


def count_incidents(ledger, row, rounds, once, hurry):
    before = ledger.settle()
    unprofiled = []
    during = []
    for i in range(rounds):
        work, then = ledger["work"], time.monotonic()
        once(row)
        row.rounds += 1
        during.append((ledger["work"] - work) / (time.monotonic() - then))
        row.held += held_by_it(ledger.pid)
        if i % 10 == 0 or row.held:
            row.stuck += not ledger.goes_on()
            unprofiled.append(speed(ledger, 0.2))
        if row.held or row.stuck or hurry.asked:
            break
    row.stuck_in = ledger.stuck_in
    row.ratio = median(during) / (median(unprofiled) or 1)
    row.take_books(before, ledger.settle())
    row.hurried = hurry.asked


def end_by(number, mode, of_tracer=False):
    """One run that ends by a signal at a random instant."""
    def once(row, ledger):
        run = start(ledger.pid, mode)
        pid = run.tracer() if of_tracer else run.pid
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        if of_tracer and pid is None:
            run.signal(signal.SIGKILL)
        status = reap(run)
        if status == "hangs":
            row.odd_ends.append(status)
        row.left |= set(os.listdir(run.directory)) - {"stdout", "stderr", "profile.pb.gz"}
        forget(run)

    return once


def stopped(seconds, mode):
    """SIGSTOP at a random instant, a while, SIGCONT, and an end as usual: that of
    threads, which takes one picture, by itself."""
    when = (0.01, 0.12) if mode == "threads" else (0.15, 0.4)

    def once(row, ledger):
        run = start(ledger.pid, mode, at=random.uniform(*when))
        if mode != "threads":
            # before it samples a SIGINT ends it without a profile
            run.begun()
        run.signal(signal.SIGSTOP)
        # or has ended before, and is taken note of by the attempt
        procs.wait_until("the profiler is stopped",
                         lambda: procs.state(run.pid) in ("T", "Z", ""))
        time.sleep(min(seconds, 0.05))
        row.held += held_by_it(ledger.pid)
        if seconds > 0.05:
            time.sleep(seconds)
            row.held += held_by_it(ledger.pid)
            row.stuck += not ledger.goes_on()
        run.signal(signal.SIGCONT)
        if mode != "threads":
            run.signal(signal.SIGINT)
        status = reap(run)
        if status != 0:
            row.odd_ends.append((status, run.stderr))
        forget(run)

    return once


def short_run(mode):
    """Attach, sample for a moment, detach."""
    def once(row, ledger):
        run = profiler.Run("-p", ledger.pid, "-d", "%.3f" % random.uniform(0.01, 0.15), "-F",
                           "999", "-m", mode, prefix=either())
        status = reap(run)
        if status != 0:
            row.odd_ends.append((status, run.stderr))
        forget(run)

    return once


KINDS = {
    "kill": ("kill -9", lambda mode: end_by(signal.SIGKILL, mode)),
    "kill-tracer": ("kill -9 of its tracer", lambda mode: end_by(signal.SIGKILL, mode, True)),
    "segv": ("SIGSEGV", lambda mode: end_by(signal.SIGSEGV, mode)),
    "stop": ("SIGSTOP, SIGCONT", lambda mode: stopped(0.05, mode)),
    "attach": ("attach, detach", short_run),
}


def torture(kind, rounds, mode="cpu", ledger=None):
    """One Row of KINDS; cleaning up after each round is left to the caller's tap."""
    what, make = KINDS[kind]
    ledger = ledger or Ledger()
    once = make(mode)
    return incidents(ledger, "%s, -m %s" % (what, mode), rounds, lambda row: once(row, ledger))


def starved(rounds, mode):
    """kill -9 while the target hardly gets a processor, so that stops stay open for long:
    one Row."""
    ledger = Ledger()
    for tid in procs.tids(ledger.pid):
        os.sched_setscheduler(tid, os.SCHED_IDLE, os.sched_param(0))
    hogs = []
    for cpu in os.sched_getaffinity(0):
        hogs.append(procs.spawn([sys.executable, "-c", "while True: pass"]))
        os.sched_setaffinity(hogs[-1].pid, [cpu])
    row = Row("kill -9, starved, -m " + mode, rounds)
    before = ledger.settle()
    for _ in range(rounds):
        run = profiler.Run("-p", ledger.pid, "-d", "60", "-F", 999, "-m", mode,
                           prefix=profiler.from_afar())
        time.sleep(random.uniform(0.1, 0.4))
        if run.process.poll() is None:
            run.signal(signal.SIGKILL)
        reap(run)
        forget(run)
        row.held += held_by_it(ledger.pid)
    for hog in hogs:
        procs.stop(hog)
    row.take_books(before, ledger.settle())
    ledger.end()
    return row


def long_stop(seconds, mode="cpu"):
    ledger = Ledger()
    once = stopped(seconds, mode)
    return incidents(ledger, "stopped for %g s, -m %s" % (seconds, mode), 1,
                     lambda row: once(row, ledger))
