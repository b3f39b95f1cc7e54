#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the program says and with which status it ends: wrong usage, processes
that are not there, outputs that cannot be written. A refused attach has a test
program of its own."""

import fcntl
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import procs
import profiler
import tap
from pprof import Profile
from victims import Victim

profiler.require()

NOBODY = 65534


def run(*args, **options):
    """The finished program: .returncode, .stdout (bytes), .stderr (text)."""
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    options.setdefault("timeout", 60)
    prefix = options.pop("prefix", [])
    program = options.pop("program", profiler.PATH)
    done = subprocess.run(prefix + [program] + [str(a) for a in args], check=False, **options)
    if done.stderr is not None:
        done.stderr = done.stderr.decode("utf-8", "replace")
    return done


def refused(done, status, sentence, what):
    """The status, and one line on stderr that holds the sentence."""
    lines = done.stderr.splitlines()
    tap.ok(done.returncode == status and len(lines) == 1
           and lines[0].startswith("cprof-attach: ") and sentence in lines[0], what,
           lambda: "want %d and one line with %r\ngot %r:\n%s"
           % (status, sentence, done.returncode, done.stderr))


def sleeper():
    return procs.spawn(["sleep", "600"])


def spinner(**options):
    code = "while True: pass"
    return procs.spawn([sys.executable, "-c", code], **options)


def test_wrong_usage():
    directory = procs.temp_dir()
    for args, sentence in (
            ([], "nothing to profile"),
            (["4711"], "use -p 4711"),
            (["sleep", "1"], "put -- before"),
            (["-p"], "--pid needs a value"),
            (["-p", "12x"], "--pid '12x'"),
            (["-p", "0"], "--pid '0'"),
            (["-p", "1", "-d", "1e9"], "--duration '1e9'"),
            (["-p", "1", "-F", "inf"], "--frequency 'inf'"),
            (["-p", "1", "-m", "heap"], "--mode heap is not in this version"),
            (["-p", "1", "-f", "xml"], "--format 'xml'"),
            (["-p", "1", "-q", "-v"], "--quiet and --verbose"),
            (["-p", "1", "--bogus"], "there is no option '--bogus'"),
            (["-p", "1", "--", "true"], "--pid and a command"),
            (["-o", "-", "--", "true"], "--output - would mix")):
        done = run(*args, cwd=directory)
        refused(done, 2, sentence, "wrong: cprof-attach " + " ".join(args))
        tap.equal(done.stdout, b"", "and nothing on stdout")
    tap.equal(os.listdir(directory), [], "wrong usage leaves no file")


def test_wrong_usage_starts_nothing():
    mark = os.path.join(procs.temp_dir(), "mark")
    run("-d", "x", "--", "touch", mark)
    tap.ok(not os.path.exists(mark), "a command is not started by a wrong command line")


def test_help():
    done = run("--help")
    tap.equal((done.returncode, done.stderr), (0, ""), "--help ends with 0, on stdout")
    lines = done.stdout.decode().splitlines()
    tap.at_most(len(lines), 44, "and fits on a screen: lines")
    tap.at_most(max(map(len, lines)), 80, "columns")
    tap.equal(run("-h").stdout, done.stdout, "-h is the same")
    tap.equal(run("-p", "1", "--help").stdout, done.stdout, "beside other options, too")


def test_help_and_manual_agree():
    manual = os.path.join(os.environ.get("CPROF_SRCDIR", "."), "man", "cprof-attach.1")
    if not os.path.exists(manual):
        tap.skip("no manual page at " + manual)
    with open(manual, encoding="utf-8") as f:
        text = f.read()
    named = re.findall(r"--([a-z]+)", run("--help").stdout.decode().split("\n\n")[1])
    tap.at_least(len(named), 10, "options in --help")
    for name in named:
        tap.ok(re.search(r"^\.It .*Fl -%s\b" % name, text, re.M), "the manual has --" + name)
    for name in set(re.findall(r"^\.It .*Fl -([a-z]+)", text, re.M)):
        tap.ok(name in named, "--help has the manual's --" + name)


def test_version():
    done = run("--version")
    tap.equal((done.returncode, done.stderr), (0, ""), "--version ends with 0, on stdout")
    first, *rest = done.stdout.decode().splitlines()
    tap.ok(re.fullmatch(r"cprof-attach \d+\.\d+(\.\d+)?\S*", first), "name and version", first)
    tap.contains("\n".join(rest), "libunwind", "features")
    tap.contains("\n".join(rest), "Apache-2.0", "licence")


def test_stdout_that_cannot_be_written():
    with open("/dev/full", "wb") as full:
        refused(run("--help", stdout=full), 1, "No space left", "--help to a full device")
    done = run("--version", prefix=["sh", "-c", 'exec "$@" >&-', "sh"])
    tap.equal(done.returncode, 1, "--version with stdout closed is a failure", done.stderr)


def test_no_process():
    process = procs.spawn(["true"])
    process.wait()
    path = os.path.join(procs.temp_dir(), "p.pb.gz")
    refused(run("-p", process.pid, "-o", path), 4, "no process %d" % process.pid,
            "a process that has ended")
    refused(run("-p", 2147483647, "-o", path), 4, "no process 2147483647", "a pid beyond all")
    refused(run("-t", 2147483647, "-o", path), 4, "no thread 2147483647", "no such thread")
    alive = sleeper()
    refused(run("-p", alive.pid, "-p", process.pid, "-o", path), 4,
            "no process %d" % process.pid, "one of two processes is not there")
    tap.ok(not os.path.exists(path), "and no profile is written")


def test_thread_as_process():
    code = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    process = procs.spawn([sys.executable, "-c", code])
    procs.wait_until("it has two threads", lambda: len(procs.tids(process.pid)) == 2)
    tid = [t for t in procs.tids(process.pid) if t != process.pid][0]
    done = run("-p", tid, "-d", "0.1", "-o", "-")
    refused(done, 4, "-p %d" % process.pid, "-p with a thread's id says whose thread it is")
    done = run("-t", tid, "-d", "0.1", "-o", "-")
    tap.equal(done.returncode, 0, "-t alone finds the process", done.stderr)
    other = sleeper()
    refused(run("-p", other.pid, "-t", tid, "-o", "-"), 2,
            "belongs to process %d" % process.pid, "-t of a process that no -p names")


def test_output_places():
    pid = sleeper().pid
    directory = procs.temp_dir()
    missing = os.path.join(directory, "no", "such", "p.pb.gz")
    began = time.monotonic()
    for path, why in ((missing, "a directory that is not there"),
                      (directory, "a directory as the file"),
                      (directory + "/", "a name that ends in /"),
                      ("/dev/null/p.pb.gz", "below what is no directory"),
                      (directory + "/" + "x" * 300, "a name that is too long")):
        done = run("-p", pid, "-d", "30", "-o", path)
        lines = done.stderr.splitlines()
        tap.ok(done.returncode == 1 and len(lines) == 1, why + ": status 1, one line", done.stderr)
    tap.at_most(time.monotonic() - began, 20, "all before any sampling: seconds")
    tap.equal(os.listdir(directory), [], "nothing is left behind")


def test_output_not_writable():
    if os.getuid() != 0:
        tap.skip("needs root, to be nobody")
    home = procs.temp_dir()
    os.chmod(home, 0o755)
    program = shutil.copy(profiler.PATH, home)
    process = procs.spawn(["sleep", "600"], user=NOBODY, group=NOBODY, extra_groups=[])
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    done = run("-p", process.pid, "-d", "30", "-o", home + "/p.pb.gz", program=program, **who)
    tap.ok(done.returncode == 1 and "permission" in done.stderr and home in done.stderr,
           "a directory that is not writable, before sampling", done.stderr)


def test_output_full():
    if os.getuid() != 0 or not shutil.which("unshare"):
        tap.skip("needs root and unshare")
    pid = sleeper().pid
    directory = procs.temp_dir()
    script = ('mount -t tmpfs -o size=64k tmpfs "$1" || exit 77\n'
              'head -c 200000 /dev/zero >"$1/fill" 2>/dev/null\n'
              '"$2" -p "$3" -d 30 -o "$1/p.pb.gz"; status=$?\n'
              '[ "$(ls -A "$1")" = fill ] || exit 99\n'
              'exit $status\n')
    began = time.monotonic()
    done = run(directory, profiler.PATH, pid,
               prefix=["unshare", "-m", "sh", "-c", script], program="sh")
    if done.returncode == 77:
        tap.skip("no tmpfs can be mounted")
    tap.ok(done.returncode == 1 and "file system is full" in done.stderr,
           "a full file system, and nothing is left on it",
           "status %d\n%s" % (done.returncode, done.stderr))
    tap.at_most(time.monotonic() - began, 20, "before sampling: seconds")


def test_output_full_at_the_end():
    """/dev/full says so only when it is written to."""
    done = run("-p", sleeper().pid, "-d", "0.1", "-o", "/dev/full")
    tap.ok(done.returncode == 1 and "is full" in done.stderr, "/dev/full", done.stderr)


def test_old_profile_survives_a_failure():
    directory = procs.temp_dir()
    path = os.path.join(directory, "p.pb.gz")
    with open(path, "w", encoding="utf-8") as f:
        f.write("old")
    process = procs.spawn(["true"])
    process.wait()
    run("-p", process.pid, "-o", path)
    with open(path, encoding="utf-8") as f:
        tap.equal(f.read(), "old", "a run that fails leaves the old file")
    done = run("-p", spinner().pid, "-d", "0.3", "-o", path)
    tap.equal(done.returncode, 0, "a run that does not", done.stderr)
    tap.ok(Profile.read(path).total("samples") > 0, "puts its profile in the old one's place")
    tap.equal(os.listdir(directory), ["p.pb.gz"], "with no other file beside it")


def test_output_on_a_terminal():
    master, slave = pty.openpty()
    tap.cleanup(os.close, master)
    tap.cleanup(os.close, slave)
    done = run("-p", sleeper().pid, "-d", "30", "-o", "-", stdout=slave)
    tap.ok(done.returncode == 1 and "terminal" in done.stderr,
           "no binary profile is written to a terminal", done.stderr)


def test_reader_of_stdout_gone():
    read, write = os.pipe()
    os.close(read)
    tap.cleanup(os.close, write)
    done = run("-p", spinner().pid, "-d", "0.3", "-o", "-", stdout=write)
    tap.equal(done.returncode, 1, "nobody reads stdout: a failure that is told", done.stderr)
    tap.contains(done.stderr, "cprof-attach: ", "and not a silent SIGPIPE")


def test_formats():
    directory = procs.temp_dir()
    pid = spinner().pid
    for args, name in (([], "profile.pb.gz"), (["-f", "folded"], "profile.folded"),
                       (["-o", "x.pb.gz"], "x.pb.gz")):
        done = run("-p", pid, "-d", "0.3", *args, cwd=directory)
        path = os.path.join(directory, name)
        tap.ok(done.returncode == 0 and os.path.getsize(path) > 0, "%s writes %s" % (args, name),
               done.stderr)
    with open(os.path.join(directory, "profile.folded"), encoding="utf-8") as f:
        tap.ok(all(re.fullmatch(r".+ \d+", line.rstrip("\n")) for line in f),
               "folded lines are a stack and a number")


def test_accounting():
    for source in ("auto", "schedstat", "stat"):
        path = os.path.join(procs.temp_dir(), "p.pb.gz")
        done = run("-p", spinner().pid, "-d", "1", "--accounting", source, "-o", path)
        tap.ok(done.returncode == 0 and Profile.read(path).total("cpu") > 0.02e9,
               "--accounting " + source, done.stderr)
        tap.equal("clock ticks" in done.stderr, source == "stat",
                  "which %s clock ticks" % ("tells of" if source == "stat" else "has no"))


def test_unwinders():
    """Of 600 calls in one another: as many frames as asked for, by any unwinder."""
    victim = Victim("deep", 600, 16)
    for unwinder, depth in (("auto", 20), ("rules", 20), ("libunwind", 20), ("auto", None),
                            ("auto", 2000), ("rules", 2000), ("libunwind", 2000)):
        path = os.path.join(procs.temp_dir(), "p.pb.gz")
        limit = [] if depth is None else ["--max-depth", depth]
        done = run("-p", victim.pid, "-d", "1", "--unwinder", unwinder, *limit, "-o", path,
                   "--max-overhead", "100")
        what = "--unwinder %s, at most %s frames" % (unwinder, depth or 512)
        if not tap.equal(done.returncode, 0, what, done.stderr):
            continue
        stacks = [s.stack for s in Profile.read(path).samples if "at_the_bottom" in s.stack]
        lengths = {len(s) for s in stacks}
        if depth == 2000:
            tap.ok(any(s.count("descend") == 600 and "[truncated]" not in s for s in stacks),
                   what + ": all are there", "lengths: %s" % lengths)
        else:
            # The first copy of the stack may be too small for so many.
            tap.equal(max(lengths), (depth or 512) + 1, what + ": no more, and a root")
            tap.ok(all(s[-1] == "[truncated]" for s in stacks), what + ": which says so")
    path = os.path.join(procs.temp_dir(), "p.pb.gz")
    done = run("-v", "-p", victim.pid, "-d", "1", "--unwinder", "fp", "-o", path)
    tap.equal(done.returncode, 0, "--unwinder fp", done.stderr)
    tap.contains(done.stderr, "frame-pointer found", "and who found the frames")
    tap.ok("libunwind" not in done.stderr, "which was not libunwind", done.stderr)


def test_command_status():
    directory = procs.temp_dir()
    path = os.path.join(directory, "p.pb.gz")
    names = {re.search(r"process +\d+ \((.*?)\)", run("-o", path, "--", "true").stderr)[1]
             for _ in range(10)}
    tap.equal(names, {"true"}, "a command that ends at once has its name")
    done = run("-o", path, "--", "sh", "-c", "exit 3")
    tap.equal(done.returncode, 0, "a command that fails: the profile is written", done.stderr)
    tap.contains(done.stderr, "exited with status 3", "and its status is told")
    done = run("-o", path, "--", "sh", "-c", "kill -9 $$")
    tap.contains(done.stderr, "was ended by signal 9 (SIGKILL)", "so is the signal that ends it")
    done = run("-o", path, "--", "sh", "-c", 'echo "$*"; echo oops >&2', "x", "-p", "--help")
    tap.equal(done.stdout, b"-p --help\n", "its options are its own, and its stdout")
    tap.contains(done.stderr, "oops", "and its stderr")


def test_command_not_there():
    directory = procs.temp_dir()
    plain = os.path.join(directory, "plain")
    with open(plain, "w", encoding="utf-8"):
        pass
    refused(run("--", "/no/such/program", cwd=directory), 1, "/no/such/program",
            "a command that is not there")
    refused(run("--", plain, cwd=directory), 1, plain, "a command that is no program")
    refused(run("--", "", cwd=directory), 1, "", "a command without a name")
    tap.equal(os.listdir(directory), ["plain"], "and no profile")


def test_closed_descriptors():
    """A file must not become descriptor 2 and receive the messages."""
    path = os.path.join(procs.temp_dir(), "p.pb.gz")
    pid = spinner().pid
    for seconds in ("0.3", "3", "20"):  # for as long as the machine has no time for it
        done = run("-p", pid, "-d", seconds, "-o", path,
                   prefix=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
        if done.returncode != 0 or Profile.read(path).total("samples") > 0:
            break
    tap.equal(done.returncode, 0, "with all standard descriptors closed")
    tap.ok(Profile.read(path).total("samples") > 0, "the profile is whole")


def test_few_descriptors():
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    path = os.path.join(procs.temp_dir(), "p.pb.gz")
    done = run("-p", spinner().pid, "-d", "0.3", "-o", path, preexec_fn=limit)
    tap.ok(done.returncode in (0, 1) and not done.stderr.startswith("Traceback")
           and (done.returncode == 0 or done.stderr.startswith("cprof-attach: ")),
           "with 24 descriptors it works, or says why not", done.stderr)


def test_hostile_name():
    directory = procs.temp_dir()
    code = ("import ctypes; ctypes.CDLL(None).prctl(15, b'#\\x1b[2J\\n\\x07\\xff', 0, 0, 0)\n"
            "print('named', flush=True)\nwhile True: pass")
    process = procs.spawn([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    path = os.path.join(directory, "p.pb.gz")
    done = run("-p", process.pid, "-d", "0.5", "-o", path)
    process.stdout.close()
    tap.equal(done.returncode, 0, "a process whose name is an escape sequence", done.stderr)
    tap.ok(not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stderr), "which no terminal sees",
           repr(done.stderr))
    tap.ok(not any(c.startswith("#") or "\n" in c for c in Profile.read(path).comments),
           "nor a comment")


def test_ended_while_sampling():
    """Ctrl-C goes to the whole foreground group: the command and the profiler."""
    path = os.path.join(procs.temp_dir(), "p.pb.gz")
    process = procs.spawn([profiler.PATH, "-o", path, "--", sys.executable, "-c",
                           "print('ready', flush=True)\nwhile True: pass"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    errors = errors.decode("utf-8", "replace")
    tap.equal(process.returncode, 0, "Ctrl-C on a command: status 0", errors)
    tap.ok(os.path.exists(path) and Profile.read(path).total("samples") > 0,
           "and its profile", errors)
    tap.contains(errors, "SIGINT", "with what ended it")


def test_stderr_not_blocking():
    """A full pipe at stderr may lose text, never the profile."""
    read, write = os.pipe()
    tap.cleanup(os.close, read)
    tap.cleanup(os.close, write)
    fcntl.fcntl(write, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        while True:
            os.write(write, b"x" * 4096)
    except BlockingIOError:
        pass
    path = os.path.join(procs.temp_dir(), "p.pb.gz")
    done = run("-p", spinner().pid, "-d", "0.3", "-o", path, stderr=write)
    tap.equal(done.returncode, 0, "stderr is a full pipe: status 0")
    tap.ok(os.path.exists(path), "and the profile is there")


if __name__ == "__main__":
    tap.run([function for name, function in list(globals().items())
             if name.startswith("test_")])
