# SPDX-License-Identifier: Apache-2.0
"""Processes that a test starts and looks at.

Everything started here ends with the test function that started it: by its
pid, and by a death signal from the kernel should the test itself be killed.
"""

import ctypes
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import tap

PATIENCE = 60.0  # seconds for what must happen some time; never a measure

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def _die_with_parent():
    # A shell's background job ignores it, and what such a job starts would, too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(what, condition, patience=None):
    """Polls a condition; its last value, or an AssertionError that says `what`."""
    end = time.monotonic() + (patience or PATIENCE)
    while True:
        value = condition()
        if value or time.monotonic() > end:
            assert value, "waited in vain until " + what
            return value
        time.sleep(0.01)


def stop(process, patience=None):
    """Ends a Popen: SIGCONT and SIGTERM, then SIGKILL. Gives its status."""
    if process.poll() is None:
        for number in (signal.SIGTERM, signal.SIGCONT):
            process.send_signal(number)
        try:
            process.wait(patience or 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def kill(pid):
    """Ends a process that is no child of the test, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until("process %d is gone" % pid, lambda: state(pid) in ("", "Z"))


def spawn(argv, **options):
    """Starts a process that ends with the running test function."""
    options.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.Popen(argv, preexec_fn=_die_with_parent, **options)
    tap.cleanup(_remove_perf_map, process.pid)
    tap.cleanup(stop, process)
    return process


def _remove_perf_map(pid):
    """Of a program that has ended, and may have been killed while it wrote."""
    try:
        os.remove("/tmp/perf-%d.map" % pid)
    except FileNotFoundError:
        pass


def temp_dir(owner=None):
    """A directory that is removed when the running test function ends."""
    path = tempfile.mkdtemp(prefix="cprof-test-")
    tap.cleanup(shutil.rmtree, path, True)
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return path


def free_port():
    """A port of the loopback interface that is free at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def program(*names):
    """The path of the first of these programs that is there; else skips."""
    for name in names:
        path = name if os.path.isabs(name) and os.access(name, os.X_OK) else shutil.which(name)
        if path:
            return path
    tap.skip("no %s here" % names[0])
    return None


class Lines:
    """The lines that a process prints, read without waiting for ever."""

    def __init__(self, pipe):
        self.fd = pipe.fileno()
        self.pipe = pipe
        self.rest = b""
        self.lines = []
        self.ended = False
        os.set_blocking(self.fd, False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.fd, selectors.EVENT_READ)

    def _read(self, seconds):
        if self.ended or not self.selector.select(max(0, seconds)):
            return
        data = os.read(self.fd, 65536)
        if not data:
            self.ended = True
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.lines += [line.decode("utf-8", "replace") for line in lines]

    def wait_for(self, start, patience=None):
        """The first line that begins so; an AssertionError when none comes."""
        end = time.monotonic() + (patience or PATIENCE)
        while True:
            for line in self.lines:
                if line.startswith(start):
                    return line
            assert not self.ended, "it ended without saying %r: %r" % (start, self.lines)
            left = end - time.monotonic()
            assert left > 0, "waited in vain for %r: %r" % (start, self.lines)
            self._read(left)

    def read_all(self, patience=None):
        end = time.monotonic() + (patience or PATIENCE)
        while not self.ended and time.monotonic() < end:
            self._read(end - time.monotonic())
        return self.lines


# ---- /proc ---------------------------------------------------------------------


def tids(pid):
    try:
        return sorted(int(t) for t in os.listdir("/proc/%d/task" % pid))
    except FileNotFoundError:
        return []


def status(pid, tid=None):
    """The fields of /proc/PID/[task/TID/]status; {} when it is gone."""
    path = "/proc/%d/status" % pid if tid is None else "/proc/%d/task/%d/status" % (pid, tid)
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    except (FileNotFoundError, ProcessLookupError):
        return {}


def cmdline(pid):
    """Its arguments, or the title it gave itself, as one line; "" when it is gone."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().replace(b"\0", b" ").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def state(pid, tid=None):
    """The letter of its state; "" when it is gone."""
    return status(pid, tid).get("State", " ")[0].strip()


def traced(pid):
    """The threads that have a tracer or are stopped: {tid: "t by 4711"}; "-" for the
    state of one that is not stopped, which is another every moment."""
    found = {}
    for tid in tids(pid):
        fields = status(pid, tid)
        tracer = fields.get("TracerPid", "0")
        letter = fields.get("State", " ")[0]
        if tracer != "0" or letter in "tT":
            found[tid] = "%s by %s" % (letter if letter in "tT" else "-", tracer)
    return found


def cpu_ns(pid):
    """What the process has used, by its own CPU clock (clock_getcpuclockid)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def children(pid):
    found = []
    for tid in tids(pid):
        try:
            with open("/proc/%d/task/%d/children" % (pid, tid), encoding="ascii") as f:
                found += [int(c) for c in f.read().split()]
        except OSError:
            pass
    return found


def maps(pid):
    """Executable mappings with a file: (start, end, offset, path)."""
    found = []
    with open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as f:
        for line in f:
            m = re.match(r"(\w+)-(\w+) ..x. (\w+) \S+ \d+ +(/.*)", line)
            if m:
                found.append((int(m[1], 16), int(m[2], 16), int(m[3], 16), m[4]))
    return found
