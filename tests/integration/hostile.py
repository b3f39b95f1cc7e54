#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Targets that want to break the profiler: it neither crashes nor hangs, its memory stays
bounded, and what it writes is a profile.

CPROF_HOSTILE=SECONDS goes on for that long with ever new seeds, CPROF_SEED=N starts at
that one. CPROF_ATTACH may name a build with sanitizers."""

import os
import random
import re
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

WAYS = ["headers", "maps", "stack", "names", "forks"]
OPTIONS = [[], ["--unwinder", "libunwind"], ["--unwinder", "fp"], ["--accounting", "stat"],
           ["--max-depth", "32768"], ["--max-pause", "20"]]
MAX_KB = 400 * 1024
PATIENCE = 90
SANITIZED = os.environ.get("CPROF_SANITIZED", "") != ""


def attack(seed, ms, ways, args):
    """What is wrong with a run against this target, or None; and its memory in KiB."""
    victim = Victim("hostile", seed, ms, *ways)
    directory = procs.temp_dir()
    path = os.path.join(directory, "out.pb.gz")
    process = procs.spawn(
        [profiler.PATH, "-p", str(victim.pid), "-d", "600", "-F", "999", "--max-overhead", "100",
         "-o", path] + args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    lines = procs.Lines(process.stderr)
    victim.process.wait()
    try:
        lines.read_all(PATIENCE)
    finally:
        if not lines.ended:
            process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    text = "\n".join(lines.lines)
    wrong = []
    if not lines.ended:
        wrong.append("it hangs")
    # It may have ended before we came.
    if process.returncode not in (0, 3, 4):
        wrong.append("status %s" % process.returncode)
    if process.returncode == 0:
        Profile.read(path)
    if re.search("[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]", text):
        wrong.append("control characters")
    if usage.ru_maxrss > MAX_KB and not SANITIZED:
        wrong.append("%d KiB of memory" % usage.ru_maxrss)
    if wrong:
        return "%s: seed %d, %s %s\n%s" % ("; ".join(wrong), seed, ways, args, text), 0
    return None, usage.ru_maxrss


def attacks(combinations, what):
    bad, most = [], 0
    for seed, ms, ways, args in combinations:
        why, memory = attack(seed, ms, ways, args)
        most = max(most, memory)
        if why:
            bad.append(why)
    tap.equal(bad, [], "%s: %d runs end well (%d MiB at most)"
              % (what, len(combinations), most // 1024), "\n".join(bad))


def test_each_way():
    for i, way in enumerate(WAYS):
        attacks([(i + 1, 700, [way], []), (i + 11, 700, [way], OPTIONS[1 + i % 5])], way)


def test_all_at_once():
    attacks([(100 + i, 900, [], args) for i, args in enumerate(OPTIONS)], "all at once")


def test_memory_does_not_grow():
    """Against a target that makes new maps and threads all the time. Its stacks are real:
    of new ones a profile keeps what there is, up to a limit that takes minutes to reach."""
    ways = ["headers", "maps", "names", "forks"]
    short = attack(7, 1500, ways, [])[1]
    why, long = attack(7, 7500, ways, [])
    tap.equal(why, None, "a longer run ends well")
    tap.at_most(long, 2 * short + 16 * 1024, "and takes about as much memory (KiB; %d for a "
                "fifth of the time)" % short)


def test_for_long():
    seconds = float(os.environ.get("CPROF_HOSTILE", "0"))
    if not seconds:
        tap.skip("set CPROF_HOSTILE to a number of seconds")
    seed = int(os.environ.get("CPROF_SEED", random.randrange(1 << 30)))
    end, bad, runs, most = time.monotonic() + seconds, [], 0, 0
    tap.diag("seeds from %d on" % seed)
    while time.monotonic() < end:
        chance = random.Random(seed)
        ways = [w for w in WAYS if chance.random() < 0.6]
        why, memory = attack(seed, chance.randrange(100, 3000), ways, chance.choice(OPTIONS))
        if why:
            bad.append(why)
        seed, runs, most = seed + 1, runs + 1, max(most, memory)
    tap.equal(bad, [], "%d runs in %g seconds end well (%d MiB at most)"
              % (runs, seconds, most // 1024), "\n".join(bad))


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_each_way,
        test_all_at_once,
        test_memory_does_not_grow,
        test_for_long,
    ])
