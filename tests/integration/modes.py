#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Threads that sleep: what they sleep in, for how long, and that they do not notice."""

import collections
import os
import re
import shutil
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import roots
import servers
import tap
import victims
from victims import Victim

SECONDS = float(os.environ.get("CPROF_TEST_SECONDS", "3"))

# What the threads of sleepers.c, by their names, sleep in. A name may stand for
# two threads: those that are too long for the kernel keep the program's.
STATES = {
    "epoll_wait": {"epoll_wait"},
    "epoll_pwait": {"epoll_pwait"},
    "epoll_pwait2": {"epoll_pwait2"},
    "semop": {"semop", "semtimedop"},
    "semtimedop": {"semtimedop"},
    "sigtimedwait": {"rt_sigtimedwait"},
    "sigwaitinfo": {"rt_sigtimedwait"},
    "io_getevents": {"io_getevents"},
    "recv_timeout": {"recvfrom"},
    "send_timeout": {"sendto"},
    "accept_timeout": {"accept"},
    "poll": {"poll", "ppoll"},
    "ppoll": {"ppoll"},
    "select": {"select", "pselect6"},
    "pselect": {"pselect6"},
    "nanosleep": {"clock_nanosleep", "nanosleep"},
    "clock_nanosleep": {"clock_nanosleep"},
    "mutex": {"futex"},
    "condvar": {"futex"},
    "condvar_timed": {"futex"},
    "sem_wait": {"futex"},
    "sem_timedwait": {"futex"},
    "read_pipe": {"read"},
    "write_pipe": {"write"},
    "recv": {"recvfrom"},
    "accept": {"accept"},
    "msgrcv": {"msgrcv"},
    "pause": {"pause"},
    "inotify": {"read"},
    "eventfd": {"read"},
    "timerfd": {"read"},
    "mq_timedreceive": {"mq_timedreceive"},
    "mq_receive": {"mq_timedreceive"},
    "flock": {"flock"},
    "spinner": {"running", "runnable-waiting"},
}


def eintrs(lines):
    return {l.split()[1]: int(l.split()[3]) for l in lines
            if l.startswith("call ") and l.split()[3] != "0"}


def by_thread(profile, kind):
    """{thread id: (name, {state: value})} of one sample type."""
    index = profile.type_index(kind)
    found = {}
    for s in profile.samples:
        tid = s.labels.get("thread_id")
        if tid is None:
            continue
        _, states = found.setdefault(tid, (s.labels["thread_name"], collections.Counter()))
        states[s.labels["state"]] += s.values[index]
    return found


def check_states(profile, kind, least, what):
    """Every thread's time, and nearly all of it in the state that its name tells."""
    wrong, odd = [], []
    for tid, (name, states) in by_thread(profile, kind).items():
        total = sum(states.values())
        if name in STATES:
            right = sum(v for state, v in states.items() if state in STATES[name])
            if right < 0.99 * total:
                wrong.append((name, dict(states)))
        part = total / profile.duration_nanos
        if name != "spinner" and abs(part - 1) > 0.01:
            odd.append((name, tid, round(part, 4)))
    seen = {state for _, states in by_thread(profile, kind).values() for state in states}
    tap.equal(wrong, [], what + ": each thread's state is named")
    tap.at_least(len(seen), least, what + ": different states", repr(sorted(seen)))
    tap.equal(odd, [], what + ": each thread's time is the run's, within 1 %")


def complete(profile, kind="samples"):
    """The part of sleeping threads' stacks that reach the start of their thread."""
    index = profile.type_index(kind)
    good = total = 0
    bad = []
    for s in profile.samples:
        if s.labels.get("state") in ("running", "runnable-waiting", None):
            continue
        n = s.values[index]
        total += n
        if roots.is_start(s.locations[-1]):
            good += n
        else:
            bad.append("%d %r %s" % (n, s.labels, " <- ".join(s.stack)))
    return (good / total if total else 0.0), "\n".join(bad)


def check_complete(profile, what, least=0.99, kind="samples"):
    part, bad = complete(profile, kind)
    tap.at_least(part, least, what + ": stacks of sleepers are complete", bad)


def check_opens(run, what):
    if not shutil.which("go"):
        return
    for option, (status, text) in profiler.go_tool_pprof(run.path).items():
        tap.ok(status == 0 and len(text) > 100, "%s: go tool pprof %s" % (what, option), text)


def sleepers(how, mode, *args, hz=999, seconds=None):
    """Profiles all that sleep in every call; the run, and what they counted."""
    victim = Victim("sleepers", how, "busy")
    run = profiler.profile(victim.pid, seconds or SECONDS, "-m", mode, *args, hz=hz)
    lines = victim.end()
    what = "%s sleeps, -m %s" % (how, mode)
    tap.at_least(len([l for l in lines if l.startswith("call ")]), 30, what + ": as many calls")
    tap.equal(eintrs(lines), {}, what + ": no call is interrupted")
    return run, what


def test_wall_long():
    run, what = sleepers("long", "wall")
    tap.equal([t for t, _ in run.profile.sample_types], ["samples", "cpu", "wall"],
              "wall's types, the default one last")
    check_states(run.profile, "wall", 13, what)
    check_complete(run.profile, what)
    check_opens(run, what)
    spun = [v for name, v in by_thread(run.profile, "wall").values() if name == "spinner"]
    whole = sum(sum(v.values()) for v in spun) / run.profile.duration_nanos
    tap.ok(abs(whole - 1) < 0.03, "the thread that runs: its time is the run's (%.4f)" % whole)
    wall = sum(v["running"] for v in spun)
    cpu = sum(sum(states.values()) for name, states in by_thread(run.profile, "cpu").values()
              if name == "spinner")
    tap.equal(wall, cpu, "what it ran of wall time is its CPU time")


def test_wall_short():
    run, what = sleepers("short", "wall")
    check_complete(run.profile, what)
    tap.at_least(run.profile.total("samples"), 1000, what + ": samples")


def test_block():
    run, what = sleepers("long", "block")
    tap.equal([t for t, _ in run.profile.sample_types], ["contentions", "delay"],
              "block's types")
    check_states(run.profile, "delay", 12, what)
    check_complete(run.profile, what, kind="delay")
    check_opens(run, what)
    tap.ok("spinner" not in repr(run.profile.samples), "who does not sleep is not in it")
    run, what = sleepers("short", "block")
    check_complete(run.profile, what, kind="delay")
    tap.at_least(run.profile.total("contentions"), 500, what + ": sleeps seen to begin")


def test_threads():
    for how in ("long", "short"):
        victim = Victim("sleepers", how, "busy")
        tids = procs.tids(victim.pid)
        run = profiler.profile(victim.pid, 1, "-m", "threads")
        tap.contains(run.stderr, "--duration is ignored", "threads: -d is ignored with a word")
        for _ in range(int(SECONDS * 5)):
            profiler.profile(victim.pid, 1, "-m", "threads", "-q")
        lines = victim.end()
        what = "%s sleeps, -m threads" % how
        tap.equal(eintrs(lines), {}, what + ": no call is interrupted")
        found = sorted(s.labels["thread_id"] for s in run.profile.samples)
        tap.equal(found, tids, what + ": every thread, once")
        if how == "long":
            check_complete(run.profile, what, kind="threads")
            wrong = [(s.labels["thread_name"], s.labels["state"]) for s in run.profile.samples
                     if s.labels["state"] not in STATES.get(s.labels["thread_name"],
                                                            {s.labels["state"]})]
            tap.equal(wrong, [], what + ": each thread's state is named")
            check_opens(run, what)


def test_threads_text():
    victim = Victim("sleepers", "long", "busy")
    path = procs.temp_dir() + "/threads.txt"
    run = profiler.Run("-p", victim.pid, "-m", "threads", output=path)
    run.status = run.process.wait(60)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for name, inside in (("poll", "sleep_poll"), ("mutex", "sleep_mutex"),
                         ("spinner", "spinner")):
        found = re.search(r'^Thread \d+ "%s" (\S+)\n((?:  #.*\n)+)' % name, text, re.M)
        tap.ok(found and found[1] in STATES[name] and inside in found[2],
               "the dump shows thread %s, its state and its stack" % name, text)


def test_wait_detail():
    victim = Victim("sleepers", "long")
    run = profiler.profile(victim.pid, 1, "-m", "wall", "--wait-detail")
    names = {s.labels["thread_name"]: s.labels for s in run.profile.samples}
    victim_tids = {s.labels["thread_name"]: s.labels["thread_id"] for s in run.profile.samples}
    for name, start in (("recv", "socket:["), ("read_pipe", "pipe:["), ("accept", "socket:["),
                        ("eventfd", "anon_inode:[eventfd"), ("flock", "/"),
                        ("epoll_pwait", "anon_inode:[eventpoll"), ("condvar", "futex 0x")):
        got = names[name].get("wait_object", "")
        tap.ok(got.startswith(start), "%s waits for %s" % (name, got), repr(names[name]))
    tap.equal(names["mutex"].get("wait_owner"), victim_tids["waker"],
              "the mutex is held by the thread that holds it")
    tap.ok(names["mutex"].get("wait_object", "").startswith("mutex 0x"), "and is called a mutex")


def test_page_fault():
    """A thread that waits for memory is outside of any system call."""
    victim = Victim("faulting")
    if any(l.startswith("absent") for l in victim.lines):
        tap.skip("no userfaultfd here")
    run = profiler.profile(victim.pid, 0.5, "-m", "wall")
    states = {v[0]: set(v[1]) for v in by_thread(run.profile, "wall").values()}
    tap.equal(states.get("faulter"), {"page-fault"}, "a page fault is called one")
    check_complete(run.profile, "page-fault")


def test_job_stop():
    victim = Victim("sleepers", "long")
    os.kill(victim.pid, 19)
    procs.wait_until("it is stopped", lambda: procs.state(victim.pid) == "T")
    run = profiler.profile(victim.pid, 0.5, "-m", "wall")
    states = {state for _, v in by_thread(run.profile, "wall").values() for state in v}
    tap.equal(states, {"stopped"}, "threads that job control holds are called stopped")
    tap.equal(procs.state(victim.pid), "T", "and stay so")
    os.kill(victim.pid, 18)


def top_stack(profile, kind):
    """The stack with the most of a type, and its part of all."""
    index = profile.type_index(kind)
    sums = collections.Counter()
    for s in profile.samples:
        sums[tuple(s.stack)] += s.values[index]
    stack, value = sums.most_common(1)[0]
    return list(stack), value / sum(sums.values())


def test_convoy():
    victim = Victim("blocked", "convoy")
    run = profiler.profile(victim.pid, 2, "-m", "block", "--wait-detail")
    stack, part = top_stack(run.profile, "delay")
    tap.ok("join_convoy" in stack and "hold_for_a_while" not in stack and part > 0.6,
           "a convoy: %.0f %% of the delay waits for the mutex" % (100 * part), " <- ".join(stack))
    owners = {s.labels.get("wait_owner") for s in run.profile.samples if "join_convoy" in s.stack}
    tap.at_least(len(owners & set(procs.tids(victim.pid))), 2, "its owners are told")


def test_slow_fifo():
    path = procs.temp_dir() + "/fifo"
    os.mkfifo(path)
    victim = Victim("blocked", "fifo", path)
    ended = threading.Event()
    fed = 0

    def feed():
        nonlocal fed
        fd = os.open(path, os.O_RDWR)
        while not ended.wait(0.05):
            os.write(fd, b"x")
            fed += 1
        os.close(fd)

    feeder = threading.Thread(target=feed)
    feeder.start()
    begun = time.monotonic()
    try:
        run = profiler.profile(victim.pid, 2, "-m", "block", "--wait-detail")
        during = fed * run.profile.duration_nanos / 1e9 / (time.monotonic() - begun)
    finally:
        ended.set()
        feeder.join()
    index = run.profile.type_index("delay")
    sums = collections.Counter()
    for s in run.profile.samples:
        if s.labels["thread_name"] != "blocked":
            sums[(s.labels["thread_name"], s.labels["state"], "read_slowly" in s.stack,
                  s.labels.get("wait_object"))] += s.values[index]
    tap.equal(sums.most_common(1)[0][0], ("reader", "read", True, path),
              "a slow read is on top, and names the file", repr(sums))
    contentions = run.profile.type_index("contentions")
    reads = sum(s.values[contentions] for s in run.profile.samples
                if s.labels["thread_name"] == "reader")
    tap.ok(abs(reads - during) <= 0.25 * during + 2,
           "as many sleeps as reads: %d of about %d" % (reads, during))


def test_postgres():
    """A database that waits for its client most of the time."""
    pid = servers.postgres(rate=40)[0]
    run = profiler.profile(pid, 3, "-m", "block")
    stack, part = top_stack(run.profile, "delay")
    tap.ok("PostgresMain" in stack and "secure_read" in stack and part > 0.5,
           "PostgreSQL waits for its client: %.0f %% of the delay" % (100 * part),
           " <- ".join(stack))
    check_complete(run.profile, "postgres", kind="delay")
    check_opens(run, "postgres, -m block")


def test_cpu_and_wall():
    """The CPU time in one profile with wall time is what it is by itself."""
    totals = {}
    for mode in ("cpu", "cpu,wall"):
        victim = Victim("shares")
        log = profiler.CpuLog(victim.pid)
        run = profiler.profile(victim.pid, max(SECONDS, 3), "-m", mode)
        used = log.during(run.profile)
        totals[mode] = run.profile.total("cpu") / used
        tap.ok(abs(totals[mode] - 1) < 0.02, "-m %s: %.4f of the CPU time used"
               % (mode, totals[mode]))
        if mode == "cpu,wall":
            index = run.profile.type_index("cpu")
            check_sum = [(s.labels["state"], s.values[index]) for s in run.profile.samples
                         if s.values[index] and s.labels["state"] != "running"]
            tap.equal(check_sum, [], "CPU time is that of running threads alone")
    tap.ok(abs(totals["cpu,wall"] / totals["cpu"] - 1) < 0.02, "they agree within 2 %%: %r" % totals)


def test_last_mode_is_the_default():
    victim = Victim("sleepers", "long")
    run = profiler.profile(victim.pid, 0.3, "-m", "wall,cpu")
    tap.equal([t for t, _ in run.profile.sample_types], ["samples", "wall", "cpu"],
              "-m wall,cpu: the type that is named last is shown first")


def test_unoptimised():
    """Frame pointers that nobody has saved, in programs without optimisation. One of
    the calls has arguments on the stack, and a timeout, so that it is not stopped."""
    source, flags = victims.recipes()["sleepers"]
    path = os.path.join(procs.temp_dir(), "sleepers0")
    built = subprocess.run(
        [os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O0", "-pthread", "-o", path,
         source], check=False)
    if built.returncode:
        tap.skip("it cannot be built")
    for how in ("long", "short"):
        for mode in ("wall", "block"):
            process = procs.spawn([path, how, "busy"], stdout=subprocess.PIPE)
            output = procs.Lines(process.stdout)
            output.wait_for("ready ")
            run = profiler.profile(process.pid, SECONDS, "-m", mode, hz=499)
            process.terminate()
            what = "-O0, %s sleeps, -m %s" % (how, mode)
            tap.equal(eintrs(output.read_all()), {}, what + ": no call is interrupted")
            check_complete(run.profile, what, kind="wall" if mode == "wall" else "delay",
                           least=0.97)


def test_patient():
    """Who sleeps in a call that would not go on as if nothing had been is not stopped, not
    even for a stack that is not complete without."""
    for kind in ("plain", "timeout", "waitall", "lowat", "write"):
        victim = Victim("patient", kind)
        procs.wait_until("it sleeps", lambda: procs.state(victim.pid) == "S")
        before = procs.status(victim.pid)["voluntary_ctxt_switches"]
        run = profiler.profile(victim.pid, 1, "-m", "wall")
        tap.equal(victim.process.poll(), None, "%s: it sleeps on" % kind, str(run))
        after = procs.status(victim.pid).get("voluntary_ctxt_switches")
        whole = any("main" in s.stack for s in run.profile.samples)
        if kind == "plain":
            tap.ok(whole, "plain: it was stopped for its stack, which is complete", str(run))
        else:
            tap.equal(after, before, "%s: and has not been stopped" % kind, str(run))


def test_go():
    victim = Victim("go_pure")
    run = profiler.profile(victim.pid, 2, "-m", "wall")
    part, bad = complete(run.profile)
    tap.at_least(part, 0.95, "Go: stacks of sleeping threads are complete", bad)
    names = {n for s in run.profile.samples for n in s.stack}
    tap.ok(any("runtime.futex" in n for n in names), "Go's threads sleep in runtime.futex")
    check_opens(run, "Go, -m wall")


def check_idle(what, pid, frames, state):
    run = profiler.profile(pid, 1, "-m", "wall")
    check_complete(run.profile, what)
    main = [s for s in run.profile.samples if s.labels["thread_id"] == pid
            and s.labels["state"] == state]
    tap.ok(main and all(any(f in n for n in main[0].stack) for f in frames),
           "%s waits in %s" % (what, state), lambda: repr(run.profile.samples))
    check_opens(run, what)


def test_redis_idle():
    check_idle("redis-server", servers.redis(load=False), ["aeMain", "epoll_wait"], "epoll_wait")


def test_python_idle():
    interpreter = procs.program("/usr/bin/python3", "python3")
    process = procs.spawn([interpreter, "-c", "import time\nprint('ready', flush=True)\n"
                           "time.sleep(1000)"], stdout=subprocess.PIPE)
    procs.Lines(process.stdout).wait_for("ready")
    time.sleep(0.1)
    check_idle("python3", process.pid, ["Py_RunMain", "clock_nanosleep"], "clock_nanosleep")


def test_node_idle():
    interpreter = procs.program("node", "nodejs")
    process = procs.spawn([interpreter, "-e", "console.log('ready'); setInterval(() => 0, 1e6)"],
                          stdout=subprocess.PIPE)
    procs.Lines(process.stdout).wait_for("ready")
    time.sleep(0.5)
    check_idle("node", process.pid, ["uv_run"], "epoll_pwait")


def test_no_traceback():
    victim = Victim("go_cgo_thread_notraceback")
    run = profiler.profile(victim.pid, 2, "--no-traceback")
    deep = [s.stack for s in run.profile.samples if len(s.stack) > 2]
    tap.equal(deep, [], "--no-traceback: no more than leaf and root")
    hogs = [s.stack for s in run.profile.samples if s.stack[0].startswith("cpuHogThread")]
    tap.ok(hogs and all(h[-1].startswith("cpuHogDriver") for h in hogs),
           "Go's CgoPprofThreadNoTraceback: the leaf, and the C thread's own function",
           lambda: repr(run.profile.samples[:5]))
    check_opens(run, "--no-traceback")


def test_kernel_stacks():
    victim = Victim("sleepers", "long")
    run = profiler.profile(victim.pid, 0.5, "-m", "wall", "--kernel-stacks")
    try:
        with open("/proc/%d/stack" % victim.pid, encoding="ascii") as f:
            allowed = "+0x" in f.read()
    except OSError:
        allowed = False
    kernel = [s for s in run.profile.samples if s.locations[0].mapping
              and s.locations[0].mapping.filename == "[kernel.kallsyms]"]
    if allowed:
        tap.at_least(len(kernel), 30, "kernel frames are above the user's")
        check_opens(run, "--kernel-stacks")
    else:
        tap.equal(kernel, [], "no kernel frames where they are not permitted")
        tap.equal(run.stderr.count("CAP_SYS_ADMIN"), 1, "and that is said, once")
    check_complete(run.profile, "--kernel-stacks")


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_wall_long,
        test_wall_short,
        test_block,
        test_threads,
        test_threads_text,
        test_wait_detail,
        test_page_fault,
        test_job_stop,
        test_convoy,
        test_slow_fifo,
        test_postgres,
        test_cpu_and_wall,
        test_last_mode_is_the_default,
        test_unoptimised,
        test_patient,
        test_go,
        test_redis_idle,
        test_python_idle,
        test_node_idle,
        test_no_traceback,
        test_kernel_stacks,
    ])
