#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which processes are profiled: by name, with their children, by control group; those
that join the run while it lasts; a file for each."""

import collections
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import pprof
import procs
import profiler
import servers
import tap
import victims


def used_ns(run):
    """What the commands of a run said that they and their children had used."""
    return sum(int(ns) for ns in re.findall(rb"^used (\d+)$", run.stdout, re.M))


def by_pid(profile):
    """{pid: Counter of functions, cumulative}."""
    found = collections.defaultdict(collections.Counter)
    at = profile.type_index("cpu")
    for sample in profile.samples:
        names = {line.function.name for loc in sample.locations for line in loc.lines}
        for name in names:
            found[sample.labels.get("process_id")][name] += sample.values[at]
    return found


def who_ran(profile, function, least_ns=1):
    """The pids in whose stacks a function is, for so long at least."""
    return {pid for pid, names in by_pid(profile).items() if names[function] >= least_ns}


def names_of(profile):
    """{pid: its process_name}."""
    return {s.labels.get("process_id"): s.labels.get("process_name") for s in profile.samples}


def command(*argv, hz=199):
    run = profiler.Run("--children", "-F", hz, "--", *argv).finish(300)
    assert run.status == 0 and run.profile is not None, "no profile: %s" % run
    return run


def check_total(run, what, part=0.02):
    """The profile's CPU time is the kernel's account of the tree. The process that
    says what was used ends later: a few milliseconds for each."""
    told = used_ns(run)
    total = run.profile.total("cpu")
    tap.diag("%s: %.3f s in the profile, %.3f s by the kernel, ended unseen %.3f s"
             % (what, total / 1e9, told / 1e9,
                run.profile.flat("cpu")["[not sampled, ended children]"] / 1e9))
    tap.at_least(told, 500000000, what + ": the command says what it used", run.stdout)
    tap.at_most(abs(total - told) / told, part, what + ": CPU time is the kernel's", str(run))


# ---- --children ----------------------------------------------------------------


def test_shell_command():
    """sh -c with jobs: an outer program says what the whole tree has used."""
    family = victims.path("family")
    script = "%s work 900 left & %s work 600 right & wait" % (family, family)
    outer = ("import resource as r, subprocess as s, sys; s.run(['sh', '-c', sys.argv[1]],"
             " stdout=s.DEVNULL);"
             "print('used %d' % (1e9 * sum(u.ru_utime + u.ru_stime for u in"
             " (r.getrusage(r.RUSAGE_SELF), r.getrusage(r.RUSAGE_CHILDREN)))), flush=True)")
    run = command("/usr/bin/python3", "-S", "-c", outer, script)
    check_total(run, "sh -c with two jobs")
    left, right = (who_ran(run.profile, "spin_" + w, 300000000) for w in ("left", "right"))
    tap.ok(len(left) == 1 and len(right) == 1 and left != right,
           "each worker's function is under its own process_id", "%r %r" % (left, right))
    names = names_of(run.profile)
    tap.equal({names[p] for p in left | right}, {"family"}, "and under its name after its exec")
    at = run.profile.type_index("cpu")
    worker = [s for s in run.profile.samples if s.labels.get("process_id") in left]
    tap.at_least(sum(s.values[at] for s in worker), 850000000, "with all of its time")
    tap.contains(run.stderr, "joined during the run", "the receipt says how many joined")


def test_crowd():
    """Children of 2 ms each are mostly over before anybody looks; what they used is
    not lost."""
    run = command(victims.path("family"), "crowd", "1000", "2")
    check_total(run, "1000 children of 2 ms")
    tap.at_least(run.profile.flat("cpu")["[not sampled, ended children]"], 100000000,
                 "those that nobody saw are told as that")


def test_tree_that_is_there():
    """The whole tree below a process that is there, at the start."""
    victim = victims.Victim("execs", "parent")
    outer = procs.spawn(["sh", "-c", "%s work 60000 left & %s work 60000 right & wait"
                         % ((victims.path("family"),) * 2)], stdout=subprocess.DEVNULL)
    children = procs.wait_until("the shell has two children",
                                lambda: len(procs.children(outer.pid)) == 2
                                and procs.children(outer.pid))
    for pid in children:
        tap.cleanup(procs.kill, pid)
    procs.wait_until("they work", lambda: all(procs.cpu_ns(p) > 50000000 for p in children))
    run = profiler.profile(outer.pid, 2, "--children", "-p", children[0], "-p", victim.pid)
    seen = {pid for pid in by_pid(run.profile)}
    tap.ok(set(children) <= seen, "children that were there are profiled", repr(seen))
    tap.equal(len(re.findall(r"^  (?:process  )? +%d \(" % children[0], run.stderr, re.M)), 1,
              "one that -p names as well is one", run.stderr)


def test_grandchildren():
    run = command(victims.path("family"), "tree", "700")
    check_total(run, "a child and its child")
    tap.ok(who_ran(run.profile, "spin_left", 300000000)
           and who_ran(run.profile, "spin_right", 300000000), "both are seen working")


def test_daemon():
    """A process that left its family is still profiled, and the run lasts as long as it."""
    run = command(victims.path("family"), "daemon", "600")
    at = run.profile.type_index("cpu")
    worked = sum(s.values[at] for s in run.profile.samples
                 if any(l.function.name == "spin_right" for loc in s.locations
                        for l in loc.lines))
    tap.at_least(worked, 540000000, "a daemon is profiled to its end", str(run))


def test_respawn():
    """A worker that is killed is followed by another, which is picked up."""
    victim = victims.Victim("family", "respawn")
    first = int(victim.said("child ").split()[1])
    procs.wait_until("it works", lambda: procs.cpu_ns(first) > 50000000)
    run = profiler.Run("-p", victim.pid, "--children", "-d", 3)
    time.sleep(1)
    os.kill(first, signal.SIGKILL)
    second = procs.wait_until("there is another", lambda: [
        c for c in procs.children(victim.pid) if c != first])[0]
    run.finish()
    working = who_ran(run.profile, "spin_left")
    tap.equal(working, {first, second}, "both workers are in the profile", str(run))


def test_nginx():
    """The master's workers, and the one that takes the place of one that is killed."""
    worker = servers.nginx()
    master = int(procs.status(worker)["PPid"])
    run = profiler.Run("-p", master, "--children", "-d", 5, "-F", 199)
    time.sleep(1.5)
    os.kill(worker, signal.SIGKILL)
    second = procs.wait_until("nginx has another worker", lambda: [
        c for c in procs.children(master) if c != worker])[0]
    run.finish()
    seen = who_ran(run.profile, "ngx_process_events_and_timers")
    tap.ok({worker, second} <= seen, "nginx: both workers are in the master's profile",
           lambda: "%r of %r\n%s" % (seen, (worker, second), run))
    tap.equal({names_of(run.profile)[p] for p in seen}, {"nginx"}, "nginx: process_name")


def test_postgres_new_connections():
    """pgbench -C connects anew for each transaction: a new backend each time."""
    first = servers.postgres()[0]
    postmaster = int(procs.status(first)["PPid"])
    environment = {}
    with open("/proc/%d/environ" % postmaster, "rb") as f:
        environment = dict(v.split(b"=", 1) for v in f.read().split(b"\0") if b"=" in v)
    pgbench = shutil.which("pgbench") or sorted(glob.glob("/usr/lib/postgresql/*/bin/pgbench"))[-1]
    load = procs.spawn([pgbench, "-n", "-S", "-C", "-c", "2", "-T", "100"], env=environment,
                       cwd="/tmp", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    procs.wait_until("there are new backends", lambda: len(procs.children(postmaster)) > 4)
    # longer where the machine has no time for them
    for seconds in (4, 16):
        run = profiler.profile(postmaster, seconds, "--children", hz=199)
        backends = who_ran(run.profile, "PostgresMain")
        if len(backends) >= 10:
            break
    procs.stop(load)
    tap.at_least(len(backends), 10, "postgres: backends that came and went are profiled",
                 lambda: str(run))
    joined = int(re.search(r"(\d+) of them joined", run.stderr).group(1))
    tap.at_least(joined, 10, "postgres: the receipt says how many joined")
    tap.contains(run.stderr, "processes", "postgres: and how many there were")


def test_refused_child():
    """A child that may not be attached to does not end the run."""
    if os.geteuid() != 0:
        tap.skip("needs root to make a process that it may not trace")
    debugger = shutil.which("strace")
    family = victims.path("family")
    if not debugger:
        tap.skip("no strace here")
    script = "%s -o /dev/null -f %s work 1500 left & %s work 900 right & wait" % (
        debugger, family, family)
    run = command("sh", "-c", script)
    tap.ok(who_ran(run.profile, "spin_right", 300000000), "the others are profiled", str(run))
    tap.ok(re.search(r"left out +\d+ process.* could not be attached to: .*strace", run.stderr),
           "who could not be is counted, with the reason", run.stderr)


def test_not_without_children():
    """Without --children a child is nobody's business."""
    run = profiler.Run("--", victims.path("family"), "tree", "200").finish()
    tap.equal(len(who_ran(run.profile, "spin_left")), 0, "no --children: no children", str(run))


# ---- --name --------------------------------------------------------------------


def named(name, *args):
    """A victim under a name of its own."""
    directory = procs.temp_dir()
    path = os.path.join(directory, name)
    shutil.copy(victims.path("work"), path)
    os.chmod(path, 0o755)
    process = procs.spawn([path, "1", "busy"] + list(args), stdout=subprocess.PIPE)
    procs.Lines(process.stdout).wait_for("ready ")
    return process.pid


def test_name():
    unique = "cprofvictim%d" % os.getpid()
    pid = named(unique)
    run = profiler.Run("-n", unique, "-d", 1).finish()
    tap.equal(run.status, 0, "--name with one match", str(run))
    tap.contains(run.stderr, "process     %d " % pid, "it is the one that is profiled")
    tap.equal(profiler.Run("-n", "^%s$" % unique[8:], "-d", 1).finish().status, 4,
              "a part of a name is not ^all of it$")
    run = profiler.Run("-n", "^%s$" % unique, "-d", 1).finish()
    tap.equal(run.status, 0, "a name that is longer than its comm", str(run))


def test_name_ambiguous():
    unique = "cprofvictim%d" % os.getpid()
    pids = [named(unique + "a", procs.temp_dir() + "/\033[31m"), named(unique + "b")]
    run = profiler.Run("-n", unique, "-d", 1).finish()
    tap.equal(run.status, 2, "--name with two matches", str(run))
    tap.ok(run.profile is None, "none is chosen for the user")
    lines = run.stderr.splitlines()
    tap.equal(len(lines), 3, "they are listed, one a line, and a line says what to do",
              run.stderr)
    tap.equal([int(l.split()[0]) for l in lines[:2]], sorted(pids), "by pid")
    tap.ok(unique + "b" in run.stderr, "with their command lines")
    tap.ok("\033" not in run.stderr, "and without their control characters")
    run = profiler.Run("-n", unique, "--all", "-d", 1).finish()
    tap.equal(run.status, 0, "--all", str(run))
    tap.equal({s.labels.get("process_id") for s in run.profile.samples}, set(pids),
              "--all: both are profiled")
    run = profiler.Run("-n", unique, "--all", "-p", pids[0], "-d", 1).finish()
    tap.equal(len(re.findall(r"%d \(" % pids[0], run.stderr)), 1,
              "-p of the same: one process", run.stderr)


def test_name_nobody():
    """The shell that runs us has the pattern on its command line; it is not meant."""
    unique = "nobodyiscalled%d" % os.getpid()
    run = procs.spawn(["sh", "-c", "%s -n %s -d 1 -o /dev/null; echo status $?"
                       % (profiler.PATH, unique)], stdout=subprocess.PIPE,
                      stderr=subprocess.STDOUT)
    text = run.communicate()[0].decode()
    tap.contains(text, "status 4", "--name: a command line is no name")
    tap.contains(text, "there is no process with a name", "and it says so")
    shell = procs.temp_dir() + "/" + unique
    shutil.copy(shutil.which("sh"), shell)
    run = procs.spawn([shell, "-c", "%s -n %s -d 1 -o /dev/null; echo status $?"
                       % (profiler.PATH, unique)], stdout=subprocess.PIPE,
                      stderr=subprocess.STDOUT)
    tap.contains(run.communicate()[0].decode(), "status 4",
                 "--name: nobody whom the profiler descends from")


def test_postgres_by_name():
    backends = servers.postgres()
    postmaster = int(procs.status(backends[0])["PPid"])
    run = profiler.Run("-n", "^postgres$", "--all", "-d", 3, "-F", 199).finish()
    tap.equal(run.status, 0, "postgres by name", str(run))
    seen = who_ran(run.profile, "PostgresMain")
    tap.ok(set(backends) <= seen, "postgres by name: all backends",
           "%r of %r\n%s" % (seen, backends, run))
    tap.ok(re.search(r"\b%d \(postgres\)" % postmaster,
                     "\n".join(run.profile.comments)), "and the postmaster")


# ---- --cgroup ------------------------------------------------------------------


def make_cgroup():
    """(directory, path below its mount) of a new control group; skips without."""
    with open("/proc/self/mountinfo", encoding="ascii") as f:
        mounts = [line.split() for line in f]
    found = [(w[4], w[w.index("-") + 1]) for w in mounts if w[w.index("-") + 1].startswith("cgroup")]
    for mount, _ in sorted(found, key=lambda m: m[1], reverse=True):
        name = "cprof-test-%d" % os.getpid()
        path = os.path.join(mount, name)
        try:
            os.mkdir(path)
            os.mkdir(path + "/below")
        except OSError:
            shutil.rmtree(path, True)
            continue
        tap.cleanup(procs.wait_until, "the control group is gone", lambda: remove(path))
        if os.access(path + "/below/cgroup.procs", os.W_OK):
            return path, name
    tap.skip("no control group can be made here")
    return None


def remove(path):
    try:
        os.rmdir(path + "/below")
        os.rmdir(path)
    except FileNotFoundError:
        return not os.path.exists(path)
    except OSError:
        return False
    return True


def enter(directory, pid):
    with open(directory + "/cgroup.procs", "w", encoding="ascii") as f:
        f.write(str(pid))


def test_cgroup():
    directory, name = make_cgroup()
    family = victims.path("family")
    empty = profiler.Run("--cgroup", directory, "-d", 1).finish()
    tap.equal(empty.status, 4, "--cgroup without a process in it", str(empty))
    first = procs.spawn([family, "work", "60000", "left"], stdout=subprocess.DEVNULL)
    later = procs.spawn([family, "work", "60000", "right"], stdout=subprocess.DEVNULL)
    outside = procs.spawn([family, "work", "60000", "left"], stdout=subprocess.DEVNULL)
    enter(directory, first.pid)
    before = procs.cpu_ns(later.pid)
    run = profiler.Run("--cgroup", name, "-d", 4)
    time.sleep(2)
    enter(directory + "/below", later.pid)
    entered = procs.cpu_ns(later.pid)
    run.finish()
    tap.equal(run.status, 0, "--cgroup by its path below the mount", str(run))
    profile = run.profile
    tap.ok(who_ran(profile, "spin_left") == {first.pid},
           "--cgroup: the process that was there, and not the one outside", str(run))
    tap.ok(who_ran(profile, "spin_right") == {later.pid},
           "--cgroup: one that entered a group below during the run", str(run))
    at = profile.type_index("cpu")
    used = sum(s.values[at] for s in profile.samples if s.labels["process_id"] == later.pid)
    tap.at_most(used, procs.cpu_ns(later.pid) - entered + 50000000,
                "--cgroup: only what it used since it entered counts (%.2f s before)"
                % ((entered - before) / 1e9))
    for process in (first, later, outside):
        procs.stop(process)


def test_cgroup_missing():
    run = profiler.Run("--cgroup", "/there/is/none", "-d", 1).finish()
    tap.equal(run.status, 4, "--cgroup that is not there", str(run))
    tap.ok("control group" in run.stderr and len(run.stderr.splitlines()) == 1, "in one line",
           run.stderr)


# ---- --split-by ----------------------------------------------------------------


def test_split():
    family = victims.path("family")
    directory = procs.temp_dir()
    script = "%s work 700 left & %s work 700 right & wait" % (family, family)
    run = profiler.Run("--children", "--split-by", "process", "-F", 199, "--", "sh", "-c",
                       script, output=directory + "/out.pb.gz", directory=directory)
    run.finish()
    tap.equal(run.status, 0, "--split-by process", str(run))
    files = sorted(glob.glob(directory + "/out.*.pb.gz"))
    profiles = {int(f.split(".")[-3]): pprof.Profile.read(f) for f in files}
    tap.at_least(len(files), 3, "a file for each process", str(run))
    tap.ok(not os.path.exists(directory + "/out.pb.gz"), "and none for all of them")
    for pid, profile in profiles.items():
        tap.equal({s.labels.get("process_id") for s in profile.samples}, {pid},
                  "%d: its samples alone" % pid)
        exe = profile.mappings[0].filename if profile.mappings else None
        want = {"family": family, "sh": os.path.realpath(shutil.which("sh"))}
        tap.equal(exe, want[names_of(profile)[pid]], "%d: its main binary is first" % pid)
    left = [p for p in profiles.values() if p.cum("cpu")["spin_left"] > 500000000]
    tap.equal(len(left), 1, "a worker's function is in one of them")
    told = sum(int(float(s) * (1e9 if u == "s" else 1e6 if u == "ms" else 1e3)) for s, u in
               re.findall(r"\) used ([\d.]+) (s|ms|us) of CPU", run.stderr))
    total = sum(p.total("cpu") for p in profiles.values())
    ended = sum(p.flat("cpu")["[not sampled, ended children]"] for p in profiles.values())
    tap.at_most(abs(total - ended - told) / told, 0.01, "together they have the time of all")
    if shutil.which("go"):
        for path in files:
            for option, (status, text) in profiler.go_tool_pprof(path).items():
                tap.ok(status == 0, "%s: go tool pprof %s" % (os.path.basename(path), option),
                       text)


# A shell that works for a while, and then lets another program have its process.
TWO_PROGRAMS = ("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; "
                "exec %s work 700 left")


def test_exec_main_binary():
    family = victims.path("family")
    run = command("sh", "-c", TWO_PROGRAMS % family)
    tap.contains([m.filename for m in run.profile.mappings], os.path.realpath(shutil.which("sh")),
                 "exec: the shell had samples, too")
    tap.equal(run.profile.mappings[0].filename, family,
              "exec: the program that ran last is the main binary", str(run))
    run = profiler.Run("--no-traceback", "-F", 199, "--", "sh", "-c", TWO_PROGRAMS % family)
    run.finish()
    at = run.profile.type_index("cpu")
    roots = {s.stack[-1]: s.values[at] for s in run.profile.samples if "spin_left" in s.stack}
    tap.equal(max(roots, key=roots.get, default=None), "main",
              "exec: --no-traceback sees a stack's new root", "%r\n%s" % (roots, run))


def test_split_after_exec():
    """A process that executed a program and ended while the run went on."""
    family = victims.path("family")
    directory = procs.temp_dir()
    script = "(%s) & %s work 2500 right & wait" % (TWO_PROGRAMS % family, family)
    run = profiler.Run("--children", "--split-by", "process", "-F", 199, "--", "sh", "-c",
                       script, output=directory + "/out.pb.gz", directory=directory)
    run.finish()
    first = {}
    for file in glob.glob(directory + "/out.*.pb.gz"):
        profile = pprof.Profile.read(file)
        pid = int(file.split(".")[-3])
        first[names_of(profile)[pid]] = profile.mappings[0].filename
    tap.equal(first.get("family"), family, "exec in a process that has ended: its last program",
              "%r\n%s" % (first, run))


def test_split_sum():
    """Two runs at the same time, one in one file and one in several: each process has
    what its own clock says."""
    pids = [victims.Victim("work", 1, "busy").pid, victims.Victim("work", 1, "busy").pid]
    logs = {pid: profiler.CpuLog(pid) for pid in pids}
    directory = procs.temp_dir()
    both = profiler.Run("-p", pids[0], "-p", pids[1], "-d", 2, "--split-by", "process",
                        output=directory + "/%p-out.pb.gz", directory=directory)
    one = profiler.Run("-p", pids[0], "-p", pids[1], "-d", 2)
    both.finish()
    one.finish()
    tap.equal(sorted(os.path.basename(f) for f in glob.glob(directory + "/*.pb.gz")),
              sorted("%d-out.pb.gz" % p for p in pids), "%p in a name is the pid")
    parts = {p: pprof.Profile.read("%s/%d-out.pb.gz" % (directory, p)) for p in pids}
    for pid, part in parts.items():
        mine = sum(s.values[one.profile.type_index("cpu")] for s in one.profile.samples
                   if s.labels["process_id"] == pid)
        for what, got, of in (("in a file of its own", part.total("cpu"), part),
                              ("in one for both", mine, one.profile)):
            used = logs[pid].during(of)
            tap.ok(abs(got - used) <= 0.05 * used + 10000000, "%d, %s: %.3f s of %.3f s used"
                   % (pid, what, got / 1e9, used / 1e9))


if __name__ == "__main__":
    profiler.require()
    tap.run([test_shell_command, test_crowd, test_tree_that_is_there, test_grandchildren,
             test_daemon, test_respawn, test_nginx, test_postgres_new_connections,
             test_refused_child, test_not_without_children, test_name, test_name_ambiguous,
             test_name_nobody, test_postgres_by_name, test_cgroup, test_cgroup_missing,
             test_exec_main_binary, test_split, test_split_after_exec, test_split_sum])
