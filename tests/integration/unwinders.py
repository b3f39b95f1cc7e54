#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules against libunwind at the stops of real programs: no stack may differ.
scripts/compare-unwinders is the long form of this, and says what the numbers are."""

import os
import subprocess

import servers
import tap
from victims import Victim

PROGRAM = os.path.join(os.environ.get("CPROF_BUILDDIR", "."), "tests", "bench",
                       "compare_unwind")
STOPS = 300


def compare(what, pid):
    done = subprocess.run([PROGRAM, str(STOPS), str(pid)], stdout=subprocess.PIPE, text=True,
                          check=False, timeout=120)
    lines = done.stdout.splitlines() or [""]
    tap.ok(done.returncode == 0, what + ": every stack is equal, or explained",
           lambda: "\n".join(lines[:60] + lines[-1:]))
    words = lines[-1].split()
    n = dict(zip(words[::2], map(int, words[1::2])))
    tap.at_least(n["stops"], STOPS, what + ": stops")
    tap.at_least(n["equal"], n["stops"], what + ": auto is what libunwind says")
    tap.at_least(n["rules"] / max(1, n["frames"]), 0.3, what + ": frames are found by rules",
                 lines[-1])
    tap.at_least(n["complete"] / n["stops"], 0.98, what + ": stacks reach their end", lines[-1])
    return n


def test_python():
    compare("python3", servers.python())


def test_node():
    compare("node", servers.node())


def test_threads():
    compare("C++ threads", Victim("cpp").pid)


def test_signal_handlers():
    compare("signal handlers", Victim("sigstack").pid)


def test_plt():
    n = compare("PLT", Victim("plt").pid)
    tap.equal(n["again"], 0, "PLT entries have rules")


def test_lazy_binding():
    """Frames that are kept by RBX, which rules leave behind."""
    n = compare("lazy binding", Victim("plt", env=dict(os.environ, LD_BIND_NOT="1")).pid)
    tap.at_least(n["again"], 1, "lazy binding: stacks are walked again for RBX")


if __name__ == "__main__":
    if not os.access(PROGRAM, os.X_OK):
        tap.skip_all("%s is not built" % PROGRAM)
    tap.run([test_python, test_node, test_threads, test_signal_handlers, test_plt,
             test_lazy_binding])
