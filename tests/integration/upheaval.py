#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Targets that change under the profiler's hands: each case has an end that is known,
and is told in words where something was missed."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import elf32
import procs
import profiler
import ptrace
import tap
import torture
import victims
from victims import Victim

NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def ended(run, what, status=0):
    return tap.equal(run.status, status, what, str(run))


def need_root():
    if os.getuid() != 0:
        tap.skip("needs root")


# ---- seccomp -----------------------------------------------------------------------


def test_caged():
    """A filter that kills for restart_syscall, which a stop in nanosleep leads to."""
    for what, prefix in (("as root", []), ("from afar", profiler.from_afar())):
        victim = Victim("caged")
        run = profiler.profile(victim.pid, 3, hz=999, prefix=prefix)
        time.sleep(0.1)
        tap.equal(victim.process.poll(), None, "under seccomp, %s: it lives" % what, str(run))
        words = " ".join(victim.end())
        tap.ok("rounds " in words, "and has gone on sleeping and waking", words)


def test_control_caged():
    """That a careless stop kills it."""
    victim = Victim("caged")
    for _ in range(400):
        if victim.process.poll() is not None:
            break
        for tid in procs.tids(victim.pid)[1:]:
            try:
                ptrace.stop_and_go(tid)
            except ChildProcessError:
                pass
        time.sleep(0.003)
    victim.output.read_all(5)
    tap.equal(victim.process.poll(), -signal.SIGSYS, "a careless stop kills it")


# ---- exec --------------------------------------------------------------------------


def test_exec_storm():
    """A thread that is not the leader executes the program anew, 100 times, while others
    run and are being stopped."""
    for mode in torture.modes():
        victim = Victim("execs", "storm", 100)
        run = profiler.Run("-p", victim.pid, "-d", "3600", "-F", "999", "-m", mode)
        lines = victim.output.read_all(60)
        tap.equal(lines[-1:], ["storm over"], "100 execs, -m %s: all are done" % mode,
                  repr(lines[-5:]))
        tap.equal(victim.process.wait(20), 0, "and the program ends as it should")
        ended(run.finish(20), "and the run with it")


def test_becomes_32bit():
    """It is not sampled, and comes to no harm by the stops that find that out."""
    path = os.path.join(procs.temp_dir(), "waits32")
    elf32.write(path, elf32.WAITS)
    try:
        procs.spawn([path]).kill()
    except OSError as error:
        tap.skip("this kernel runs no 32-bit programs: %s" % error)
    run = profiler.Run("-F", "999", "--max-overhead", "100", "--", path)
    run.finish(60)
    ended(run, "a process that executes a 32-bit program")
    tap.contains(run.stderr, "because it runs a 32-bit program", "it is said")
    tap.contains(run.stderr, "exited with status 0", "and no call was interrupted")


# ---- threads -----------------------------------------------------------------------


def test_churn():
    """As many threads a second as this machine makes: 10,000 if it does nothing else."""
    for mode in torture.modes():
        victim = Victim("churn", 0, 10)
        then = time.monotonic()
        run = profiler.profile(victim.pid, 3, "-m", mode, hz=999)
        tap.equal(procs.traced(victim.pid), {}, "churn, -m %s: nothing stays traced" % mode)
        words = " ".join(victim.end()).split()
        made = int(words[words.index("threads") + 1]) / (time.monotonic() - then)
        tap.ok(made > 100, "churn, -m %s: %.0f threads a second live and die" % (mode, made))
        tap.equal(victim.process.returncode, 0, "and the program ends as it should", str(run))


# ---- pids --------------------------------------------------------------------------


_REUSE = r"""
import os, subprocess, sys, time
cprof, victims, out = sys.argv[1:4]
LAST = "/proc/sys/kernel/ns_last_pid"

def start(pid, *argv):
    with open(LAST, "w") as f:
        f.write(str(pid - 1))
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL)

first = start(700, victims + "/execs", "exit", "2000", "0")
run = subprocess.Popen([cprof, "-p", "700", "-d", "4", "-F", "999", "-o", out])
first.wait()
second = start(700, victims + "/work", "1", "busy")
print("pids", first.pid, second.pid, flush=True)
traced = 0
while run.poll() is None:
    with open("/proc/700/status") as f:
        traced += "TracerPid:\t0\n" not in f.read()
print("traced", traced)
print("status", run.returncode, "alive", second.poll() is None)
second.kill()
"""


def test_pid_reuse():
    """The target ends, and another process gets its pid while the run goes on."""
    need_root()
    unshare = procs.program("unshare")
    victims.path("execs"), victims.path("work")
    path = procs.temp_dir() + "/profile.pb.gz"
    done = subprocess.run([unshare, "-p", "-f", "--mount-proc", sys.executable, "-c", _REUSE,
                           profiler.PATH, os.path.dirname(victims.path("execs")), path],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
    said, told = done.stdout.decode(), done.stderr.decode("utf-8", "replace")
    if done.returncode != 0 and "pids" not in said:
        tap.skip("no pid can be chosen here: " + told[-200:])
    tap.contains(said, "pids 700 700", "another process has the target's pid")
    tap.contains(said, "status 0 alive True", "the run ends well, and the other lives")
    tap.contains(said, "traced 0", "which is never traced")
    read = profiler.Profile.read(path)
    shares = profiler.shares(read, ["spin_until_exit", "operations"])
    tap.at_least(shares["spin_until_exit"], 0.5, "the profile is that of the target")
    tap.equal(shares["operations"], 0.0, "and of nobody else")


# ---- permission, half-way ------------------------------------------------------------


def public(path, mode=0o755):
    directory = procs.temp_dir()
    os.chmod(directory, 0o755)
    copy = shutil.copy(path, directory)
    os.chmod(copy, mode)
    return copy


_LOCKS_ITSELF = r"""
import ctypes, time
print('ready', flush=True)
while time.process_time() < 1.5: pass
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
print('locked', flush=True)
while True: pass
"""


def run_as_nobody(pid, changed):
    """A run that ends a moment after `changed` has seen what it waits for."""
    directory = procs.temp_dir(pwd.getpwuid(NOBODY))
    path = directory + "/profile.pb.gz"
    process = procs.spawn([public(profiler.PATH), "-p", str(pid), "-d", "600", "-F", "499",
                           "-o", path], stderr=subprocess.PIPE, **AS_NOBODY)
    changed()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=120)[1].decode("utf-8", "replace")
    read = profiler.Profile.read(path) if os.path.exists(path) else None
    return process.returncode, text, read


def need_to_trace_as_nobody():
    need_root()
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as f:
            if int(f.read()) > 0:
                tap.skip("yama lets nobody trace another's process here")
    except FileNotFoundError:
        pass


def test_becomes_undumpable():
    need_to_trace_as_nobody()
    python = procs.program("/usr/bin/python3", "python3")
    target = procs.spawn([python, "-c", _LOCKS_ITSELF], stdout=subprocess.PIPE, **AS_NOBODY)
    lines = procs.Lines(target.stdout)
    lines.wait_for("ready")
    status, text, read = run_as_nobody(target.pid, lambda: lines.wait_for("locked"))
    tap.equal(status, 0, "PR_SET_DUMPABLE 0 half-way: what came before is written", text)
    tap.ok(read is not None and read.total("samples") > 20, "with its samples")
    tap.contains(text, "refused", "and it is told that the kernel refused the rest")
    tap.ok(target.poll() is None and procs.traced(target.pid) == {},
           "the target lives, untraced")


def test_setuid_exec_half_way():
    need_to_trace_as_nobody()
    program = public(victims.path("work"), 0o4755)
    starter = public(victims.path("execs"))
    target = procs.spawn([starter, "exec", "4000", program, "1", "busy"], stdout=subprocess.PIPE,
                         **AS_NOBODY)
    procs.Lines(target.stdout).wait_for("ready")
    status, text, read = run_as_nobody(target.pid, lambda: procs.wait_until(
        "it has become another program",
        lambda: procs.cmdline(target.pid).startswith(program)))
    if procs.status(target.pid)["Uid"].split()[1] != "0":
        tap.skip("setuid has no effect in " + os.path.dirname(program))
    tap.equal(status, 0, "exec of a setuid program half-way: what came before is written", text)
    tap.ok(read is not None and read.total("samples") > 20, "with its samples")
    tap.contains(text, "refused", "and it is told that the kernel refused the rest")
    tap.ok(target.poll() is None and procs.traced(target.pid) == {},
           "the target lives, untraced")


# ---- other tracers -------------------------------------------------------------------


def test_another_tracer_comes():
    """Somebody else holds all threads for a while: what is missed is counted."""
    victim = Victim("work", 2, "busy")
    run = torture.start(victim.pid, hz=499, at=0.8)
    held = []
    for tid in procs.tids(victim.pid):
        # a thread that is being sampled is refused, for some microseconds
        procs.wait_until("it is ours", lambda t=tid: ptrace.seize(t), 10)
        held.append(tid)
    time.sleep(1)
    tap.equal(run.process.poll(), None, "while another traces, the run goes on")
    for tid in held:
        if ptrace.interrupt(tid):
            os.waitpid(tid, ptrace.WALL)
            ptrace.detach(tid)
    time.sleep(0.5)
    run.signal(signal.SIGINT)
    run.finish()
    ended(run, "another tracer for a second: the run ends well")
    tap.contains(run.stderr, "refused", "and tells what it missed")
    tap.at_least(run.profile.total("samples"), 100, "it sampled before and after")
    tap.equal(procs.traced(victim.pid), {}, "nothing stays traced")


def come_and_go(argv, what, patience=30):
    """A tool that attaches while we sample, until it succeeded once."""
    victim = Victim("work", 2, "busy")
    run = torture.start(victim.pid, hz=999, at=0.5)
    end, good, said = time.monotonic() + patience, False, ""
    while not good and time.monotonic() < end:
        done = subprocess.run([a.replace("PID", str(victim.pid)) for a in argv],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False)
        said = done.stdout.decode("utf-8", "replace")
        good = "operations" in said or "futex" in said or "% time" in said
    tap.ok(good, "%s works while we sample" % what, said[-1000:])
    run.signal(signal.SIGINT)
    run.finish()
    ended(run, "%s: and the run ends well" % what)
    tap.equal(procs.traced(victim.pid), {}, "%s: nothing stays traced or stopped" % what)


def test_gdb_comes():
    come_and_go([procs.program("gdb"), "-nx", "-batch", "-p", "PID", "-ex",
                 "thread apply all backtrace"], "gdb")


def test_strace_comes():
    come_and_go([procs.program("timeout"), "-s", "INT", "1", procs.program("strace"), "-c", "-f",
                 "-p", "PID"], "strace")


# ---- job control ---------------------------------------------------------------------


def test_wait_statuses():
    """How a child ends is what its parent is told, though it was sampled to its end."""
    for argv, want in ((["exit", 1500, 0], 0), (["exit", 1500, 77], 77)):
        victim = Victim("execs", *argv)
        run = profiler.Run("-p", victim.pid, "-d", "60", "-F", "999")
        tap.equal(victim.process.wait(30), want, "a child that exits with %d" % want)
        ended(run.finish(), "and the run")
    for number in (signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT):
        child = procs.spawn([sys.executable, "-c", "while True: pass"])
        run = profiler.Run("-p", child.pid, "-d", "60", "-F", "999")
        run.begun()
        time.sleep(0.3)
        child.send_signal(number)
        tap.equal(child.wait(30), -number, "a child that %s kills" % number.name)
        ended(run.finish(), "and the run")


if __name__ == "__main__":
    profiler.require()
    tap.run([value for name, value in list(globals().items()) if name.startswith("test_")])
