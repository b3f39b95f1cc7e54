#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that may not be attached to: each is told by which rule, with status
3, and none is touched. What these systems cannot make (Yama) is judged from
facts in tests/unit/test_refusal.c."""

import ctypes
import errno
import os
import pwd
import shutil
import signal
import struct
import subprocess
import sys
import time

import elf32
import procs
import profiler
import tap
from pprof import Profile

profiler.require()

NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_DUMPABLE = 38, 22, 4
SYS_PTRACE, SYS_PROCESS_VM_READV = 101, 310
SYS_FACCESSAT2, SYS_OPENAT2, SYS_PIDFD_OPEN = 439, 437, 434


def need_root():
    if os.getuid() != 0:
        tap.skip("needs root")


def need_to_attach():
    """Where nothing may be attached to, no other refusal can be seen."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as f:
            scope = int(f.read())
    except FileNotFoundError:
        return
    if scope > 0:
        tap.skip("kernel.yama.ptrace_scope is %d here" % scope)


def public_copy(path, mode=0o755):
    """A copy that anybody may execute; build directories may be closed."""
    directory = procs.temp_dir()
    os.chmod(directory, 0o755)
    copy = shutil.copy(path, directory)
    os.chmod(copy, mode)
    return copy


def attach(pid, prefix=(), program=None, **options):
    """Profiles a process for a moment; .status, .stderr, .stdout (a profile)."""
    argv = list(prefix) + [program or public_copy(profiler.PATH),
                           "-p", str(pid), "-d", "0.3", "-o", "-"]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False, **options)


def refused(pid, sentences, what, **options):
    before = procs.traced(pid)
    done = attach(pid, **options)
    text = done.stderr.decode("utf-8", "replace")
    lines = text.splitlines()
    good = (done.returncode == 3 and len(lines) == 1 and lines[0].startswith("cprof-attach: ")
            and all(s in lines[0] for s in sentences))
    tap.ok(good, what, lambda: "want status 3 and one line with %r\ngot %r:\n%s"
           % (sentences, done.returncode, text))
    tap.equal(done.stdout, b"", what + ": no profile")
    tap.equal(procs.traced(pid), before, what + ": not traced or stopped by it")


def permitted(pid, what, **options):
    done = attach(pid, **options)
    tap.equal(done.returncode, 0, what, done.stderr.decode("utf-8", "replace"))
    return Profile.decode(done.stdout) if done.returncode == 0 else None


def sleeper(*prefix, **options):
    process = procs.spawn(list(prefix) + ["sleep", "600"], **options)
    procs.wait_until("it sleeps", lambda: comm(process.pid) == "sleep")
    return process


def comm(pid):
    try:
        with open("/proc/%d/comm" % pid, encoding="utf-8", errors="replace") as f:
            return f.read().rstrip("\n")
    except FileNotFoundError:
        return ""


def python(code, *args, **options):
    """A python3 that has said "ready" when this returns."""
    process = procs.spawn([sys.executable, "-c", code] + [str(a) for a in args],
                          stdout=subprocess.PIPE, **options)
    line = process.stdout.readline()
    process.stdout.close()
    assert line == b"ready\n", "python said %r" % line
    return process


def test_kernel_thread():
    if comm(2) != "kthreadd":
        tap.skip("no kernel threads are visible here")
    need_root()
    refused(2, ["process 2 (kthreadd)", "kernel thread"], "a kernel thread")


def test_zombie():
    process = procs.spawn(["true"])
    procs.wait_until("it is a zombie", lambda: procs.state(process.pid) == "Z")
    refused(process.pid, ["process %d" % process.pid, "zombie"], "a zombie")


def test_ourselves():
    """The shell says its pid and becomes the profiler."""
    program = public_copy(profiler.PATH)
    done = subprocess.run(["sh", "-c", 'exec "$0" -p $$ -o -', program],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    tap.equal(done.returncode, 3, "the profiler itself")
    tap.contains(done.stderr.decode(), "cprof-attach itself", "says so")


def test_32bit():
    path = os.path.join(procs.temp_dir(), "pause32")
    elf32.write(path, elf32.PAUSE)
    try:
        process = procs.spawn([path])
    except OSError as error:
        tap.skip("this kernel runs no 32-bit programs: %s" % error)
    procs.wait_until("it pauses", lambda: procs.state(process.pid) == "S")
    refused(process.pid, ["(pause32)", "32-bit"], "a 32-bit program")


def test_traced():
    target = sleeper()
    tracer = python("import sys, time, ptrace\nassert ptrace.seize(int(sys.argv[1]))\n"
                    "print('ready', flush=True)\ntime.sleep(600)", target.pid)
    refused(target.pid, ["already traced by process %d (python3" % tracer.pid],
            "a process that is traced")
    procs.stop(tracer)
    need_to_attach()
    permitted(target.pid, "when its tracer has gone, it may be profiled")


def test_traced_by_strace():
    strace = procs.program("strace")
    target = sleeper()
    tracer = procs.spawn([strace, "-o", "/dev/null", "-p", str(target.pid)],
                         stderr=subprocess.DEVNULL)
    procs.wait_until("it is traced", lambda: procs.status(target.pid)["TracerPid"] != "0")
    refused(target.pid, ["by process %d (strace)" % tracer.pid], "a process under strace")


def test_another_user():
    need_root()
    refused(sleeper().pid, ["belongs to root (uid 0)", "uid 65534", "sudo"],
            "root's process, by nobody", **AS_NOBODY)
    theirs = sleeper(user=1, group=1, extra_groups=[])
    refused(theirs.pid, ["(uid 1)", "run it as"], "another user's process, by nobody", **AS_NOBODY)


def test_own_user():
    need_root()
    need_to_attach()
    permitted(sleeper(**AS_NOBODY).pid, "nobody's own process, by nobody", **AS_NOBODY)


def test_root_may():
    need_root()
    need_to_attach()
    permitted(sleeper(**AS_NOBODY).pid, "nobody's process, by root")


def test_another_group():
    need_root()
    need_to_attach()
    target = sleeper(user=NOBODY, group=1, extra_groups=[])
    refused(target.pid, ["other group ids than yours"], "a process of another group", **AS_NOBODY)


def test_setuid_program():
    need_root()
    program = public_copy(procs.program("sleep"), 0o4755)
    target = procs.spawn([program, "600"], **AS_NOBODY)
    procs.wait_until("it is root", lambda: comm(target.pid) == "sleep")
    if procs.status(target.pid)["Uid"].split()[1] != "0":
        tap.skip("setuid has no effect in " + os.path.dirname(program))
    refused(target.pid, ["other user ids than yours", "setuid"], "a setuid program", **AS_NOBODY)


def test_file_capabilities():
    need_root()
    need_to_attach()
    program = public_copy(procs.program("sleep"))
    bit = 1 << 10  # CAP_NET_BIND_SERVICE, permitted and effective (VFS_CAP_REVISION_2)
    try:
        os.setxattr(program, "security.capability",
                    struct.pack("<IIIII", 0x02000001, bit, 0, 0, 0))
    except OSError as error:
        tap.skip("no file capabilities here: %s" % error)
    target = procs.spawn([program, "600"], **AS_NOBODY)
    procs.wait_until("it runs", lambda: comm(target.pid) == "sleep")
    if int(procs.status(target.pid)["CapPrm"], 16) != bit:
        tap.skip("file capabilities have no effect in " + os.path.dirname(program))
    refused(target.pid, ["holds capabilities", "0x400"], "a program with file capabilities",
            **AS_NOBODY)


NOT_DUMPABLE = ("import ctypes, time\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
                "print('ready', flush=True)\ntime.sleep(600)")


def test_not_dumpable():
    need_root()
    need_to_attach()
    target = python(NOT_DUMPABLE, **AS_NOBODY)
    refused(target.pid, ["not dumpable", "PR_SET_DUMPABLE", "sudo"],
            "a process that is not dumpable", **AS_NOBODY)
    permitted(target.pid, "root may profile it")


CLOSES = ("import ctypes, signal\nlibc = ctypes.CDLL(None)\n"
          "signal.signal(signal.SIGUSR1, lambda *_: libc.prctl(4, 0, 0, 0, 0))\n"
          "print('ready', flush=True)\nwhile True:\n    sum(range(10000))")


def test_closed_half_way():
    """A process that may be profiled at first, and then asks not to be dumpable."""
    need_root()
    need_to_attach()
    target = python(CLOSES, **AS_NOBODY)
    program = public_copy(profiler.PATH)
    run = procs.spawn([program, "-p", str(target.pid), "-d", "4", "-F", "199", "-o", "-"],
                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, **AS_NOBODY)
    time.sleep(1.5)
    target.send_signal(signal.SIGUSR1)
    printed, text = run.communicate(timeout=60)
    text = text.decode("utf-8", "replace")
    tap.equal(run.returncode, 0, "closed half-way: what was sampled is written", text)
    tap.at_least(Profile.decode(printed).total("samples") if printed else 0, 1,
                 "closed half-way: there are samples")
    tap.contains(text, "the kernel refused the stop", "closed half-way: it is said")
    tap.equal(procs.traced(target.pid), {}, "closed half-way: not traced or stopped")


FILTERED = ("import ctypes, struct\nlibc = ctypes.CDLL(None)\n"
            "program = ctypes.create_string_buffer(struct.pack('<HBBI', 6, 0, 0, 0x7fff0000))\n"
            "class Fprog(ctypes.Structure):\n"
            "    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]\n"
            "fprog = Fprog(1, ctypes.addressof(program))\n"
            "assert libc.prctl(38, 1, 0, 0, 0) == 0\n"
            "assert libc.prctl(22, 2, ctypes.byref(fprog), 0, 0) == 0\n"
            "print('ready', flush=True)\nwhile True:\n    sum(range(10000))")


def test_target_under_seccomp():
    need_to_attach()
    target = python(FILTERED)
    tap.equal(procs.status(target.pid).get("Seccomp"), "2", "a target with a filter of its own")
    profile = permitted(target.pid, "is profiled like any other")
    tap.at_least(profile.total("samples") if profile else 0, 1, "and sampled")
    tap.equal(procs.traced(target.pid), {}, "and left as it was")


def test_without_the_capability():
    """As root is in a container: all rights over files, none to trace."""
    need_root()
    need_to_attach()
    setpriv = procs.program("setpriv")
    prefix = [setpriv, "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
    refused(sleeper(**AS_NOBODY).pid, ["(uid 65534)", "--cap-add=SYS_PTRACE"],
            "root without CAP_SYS_PTRACE, a user's process", prefix=prefix)
    refused(sleeper().pid, ["holds capabilities", "0x80000", "--cap-add=SYS_PTRACE"],
            "and a process that has it", prefix=prefix)
    same = sleeper(*prefix)
    permitted(same.pid, "but one with as few rights may be profiled", prefix=prefix)


def with_capabilities(*names):
    some = ",".join(["-all"] + ["+" + name for name in names])
    return [procs.program("setpriv"), "--bounding-set", some, "--inh-caps", "-all"]


def test_in_a_container():
    """Root there may write to all files, and so read them; or not even that."""
    need_root()
    need_to_attach()
    victim = python("print('ready', flush=True)\nwhile True: pass", **AS_NOBODY)
    usual = with_capabilities("chown", "dac_override", "fowner", "setuid", "setgid", "kill",
                              "sys_ptrace")
    profile = permitted(victim.pid, "a container with SYS_PTRACE: a user's process", prefix=usual)
    tap.at_least(profile.total("samples") if profile else 0, 1, "and it is sampled")
    refused(victim.pid, ["CAP_DAC_READ_SEARCH"], "one that has nothing else",
            prefix=with_capabilities("sys_ptrace"))


def need_user_namespaces():
    unshare = procs.program("unshare")
    if subprocess.run([unshare, "-U", "true"], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        tap.skip("no user namespace can be made here")
    return unshare


def test_from_inside_a_user_namespace():
    unshare = need_user_namespaces()
    target = sleeper()
    for option in ("-U", "-Ur"):
        refused(target.pid, ["another user namespace", "outside of this container"],
                "from inside of a user namespace (unshare %s)" % option, prefix=[unshare, option])


def test_into_a_user_namespace():
    unshare = need_user_namespaces()
    need_root()
    need_to_attach()
    roots = sleeper(unshare, "-U")
    refused(roots.pid, ["in a user namespace", "not yours"],
            "into root's user namespace, by nobody", **AS_NOBODY)
    permitted(roots.pid, "and by root")
    own = sleeper(unshare, "-U", **AS_NOBODY)
    permitted(own.pid, "a user may profile into a namespace of his own", **AS_NOBODY)


def forbid(*calls, error=errno.EPERM):
    """For preexec_fn: a seccomp filter under which these calls fail."""
    def instruction(code, jt, jf, k):
        return struct.pack("<HBBI", code, jt, jf, k)

    program = instruction(0x20, 0, 0, 0)  # load the call's number
    for nr in calls:
        program += instruction(0x15, 0, 1, nr)  # equal: the next one; else skip it
        program += instruction(0x06, 0, 0, 0x00050000 | error)  # SECCOMP_RET_ERRNO
    program += instruction(0x06, 0, 0, 0x7FFF0000)  # SECCOMP_RET_ALLOW
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(
        struct.pack("<H6xQ", len(program) // 8, ctypes.addressof(buffer)))

    def install(_keep=buffer):
        if (LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                or LIBC.prctl(PR_SET_SECCOMP, 2, ctypes.byref(fprog), 0, 0) != 0):
            os._exit(99)

    return install


def test_seccomp():
    target = sleeper()
    for error in (errno.EPERM, errno.ENOSYS):
        refused(target.pid, ["seccomp filter", "--security-opt seccomp="],
                "ptrace forbidden by seccomp (%s)" % errno.errorcode[error],
                preexec_fn=forbid(SYS_PTRACE, error=error))
    refused(target.pid, ["seccomp filter"], "ptrace and process_vm_readv forbidden",
            preexec_fn=forbid(SYS_PTRACE, SYS_PROCESS_VM_READV))


def test_seccomp_that_is_older():
    """Calls that a container's filter does not know, and refuses instead of having none."""
    path = os.path.join(procs.temp_dir(), "p.pb.gz")
    newer = [SYS_FACCESSAT2, SYS_OPENAT2, SYS_PIDFD_OPEN]
    done = subprocess.run([public_copy(profiler.PATH), "-p", str(sleeper().pid), "-d", "0.3",
                           "-o", path], stderr=subprocess.PIPE, timeout=60, check=False,
                          preexec_fn=forbid(*newer))
    tap.equal(done.returncode, 0, "a filter without newer calls", done.stderr.decode())
    tap.ok(os.path.exists(path), "and the profile is written")


def test_seccomp_memory_alone():
    """/proc/PID/mem serves where process_vm_readv is forbidden."""
    need_to_attach()
    target = python("print('ready', flush=True)\nwhile True: pass")
    profile = permitted(target.pid, "process_vm_readv alone forbidden by seccomp",
                        preexec_fn=forbid(SYS_PROCESS_VM_READV))
    tap.ok(profile is not None and any(len(s.stack) > 3 for s in profile.samples),
           "its stacks are read all the same")


def test_hidden_by_hidepid():
    need_root()
    setpriv, unshare = procs.program("setpriv"), procs.program("unshare")
    script = 'mount -t proc -o hidepid=2 proc /proc || exit 77\nexec "$@"'
    prefix = [unshare, "-m", "sh", "-c", script, "sh", setpriv, "--reuid", str(NOBODY),
              "--regid", str(NOBODY), "--clear-groups"]
    target = sleeper()
    done = attach(target.pid, prefix=prefix)
    if done.returncode == 77:
        tap.skip("no /proc can be mounted with hidepid")
    tap.equal(done.returncode, 3, "a process that /proc hides: status 3, not 4")
    tap.contains(done.stderr.decode(), "hidepid", "and the reason")


def test_without_proc():
    need_root()
    unshare = procs.program("unshare")
    script = 'umount -l /proc || exit 77\nexec "$@"'
    done = attach(sleeper().pid, prefix=[unshare, "-m", "sh", "-c", script, "sh"])
    if done.returncode == 77:
        tap.skip("/proc cannot be taken away here")
    tap.equal(done.returncode, 1, "without /proc: status 1")
    tap.contains(done.stderr.decode(), "mount -t proc proc /proc", "and what to do")


def test_proc_of_another_namespace():
    """Its numbers are those of other processes."""
    need_root()
    unshare = procs.program("unshare")
    done = attach("2", prefix=[unshare, "-p", "-f", "sh", "-c", 'sleep 60 & "$@"; s=$?; '
                               "kill $!; exit $s", "sh"])
    tap.equal(done.returncode, 1, "with the /proc of another pid namespace: status 1")
    tap.contains(done.stderr.decode(), "mount -t proc proc /proc", "and what to do")


def test_setuid_command():
    """A command that becomes another user's is not forced to do without."""
    need_root()
    program = public_copy(procs.program("sleep"), 0o4755)
    profiler_copy = public_copy(profiler.PATH)
    done = subprocess.run([profiler_copy, "-o", "/dev/null", "--", program, "0.5"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          check=False, **AS_NOBODY)
    text = done.stderr.decode("utf-8", "replace")
    tap.ok(done.returncode in (0, 3), "a setuid command: a sentence or an empty profile", text)
    tap.ok("Traceback" not in text and text.count("\n") >= 1, "told in words", text)


def test_one_of_two():
    need_root()
    mine, theirs = sleeper(**AS_NOBODY), sleeper()
    path = os.path.join(procs.temp_dir(owner=pwd.getpwuid(NOBODY)), "p.pb.gz")
    done = subprocess.run([public_copy(profiler.PATH), "-p", str(mine.pid), "-p",
                           str(theirs.pid), "-o", path], stderr=subprocess.PIPE, timeout=60,
                          check=False, **AS_NOBODY)
    tap.equal(done.returncode, 3, "one of two is refused: status 3, before any sampling")
    tap.contains(done.stderr.decode(), "process %d" % theirs.pid, "and it is said which")
    tap.ok(not os.path.exists(path), "and no profile is written")


def test_untouched():
    """A refusal leaves no trace on a busy process: it is never stopped."""
    need_root()
    target = python("print('ready', flush=True)\nwhile True: pass")
    before = time.monotonic()
    for _ in range(5):
        attach(target.pid, **AS_NOBODY)
    tap.equal(procs.traced(target.pid), {}, "five refusals: nothing is traced or stopped")
    tap.at_most((time.monotonic() - before) / 5, 2.0, "and each is told at once: seconds")


if __name__ == "__main__":
    tap.run([function for name, function in list(globals().items())
             if name.startswith("test_")])
