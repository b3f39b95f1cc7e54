#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the profiler keeps itself from doing: read from /proc while it samples."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import tap
import victims

NOBODY = 65534
CAPS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "SYS_PTRACE": 19,
        "SYS_ADMIN": 21, "SYS_NICE": 23, "CHECKPOINT_RESTORE": 40}


def bits(*names):
    return sum(1 << CAPS[n] for n in names)


SAMPLING = bits("DAC_READ_SEARCH", "SYS_PTRACE", "SYS_NICE", "CHECKPOINT_RESTORE", "SYS_ADMIN")
OUTPUT = bits("CHOWN", "DAC_OVERRIDE", "FOWNER")


def need_root():
    if os.getuid() != 0:
        tap.skip("needs root")


def tasks(run):
    """What /proc says of each thread of the profiler, and of its tracer, while it samples:
    {"main" or "tracer" or a thread's id: fields}."""
    tracer = run.begun()
    procs.wait_until("all of it has begun", lambda: len(procs.tids(run.pid)) >= 3)
    found = {tid: procs.status(run.pid, tid) for tid in procs.tids(run.pid)}
    found["main"] = found.pop(run.pid)
    found["tracer"] = procs.status(tracer)
    return found


def check_confined(found, what):
    """As far as this kernel has what it takes."""
    for field, want in (("NoNewPrivs", "1"), ("Seccomp", "2")):
        if field in found["main"]:
            got = {who: fields.get(field) for who, fields in found.items()}
            tap.equal(set(got.values()), {want}, "%s: %s is %s in every thread and the tracer"
                      % (what, field, want), repr(got))


def caps(fields, which):
    return int(fields[which], 16)


def test_root():
    need_root()
    victim = victims.Victim("spinners", 2)
    run = profiler.Run("-p", victim.pid, "-d", "2")
    found = tasks(run)
    check_confined(found, "as root")
    for which in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        more = {who: hex(caps(f, which)) for who, f in found.items()
                if caps(f, which) & ~SAMPLING}
        tap.equal(more, {}, "as root: %s has nothing but what sampling takes" % which)
    run.finish()
    tap.equal(run.status, 0, "and it samples", str(run))
    tap.at_least(run.profile.total("samples"), 10, "as root: there are samples")


def test_root_in_anothers_directory():
    """As under sudo in a home directory, where the old profile is the user's."""
    need_root()
    victim = victims.Victim("spinners", 1)
    directory = procs.temp_dir()
    os.chmod(directory, 0o700)
    path = os.path.join(directory, "out.pb.gz")
    with open(path, "wb"):
        os.chown(path, NOBODY, NOBODY)
    os.chown(directory, NOBODY, NOBODY)
    run = profiler.Run("-p", victim.pid, "-d", "2", output=path)
    found = tasks(run)
    extra = {who: caps(f, "CapPrm") & ~SAMPLING for who, f in found.items()}
    tap.ok(extra.pop("main") & OUTPUT, "into another user's directory: it is kept for the end")
    tap.equal(extra["tracer"], 0, "but not by the tracer", repr(extra))
    tap.equal({who: caps(f, "CapEff") & ~SAMPLING for who, f in found.items()},
              {who: 0 for who in found}, "and is not in effect meanwhile")
    run.finish()
    tap.equal(run.status, 0, "the profile is written", str(run))
    tap.equal(os.stat(path).st_uid, NOBODY, "and the file is still theirs")


def public_copy():
    import shutil

    directory = procs.temp_dir()
    os.chmod(directory, 0o755)
    return shutil.copy(profiler.PATH, directory)


def test_user():
    need_root()
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    victim = procs.spawn(["sh", "-c", "while :; do :; done"], **user)
    program, directory = public_copy(), procs.temp_dir()
    os.chown(directory, NOBODY, NOBODY)
    path = os.path.join(directory, "out.pb.gz")
    run = profiler.Run("-q", "-p", victim.pid, "-d", "2", program=program, output=path, **user)
    found = tasks(run)
    check_confined(found, "as a user")
    tap.equal({caps(f, "CapPrm") for f in found.values()}, {0}, "as a user: no capabilities")
    tap.equal(run.finish().status, 0, "as a user: it samples", str(run))
    tap.at_least(run.profile.total("samples"), 1, "as a user: there are samples")


def test_command_is_not_confined():
    """What is started is as if it had been started without us."""
    fields = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    ours = procs.status(os.getpid())
    run = profiler.Run("-d", "10", "--", "sh", "-c",
                       "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status; "
                       "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sh -c 'exit 0'").finish()
    got = dict(l.split(":\t") for l in run.stdout.decode().splitlines())
    tap.equal({f: got.get(f) for f in fields}, {f: ours.get(f) for f in fields},
              "a command has the rights that we were given")
    tap.equal(run.status, 0, "and starts programs of its own", str(run))


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_root,
        test_root_in_anothers_directory,
        test_user,
        test_command_is_not_confined,
    ])
