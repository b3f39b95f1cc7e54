#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Code that is made at run time; files that are hidden, deleted or replaced;
libraries that come and go, and processes that end."""

import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import tap
import victims
from naming import (AS_NOBODY, HZ, MOST, NOBODY, build_id, check, check_absent, copy,
                    directory, need_root, objcopy, run_on, start)
from pprof import Profile
from victims import Victim

# Code that is made at run time


def test_perf_map():
    victim = Victim("names", "jit")
    tap.cleanup(os.remove, "/tmp/perf-%d.map" % victim.pid)
    run = run_on(victim.pid)
    check(run, "jit_code", "a perf map", 0.9)
    check(run, "jit_caller", "a perf map: the caller of the code", 0.9)


# A runtime in a few lines: each line that it reads makes it put the code "NAME PLACE"
# into one of its pages, append that to its map, and run its pages from then on.
_RUNTIME = """
import ctypes, mmap, os, select, sys
page = mmap.mmap(-1, 8192, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
start = ctypes.addressof(ctypes.c_char.from_buffer(page))
code = bytes.fromhex("554889e5b940420f00ffc975fc5dc3")  # counts down from a million
places = []
print("ready", flush=True)
while True:
    while select.select([sys.stdin], [], [], 0)[0]:
        name, place = sys.stdin.readline().split()
        page[int(place):int(place) + len(code)] = code
        with open("/tmp/perf-%d.map" % os.getpid(), "a") as f:
            f.write("%x %x %s\\n" % (start + int(place), len(code), name))
        if place not in places:
            places.append(place)
        print("wrote", name, flush=True)
    for place in places:
        ctypes.CFUNCTYPE(None)(start + int(place))()
"""


class Runtime:
    def __init__(self):
        self.process = procs.spawn([sys.executable, "-c", _RUNTIME], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.output = procs.Lines(self.process.stdout)
        self.output.wait_for("ready")
        tap.cleanup(os.remove, "/tmp/perf-%d.map" % self.pid)

    def make(self, name, place):
        self.process.stdin.write(("%s %d\n" % (name, place)).encode())
        self.process.stdin.flush()
        self.output.wait_for("wrote " + name)

    def run_for(self, seconds):
        """Until it has used so much more of a processor."""
        end = procs.cpu_ns(self.pid) + seconds * 1e9
        procs.wait_until("it runs", lambda: procs.cpu_ns(self.pid) >= end)


def jit_names(profile):
    return {f.name for f in profile.functions if f.name.startswith("jit_")}


def test_growing_perf_map():
    """What is appended while it is profiled is read, and the last of two names is right."""
    runtime = Runtime()
    runtime.make("jit_first", 0)
    run = profiler.Run("-p", runtime.pid, "-d", 60, "-F", HZ)
    runtime.run_for(0.5)
    runtime.make("jit_late", 64)
    runtime.run_for(0.5)
    runtime.make("jit_again", 0)
    runtime.run_for(0.5)
    run.signal(2)
    run.finish()
    tap.equal(jit_names(run.profile), {"jit_late", "jit_again"},
              "a perf map that grows: code that was made late, and in another's place",
              lambda: profiler.top_text(run.profile))


def test_growing_perf_map_in_parts():
    """Each file of a run has the names of its own time."""
    runtime = Runtime()
    runtime.make("jit_first", 0)
    run = profiler.Run("-p", runtime.pid, "-d", 60, "--every", 60, "-F", HZ)
    names = []
    for file, change in enumerate((("jit_late", 64), ("jit_again", 0), None)):
        runtime.run_for(0.5)
        if change:
            run.signal(10)  # SIGUSR1: a new file
        else:
            run.signal(2)
            run.finish()
        path = os.path.join(run.directory, "profile.%06d.pb.gz" % (file + 1))
        procs.wait_until("a file is written", lambda path=path: os.path.exists(path))
        names.append(jit_names(Profile.read(path)))
        if change:
            runtime.make(*change)
    tap.equal(names, [{"jit_first"}, {"jit_first", "jit_late"}, {"jit_again", "jit_late"}],
              "a perf map that grows: in each file the names of its time")


_NODE_LATE = """
function early(n) { let x = n; for (let i = 0; i < n; i++) x = (x * 31 + i) % 65521; return x; }
let total = 0;
for (const end = Date.now() + 500; Date.now() < end;) total += early(10000);
console.log('ready ');
process.stdin.once('data', () => {
    const late = new Function('n', `let x = n;
        for (let i = 0; i < n; i++) x = (x * 33 + i) % 65519; return x;`);
    Object.defineProperty(late, 'name', {value: 'made_late'});
    (function made_late_loop() { for (;;) total += late(10000); })();
});
(function turn() { total += early(10000); setImmediate(turn); })();
"""


def test_node_late():
    """node compiles a function when it has been profiled for a while."""
    node = procs.program("node", "nodejs")
    process = start([node, "--perf-basic-prof", "-e", _NODE_LATE], stdin=subprocess.PIPE,
                    cwd=directory())
    tap.cleanup(os.remove, "/tmp/perf-%d.map" % process.pid)
    run = profiler.Run("-p", process.pid, "-d", 60, "-F", HZ)

    def run_for(seconds):
        end = procs.cpu_ns(process.pid) + seconds * 1e9
        procs.wait_until("node runs", lambda: procs.cpu_ns(process.pid) >= end)

    run_for(0.5)
    process.stdin.write(b"go\n")
    process.stdin.flush()
    run_for(2)
    run.signal(2)
    run.finish()
    names = {f.name for f in run.profile.functions if f.name.startswith("JS:")}
    tap.ok(any("early" in n for n in names), "node: what was there before has its name",
           repr(names))
    tap.ok(any("anonymous" in n or "made_late" in n for n in names),
           "node: what was compiled late has its name", repr(names))


def test_jitdump():
    where = directory()
    run = run_on(Victim("names", "jitdump", where).pid)
    check(run, "jit_dumped", "jitdump: code that was moved", 0.9)
    lines = {(l.function.filename, l.line) for p in run.profile.locations for l in p.lines
             if l.function.name == "jit_dumped"}
    tap.ok(lines and lines <= {("code.js", 7), ("code.js", 8)}, "jitdump: its lines",
           repr(lines))
    check_absent(run, "another", "jitdump")


_NODE = """
function leaf(n) {
    let x = n;
    for (let i = 0; i < n; i++) x = (x * 1103515245 + 12345 + i) % 2147483648;
    return x;
}
let total = 0;
for (const end = Date.now() + 1000; Date.now() < end;) total += leaf(10000);
// It writes the file by two megabytes: what comes after leaf fills them.
for (let i = 0; i < 10000; i++) total += new Function('x', `return x.toString() + ${i}`)(i).length;
console.log('ready ');
for (;;) total += leaf(10000);
"""


def test_node_jitdump():
    node = procs.program("node", "nodejs")
    help_text = subprocess.run([node, "--v8-options"], stdout=subprocess.PIPE, check=True)
    if b"--perf-prof " not in help_text.stdout or b"--always-sparkplug" not in help_text.stdout:
        tap.skip("this node has no --perf-prof")
    process = start([node, "--perf-prof", "--always-sparkplug", "-e", _NODE], cwd=directory())
    run = run_on(process.pid)
    leaf = sum(v for n, v in run.profile.cum("cpu").items() if re.match(r"JS:[*^~+]?leaf", n))
    tap.at_least(leaf / run.profile.total("cpu"), MOST, "node --perf-prof: JS:*leaf",
                 lambda: profiler.top_text(run.profile, 30))


def test_python_trampolines():
    python = procs.program("/usr/bin/python3", "python3")
    version = subprocess.run([python, "-c", "import sys; print(sys.version_info >= (3, 12))"],
                             stdout=subprocess.PIPE, check=True)
    if version.stdout.strip() != b"True":
        tap.skip("python3 has no perf trampolines before 3.12")
    script = "def leaf(n):\n t=0\n for i in range(n): t+=i\n return t\nprint('ready ')\n" \
             "while True: leaf(100000)\n"
    process = start([python, "-u", "-X", "perf", "-c", script])
    tap.cleanup(os.remove, "/tmp/perf-%d.map" % process.pid)
    names = {f.name for f in run_on(process.pid).profile.functions}
    tap.ok(any(n.startswith("py::leaf") for n in names), "python3 -X perf", repr(names))


# Files that cannot be seen, or are no longer there


_NAMESPACE = """
set -e
mount -t tmpfs none "$1"
cp "$2" "$1/names-inside"
mkdir "$1/tmp"
exec chroot "$1" /names-inside "$3"
"""


def inside_namespace(what):
    """The static victim in mount and pid namespaces of its own, in a root that only
    it sees: (its process as we know it, the directory that hides it)."""
    need_root()
    unshare = procs.program("unshare")
    where = directory()
    process = procs.spawn([unshare, "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
                           _NAMESPACE, "sh", where, victims.path("names_static"), what],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = procs.Lines(process.stdout)
    try:
        lines.wait_for("ready ")
    except AssertionError:
        tap.skip("no namespaces can be made here: %s" % process.stderr.read())
    with open("/proc/%d/task/%d/children" % (process.pid, process.pid)) as f:
        return int(f.read().split()[0]), where, lines


def test_namespace():
    pid, where, lines = inside_namespace("work")
    tap.equal(lines.lines[0], "ready 1", "its pid is 1, where it is")
    tap.equal(os.listdir(where), [], "its binary cannot be seen from here")
    check(run_on(pid), "hidden_hot", "in namespaces of its own")


def test_namespace_perf_map():
    """By the pid that the process knows, in its own /tmp; not by ours, in ours."""
    pid, _, _ = inside_namespace("jit")
    decoy = "/tmp/perf-%d.map" % pid
    with open(decoy, "w") as f:
        f.write("1000 7ffffffff000 decoy\n")
    tap.cleanup(os.remove, decoy)
    run = run_on(pid)
    check(run, "jit_code", "a perf map in namespaces of its own", 0.9)
    check_absent(run, "decoy", "a perf map in namespaces of its own")


def test_namespace_other_file_here():
    """A file of the same name that we see is not the one that runs."""
    need_root()
    where = directory()
    inner = where + "/inner"
    os.mkdir(inner)
    copy("names", inner + "/program")
    copy("names_static", inner + "/decoy")
    script = 'set -e; mount -t tmpfs none "$1"; cp "$2" "$1/program"; exec "$1/program"'
    process = procs.spawn([procs.program("unshare"), "--mount", "sh", "-c", script, "sh",
                           inner, victims.path("names")], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    lines = procs.Lines(process.stdout)
    try:
        lines.wait_for("ready ")
    except AssertionError:
        tap.skip("no namespaces can be made here")
    objcopy("--redefine-sym", "hidden_hot=wrong_name", inner + "/program")
    run = run_on(process.pid)
    check(run, "hidden_hot", "another file of the same name here")
    check_absent(run, "wrong_name", "another file of the same name here")


_OVERLAY = """
set -e
mount -t tmpfs none "$1"
cd "$1"
mkdir lower upper work merged
cp "$2" lower/names
chmod 755 . merged lower
mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work merged
exec setpriv --reuid 65534 --regid 65534 --clear-groups merged/names
"""


def test_overlay():
    """The device in maps is not the one that stat tells."""
    need_root()
    where = directory()
    process = procs.spawn([procs.program("unshare"), "--mount", "sh", "-c", _OVERLAY, "sh",
                           where, victims.path("names")],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = procs.Lines(process.stdout)
    try:
        lines.wait_for("ready ")
    except AssertionError:
        tap.skip("overlayfs cannot be mounted here: %s" % process.stderr.read())
    check(run_on(process.pid), "hidden_hot", "on overlayfs, by root")
    check(as_nobody(process.pid), "hidden_hot", "on overlayfs, by a user")


def as_nobody(pid):
    """By a user who may not follow /proc/PID/map_files."""
    where = procs.temp_dir()
    os.chown(where, NOBODY, NOBODY)
    return run_on(pid, directory=where, **AS_NOBODY)


def with_library(change):
    """The victim with a library, run by nobody; `change` is done to the library."""
    need_root()
    where = directory()
    library = copy("names_library", where + "/library.so")
    process = start([victims.path("names"), "load", library], **AS_NOBODY)
    change(library)
    return process


def replace(path):
    """As an upgrade does it: another file takes the name."""
    copy("names_even", path + ".new")
    os.rename(path + ".new", path)


def test_deleted():
    for what, change in (("deleted", os.remove), ("replaced", replace)):
        process = with_library(change)
        run = run_on(process.pid)
        check(run, "hidden_in_library", "a library that is %s, by root" % what)
        run = as_nobody(process.pid)
        tap.contains(run.stderr, "library.so: read from memory",
                     "a library that is %s, by a user: only memory is left" % what)
        check(run, "shared_hot", "a library that is %s, by a user" % what)
        check(run, "main", "a library that is %s, by a user: its caller" % what)
        check_absent(run, "hot_even", "a library that is " + what)
        ids = [m.build_id for m in run.profile.mappings if m.filename.endswith("library.so")]
        tap.equal(ids, [build_id(victims.path("names_library"))],
                  "a library that is %s, by a user: its build id" % what)


def test_deleted_program():
    need_root()
    for what, change in (("deleted", os.remove), ("replaced", replace)):
        program = copy("names", directory() + "/names")
        process = start([program], **AS_NOBODY)
        change(program)
        check(run_on(process.pid), "hidden_hot", "a program that is %s, by root" % what)
        check(as_nobody(process.pid), "hidden_hot", "a program that is %s, by a user" % what)


# Code that comes and goes


def test_swapped_libraries():
    """Two libraries at one address, in turn: each sample has the one of its own time."""
    if tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2]) < (6, 11):
        tap.skip("this kernel cannot be asked for one mapping")
    victim = Victim("names", "swap", victims.path("names_even"), victims.path("names_oddx"))
    run = run_on(victim.pid, seconds=4)
    same, _, n = dict(line.split(" ", 1) for line in victim.end())["same"].split()
    if int(same) < int(n) / 2:
        tap.skip("the libraries do not come to lie at one address: %s of %s" % (same, n))
    right = wrong = 0
    for sample in run.profile.samples:
        for caller, name in (("in_even", "hot_even"), ("in_oddx", "hot_oddx")):
            if caller in sample.stack:
                found = {"hot_even", "hot_oddx"} & set(sample.stack)
                right += sample.values[-1] if found == {name} else 0
                wrong += sample.values[-1] if found - {name} else 0
    tap.at_least(right / run.profile.total("cpu"), MOST, "swapped libraries: of its own time")
    # Half of them, if it is not noticed. A sample that waits until its library is gone
    # is wrong too: the more, the busier the machine.
    tap.at_most(wrong / run.profile.total("cpu"), 0.3, "swapped libraries: of another time",
                lambda: profiler.top_text(run.profile))


def profile_to_its_end(victim, vanish):
    """Of a victim that is killed after a while; what its names are in vanishes before."""
    run = profiler.Run("-p", victim.pid, "-d", "60", "-F", HZ)
    procs.wait_until("it was sampled", lambda: procs.cpu_ns(victim.pid) > 1500000000)
    vanish()
    victim.process.kill()
    victim.process.wait()
    run.finish()
    assert run.profile, str(run)
    return run


def test_target_ends():
    """Names do not need the process any more."""
    library = copy("names_library", directory() + "/library.so")
    run = profile_to_its_end(Victim("names", "load", library), lambda: os.remove(library))
    check(run, "hidden_in_library", "a process that ended")


def test_jit_target_ends():
    where = directory()
    run = profile_to_its_end(Victim("names", "jitdump", where), lambda: shutil.rmtree(where))
    check(run, "jit_dumped", "JIT code of a process that ended", 0.9)


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_perf_map, test_growing_perf_map, test_growing_perf_map_in_parts, test_node_late,
        test_jitdump, test_node_jitdump, test_python_trampolines,
        test_namespace, test_namespace_perf_map, test_namespace_other_file_here, test_overlay,
        test_deleted, test_deleted_program, test_swapped_libraries, test_target_ends,
        test_jit_target_ends,
    ])
