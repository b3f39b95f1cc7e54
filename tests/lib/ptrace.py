# SPDX-License-Identifier: Apache-2.0
"""What a careless tool does to a process, for tests that must be able to see it."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long

DETACH, SEIZE, INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000


def seize(tid):
    return _libc.ptrace(SEIZE, tid, None, None) == 0


def interrupt(tid):
    return _libc.ptrace(INTERRUPT, tid, None, None) == 0


def detach(tid):
    return _libc.ptrace(DETACH, tid, None, None) == 0


def stop_and_go(tid):
    """Stops a thread and lets it go on, and undoes nothing. Whether it worked."""
    if not seize(tid) or not interrupt(tid):
        return False
    os.waitpid(tid, WALL)
    return detach(tid)
