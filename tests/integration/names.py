#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where names come from: each source by itself, on programs that have no other;
files that are hidden, deleted or replaced; code that comes and goes."""

import http.client
import lzma
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import servers
import tap
import victims
from victims import Victim

SECONDS = 1
HZ = 199
NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
# What the loops of the victims cannot do without lies in the C library and the vDSO.
MOST = 0.6


def run_on(pid, *args, seconds=SECONDS, **options):
    run = profiler.Run("-p", pid, "-d", seconds, "-F", HZ, "-v", *args, **options).finish()
    assert run.status == 0 and run.profile, "no profile: %s" % run
    return run


def check(run, function, what, least=MOST):
    share = profiler.shares(run.profile, [function])[function]
    return tap.at_least(share, least, "%s: %s" % (what, function),
                        lambda: "%s\n%s" % (profiler.top_text(run.profile), run))


def check_absent(run, function, what):
    names = {f.name for f in run.profile.functions}
    tap.ok(function not in names, "%s: nothing is called %s" % (what, function),
           lambda: profiler.top_text(run.profile))


def directory():
    """One that everybody may look into."""
    path = procs.temp_dir()
    os.chmod(path, 0o755)
    return path


def objcopy(*args):
    subprocess.run([procs.program("objcopy"), *args], check=True)


def copy(victim, path):
    shutil.copy(victims.path(victim), path)
    return path


def start(argv, **options):
    """Starts a program of ours by any name; it is ready when this returns."""
    process = procs.spawn(argv, stdout=subprocess.PIPE, **options)
    process.output = procs.Lines(process.stdout)
    process.output.wait_for("ready ")
    return process


def need_root():
    if os.geteuid() != 0:
        tap.skip("needs root")


# Files that have their names


def test_symtab():
    check(run_on(Victim("names").pid), "hidden_hot", ".symtab")
    check(run_on(Victim("names_static").pid), "hidden_hot", ".symtab of a static program")


def test_stripped():
    """Without any source, the offset of the function; the exported ones have names."""
    where = directory()
    program = copy("names", where + "/names")
    library = copy("names_library", where + "/library.so")
    objcopy("--strip-all", program)
    objcopy("--strip-all", library)
    run = run_on(start([program, "load", library]).pid)
    check(run, "shared_hot", ".dynsym")
    check_absent(run, "hidden_in_library", ".dynsym")
    hot = run.profile.flat("cpu").most_common()
    tap.ok(any(name.startswith("library.so+0x") for name, _ in hot),
           "what has no name is shown as file+offset", repr(hot))


def test_debuglink():
    for place in ("names.debug", ".debug/names.debug"):
        where = directory()
        program, debug = copy("names", where + "/names"), os.path.join(where, place)
        os.makedirs(os.path.dirname(debug), exist_ok=True)
        objcopy("--only-keep-debug", program, debug)
        objcopy("--strip-all", "--add-gnu-debuglink=" + debug, program)
        check(run_on(start([program]).pid), "hidden_hot", ".gnu_debuglink to " + place)


def test_minidebuginfo():
    where = directory()
    program, mini = copy("names", where + "/names"), where + "/mini"
    objcopy("--strip-debug", program, mini)
    with open(mini, "rb") as plain, lzma.open(mini + ".xz", "wb") as packed:
        packed.write(plain.read())
    objcopy("--strip-all", "--add-section", ".gnu_debugdata=%s.xz" % mini, program)
    version = subprocess.run([profiler.PATH, "--version"], stdout=subprocess.PIPE, check=True)
    if b".gnu_debugdata: yes" not in version.stdout:
        tap.skip("built without liblzma")
    check(run_on(start([program]).pid), "hidden_hot", ".gnu_debugdata")


# A server of debug files


def start_debuginfod(where):
    """A server for the files in a directory; its address. It has scanned them."""
    port = procs.free_port()
    options = ["-p", str(port), "-d", ":memory:", "-F", "-t", "0", "-g", "0", "-v", where]
    procs.spawn([procs.program("/usr/bin/debuginfod", "debuginfod"), *options],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=dict(os.environ, DEBUGINFOD_URLS=""))

    def metric(name):
        try:
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            link.request("GET", "/metrics")
            text = link.getresponse().read().decode()
        except OSError:
            return 0
        found = re.search(r"^%s (\d+)" % re.escape(name), text, re.M)
        return int(found.group(1)) if found else 0

    procs.wait_until("debuginfod has read its files",
                     lambda: metric('groom{statistic="files scanned (#)"}')
                     or metric('thread_work_total{role="scan"}')
                     or metric('scanned_files_total{source="file"}'))
    return "http://127.0.0.1:%d" % port


def stripped_with_debug():
    where = directory()
    program, store = copy("names", where + "/names"), where + "/store"
    os.mkdir(store)
    objcopy("--only-keep-debug", program, store + "/x.debug")
    objcopy("--strip-all", program)
    return where, program, store


def need_debuginfod():
    version = subprocess.run([profiler.PATH, "--version"], stdout=subprocess.PIPE, check=True)
    if b"debuginfod: yes" not in version.stdout:
        tap.skip("built without libdebuginfod")


def test_debuginfod():
    need_debuginfod()
    where, program, store = stripped_with_debug()
    url = start_debuginfod(store)
    process = start([program])
    env = dict(os.environ, DEBUGINFOD_CACHE_PATH=where + "/cache", HOME=where)
    env.pop("DEBUGINFOD_URLS", None)
    run = run_on(process.pid, env=env)
    check_absent(run, "hidden_hot", "without a server")
    tap.ok(not os.path.exists(where + "/cache"), "without a server nobody is asked")
    run = run_on(process.pid, "--debuginfod", url, env=env)
    check(run, "hidden_hot", "--debuginfod")
    shutil.rmtree(where + "/cache", True)
    env["DEBUGINFOD_URLS"] = url
    check(run_on(process.pid, env=env), "hidden_hot", "DEBUGINFOD_URLS")


def test_debuginfod_that_hangs():
    """A server that takes a request and never answers: the profile is written."""
    import socket

    need_debuginfod()
    where, program, _ = stripped_with_debug()
    listener = socket.create_server(("127.0.0.1", 0))
    tap.cleanup(listener.close)
    env = dict(os.environ, DEBUGINFOD_CACHE_PATH=where + "/cache", HOME=where,
               DEBUGINFOD_URLS="http://127.0.0.1:%d" % listener.getsockname()[1])
    process = start([program])
    run = run_on(process.pid, seconds=1, env=env)
    tap.contains(run.stderr, "debug file", "it is told what is waited for")
    check_absent(run, "hidden_hot", "a server that hangs")
    # Ctrl-C while it is waited for gives up at once.
    run = profiler.Run("-p", process.pid, "-d", "1", "-v", env=dict(
        env, DEBUGINFOD_CACHE_PATH=where + "/cache2"))
    procs.wait_until("the profiler waits", lambda: "waiting for" in run.stderr)
    run.signal(2)
    run.finish(8)
    tap.equal(run.status, -2, "Ctrl-C ends the waiting", str(run))


# Code that is made at run time


def test_perf_map():
    victim = Victim("names", "jit")
    tap.cleanup(os.remove, "/tmp/perf-%d.map" % victim.pid)
    run = run_on(victim.pid)
    check(run, "jit_code", "a perf map", 0.9)
    check(run, "jit_caller", "a perf map: the caller of the code", 0.9)


def test_jitdump():
    where = directory()
    run = run_on(Victim("names", "jitdump", where).pid)
    check(run, "jit_dumped", "jitdump: code that was moved", 0.9)
    check_absent(run, "another", "jitdump")


def test_node_jitdump():
    node = procs.program("node", "nodejs")
    help_text = subprocess.run([node, "--v8-options"], stdout=subprocess.PIPE, check=True)
    if b"--perf-prof " not in help_text.stdout:
        tap.skip("this node has no --perf-prof")
    here = os.getcwd()
    where = directory()
    os.chdir(where)
    tap.cleanup(os.chdir, here)
    pid = servers.node("--perf-prof", "--perf-prof-path=" + where) \
        if b"--perf-prof-path" in help_text.stdout else servers.node("--perf-prof")
    run = run_on(pid)
    names = [n for n, _ in run.profile.flat("cpu").most_common() if n.startswith("JS:")]
    tap.at_least(len(names), 1, "node --perf-prof: compiled functions have names",
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


# Other languages and libraries


def test_go_stripped():
    procs.program("go")
    where = directory()
    package = victims.go_packages()["go_pure"]
    program = where + "/pure"
    victims.build_go(package, program, "-ldflags=-s -w")
    sections = subprocess.run([procs.program("readelf"), "-SW", program],
                              stdout=subprocess.PIPE, check=True).stdout
    tap.ok(b".symtab" not in sections, "the Go program is stripped")
    process = start([program])
    run = run_on(process.pid)
    cum = run.profile.cum("cpu")
    named = [n for n in cum if n.startswith("main.")]
    tap.at_least(len(named), 1, "stripped Go: functions have names",
                 lambda: profiler.top_text(run.profile, 20))
    check(run, "runtime.goexit", "stripped Go", 0.5)


def test_musl():
    cc = procs.program("musl-gcc")
    where = directory()
    source = os.path.join(victims.SOURCE, "names.c")
    for name, flags in (("dynamic", []), ("static", ["-static", "-DNO_DLOPEN"])):
        program = os.path.join(where, name)
        built = subprocess.run([cc, "-O1", "-g", "-w", "-D_GNU_SOURCE", *flags, "-o", program,
                                source], stderr=subprocess.PIPE, check=False)
        if built.returncode != 0:
            tap.skip("musl-gcc cannot build it: %s" % built.stderr.decode())
        # Its clocks are system calls, and its code has no unwind tables.
        check(run_on(start([program]).pid), "hidden_hot", "musl, " + name, 0.3)


_PLT_BUILDS = {
    "lazy": ["-Wl,-z,lazy", "-fcf-protection=none"],
    "IBT, lazy": ["-Wl,-z,lazy", "-fcf-protection=full", "-Wl,-z,ibtplt"],
    "not lazy": ["-Wl,-z,now", "-fcf-protection=none"],
    "IBT, not lazy": ["-Wl,-z,now", "-fcf-protection=full", "-Wl,-z,ibtplt"],
    "no PIE": ["-Wl,-z,lazy", "-no-pie"],
    "lld": ["-fuse-ld=lld", "-Wl,-z,lazy"],
    "lld, not lazy": ["-fuse-ld=lld", "-Wl,-z,now"],
    "static": ["-static"],
}


def stubs_by_objdump(path):
    """{address: name} of the stubs that objdump knows the names of."""
    text = subprocess.run([procs.program("objdump"), "-d", path], stdout=subprocess.PIPE,
                          check=True).stdout.decode()
    found = re.findall(r"^([0-9a-f]+) <([^>+]+?)(?:@\w+)?@plt>:$", text, re.M)
    return {int(a, 16): n for a, n in found}


def stubs_by_us(path):
    lister = os.path.join(os.environ.get("CPROF_BUILDDIR", "."), "tests/integration/list_plt")
    if not os.access(lister, os.X_OK):
        tap.skip("tests/integration/list_plt is not built")
    text = subprocess.run([lister, path], stdout=subprocess.PIPE, check=True).stdout.decode()
    return {int(a, 16): n for a, n in (line.split() for line in text.splitlines())}


def compare_stubs(path, what):
    theirs, ours = stubs_by_objdump(path), stubs_by_us(path)
    wrong = {hex(a): (n, ours.get(a)) for a, n in theirs.items() if ours.get(a) != n + "@plt"}
    tap.ok(not wrong, "PLT, %s: as objdump has them (%d stubs)" % (what, len(theirs)),
           repr(wrong))
    return theirs, ours


def test_plt():
    where = directory()
    source = os.path.join(victims.SOURCE, "plt.c")
    cc = os.environ.get("CC", "cc").split()
    for what, flags in _PLT_BUILDS.items():
        path = os.path.join(where, what.replace(" ", "").replace(",", "_"))
        done = subprocess.run([*cc, "-O2", "-fplt", "-fno-builtin", "-w", "-D_GNU_SOURCE",
                               "-pthread", *flags, "-o", path, source], check=False,
                              stderr=subprocess.PIPE)
        if done.returncode != 0:
            tap.diag("%s: not built: %s" % (what, done.stderr.decode()))
            continue
        theirs, ours = compare_stubs(path, what)
        if what == "static":
            tap.at_least(len(ours), 5, "PLT, static: IFUNCs have stubs with names")
        else:
            tap.ok("abs@plt" in ours.values(), "PLT, %s: abs@plt" % what, repr(ours))
    for path in ("/usr/bin/python3", "/usr/bin/node", "/usr/bin/gdb"):
        if os.path.exists(path):
            compare_stubs(os.path.realpath(path), path)


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


def build_id(path):
    text = subprocess.run([procs.program("readelf"), "-n", path], stdout=subprocess.PIPE,
                          check=True).stdout.decode()
    return re.search(r"Build ID: ([0-9a-f]+)", text).group(1)


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
    tap.at_most(wrong / run.profile.total("cpu"), 0.1, "swapped libraries: of another time",
                lambda: profiler.top_text(run.profile))


def test_target_ends():
    """Names do not need the process any more."""
    where = directory()
    library = copy("names_library", where + "/library.so")
    victim = Victim("names", "load", library)
    run = profiler.Run("-p", victim.pid, "-d", "60", "-F", HZ)
    procs.wait_until("it was sampled", lambda: procs.cpu_ns(victim.pid) > 1500000000)
    os.remove(library)
    victim.process.kill()
    victim.process.wait()
    run.finish()
    assert run.profile, str(run)
    check(run, "hidden_in_library", "a process that ended")


def test_jit_target_ends():
    where = directory()
    victim = Victim("names", "jitdump", where)
    run = profiler.Run("-p", victim.pid, "-d", "60", "-F", HZ)
    procs.wait_until("it was sampled", lambda: procs.cpu_ns(victim.pid) > 1500000000)
    shutil.rmtree(where)
    victim.process.kill()
    victim.process.wait()
    run.finish()
    assert run.profile, str(run)
    check(run, "jit_dumped", "JIT code of a process that ended", 0.9)


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_symtab, test_stripped, test_debuglink, test_minidebuginfo, test_debuginfod,
        test_debuginfod_that_hangs, test_perf_map, test_jitdump, test_node_jitdump,
        test_python_trampolines, test_go_stripped, test_musl, test_plt,
        test_namespace, test_namespace_perf_map, test_namespace_other_file_here, test_overlay,
        test_deleted, test_deleted_program, test_swapped_libraries, test_target_ends,
        test_jit_target_ends,
    ])
