# SPDX-License-Identifier: Apache-2.0
"""Runs the profiler. CPROF_ATTACH names it; else it is looked for in PATH."""

import os
import shutil
import signal
import subprocess
import threading
import time

import procs
import tap
from pprof import Profile

PATH = os.environ.get("CPROF_ATTACH") or shutil.which("cprof-attach")


def require():
    """Ends a test program that has nothing to test."""
    if not PATH or not os.access(PATH, os.X_OK):
        tap.skip_all("no cprof-attach: set CPROF_ATTACH")


class Run:
    """One run of the profiler; .finish() waits for its end.

    Then: .status (as subprocess gives it), .stderr, .stdout (bytes), .profile
    (or None when no file was written), .path.
    """

    def __init__(self, *args, output=None, directory=None, prefix=(), program=PATH,
                 **options):
        self.directory = directory or procs.temp_dir()
        self.path = output or os.path.join(self.directory, "profile.pb.gz")
        self.errors = open(os.path.join(self.directory, "stderr"), "w+b")
        self.printed = open(os.path.join(self.directory, "stdout"), "w+b")
        tap.cleanup(self.errors.close)
        tap.cleanup(self.printed.close)
        # At the rate that the test asks for, however busy the machine.
        limit = [] if "--max-overhead" in args else ["--max-overhead", "100"]
        self.argv = [*prefix, program, "-o", self.path] + limit + [str(a) for a in args]
        options.setdefault("stdout", self.printed)
        options.setdefault("stderr", self.errors)
        self.process = procs.spawn(self.argv, **options)
        self.pid = self.process.pid
        self.status = None
        self.profile = None

    def read(self, file):
        file.flush()
        file.seek(0)
        return file.read()

    @property
    def stderr(self):
        return self.read(self.errors).decode("utf-8", "replace")

    @property
    def stdout(self):
        return self.read(self.printed)

    def tracer(self):
        """The process that samples, or None when it is not there (yet, or any more)."""
        return next((c for c in procs.children(self.pid)
                     if procs.status(c).get("Name") == "cprof-tracer"), None)

    def begun(self):
        """Waits until it samples, and gives the process that does: a signal before that
        ends it without a profile."""
        procs.wait_until("it samples",
                         lambda: self.tracer() or self.process.poll() is not None)
        return self.tracer()

    def signal(self, number):
        self.process.send_signal(number)

    def finish(self, patience=120):
        try:
            self.status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            self.status = "still running after %d s" % patience
        if os.path.exists(self.path):
            self.profile = Profile.read(self.path)
        return self

    def __str__(self):
        return "%s\nstatus %s\n%s" % (" ".join(self.argv), self.status, self.stderr)


def from_afar():
    """A prefix that takes the right to real-time priority, without which stops come late
    and meet threads on their way to sleep. [] where there is no such right to take."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        return []
    return ["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice"]


def profile(pid, seconds, *args, hz=None, enough=0, **options):
    """Profiles a process and expects a profile; the finished Run. `enough`: samples to
    judge by, for which it takes longer where the machine has no time for us."""
    rate = [] if hz is None else ["-F", str(hz)]
    for longer in (1, 4, 16):
        run = Run("-p", pid, "-d", seconds * longer, *rate, *args, **options).finish()
        assert run.status == 0 and run.profile is not None, "no profile: %s" % run
        if not enough or run.profile.total("samples") >= enough:
            break
    return run


class CpuLog(threading.Thread):
    """Reads a process's CPU clock every few milliseconds, to say afterwards what
    it used between two points of time. Independent of the profiler. `read`: gives the
    nanoseconds of another account, such as that of one thread."""

    def __init__(self, pid, read=None):
        super().__init__(daemon=True)
        self.read = read or (lambda: procs.cpu_ns(pid))
        self.points = []
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.004):
            before = time.time_ns()
            try:
                used = self.read()
            except OSError:
                break
            self.points.append(((before + time.time_ns()) // 2, used))

    def at(self, when):
        """CPU time used at a time since the epoch, interpolated."""
        last = None
        for t, used in self.points:
            if t >= when:
                if last is None or t == last[0]:
                    return used
                part = (when - last[0]) / (t - last[0])
                return last[1] + part * (used - last[1])
            last = (t, used)
        return last[1]

    def during(self, profile):
        """CPU time used while this profile was taken."""
        self.ended.set()
        self.join()
        start = profile.time_nanos
        return self.at(start + profile.duration_nanos) - self.at(start)


def shares(profile, names):
    """{name: part of all CPU time whose stacks hold that function}."""
    total = profile.total("cpu")
    cum = profile.cum("cpu")
    return {name: cum[name] / total if total else 0.0 for name in names}


def top_text(profile, n=12):
    """The hottest functions, for a failure's explanation."""
    total = profile.total("cpu") or 1
    rows = ["%6.2f%% %s" % (100 * v / total, name)
            for name, v in profile.cum("cpu").most_common(n)]
    return "\n".join(["cumulative:"] + rows)


def go_tool_pprof(path):
    """Opens a profile with `go tool pprof` in three ways: {option: (status, output)}."""
    go = procs.program("go")
    home = procs.temp_dir()
    env = dict(os.environ, HOME=home, PPROF_TMPDIR=home, GOFLAGS="", GO111MODULE="off")
    found = {}
    for option in ("-top", "-raw", "-traces"):
        done = subprocess.run([go, "tool", "pprof", "-symbolize=none", option, path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                              check=False)
        found[option] = (done.returncode, done.stdout.decode("utf-8", "replace"))
    return found
