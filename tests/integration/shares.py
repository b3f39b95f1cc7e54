#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CPU shares that are known beforehand, and those that perf measures.

CPROF_TEST_SECONDS says how long to measure (10).
"""

import collections
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import servers
import tap
from victims import Victim

SECONDS = float(os.environ.get("CPROF_TEST_SECONDS", "10"))
POINTS = 3.0  # how far a share may be off, in points of a hundred
PERF_POINTS = 5.0


def test_known_shares():
    victim = Victim("shares", 2)
    # as many samples as 30 s at 99 Hz have: three points are then many times their spread
    run = profiler.profile(victim.pid, SECONDS, hz=max(99, int(99 * 30 / SECONDS)))
    lines = victim.end()
    used = {l.split()[1]: int(l.split()[2]) for l in lines if l.startswith("share ")}
    total = sum(used.values())
    shares = profiler.shares(run.profile, used)
    for name, ns in used.items():
        want = 100 * ns / total
        got = 100 * shares[name]
        tap.ok(abs(got - want) <= POINTS, "%s: %.2f %% of %.2f %%" % (name, got, want),
               lambda: profiler.top_text(run.profile))
    threads = run.profile.by_label("thread_id", "cpu")
    spenders = [tid for tid in threads if tid and tid != victim.pid]
    tap.equal(len(spenders), 2, "the samples belong to two threads")
    names = {s.labels.get("thread_name") for s in run.profile.samples
             if s.labels.get("thread_id") in spenders}
    tap.equal(names, {"spender"}, "which carry their name")


def perf_flat(pid, seconds, directory):
    """Starts perf; gives a function that waits for it and counts leaf symbols."""
    perf = procs.program("perf")
    data = directory + "/perf.data"
    probe = subprocess.run([perf, "record", "-q", "-e", "cpu-clock:u", "-o", data, "true"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if probe.returncode != 0:
        tap.skip("perf cannot record: " + probe.stderr.decode("utf-8", "replace").strip())
    process = procs.spawn([perf, "record", "-q", "-e", "cpu-clock:u", "-F", "499", "-o", data,
                           "-p", str(pid), "--", "sleep", str(seconds)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def finish():
        assert process.wait(seconds + 60) == 0, "perf record failed"
        text = subprocess.run([perf, "script", "-i", data, "-F", "ip,sym"], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        names = collections.Counter()
        for line in text.decode("utf-8", "replace").splitlines():
            m = re.match(r"\s*[0-9a-f]+\s+(.*)", line)
            if m:
                names[plain(m[1])] += 1
        return names

    return finish


def plain(name):
    """A name without what tools spell differently: parameters and versions."""
    name = re.sub(r"\+0x[0-9a-f]+$|@.*$", "", name.strip())
    return name.split("(")[0] if not name.startswith("(") else name


def shares_and_perfs(pid, seconds):
    """What perf finds to be a part of two per cent or more: {name: (by us, by perf)}, in
    points of a hundred, and an explanation."""
    finish = perf_flat(pid, seconds, procs.temp_dir())
    # perf counts by symbol, whatever was inlined there.
    run = profiler.profile(pid, seconds, "--no-inlines", hz=499)
    theirs = finish()
    ours = collections.Counter()
    for name, value in run.profile.flat("cpu").items():
        ours[plain(name)] += value
    del ours["[not sampled]"]  # which perf has not sampled either
    their_total = sum(theirs.values())
    our_total = sum(ours.values())
    found = {name: (100 * ours[name] / our_total, 100 * n / their_total)
             for name, n in theirs.most_common()
             if n >= 0.02 * their_total and name != "[unknown]"}
    return found, profiler.top_text(run.profile) + "\nperf: %r" % theirs.most_common(12)


def compare_with_perf(pid):
    """Both are samples: where chance, or a machine that was busy elsewhere, takes them
    apart, one of twice the length decides."""
    for seconds in (5, 10):
        found, text = shares_and_perfs(pid, seconds)
        if all(abs(got - want) <= PERF_POINTS for got, want in found.values()):
            break
    for name, (got, want) in found.items():
        tap.ok(abs(got - want) <= PERF_POINTS,
               "%s: %.1f %%, perf says %.1f %%" % (name, got, want), text)
    tap.at_least(len(found), 2, "there was something to compare")


def test_perf_agrees_cpp():
    compare_with_perf(Victim("cpp").pid)


def test_perf_agrees_python():
    compare_with_perf(servers.python())


if __name__ == "__main__":
    profiler.require()
    tap.run([test_known_shares, test_perf_agrees_cpp, test_perf_agrees_python])
