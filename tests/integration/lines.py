#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files, lines and inlined functions of a process, in the profile and in what readers
make of it. tests/victims/inlines.c says which line is whose."""

import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import profiler
import tap
from victims import SOURCE, Victim

SECONDS = 2
_runs = {}


def source():
    return os.path.join(SOURCE, "inlines.c")


def comments():
    with open(source(), encoding="utf-8") as f:
        return {text: number for number, line in enumerate(f, 1)
                for text in re.findall(r"/\* (.*?) \*/", line)}


def run_with(*options):
    if options not in _runs:
        _runs[options] = fresh_run(*options)
    return _runs[options]


def fresh_run(*options):
    """One whose files are still there."""
    victim = Victim("inlines")
    run = profiler.profile(victim.pid, SECONDS, *options, hz=499)
    victim.end()
    return run


def leaf_lines(profile):
    """{[(function, line)] of the leaf's location: CPU time}"""
    found = {}
    for sample in profile.samples:
        if sample.locations[0].mapping:
            lines = tuple((l.function.name, l.line) for l in sample.locations[0].lines)
            found[lines] = found.get(lines, 0) + sample.values[-1]
    return found


def program_mapping(profile):
    return next(m for m in profile.mappings if m.filename.endswith("/inlines"))


def test_chains():
    """The innermost function first, with the places of the calls."""
    line_of = comments()
    found = leaf_lines(run_with().profile)
    total = sum(found.values())
    parts = {}
    for name in "heavy", "light":
        chain = [("both", line_of["both calls " + name]),
                 ("worker", line_of["worker calls both"])]
        parts[name] = sum(value for lines, value in found.items()
                          if lines[0][0] == name and list(lines[1:]) == chain) / total
    tap.at_least(parts["heavy"] + parts["light"], 0.95, "leaves are inlined functions",
                 lambda: str(found))
    tap.at_least(parts["heavy"], 0.6, "most of it is heavy's", lambda: str(found))
    at_line = sum(v for lines, v in found.items()
                  if lines[0] == ("heavy", line_of["line of heavy"]))
    tap.at_least(at_line / total, 0.4, "at the line of its work", lambda: str(found))


def test_functions():
    profile = run_with().profile
    ours = {f.name: f for f in profile.functions
            if f.name in ("heavy", "light", "both", "worker")}
    tap.equal(sorted(ours), ["both", "heavy", "light", "worker"], "all have functions")
    tap.equal({os.path.realpath(f.filename) for f in ours.values()},
              {os.path.realpath(source())}, "with the whole path of their file")
    with open(source(), encoding="utf-8") as f:
        text = f.read().splitlines()
    for name, function in sorted(ours.items()):
        tap.contains(text[function.start_line - 1], name + "(", name + " starts there")


def test_claims():
    """A mapping claims what all its locations have, and no more."""
    profile = run_with().profile
    for m in profile.mappings:
        lines = [line for l in profile.locations if l.mapping and l.mapping.id == m.id
                 for line in l.lines]
        tap.equal((m.has_filenames, m.has_line_numbers),
                  (bool(lines) and all(l.function.filename for l in lines),
                   bool(lines) and all(l.line for l in lines)),
                  "claims of " + os.path.basename(m.filename))
    m = program_mapping(run_with("--no-lines").profile)
    tap.equal((m.has_functions, m.has_filenames, m.has_line_numbers, m.has_inline_frames),
              (True, False, False, False), "claims with --no-lines")


def test_less():
    line_of = comments()
    found = leaf_lines(run_with("--no-lines").profile)
    tap.equal(set(found) & {(("worker", 0),)}, {(("worker", 0),)}, "--no-lines: worker alone")
    tap.ok(all(len(lines) == 1 for lines in found), "--no-lines: nothing inlined")
    found = leaf_lines(run_with("--no-inlines").profile)
    tap.ok(all(len(lines) == 1 for lines in found), "--no-inlines: nothing inlined")
    tap.ok((("worker", line_of["line of heavy"]),) in found, "--no-inlines: with lines",
           lambda: str(found))


def test_go_tool_pprof():
    go = shutil.which("go")
    if not go:
        tap.skip("no go here")
    path = fresh_run().path

    def pprof(*args):
        return subprocess.run([go, "tool", "pprof", "-symbolize=none", *args, path],
                              capture_output=True, text=True, timeout=120).stdout

    line_of = comments()
    listing = pprof("-list=^heavy$")
    rows = [line for line in listing.splitlines() if "line of heavy" in line]
    tap.ok(rows and re.match(r"\s*\d+(\.\d+)?m?s", rows[0]),
           "-list shows the time beside the line", listing)
    tap.ok(re.search(r"\bboth .*inlines\.c:%d\b" % line_of["both calls heavy"],
                     pprof("-raw")), "-raw shows the call", lambda: pprof("-raw"))
    tap.contains(pprof("-top"), "heavy (inline)", "-top knows what was inlined")


def test_summary_and_folded():
    """The time of an inlined function is its own."""
    run = fresh_run()
    rows = [line.split() for line in run.stderr.splitlines()]
    tap.ok(any(row[-1:] == ["heavy"] and row[0] != "0.000" for row in rows),
           "the summary has a row for it", run.stderr)
    victim = Victim("inlines")
    folded = profiler.Run("-p", victim.pid, "-d", 1, "-F", 199, "-f", "folded",
                          output="-").finish()
    victim.end()
    tap.contains(folded.stdout.decode(), "worker;both;heavy ", "folded stacks have it")


if __name__ == "__main__":
    profiler.require()
    tap.run([test_chains, test_functions, test_claims, test_less, test_go_tool_pprof,
             test_summary_and_folded])
