#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How a run begins and ends, and what becomes of targets that do not stay as
they are."""

import os
import re
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import tap
import victims
from pprof import Profile
from terminal import Terminal
from victims import Victim


def ended(run, status, what):
    return tap.equal(run.status, status, what, str(run))


def check_part(run, name, least, what):
    part = profiler.shares(run.profile, [name])[name]
    tap.at_least(part, least, what, lambda: profiler.top_text(run.profile))


def test_duration():
    victim = Victim("work", 1, "busy")
    run = profiler.profile(victim.pid, "0.5")
    got = run.profile.duration_nanos / 1e9
    tap.ok(0.5 <= got < 2, "-d 0.5 is half a second (%.3f s)" % got)
    started = abs(run.profile.time_nanos / 1e9 - time.time())
    tap.ok(started < 30, "the profile says when it was taken")


def test_target_exits():
    victim = Victim("execs", "exit", 2000, 0)
    run = profiler.Run("-p", victim.pid, "-d", "60").finish()
    ended(run, 0, "the target ends: exit status 0")
    tap.ok(re.search(r"ended|exited|gone", run.stderr), "and it is said", str(run))
    check_part(run, "spin_until_exit", 0.8, "what was sampled has its names")
    tap.ok(run.profile.duration_nanos < 30e9, "the run ends with the target")


def test_target_killed():
    victim = Victim("work", 3, "busy")
    run = profiler.Run("-p", victim.pid, "-d", "60", "-F", "499")
    run.begun()
    time.sleep(0.7)
    victim.process.kill()
    run.finish()
    ended(run, 0, "the target is killed: exit status 0")
    tap.ok(re.search(r"ended|exited|gone", run.stderr), "and it is said", str(run))
    check_part(run, "operations", 0.8, "what was sampled has its names")
    tap.equal(victim.process.wait(), -signal.SIGKILL, "SIGKILL is what it died of")


def check_exec(how):
    after = victims.path("nofp")
    victim = Victim("execs", how, 2000, after)
    run = profiler.profile(victim.pid, 4)
    tap.equal(victim.process.poll(), None, how + ": the new program lives on")
    check_part(run, "spin_before_exec", 0.15, how + ": the program that it was is in the profile")
    check_part(run, "chain_leaf", 0.15, how + ": and the one that it became")
    files = {os.path.basename(m.filename) for m in run.profile.mappings}
    tap.ok({"execs", "nofp"} <= files, how + ": with both files", repr(files))


def test_exec():
    check_exec("exec")


def test_exec_by_another_thread():
    check_exec("exec-thread")


def test_forks():
    victim = Victim("execs", "fork")
    run = profiler.profile(victim.pid, 2, hz=499)
    lines = victim.end()
    words = next(l for l in lines if l.startswith("children")).split()
    tap.at_least(int(words[1]), 10, "the target forks")
    tap.equal(int(words[3]), 0, "and its children end as they should")
    check_part(run, "spin_parent", 0.5, "the profile is that of the parent")
    tap.equal(profiler.shares(run.profile, ["spin_child"])["spin_child"], 0.0,
              "and not of the children")


def test_leader_ends_first():
    victim = Victim("execs", "leader")
    procs.wait_until("the leader has ended", lambda: procs.state(victim.pid, victim.pid) == "Z")
    run = profiler.Run("-p", victim.pid, "-d", "1").finish()
    ended(run, 0, "a process whose first thread has ended")
    if run.profile:
        check_part(run, "spin_orphan", 0.9, "its other threads are in the profile")


def test_idle():
    victim = Victim("work", 2, "idle")
    run = profiler.Run("-p", victim.pid, "-d", "1").finish()
    ended(run, 0, "an idle target: exit status 0")
    tap.equal(len(run.profile.samples) if run.profile else None, 0, "an empty profile")
    tap.contains(run.stderr, "-m wall", "and a sentence that names -m wall")
    if run.profile:
        tap.equal([(t.type, t.unit) for t in run.profile.sample_types],
                  [("samples", "count"), ("cpu", "nanoseconds")], "which has its sample types")
        tap.at_least(len(run.profile.mappings), 1, "and a mapping")


def test_thread():
    victim = Victim("shares", 2)
    tid = procs.tids(victim.pid)[-1]
    run = profiler.profile(victim.pid, 1, "-t", tid)
    threads = {s.labels.get("thread_id") for s in run.profile.samples}
    tap.equal(threads - {None}, {tid}, "-t: samples of that thread alone")


def test_two_processes():
    one, two = Victim("work", 1, "busy"), Victim("cpp")
    run = profiler.profile(one.pid, 2, "-p", two.pid)
    by = run.profile.by_label("process_id", "cpu")
    tap.equal(set(by) - {None}, {one.pid, two.pid}, "two -p: each sample says of which process")
    for pid, name in ((one.pid, "operations"), (two.pid, "orchard::Tree<int>::pick(int)")):
        found = any(name in s.stack for s in run.profile.samples
                    if s.labels.get("process_id") == pid)
        tap.ok(found, "two -p: %s is in the right one" % name,
               lambda: profiler.top_text(run.profile))


def test_one_of_two_ends():
    one, two = Victim("execs", "exit", 1500, 0), Victim("work", 1, "busy")
    run = profiler.profile(one.pid, 3, "-p", two.pid)
    tap.at_least(run.profile.duration_nanos, 2.9e9, "one of two targets ends: the run goes on")
    tap.contains(run.stderr, str(one.pid), "and it is said which")


def test_stdout():
    victim = Victim("work", 1, "busy")
    run = profiler.Run("-p", victim.pid, "-d", "0.5", output="-").finish()
    ended(run, 0, "-o -")
    profile = Profile.decode(run.stdout)
    tap.ok(profile.total("samples") > 0, "the profile comes on stdout and nothing else does")


def test_interrupted():
    for number in (signal.SIGINT, signal.SIGTERM):
        victim = Victim("work", 1, "busy")
        run = profiler.Run("-p", victim.pid, "-d", "60")
        run.begun()
        time.sleep(0.7)
        run.signal(number)
        run.finish()
        ended(run, 0, "%s ends the run early" % number.name)
        tap.ok(run.profile is not None and run.profile.total("samples") > 0,
               "%s: the profile is written" % number.name)
        tap.equal(procs.traced(victim.pid), {}, "%s: nothing stays traced" % number.name)


def full_pipe():
    """The two ends of a pipe that has no room."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, b"." * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    tap.cleanup(os.close, reader)
    tap.cleanup(os.close, writer)
    return writer


def test_interrupted_twice():
    """The first one ends the sampling; the output then has to wait for ever."""
    victim = Victim("work", 1, "busy")
    run = profiler.Run("-p", victim.pid, "-d", "60", output="-", stdout=full_pipe())
    run.begun()
    time.sleep(0.5)
    run.signal(signal.SIGINT)
    time.sleep(1)
    tap.equal(run.process.poll(), None, "one SIGINT: it writes as long as that takes", str(run))
    run.signal(signal.SIGINT)
    run.finish()
    tap.ok(run.status in (-signal.SIGINT, 128 + signal.SIGINT, 1),
           "a second SIGINT gives up at once (%s)" % run.status, str(run))
    tap.equal(procs.traced(victim.pid), {}, "nothing stays traced")
    tap.equal(sorted(os.listdir(run.directory)), ["stderr", "stdout"], "and no file is left")


def test_command():
    run = profiler.Run("--", victims.path("execs"), "exit", "800", "7").finish()
    tap.ok(run.profile is not None, "a command is profiled to its end", str(run))
    tap.ok(re.search(r"\b7\b", run.stderr), "its exit status is reported", str(run))
    check_part(run, "spin_until_exit", 0.8, "its work is in the profile")
    tap.contains(run.stdout.decode(), "ready", "what it prints goes where it would")


def test_command_from_its_first_instruction():
    run = profiler.Run("-F", "999", "--", "/bin/sh", "-c",
                       "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").finish()
    ended(run, 0, "a shell that counts")
    tap.ok(run.profile is not None and run.profile.total("cpu") > 0, "is profiled", str(run))
    want = 0
    if run.profile:
        want = run.profile.duration_nanos
        files = {os.path.basename(m.filename) for m in run.profile.mappings}
        tap.ok(not any("cprof" in f for f in files),
               "and nothing of the profiler that started it", repr(files))
    tap.ok(want > 0, "the profile has a duration")


def test_command_killed():
    run = profiler.Run("--", "/bin/sh", "-c", "kill -9 $$").finish()
    tap.ok(re.search(r"signal 9|SIGKILL|Killed|killed", run.stderr),
           "a command that is killed: the signal is said", str(run))


def test_command_missing():
    run = profiler.Run("--", "/nonexistent/program").finish()
    ended(run, 1, "a command that is not there")
    tap.contains(run.stderr, "/nonexistent/program", "is named")
    tap.ok(run.profile is None, "and no profile is written")


def test_command_that_runs_on():
    """The profile is there after -d; the profiler stays for the command's end."""
    run = profiler.Run("-d", "1", "--", victims.path("work"), "1", "busy")
    pid = procs.wait_until("the command runs", lambda: procs.children(run.pid))[0]
    tap.cleanup(procs.kill, pid)
    procs.wait_until("the profile is there", lambda: os.path.exists(run.path))
    procs.wait_until("it says that it waits", lambda: "still running" in run.stderr)
    tap.equal(procs.traced(pid), {}, "-d with a command that runs on: it is traced no longer")
    run.signal(signal.SIGINT)
    run.finish()
    ended(run, 0, "Ctrl-C ends the waiting")
    check_part(run, "operations", 0.8, "the profile has what it did")
    tap.diag("the command is in state %r" % procs.state(pid))


def test_progress_on_a_terminal():
    victim = Victim("work", 1, "busy")
    terminal = Terminal()
    path = procs.temp_dir() + "/profile.pb.gz"
    process = terminal.spawn([profiler.PATH, "-p", str(victim.pid), "-d", "2", "-o", path])
    procs.wait_until("it ends", lambda: terminal.read(0.05) and process.poll() is not None)
    seen = terminal.read()
    tap.ok(b"\r" in seen.replace(b"\r\n", b""), "on a terminal one line is updated", repr(seen))
    updated = re.sub(rb"\x1b\[[0-9;]*[A-Za-z]", b"", seen.replace(b"\r\n", b"\n"))
    widest = max(len(part) for line in updated.split(b"\n") if b"\r" in line
                 for part in line.split(b"\r"))
    tap.at_most(widest, 80, "and is no wider than the terminal", repr(seen))
    run = profiler.profile(victim.pid, 1)
    tap.ok("\r" not in run.stderr and "\x1b" not in run.stderr,
           "and none where stderr is no terminal", repr(run.stderr))


def test_quiet_and_verbose():
    victim = Victim("work", 1, "busy")
    quiet = profiler.profile(victim.pid, "0.5", "-q")
    tap.equal(quiet.stderr, "", "-q prints nothing")
    normal = profiler.profile(victim.pid, "0.5")
    for word in ("samples", "Hz", "missed", "late", "p50", "p99", "max", "go tool pprof",
                 "operations", normal.path):
        tap.contains(normal.stderr, word, "the summary says " + word.replace(normal.path, "FILE"))
    verbose = profiler.profile(victim.pid, "0.5", "-v")
    tap.ok(len(verbose.stderr) > len(normal.stderr), "-v prints more")


def test_receipt():
    victim = Victim("work", 2, "busy")
    run = profiler.profile(victim.pid, 1)
    text = "\n".join(run.profile.comments)
    for word in ("Hz", "p50", "p99", "missed", "cprof-attach -o"):
        tap.contains(text, word, "the profile's comments say " + word)
    tap.ok(not any(c.startswith("#") or c.startswith("executableInfo=")
                   for c in run.profile.comments), "and none is one that readers hide", text)


def test_attach_twice():
    """One after the other, and two at once."""
    victim = Victim("work", 2, "busy")
    first = profiler.Run("-p", victim.pid, "-d", "2")
    second = profiler.Run("-p", victim.pid, "-d", "2")
    for run in (first.finish(), second.finish()):
        ended(run, 0, "two profilers at once")
        check_part(run, "operations", 0.8, "have their samples")
    total = first.profile.total("cpu") + second.profile.total("cpu")
    tap.diag("together %.2f s" % (total / 1e9))


if __name__ == "__main__":
    profiler.require()
    tap.run([value for name, value in list(globals().items()) if name.startswith("test_")])
