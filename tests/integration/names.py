#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where the names of programs and libraries come from: each source by itself, on
programs that have no other."""

import http.client
import lzma
import os
import re
import shutil
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import tap
import victims
from naming import (build_id, check, check_absent, copy, directory, need_root, objcopy, run_on,
                    start)
from victims import Victim

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


def test_two_copies():
    """Two copies of one file have one build id: names come from either."""
    where = directory()
    copies = [start([copy("names", where + "/" + name)]) for name in ("one", "two")]
    run = run_on(copies[0].pid, "-p", copies[1].pid)
    check(run, "hidden_hot", "two copies of one file")
    files = {p.mapping.filename for p in run.profile.locations
             if any(l.function.name == "hidden_hot" for l in p.lines)}
    tap.equal(files, {where + "/one", where + "/two"}, "two copies: each with its own name")


def names_in(run, pid):
    """The functions of a profile whose code lies where this process has its own."""
    with open("/proc/%d/maps" % pid) as f:
        starts = {int(line.split("-")[0], 16) for line in f if "/names" in line}
    return {l.function.name for p in run.profile.locations for l in p.lines
            if p.mapping and p.mapping.start in starts}


def check_each(run, processes, what):
    """Each process has the names of its own, and none of the others."""
    wanted = {name for _, name in processes}
    for process, name in processes:
        tap.equal(names_in(run, process.pid) & wanted, {name},
                  "%s: each with its own names: %s" % (what, name))


def test_forged():
    """A file with the build id and the size of another, which is not the other."""
    where = directory()
    real, forged = (copy("names", where + "/names-" + name) for name in ("real", "forged"))
    with open(forged, "r+b") as f:
        code = f.read().replace(b"hidden_hot", b"forged_hot")
        f.seek(0)
        f.write(code)
    processes = [(start([forged]), "forged_hot"), (start([real]), "hidden_hot")]
    run = run_on(processes[0][0].pid, "-p", processes[1][0].pid)
    check_each(run, processes, "a forged build id")


_OTHER_DEBUG = """
set -e
mount -t tmpfs none /usr/lib/debug
mkdir -p "/usr/lib/debug/.build-id/$2"
cp "$1" "/usr/lib/debug/.build-id/$2/$3.debug"
exec "$4"
"""


def test_forged_debug_file():
    """Two processes run one file; one sees another debug file for it than the other."""
    need_root()
    where = directory()
    program, debug = copy("names", where + "/names"), where + "/debug"
    objcopy("--only-keep-debug", program, debug)
    objcopy("--redefine-sym", "hidden_hot=forged_hot", "--strip-debug", debug, where + "/forged")
    objcopy("--strip-debug", debug)
    objcopy("--strip-all", program)
    number = build_id(program)
    processes = []
    for name, file in ("forged_hot", where + "/forged"), ("hidden_hot", debug):
        process = procs.spawn(
            [procs.program("unshare"), "--mount", "sh", "-c", _OTHER_DEBUG, "sh", file,
             number[:2], number[2:], program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            procs.Lines(process.stdout).wait_for("ready ")
        except AssertionError:
            tap.skip("no namespaces can be made here")
        processes.append((process, name))
    run = run_on(processes[0][0].pid, "-p", processes[1][0].pid)
    check_each(run, processes, "a forged debug file")


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


def with_supplement(where):
    """A stripped program, and in a directory its debug file, which needs another one
    there (dwz -m): (the program, the directory)."""
    dwz = procs.program("dwz")
    store = where + "/store"
    os.mkdir(store)
    # Two programs that have much in common: else there is nothing to be put apart.
    programs = [copy(name, "%s/%s" % (where, name)) for name in ("names", "names_static")]
    debug = ["%s/%s.debug" % (store, os.path.basename(p)) for p in programs]
    for program, file in zip(programs, debug):
        objcopy("--only-keep-debug", program, file)
        objcopy("--strip-all", program)
    done = subprocess.run([dwz, "-m", store + "/common", "-M", "/nowhere/common", *debug],
                          stderr=subprocess.PIPE, check=False)
    sections = subprocess.run([procs.program("readelf"), "-SW", debug[0]],
                              stdout=subprocess.PIPE, check=True).stdout
    if done.returncode != 0 or b".gnu_debugaltlink" not in sections:
        tap.skip("dwz makes no supplement of it: %s" % done.stderr.decode())
    return programs[0], store


def lines_of(run, function):
    return {l.line for p in run.profile.locations for l in p.lines
            if l.function.name == function}


def test_debuginfod_supplement():
    """What the debug file of a server needs is asked of the server too."""
    need_debuginfod()
    where = directory()
    program, store = with_supplement(where)
    process = start([program])
    env = dict(os.environ, DEBUGINFOD_CACHE_PATH=where + "/cache", HOME=where,
               DEBUGINFOD_URLS=start_debuginfod(store))
    run = run_on(process.pid, env=env)
    check(run, "hidden_hot", "a server with a supplement")
    tap.ok(lines_of(run, "hidden_hot") and min(lines_of(run, "hidden_hot")) > 0,
           "a server with a supplement: lines", lambda: str(run))
    # A debug file that is here, and a supplement that is not.
    copied = copy("names", where + "/names.debug")
    shutil.copy(store + "/names.debug", copied)
    objcopy("--add-gnu-debuglink=" + copied, program, where + "/linked")
    run = run_on(start([where + "/linked"]).pid, env=dict(
        env, DEBUGINFOD_CACHE_PATH=where + "/cache2"))
    tap.ok(lines_of(run, "hidden_hot") and min(lines_of(run, "hidden_hot")) > 0,
           "a supplement alone of a server: lines", lambda: str(run))
    run = run_on(process.pid, env=dict(env, DEBUGINFOD_URLS=""))
    check_absent(run, "hidden_hot", "no supplement without a server")


def test_debuginfod_that_hangs():
    """A server that takes a request and never answers: the profile is written."""
    need_debuginfod()
    where, program, _ = stripped_with_debug()
    listener = socket.create_server(("127.0.0.1", 0))
    tap.cleanup(listener.close)
    env = dict(os.environ, DEBUGINFOD_CACHE_PATH=where + "/cache", HOME=where,
               DEBUGINFOD_URLS="http://127.0.0.1:%d" % listener.getsockname()[1])
    process = start([program])
    run = run_on(process.pid, env=env)
    tap.contains(run.stderr, "debug file", "it is told what is waited for")
    check_absent(run, "hidden_hot", "a server that hangs")
    # Ctrl-C while it is waited for gives up at once.
    run = profiler.Run("-p", process.pid, "-d", "1", "-v", env=dict(
        env, DEBUGINFOD_CACHE_PATH=where + "/cache2"))
    procs.wait_until("the profiler waits", lambda: "waiting for" in run.stderr)
    run.signal(2)
    run.finish(8)
    tap.equal(run.status, -2, "Ctrl-C ends the waiting", str(run))


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
    files = {f.filename for f in run.profile.functions if f.name.startswith("main.")}
    tap.ok(all(f.endswith("main.go") for f in files), "stripped Go: and files", repr(files))
    lines = [l.line for p in run.profile.locations for l in p.lines
             if l.function.name.startswith("main.")]
    tap.ok(lines and all(lines), "stripped Go: and lines", repr(lines))


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


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_symtab, test_stripped, test_two_copies, test_forged, test_forged_debug_file,
        test_debuglink, test_minidebuginfo, test_debuginfod, test_debuginfod_supplement,
        test_debuginfod_that_hangs, test_go_stripped, test_musl, test_plt,
    ])
