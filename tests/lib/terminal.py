# SPDX-License-Identifier: Apache-2.0
"""A terminal with a process on it."""

import fcntl
import os
import select
import struct
import termios
import time

import procs
import tap


class Terminal:
    """A pseudo-terminal, 80 columns by default. .type() is the keyboard, .seen
    what was printed so far."""

    def __init__(self, columns=80):
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.set_blocking(self.master, False)
        self.seen = b""
        tap.cleanup(os.close, self.master)
        tap.cleanup(os.close, self.slave)

    def spawn(self, argv, **options):
        """Starts a process as the leader of a session that has this terminal."""
        slave = self.slave

        def take_terminal():
            procs._die_with_parent()
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        import subprocess

        process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave,
                                   preexec_fn=take_terminal, **options)
        tap.cleanup(procs.stop, process)
        return process

    def type(self, data):
        os.write(self.master, data)

    def read(self, seconds=0.0):
        """Takes in what is printed during that time; all that was seen."""
        end = time.monotonic() + seconds
        while True:
            left = max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self.master], [], [], left)
            if not ready:
                return self.seen
            try:
                self.seen += os.read(self.master, 65536)
            except (BlockingIOError, OSError):
                return self.seen

    def wait_for(self, text, patience=None):
        procs.wait_until("%r is printed" % text, lambda: text in self.read(0.02), patience)
