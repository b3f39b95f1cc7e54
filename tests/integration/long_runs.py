#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs that write more than one file: nothing is lost or counted twice between them.

What the process used is read from its own CPU clock, and compared with the sum over
all files of a run.
"""

import glob
import os
import re
import signal
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

PART = 0.005
READINGS_NS = 5000000  # the clock that judges is read every few milliseconds
NOT_SAMPLED = "[not sampled]"
NOT_WRITTEN = "[not written]"
MIB = 1 << 20


class Files:
    """The files of one run, in the order of their time."""

    def __init__(self, paths):
        found = sorted(((Profile.read(p), p) for p in paths), key=lambda f: f[0].time_nanos)
        self.profiles = [profile for profile, _ in found]
        self.paths = [path for _, path in found]
        assert self.profiles, "there are no files"
        self.time_nanos = self.profiles[0].time_nanos
        self.end = self.profiles[-1].time_nanos + self.profiles[-1].duration_nanos
        self.duration_nanos = self.end - self.time_nanos

    def total(self, name="cpu"):
        return sum(p.total(name) for p in self.profiles)

    def comments(self, key):
        return [[c for c in p.comments if c.startswith(key + ": ")] for p in self.profiles]


def files_of(run, pattern="*.pb.gz"):
    return Files(glob.glob(os.path.join(run.directory, pattern)))


def expected(run, n):
    """Of n files, those that a busy machine let the run begin: it says which not."""
    return n - run.stderr.count("two files are still to be written")


def check_sum(what, files, log, run, part=PART):
    want = log.during(files)
    got = files.total()
    tap.ok(abs(got - want) <= max(part * want, READINGS_NS),
           "%s: %d files sum to %.3f s, %.3f s used (%+.2f %%)"
           % (what, len(files.paths), got / 1e9, want / 1e9, 100 * (got - want) / want),
           lambda: "%s\n%s" % (run, "\n".join(
               "%s %.6f" % (os.path.basename(path), p.total("cpu") / 1e9)
               for path, p in zip(files.paths, files.profiles))))


def check_no_gap(files, what):
    gaps = [after.time_nanos - before.time_nanos - before.duration_nanos
            for before, after in zip(files.profiles, files.profiles[1:])]
    tap.ok(all(abs(gap) < 1000000 for gap in gaps),
           what + ": each file begins where the one before it ends", "gaps in ns: %r" % gaps)


def check_every(what, seconds, every, *victim_args, hz=99):
    victim = Victim(*victim_args)
    log = profiler.CpuLog(victim.pid)
    run = profiler.Run("-p", victim.pid, "-d", seconds, "--every", every, "-F", hz).finish()
    tap.equal(run.status, 0, what + ": the run ends well", str(run))
    files = files_of(run)
    check_sum(what, files, log, run)
    check_no_gap(files, what)
    return run, files


def test_one_long_file():
    """The measure for the others: a run of one file, beside the same clock."""
    victim = Victim("work", 2, "busy")
    log = profiler.CpuLog(victim.pid)
    run = profiler.profile(victim.pid, 5)
    check_sum("one long file", Files([run.path]), log, run)


def test_a_row_of_files():
    run, files = check_every("2 busy threads", 5, 1, "work", 2, "busy")
    tap.equal([os.path.basename(p) for p in files.paths],
              ["profile.%06d.pb.gz" % i for i in range(1, expected(run, 5) + 1)],
              "each has its number", str(run))
    parts = files.comments("part")
    tap.ok(all(len(c) == 1 and c[0].startswith("part: %d of the run" % (i + 1))
               for i, c in enumerate(parts)), "and says which it is", "%r" % parts)
    told = [int(c[0].split()[1]) for c in files.comments("samples")]
    tap.equal(told, [p.total("samples") for p in files.profiles],
              "a file's receipt counts its own samples")
    for key in ("rate", "process", "threads", "stacks"):
        tap.ok(all(len(c) == 1 for c in files.comments(key)), "and has its own " + key)
    tap.contains(run.stderr, "written to %d files, the last one" % len(files.paths),
                 "the summary counts them")


def test_threads_that_come_and_go():
    _, files = check_every("1000 threads a second", 4, 1, "churn", 1000, 300)
    tap.ok(all(p.flat("cpu")[NOT_SAMPLED] > 0 for p in files.profiles),
           "what ran between ticks is told in each file")


def test_the_last_file_is_shorter():
    run, files = check_every("2.5 periods", 2.5, 1, "work", 1, "busy", hz=499)
    tap.equal(len(files.paths), expected(run, 3), "there are three files", str(run))
    tap.ok(files.profiles[-1].duration_nanos < files.profiles[0].duration_nanos,
           "and the last one is shorter")


def test_sleeping_threads():
    """A thread that sleeps all the time has one stack, and is in every file."""
    victim = Victim("work", 2, "busy")
    run = profiler.Run("-p", victim.pid, "-m", "wall", "-d", 5, "--every", 1.25).finish()
    files = files_of(run)
    slept = [p.by_label("thread_id", "wall")[victim.pid] for p in files.profiles]
    part = sum(slept) / files.duration_nanos
    tap.ok(abs(part - 1) < 0.01, "over %d files the main thread slept for %.2f %% of the run"
           % (len(slept), 100 * part), str(run))
    tap.ok(all(abs(ns - p.duration_nanos) < 0.5e9 for ns, p in zip(slept, files.profiles)),
           "and in each file for about its time", "%r\n%r"
           % (slept, [p.duration_nanos for p in files.profiles]))
    leaves = {s.stack[0] for p in files.profiles for s in p.samples
              if s.labels.get("thread_id") == victim.pid and s.values[-1] > 0}
    tap.ok("[not sampled]" not in leaves or len(leaves) > 1, "with its stack", "%r" % leaves)


def test_keep():
    victim = Victim("work", 1, "busy")
    directory = procs.temp_dir()
    foreign = os.path.join(directory, "profile.000000.pb.gz")
    with open(foreign, "w", encoding="ascii") as f:
        f.write("not of this run")
    run = profiler.Run("-p", victim.pid, "-d", 3, "--every", 0.6, "--keep", 2,
                       directory=directory).finish()
    tap.equal(sorted(os.path.basename(p) for p in glob.glob(directory + "/*.gz")),
              ["profile.%06d.pb.gz" % i for i in (0, expected(run, 5) - 1, expected(run, 5))],
              "the two newest are kept, and what was there before", str(run))


def test_keep_bytes():
    victim = Victim("stacks", 60)
    run = profiler.Run("-p", victim.pid, "-d", 0, "--every", 1, "--keep-bytes", "60K",
                       "--max-overhead", 100, "-F", 999)
    oldest = run.directory + "/profile.000001.pb.gz"
    wait_for_profile(oldest, run)
    procs.wait_until("the oldest file is gone", lambda: not os.path.exists(oldest))
    run.signal(signal.SIGINT)
    files = files_of(run.finish())
    sizes = [os.path.getsize(p) for p in files.paths]
    tap.ok(len(sizes) == 1 or sum(sizes) <= 60 * 1024, "older files go, the newest ones fit",
           "%r\n%s" % (sizes, run))
    numbers = [int(p.split(".")[-3]) for p in files.paths]
    tap.equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))),
              "and none between them is gone", str(run))


def test_patterns():
    victim = Victim("work", 1, "busy")
    directory = procs.temp_dir()
    run = profiler.Run("-p", victim.pid, "-d", 1.5, "--every", 0.5, directory=directory,
                       output=directory + "/w%%-%Y%m%d-%H%M%S-%i.pb.gz").finish()
    names = sorted(os.path.basename(p) for p in glob.glob(directory + "/*.gz"))
    pattern = r"w%%-\d{8}-\d{6}-%06d\.pb\.gz"
    tap.ok(len(names) == expected(run, 3) and
           all(re.fullmatch(pattern % (i + 1), n) for i, n in enumerate(names)),
           "conversions tell time and number", "%r\n%s" % (names, run))
    run = profiler.Run("-p", victim.pid, "-d", 0.5, output=directory + "/100%i.pb.gz").finish()
    tap.ok(os.path.exists(directory + "/100%i.pb.gz"),
           "without --every a %% is a %%", str(run))
    for output, words in (("%H.pb.gz", "two files the name"), ("-", "--every writes files"),
                          ("%D-%i.pb.gz", "would put a /")):
        run = profiler.Run("-p", victim.pid, "--every", 1, output=output).finish()
        tap.equal(run.status, 2, "-o %s is refused" % output, str(run))
        tap.contains(run.stderr, words, "with a sentence")


def peak_rss(pid):
    return int(procs.status(pid)["VmHWM"].split()[0]) * 1024


def go_total(paths):
    """What `go tool pprof` says that these files come to together, in seconds."""
    home = procs.temp_dir()
    env = dict(os.environ, HOME=home, PPROF_TMPDIR=home, GOFLAGS="", GO111MODULE="off")
    done = subprocess.run([procs.program("go"), "tool", "pprof", "-symbolize=none", "-top",
                           "-unit=ms", *paths], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=env, check=False)
    found = re.search(r"of ([0-9.]+)ms total", done.stdout.decode("utf-8", "replace"))
    assert found, done.stdout
    return float(found[1]) / 1e3


def test_memory_limit():
    victim = Victim("stacks", 200)
    log = profiler.CpuLog(victim.pid)
    run = profiler.Run("-p", victim.pid, "-d", 0, "--memory-limit", "48M", "-F", 2999,
                       "--max-overhead", 100)
    peak = 0

    def two_files():
        nonlocal peak
        peak = max(peak, peak_rss(run.pid))
        return len(glob.glob(run.directory + "/*.gz")) == 2

    procs.wait_until("there are two files", two_files, 120)
    time.sleep(1)
    peak = max(peak, peak_rss(run.pid))
    run.signal(signal.SIGINT)
    run.finish()
    files = files_of(run)
    tap.at_least(len(files.paths), 3, "very many stacks make several files", str(run))
    tap.at_most(peak / MIB, 48, "the profiler's memory stays below the limit, in MiB")
    tap.equal(os.path.basename(files.paths[-1]), "profile.pb.gz",
              "the last one has the plain name")
    check_sum("very many stacks", files, log, run)
    check_no_gap(files, "very many stacks")
    distinct = len({tuple(s.stack) for p in files.profiles for s in p.samples})
    tap.at_least(distinct, files.total("samples") / 2, "most samples had a stack of their own")
    got = go_total(files.paths)
    tap.ok(abs(got - files.total() / 1e9) < 0.001 * got + 0.01,
           "go tool pprof adds them up to %.2f s, as they are" % got)


def wait_for_profile(path, run):
    procs.wait_until("%s is there" % path,
                     lambda: os.path.exists(path) or run.process.poll() is not None)
    return Profile.read(path)


def test_sigusr1_writes_what_there_is():
    victim = Victim("work", 2, "busy")
    log = profiler.CpuLog(victim.pid)
    run = profiler.Run("-p", victim.pid, "-d", 0, "-F", 499)
    run.begun()
    time.sleep(1)
    run.signal(signal.SIGUSR1)
    first = wait_for_profile(run.path, run)
    tap.ok(first.total("samples") > 0, "SIGUSR1 writes a file that opens", str(run))
    time.sleep(1)
    run.signal(signal.SIGUSR1)
    procs.wait_until("it is written anew", lambda: Profile.read(
        run.path).duration_nanos > first.duration_nanos)
    second = Profile.read(run.path)
    tap.ok(second.time_nanos == first.time_nanos and
           second.total("samples") > first.total("samples"), "the next one holds both parts")
    time.sleep(0.5)
    run.signal(signal.SIGINT)
    run.finish()
    tap.equal(run.status, 0, "-d 0 lasts until Ctrl-C", str(run))
    tap.ok(run.profile.total("samples") > second.total("samples"), "the last one holds all")
    check_sum("SIGUSR1 twice", Files([run.path]), log, run)
    tap.equal(glob.glob(run.directory + "/*.gz"), [run.path], "there is no other file")


def test_sigusr1_in_a_row():
    victim = Victim("work", 1, "busy")
    log = profiler.CpuLog(victim.pid)
    run = profiler.Run("-p", victim.pid, "-d", 3, "--every", 1.5)
    run.begun()
    time.sleep(0.7)
    run.signal(signal.SIGUSR1)
    wait_for_profile(run.directory + "/profile.000001.pb.gz", run)
    files = files_of(run.finish())
    tap.equal(len(files.paths), expected(run, 3), "SIGUSR1 ends a file of the row early",
              str(run))
    check_sum("a row with SIGUSR1", files, log, run)
    check_no_gap(files, "a row with SIGUSR1")


def test_until_the_target_ends():
    victim = Victim("execs", "exit", 2000, 0)
    run = profiler.Run("-p", victim.pid, "-d", 0, "--every", 0.8).finish()
    tap.equal(run.status, 0, "-d 0 lasts until the target ends", str(run))
    files = files_of(run)
    tap.ok(len(files.paths) >= 2 and files.total() > 0, "there are files up to its end",
           str(run))


class SmallDisk:
    """A file system of 256 KiB, to be filled and freed again."""

    def __init__(self):
        self.path = procs.temp_dir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", self.path],
                              stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            tap.skip("no tmpfs can be mounted here")
        tap.cleanup(subprocess.run, ["umount", "-l", self.path])

    def fill(self):
        with open(self.path + "/filler", "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass

    def free(self):
        os.unlink(self.path + "/filler")


def wait_for_words(run, words):
    procs.wait_until("it says %r" % words,
                     lambda: words in run.stderr or run.process.poll() is not None)


def test_disk_full_and_free_again():
    victim = Victim("work", 2, "busy")
    disk = SmallDisk()
    log = profiler.CpuLog(victim.pid)
    run = profiler.Run("-p", victim.pid, "-d", 0, "--every", 1,
                       output=disk.path + "/p.pb.gz")
    wait_for_profile(disk.path + "/p.000001.pb.gz", run)
    disk.fill()
    wait_for_words(run, "its file system is full")
    tap.contains(run.stderr, "sampling goes on", "a full disk is told, and sampling goes on")
    time.sleep(1.5)
    there = len(glob.glob(disk.path + "/*.pb.gz"))
    disk.free()
    procs.wait_until("there is a file more", lambda: len(glob.glob(
        disk.path + "/*.pb.gz")) > there or run.process.poll() is not None)
    run.signal(signal.SIGINT)
    run.finish()
    tap.equal(run.status, 0, "the run ends well", str(run))
    files = Files(glob.glob(disk.path + "/*.pb.gz"))
    tap.ok(max(p.duration_nanos for p in files.profiles) > 1.5e9,
           "the next file holds what could not be written", str(run))
    check_sum("a disk that was full for a while", files, log, run)
    check_no_gap(files, "a disk that was full for a while")


def test_disk_full_at_the_end():
    victim = Victim("work", 1, "busy")
    disk = SmallDisk()
    run = profiler.Run("-p", victim.pid, "-d", 0, "--every", 1,
                       output=disk.path + "/p.pb.gz")
    wait_for_profile(disk.path + "/p.000001.pb.gz", run)
    disk.fill()
    run.signal(signal.SIGINT)
    run.finish()
    tap.equal(run.status, 1, "a last file that cannot be written is a failure", str(run))
    tap.ok(re.search(r"cannot write '.*/p\.0000\d\d\.pb\.gz'", run.stderr), "it is named",
           str(run))
    tap.equal([n for n in os.listdir(disk.path) if n.startswith(".")], [],
              "no part of a file is left")


def test_more_than_memory_can_keep():
    victim = Victim("stacks", 200)
    disk = SmallDisk()
    log = profiler.CpuLog(victim.pid)
    run = profiler.Run("-p", victim.pid, "-d", 0, "--every", 1, "-F", 999, "--max-overhead", 100,
                       "--memory-limit", "32M", output=disk.path + "/p.pb.gz")
    wait_for_profile(disk.path + "/p.000001.pb.gz", run)
    disk.fill()
    wait_for_words(run, NOT_WRITTEN)
    time.sleep(3)
    disk.free()
    procs.wait_until("there is a file more", lambda: os.path.exists(
        disk.path + "/p.000002.pb.gz") or run.process.poll() is not None)
    run.signal(signal.SIGINT)
    run.finish()
    files = Files(glob.glob(disk.path + "/*.pb.gz"))
    lost = sum(p.flat("cpu")[NOT_WRITTEN] for p in files.profiles)
    tap.ok(lost > 0, "what memory cannot keep is shown as a sum (%.3f s)" % (lost / 1e9), str(run))
    check_sum("with stacks given up", files, log, run)


def test_stdout_takes_one_profile():
    victim = Victim("stacks", 200)
    run = profiler.Run("-p", victim.pid, "-d", 60, "-F", 2999, "--memory-limit", "32M",
                       "--max-overhead", 100,
                       "-f", "pprof", output="-").finish()
    tap.equal(run.status, 0, "the run ends well", str(run)[:2000])
    tap.contains(run.stderr, "--memory-limit is reached", "and says why it ends early")
    tap.ok(Profile.decode(run.stdout).duration_nanos < 59e9, "the profile is whole")


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_one_long_file,
        test_a_row_of_files,
        test_threads_that_come_and_go,
        test_the_last_file_is_shorter,
        test_sleeping_threads,
        test_keep,
        test_keep_bytes,
        test_patterns,
        test_memory_limit,
        test_sigusr1_writes_what_there_is,
        test_sigusr1_in_a_row,
        test_until_the_target_ends,
        test_disk_full_and_free_again,
        test_disk_full_at_the_end,
        test_more_than_memory_can_keep,
        test_stdout_takes_one_profile,
    ])
