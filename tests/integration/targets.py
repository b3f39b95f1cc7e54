#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real programs under load: the functions that should be on top are, stacks
reach the start of their thread, and go tool pprof opens the files."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import profiler
import roots
import servers
import shutil
import tap

SECONDS = float(os.environ.get("CPROF_TEST_SECONDS", "4"))
REACHED = 0.98


def check(what, pids, everywhere, among, at_top=2, hz=499):
    """everywhere: {function: least part}, cumulative. among: beginnings of names,
    of which so many at least must be among the 25 hottest, flat."""
    pids = pids if isinstance(pids, list) else [pids]
    more = [a for pid in pids[1:] for a in ("-p", pid)]
    run = profiler.profile(pids[0], SECONDS, *more, hz=hz)
    tap.at_least(run.profile.total("samples"), 100, what + ": is sampled")
    shares = profiler.shares(run.profile, everywhere)
    for name, least in everywhere.items():
        tap.at_least(shares[name], least, "%s: %s" % (what, name),
                     lambda: profiler.top_text(run.profile, 25))
    flat = [n for n, _ in run.profile.flat("cpu").most_common(25)]
    found = [n for n in among if any(f.startswith(n) for f in flat)]
    tap.at_least(len(found), at_top, "%s: on top are %s" % (what, ", ".join(found)),
                 lambda: "\n".join(flat))
    part, text = roots.reached(run.profile)
    tap.at_least(part, REACHED, what + ": stacks reach the start of their thread", text)
    check_opens(what, run)
    return run


def check_opens(what, run):
    if not shutil.which("go"):
        return
    for option, (status, text) in profiler.go_tool_pprof(run.path).items():
        tap.ok(status == 0 and len(text) > 100, "%s: go tool pprof %s" % (what, option), text)


def test_redis():
    check("redis-server", servers.redis(),
          {"main": 0.9, "aeMain": 0.9, "readQueryFromClient": 0.05, "processCommand": 0.02},
          ["read", "write", "epoll_wait", "dict", "call", "siphash", "processInputBuffer"])


def test_nginx():
    check("nginx", servers.nginx(),
          {"ngx_master_process_cycle": 0.9, "ngx_process_events_and_timers": 0.9,
           "ngx_http_output_filter": 0.5, "deflate": 0.1},
          ["deflate", "ngx_", "writev", "crc32", "libz"])


def test_postgres():
    check("postgres", servers.postgres(),
          {"main": 0.9, "PostmasterMain": 0.9, "PostgresMain": 0.9, "PortalRun": 0.01},
          ["hash_search", "LWLock", "palloc", "_bt_", "base_yy", "core_yy", "recv", "__send",
           "send", "epoll_wait", "SearchCatCache", "MemoryContext"])


def test_python():
    check("python3", servers.python(), {"Py_RunMain": 0.9, "_PyEval_EvalFrameDefault": 0.8},
          ["_PyEval_EvalFrameDefault", "PyLong", "PyNumber", "PyObject", "PyUnicode"])


def test_node():
    check("node", servers.node(), {"node::Start(int, char**)": 0.9, "uv_run": 0.8},
          ["[anon]"], at_top=1)


def test_node_perf_map():
    """What node compiled has the names that node itself writes down."""
    pid = servers.node("--perf-basic-prof")
    tap.cleanup(os.remove, "/tmp/perf-%d.map" % pid)
    run = check("node --perf-basic-prof", pid, {"uv_run": 0.8},
                ["JS:*", "v8::"])
    names = {f.name: f.system_name for f in run.profile.functions}
    compiled = [n for n in names if n.startswith("JS:*")]
    tap.at_least(len(compiled), 1, "node: compiled functions have names", repr(sorted(names)))
    tap.ok(all(names[n] == n for n in compiled), "node: their system names are the same")


if __name__ == "__main__":
    profiler.require()
    tap.run([test_redis, test_nginx, test_postgres, test_python, test_node, test_node_perf_map])
