#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls of the C library that fail inside of the profiler, one a run: it ends in order,
and the target is left as it was.

A short run is counted first; then, for each function, the n-th call fails, for
some n. CPROF_FAULTS=all takes every n up to 200 and every tenth up to 2000, which takes
half an hour; CPROF_FAULTS=NAME does so for one function.
"""

import os
import resource
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import tap
from pprof import Profile
from victims import Victim

SECONDS = "0.25"
FEW = 5  # calls of each function that fail in the short form
MALLOCS = 12  # and of those that allocate
# What fails at every wait in vain tells nothing.
PATIENCE = 60


def build(name):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib", name + ".c")
    path = os.path.join(procs.temp_dir(), name + ".so")
    flags = ["-std=gnu11", "-O1", "-fPIC", "-shared", "-fno-builtin"]
    try:
        subprocess.run(os.environ.get("CC", "cc").split() + flags + ["-o", path, source, "-ldl"],
                       check=True)
    except (OSError, subprocess.CalledProcessError) as why:
        tap.skip("the shim cannot be built: %s" % why)
    return path


def start(shim, pid, directory, call=None, nth=0, error=None, how=None):
    env = dict(os.environ, LD_PRELOAD=shim, FAULT_NTH=str(nth), CRASH=how or "")
    if call:
        env["FAULT_CALL"] = call
    if error:
        env["FAULT_ERRNO"] = str(error)
    if not nth:
        env["FAULT_COUNTS"] = os.path.join(directory, "counts")
    return subprocess.Popen(
        [profiler.PATH, "-p", str(pid), "-d", SECONDS, "-F", "199", "--max-overhead", "100",
         "-o", os.path.join(directory, "out.pb.gz")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)


def counted(shim, victim):
    """{function: how often a whole run calls it}."""
    directory = procs.temp_dir()
    process = start(shim, victim.pid, directory)
    process.communicate(timeout=PATIENCE)
    if process.returncode != 0:
        tap.skip("the shim cannot be loaded, or nothing may be sampled")
    with open(os.path.join(directory, "counts"), encoding="ascii") as f:
        return {name: int(n) for name, n in (line.split() for line in f)}


def work_done(victim):
    before = procs.cpu_ns(victim.pid)
    end = time.monotonic() + PATIENCE
    while procs.cpu_ns(victim.pid) == before:
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def judge(process, victim, directory):
    """What is wrong with how a run ended, or None."""
    try:
        errors = process.communicate(timeout=PATIENCE)[1].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "it hangs"
    status, path = process.returncode, os.path.join(directory, "out.pb.gz")
    wrong = []
    if status not in (0, 1, 3, 4):
        wrong.append("status %d" % status)
    # It is whole, or not there; and where memory was out after it was written, both.
    if os.path.exists(path):
        Profile.read(path)
    if status == 0 and not os.path.exists(path):
        wrong.append("no profile")
    elif status != 0 and os.path.exists(path) and "out of memory" not in errors:
        wrong.append("a profile in spite of the status")
    said = errors.rstrip("\n").rpartition("\n")[2].startswith("cprof-attach: ")
    if status != 0 and not said:
        wrong.append("no sentence")
    left = [n for n in os.listdir(directory) if n != "out.pb.gz"]
    if left:
        wrong.append("left behind: %s" % left)
    if procs.traced(victim.pid):
        wrong.append("threads left: %s" % procs.traced(victim.pid))
    if not work_done(victim):
        wrong.append("the target stands still")
    return "; ".join(wrong) + "\n" + errors if wrong else None


def choose(name, n):
    """Which calls are to fail."""
    wanted = os.environ.get("CPROF_FAULTS", "")
    if wanted in ("all", name):
        return list(range(1, min(n, 200) + 1)) + list(range(210, min(n, 2000) + 1, 10))
    if wanted:
        return []
    few = MALLOCS if name in ("malloc", "calloc", "reallocarray", "openat") else FEW
    if n <= few:
        return list(range(1, n + 1))
    # The first ones set up, the others are spread over the run.
    first = few // 2
    return list(range(1, first + 1)) + [first + (n - first) * i // (few - first)
                                        for i in range(1, few - first + 1)]


def sweep(shim, victim, name, ordinals, error=None):
    bad = []
    statuses = {}
    for nth in ordinals:
        directory = procs.temp_dir()
        process = start(shim, victim.pid, directory, name, nth, error)
        why = judge(process, victim, directory)
        statuses[process.returncode] = statuses.get(process.returncode, 0) + 1
        if why:
            bad.append("%s number %d: %s" % (name, nth, why))
    tap.equal(bad, [], "%s fails, %d times: %s" % (
        name, len(ordinals),
        ", ".join("%d x status %d" % (n, s) for s, n in sorted(statuses.items()))),
        "\n".join(bad))


def test_calls_that_fail():
    victim = Victim("work", 2, "busy")
    shim = build("fault")
    counts = counted(shim, victim)
    tap.at_least(len(counts), 20, "functions are called that may fail")
    for name, n in sorted(counts.items()):
        ordinals = choose(name, n)
        if ordinals:
            sweep(shim, victim, name, ordinals)


def test_ptrace_says_anything():
    victim = Victim("work", 2, "busy")
    shim = build("fault")
    for error in (1, 3, 5, 14, 16):  # EPERM, ESRCH, EIO, EFAULT, EBUSY
        sweep(shim, victim, "ptrace", [2, 3, 4, 5, 6] if "CPROF_FAULTS" in os.environ
              else [1 + error % 5, 6], error)


def crashed(shim, victim, how):
    """How a run ends when libdw crashes: its status, what it says, and the profile."""
    directory = procs.temp_dir()
    process = start(shim, victim.pid, directory, how=how)
    errors = process.communicate(timeout=PATIENCE)[1].decode("utf-8", "replace")
    path = os.path.join(directory, "out.pb.gz")
    tap.equal(procs.traced(victim.pid), {}, "%s in libdw: the target is left alone" % how)
    return process.returncode, errors, Profile.read(path) if os.path.exists(path) else None


def test_libraries_that_crash():
    victim = Victim("work", 2, "busy")
    shim = build("crash")
    if crashed(shim, victim, "not")[0] != 0:
        tap.skip("the shim cannot be loaded, or nothing may be sampled")
    for how in ("segv", "abort", "overflow"):
        status, errors, profile = crashed(shim, victim, how)
        tap.equal(status, 0, "%s in libdw does not end the run" % how, errors)
        tap.contains(errors, "libdw crashed on", "and is said")
        tap.ok(profile and "start_thread" in profile.cum(), "and names stay")
    status, errors, profile = crashed(shim, victim, "heap")
    tap.ok(status < 0 and "ended by signal" in errors and not profile,
           "an allocator that is broken ends the run, and it is said", errors)


def limited(what, value):
    def limit():
        resource.setrlimit(what, (value, value))
    return limit


def sweep_limit(what, name, values):
    victim = Victim("work", 2, "busy")
    bad, statuses = [], {}
    for value in values:
        directory = procs.temp_dir()
        process = subprocess.Popen(
            [profiler.PATH, "-p", str(victim.pid), "-d", SECONDS, "-o",
             os.path.join(directory, "out.pb.gz")], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limited(what, value))
        why = judge(process, victim, directory)
        # Before main() it is the dynamic linker that speaks.
        if process.returncode == 127:
            why = None
        statuses[process.returncode] = statuses.get(process.returncode, 0) + 1
        if why:
            bad.append("%d: %s" % (value, why))
    tap.equal(bad, [], "too little %s, %d times: %s" % (
        name, len(values), ", ".join("%d x status %d" % s for s in
                                     sorted((n, s) for s, n in statuses.items()))),
        "\n".join(bad))


def test_too_few_descriptors():
    sweep_limit(resource.RLIMIT_NOFILE, "descriptors", list(range(4, 40, 3)))


def test_too_little_memory():
    step = 4 if os.environ.get("CPROF_FAULTS") else 16
    sweep_limit(resource.RLIMIT_AS, "address space",
                [mb << 20 for mb in range(24, 280, step)])


def test_too_small_stacks():
    sweep_limit(resource.RLIMIT_STACK, "stack", [kb << 10 for kb in (64, 96, 128, 256)])


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_calls_that_fail,
        test_ptrace_says_anything,
        test_libraries_that_crash,
        test_too_few_descriptors,
        test_too_little_memory,
        test_too_small_stacks,
    ])
