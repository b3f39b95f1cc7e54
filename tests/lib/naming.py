# SPDX-License-Identifier: Apache-2.0
"""For tests of what functions are called: programs that are changed before they
run, and what a profile of them says."""

import os
import re
import shutil
import subprocess

import procs
import profiler
import tap
import victims

SECONDS = 1
HZ = 199
ENOUGH = 30  # samples, to judge by
NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
# What the loops of the victims cannot do without lies in the C library and the vDSO.
MOST = 0.6


def run_on(pid, *args, seconds=SECONDS, **options):
    return profiler.profile(pid, seconds, "-v", *args, hz=HZ, enough=ENOUGH, **options)


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


def build_id(path):
    text = subprocess.run([procs.program("readelf"), "-n", path], stdout=subprocess.PIPE,
                          check=True).stdout.decode()
    return re.search(r"Build ID: ([0-9a-f]+)", text).group(1)


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
