# SPDX-License-Identifier: Apache-2.0
"""Runs encode_fixture and gives what it wrote."""

import os
import subprocess

import procs

PROGRAM = os.path.join(os.environ["CPROF_BUILDDIR"], "tests/output/encode_fixture")


def write(profile, form, name=None):
    """Writes a profile in a format; the path of the file."""
    path = os.path.join(procs.temp_dir(), name or "out")
    subprocess.run([PROGRAM, profile, form, path], check=True)
    return path


def text(profile, form):
    with open(write(profile, form), encoding="utf-8") as f:
        return f.read()
