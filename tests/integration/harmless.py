#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The target comes to no harm: whatever happens to the profiler, and whatever
the target is doing."""

import mmap
import os
import random
import shlex
import signal
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import ptrace
import tap
from terminal import Terminal
from victims import Victim

ROUNDS = int(os.environ.get("CPROF_TEST_ROUNDS", "12"))
KILLS = 40


class Worker:
    """The victim `work`, with its counters."""

    def __init__(self, threads):
        path = procs.temp_dir() + "/counters"
        self.victim = Victim("work", threads, "busy", path)
        self.pid = self.victim.pid
        self.threads = threads
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 0)

    def counts(self):
        return [struct.unpack_from("<Q", self.memory, 64 * i)[0] for i in range(self.threads)]

    def goes_on(self):
        """Whether every thread gets on with its work from now."""
        before = self.counts()
        try:
            procs.wait_until("every thread works", lambda: all(
                now > then for now, then in zip(self.counts(), before)), 20)
        except AssertionError:
            return False
        return True

    def speed(self, seconds=0.4):
        """Operations per second of CPU time."""
        operations, used = sum(self.counts()), procs.cpu_ns(self.pid)
        time.sleep(seconds)
        used = procs.cpu_ns(self.pid) - used
        return (sum(self.counts()) - operations) / (used / 1e9) if used else 0.0


def start_sampling(pid, hz=999):
    """A profiler that has begun to sample, and has been at it for a random time."""
    run = profiler.Run("-p", pid, "-d", "60", "-F", hz)
    run.begun()
    time.sleep(random.random() * 0.3)
    assert run.process.poll() is None, "it ended early: %s" % run.finish()
    return run


def held_by_it(pid):
    """The threads that stay traced or stopped. One that was asked to stop and waits for a
    CPU is traced until it gets one; that can take a while on a busy machine, and holds
    nothing. Afterwards nobody may be traced, however often one looks."""
    end = time.monotonic() + 2
    while procs.traced(pid) and time.monotonic() < end:
        time.sleep(0.02)
    for _ in range(20):
        found = procs.traced(pid)
        if found:
            return [found]
        time.sleep(0.003)
    return []


def test_killed():
    worker = Worker(6)
    speed = worker.speed()
    held, stuck, left = [], 0, []
    for _ in range(ROUNDS):
        run = start_sampling(worker.pid)
        run.signal(signal.SIGKILL)
        run.process.wait()
        held += held_by_it(worker.pid)
        stuck += not worker.goes_on()
        left += os.listdir(run.directory)
    tap.equal(held, [], "kill -9, %d times at 999 Hz: no thread stays traced or stopped" % ROUNDS)
    tap.equal(stuck, 0, "kill -9: every thread works on")
    tap.equal(sorted(set(left)), ["stderr", "stdout"], "kill -9: no file is left behind")
    tap.diag("operations per CPU second: %.0f before, %.0f afterwards" % (speed, worker.speed()))


def wait_stopped(pid):
    """Until a profiler is stopped, and its tracer knows: it looks every 20 ms."""
    procs.wait_until("the profiler is stopped", lambda: all(
        procs.state(pid, tid) == "T" for tid in procs.tids(pid)))
    time.sleep(0.1)


def test_stopped_by_the_terminal():
    """Ctrl-Z, and fg later, as a shell with job control does it."""
    worker = Worker(6)
    speed = worker.speed()
    held, stuck, speeds = [], 0, []
    path = procs.temp_dir() + "/profile.pb.gz"
    terminal = Terminal()
    command = " ".join(shlex.quote(a) for a in [
        profiler.PATH, "-p", str(worker.pid), "-d", "60", "-F", "999", "-o", path])
    script = "set -m; %s; while [ ! -e %s ]; do echo SHELL; read line; fg; done" % (command, path)
    shell = terminal.spawn(["sh", "-c", script])
    pid = procs.wait_until("the profiler runs", lambda: [
        c for c in procs.children(shell.pid) if b"cprof-attach" in comm(c)])[0]
    tap.cleanup(procs.kill, pid)
    for _ in range(ROUNDS):
        time.sleep(0.25 + random.random() * 0.3)
        terminal.seen = b""
        terminal.type(b"\x1a")
        wait_stopped(pid)
        terminal.wait_for(b"SHELL", 20)
        held += held_by_it(worker.pid)
        if held:
            break
        stuck += not worker.goes_on()
        speeds.append(worker.speed(0.1))
        terminal.type(b"\n")
        procs.wait_until("the profiler goes on", lambda: procs.state(pid) != "T")
    tap.equal(held, [], "Ctrl-Z, %d times at 999 Hz: no thread is traced or stopped" % ROUNDS)
    tap.equal(stuck, 0, "Ctrl-Z: every thread works on")
    if held:
        return
    tap.diag("operations per CPU second: %.0f before, %.0f meanwhile"
             % (speed, sum(speeds) / len(speeds)))
    time.sleep(0.3)
    os.kill(pid, signal.SIGINT)
    procs.wait_until("the profile is written", lambda: os.path.exists(path))
    read = profiler.Profile.read(path)
    tap.ok(read.total("samples") > 0, "after fg it samples on, and writes a profile")


def comm(pid):
    try:
        with open("/proc/%d/comm" % pid, "rb") as f:
            return f.read()
    except OSError:
        return b""


def test_stopped_by_a_signal():
    """SIGSTOP cannot be caught, and may come at the moment in which a thread is
    being sampled."""
    worker = Worker(2)
    held, stuck = [], 0
    for _ in range(ROUNDS):
        run = start_sampling(worker.pid)
        run.signal(signal.SIGSTOP)
        wait_stopped(run.pid)
        held += held_by_it(worker.pid)
        stuck += not worker.goes_on()
        run.signal(signal.SIGKILL)
        run.process.wait()
        stuck += not worker.goes_on()
    tap.equal(held, [], "SIGSTOP, %d times at 999 Hz: no thread is traced or stopped" % ROUNDS)
    tap.equal(stuck, 0, "SIGSTOP: every thread works on")


def eintrs(lines):
    return {l.split()[1]: int(l.split()[3]) for l in lines
            if l.startswith("call ") and l.split()[3] != "0"}


def check_sleepers(how, seconds, hz):
    victim = Victim("sleepers", how)
    run = profiler.profile(victim.pid, seconds, hz=hz)
    lines = victim.end()
    calls = [l.split() for l in lines if l.startswith("call ")]
    absent = [l.split()[1] for l in lines if l.startswith("absent ")]
    tap.at_least(len(calls), 30, "threads sleep in as many calls")
    if absent:
        tap.diag("this kernel does not have " + ", ".join(absent))
    tap.equal(eintrs(lines), {}, "%s sleeps at %d Hz: no call is interrupted" % (how, hz),
              "\n".join(lines))
    return run, calls


def test_long_sleeps():
    check_sleepers("long", 3, 999)


def test_short_sleeps():
    run, calls = check_sleepers("short", 8, 999)
    rounds = {name: int(n) for _, name, n, _ in calls}
    stuck = sorted(name for name, n in rounds.items() if n < 20)
    tap.equal(stuck, [], "short sleeps: every thread gets on", repr(rounds))
    tap.at_least(run.profile.total("samples"), 500, "short sleeps: threads are sampled")


def test_control_sleepers():
    """That the test can fail: stops that are not undone, and what comes of them."""
    victim = Victim("sleepers", "long")
    for tid in procs.tids(victim.pid)[1:]:
        if not ptrace.stop_and_go(tid):
            tap.skip("this test may not use ptrace")
    time.sleep(0.2)
    found = eintrs(victim.end())
    tap.ok({"epoll_wait", "semop", "sigtimedwait"} <= set(found),
           "a careless stop is noticed by " + ", ".join(sorted(found)))


def check_signals(victim, what):
    victim.said("done")
    words = " ".join(victim.lines).split()
    value = {name: int(words[words.index(name) + 1]) for name in
             ("sent", "received", "disordered", "altered", "alarms", "expirations")}
    tap.equal(value["received"], value["sent"], what + ": no queued signal is lost")
    tap.equal((value["disordered"], value["altered"]), (0, 0),
              what + ": none comes out of order or altered")
    tap.equal(value["alarms"], value["expirations"], what + ": no timer's signal is lost")


def test_signals():
    victim = Victim("signals", 15000)
    run = profiler.Run("-p", victim.pid, "-d", "60", "-F", "999")
    try:
        victim.said("done", 60)
    except AssertionError:
        victim.process.terminate()
    check_signals(victim, "at 999 Hz")
    run.signal(signal.SIGINT)
    run.finish()
    tap.equal(run.status, 0, "the profiler ends well", str(run))
    tap.at_least(run.profile.total("samples"), 200, "and has sampled all the while")


def test_signals_while_the_profiler_is_killed():
    victim = Victim("signals", 15000)
    kills = 0
    while not any(l == "done" for l in victim.output.lines) and kills < 60:
        run = profiler.Run("-p", victim.pid, "-d", "60", "-F", "999")
        time.sleep(0.15 + random.random() * 0.2)
        run.signal(signal.SIGKILL)
        run.process.wait()
        kills += 1
        victim.output._read(0)
    check_signals(victim, "%d profilers killed at 999 Hz" % kills)


def test_sleepers_while_the_profiler_is_killed():
    """A call that has been cut short is started again, also if that is the last thing."""
    victim = Victim("sleepers", "short")
    kills = 0
    while kills < KILLS:
        run = profiler.Run("-p", victim.pid, "-d", "60", "-F", "999")
        time.sleep(0.1 + random.random() * 0.15)
        run.signal(signal.SIGKILL)
        run.process.wait()
        kills += 1
    procs.wait_until("nothing is traced", lambda: procs.traced(victim.pid) == {})
    lines = victim.end()
    tap.equal(eintrs(lines), {}, "%d profilers killed at 999 Hz: no call is interrupted" % kills,
              "\n".join(lines))


def test_an_orphan_ends():
    """The process that samples outlives the profiler by no more than a moment."""
    victim = Victim("work", 2, "busy")
    run = start_sampling(victim.pid)
    tracer = run.begun()
    run.signal(signal.SIGKILL)
    run.process.wait()
    procs.wait_until("the tracer is gone", lambda: procs.state(tracer) in ("", "Z"), 10)
    tap.equal(procs.traced(victim.pid), {}, "the tracer ends, and leaves nothing traced")


def all_stopped(pid):
    return all(procs.state(pid, tid) == "T" for tid in procs.tids(pid))


def test_group_stop():
    worker = Worker(4)
    run = start_sampling(worker.pid, 499)
    os.kill(worker.pid, signal.SIGSTOP)
    procs.wait_until("the target is stopped", lambda: all_stopped(worker.pid))
    counts = worker.counts()
    ran = []
    for _ in range(60):
        time.sleep(0.01)
        ran += [s for s in (procs.state(worker.pid, t) for t in procs.tids(worker.pid))
                if s not in "Tt"]
    tap.equal(ran, [], "a target that is stopped by SIGSTOP stays so while it is profiled")
    tap.equal(worker.counts(), counts, "and does nothing")
    run.signal(signal.SIGINT)
    run.finish()
    tap.equal(run.status, 0, "the profiler ends", str(run))
    tap.ok(all_stopped(worker.pid), "and leaves it stopped",
           lambda: repr([procs.state(worker.pid, t) for t in procs.tids(worker.pid)]))
    os.kill(worker.pid, signal.SIGCONT)
    tap.ok(worker.goes_on(), "SIGCONT lets it go on")


def test_stop_and_go_under_the_profiler():
    worker = Worker(4)
    run = start_sampling(worker.pid)
    odd = 0
    for _ in range(20):
        os.kill(worker.pid, signal.SIGSTOP)
        procs.wait_until("it is stopped", lambda: all_stopped(worker.pid), 20)
        counts = worker.counts()
        time.sleep(0.03)
        odd += worker.counts() != counts
        os.kill(worker.pid, signal.SIGCONT)
        odd += not worker.goes_on()
    tap.equal(odd, 0, "SIGSTOP and SIGCONT, 20 times at 999 Hz: both have their effect")
    run.signal(signal.SIGINT)
    run.finish()
    tap.equal(run.status, 0, "the profiler ends well", str(run))


def test_parent_events():
    """What waitpid tells the target's parent is what happened, no more, no less."""
    victim = Victim("execs", "parent")
    pid = int(next(l for l in victim.lines if l.startswith("child ")).split()[1])
    run = start_sampling(pid)
    for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGSTOP, signal.SIGCONT):
        os.kill(pid, number)
        time.sleep(0.2)
    run.signal(signal.SIGINT)
    run.finish()
    os.kill(pid, signal.SIGKILL)
    lines = victim.output.read_all(20)
    events = [l for l in lines if not l.startswith(("ready", "child"))]
    tap.equal(events, ["stopped 19", "continued", "stopped 19", "continued", "killed 9"],
              "the parent sees these events", str(run))


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_killed,
        test_stopped_by_the_terminal,
        test_stopped_by_a_signal,
        test_long_sleeps,
        test_short_sleeps,
        test_control_sleepers,
        test_signals,
        test_signals_while_the_profiler_is_killed,
        test_sleepers_while_the_profiler_is_killed,
        test_an_orphan_ends,
        test_group_stop,
        test_stop_and_go_under_the_profiler,
        test_parent_events,
    ])
