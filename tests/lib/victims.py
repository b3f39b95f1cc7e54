# SPDX-License-Identifier: Apache-2.0
"""The programs of tests/victims: where they are, and how they are run.

VICTIMS names the directory that holds them built. What is not there is built
here, once per test program, as its source says in a "build NAME: FLAGS" line.
`victims.py DIRECTORY [NAME…]` builds them from the command line.
"""

import atexit
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "victims")
_built = None
_go_cache = None


def recipes():
    """{name: (source, flags)} of the C and C++ victims."""
    found = {}
    for source in sorted(glob.glob(SOURCE + "/*.c") + glob.glob(SOURCE + "/*.cc")):
        with open(source, encoding="utf-8") as f:
            for name, flags in re.findall(r"^/\* build (\w+): (.*) \*/$", f.read(), re.M):
                found[name] = (source, flags.split())
    return found


def go_packages():
    """{name: directory} of the Go victims."""
    return {"go_" + os.path.basename(d): d for d in sorted(glob.glob(SOURCE + "/go/*"))}


def build(name, directory):
    """Builds one victim; its path. Raises CalledProcessError."""
    path = os.path.join(directory, name)
    if name in recipes():
        source, flags = recipes()[name]
        is_cxx = source.endswith(".cc")
        compiler = os.environ.get("CXX", "c++") if is_cxx else os.environ.get("CC", "cc")
        standard = [] if is_cxx else ["-std=gnu11"]
        subprocess.run(
            compiler.split() + standard + ["-D_GNU_SOURCE", "-Wall"] + flags
            + ["-o", path, source], check=True)
    else:
        build_go(go_packages()[name], path)
    return path


def go_cache():
    """Where Go keeps what it compiled, its own library first of all: beside the victims
    that are built, else for as long as this program runs."""
    global _go_cache
    if _go_cache is None:
        given = os.environ.get("VICTIMS")
        if given and os.access(given, os.W_OK):
            _go_cache = os.path.join(os.path.abspath(given), "go-cache")
        else:
            _go_cache = tempfile.mkdtemp(prefix="cprof-gocache-")
            atexit.register(shutil.rmtree, _go_cache, True)
    return _go_cache


def build_go(package, path, *flags):
    env = dict(os.environ, GO111MODULE="off", GOFLAGS="", GOCACHE=go_cache(), GOPROXY="off",
               HOME=go_cache(), CGO_ENABLED="1")
    subprocess.run(["go", "build", *flags, "-o", path, "."], cwd=package, env=env, check=True)


def path(name):
    """Where a victim is; builds it if need be, skips when it cannot be built."""
    import tap

    global _built
    given = os.environ.get("VICTIMS")
    if given and os.access(os.path.join(given, name), os.X_OK):
        return os.path.abspath(os.path.join(given, name))
    if _built is None:
        _built = tempfile.mkdtemp(prefix="cprof-victims-")
        atexit.register(shutil.rmtree, _built, True)
    there = os.path.join(_built, name)
    if os.access(there, os.X_OK):
        return there
    if name in go_packages() and not shutil.which("go"):
        tap.skip("no go here")
    try:
        return build(name, _built)
    except (subprocess.CalledProcessError, FileNotFoundError) as why:
        tap.skip("%s cannot be built: %s" % (name, why))
    return None


class Victim:
    """A victim that runs and is ready.

    .pid, .process; .said(start) waits for a line; .end() sends SIGTERM, waits
    and gives all lines.
    """

    def __init__(self, name, *args, **options):
        import procs

        argv = [path(name)] + [str(a) for a in args]
        self.process = procs.spawn(argv, stdout=subprocess.PIPE, **options)
        self.pid = self.process.pid
        self.output = procs.Lines(self.process.stdout)
        self.output.wait_for("ready ")

    def said(self, start, patience=None):
        return self.output.wait_for(start, patience)

    @property
    def lines(self):
        return self.output.lines

    def end(self):
        import procs

        if self.process.poll() is None:
            self.process.terminate()
        lines = self.output.read_all()
        procs.stop(self.process)
        return lines


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    os.environ.setdefault("VICTIMS", sys.argv[1])
    has_lld = shutil.which("ld.lld")
    everything = [n for n, (_, flags) in recipes().items()
                  if has_lld or "-fuse-ld=lld" not in flags]
    everything += list(go_packages()) if shutil.which("go") else []
    for one in sys.argv[2:] or everything:
        print(build(one, sys.argv[1]))
