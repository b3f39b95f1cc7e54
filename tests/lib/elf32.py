# SPDX-License-Identifier: Apache-2.0
"""32-bit programs, made by hand: no compiler here need be able to."""

import os
import struct

# mov eax, 29 (pause); int 0x80; jmp back.
PAUSE = bytes.fromhex("b81d000000cd80ebf7")

# Works for a moment and waits in epoll_wait (256) for a millisecond, 4000 times. Its exit
# status is 0, or the error of the first wait that failed.
WAITS = bytes.fromhex(
    "b849010000 31db cd80 89c7"               # edi = epoll_create1(0)
    "bda00f0000"                              # ebp = 4000
    "b950c30000 49 75fd"                      # counts ecx down from 50000
    "b800010000 89fb 8d4c24c0 ba01000000 89d6 cd80"  # epoll_wait(edi, esp - 64, 1, 1)
    "85c0 7503 4d 75dd"                       # once more unless it failed
    "f7d8 89c3 b801000000 cd80")              # exit(-eax)


def write(path, code):
    """An executable file of that code alone."""
    base, start = 0x08048000, 52 + 32
    size = start + len(code)
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, base + start,
                         52, 0, 0, 52, 32, 1, 0, 0, 0)
    load = struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000)
    with open(path, "wb") as f:
        f.write(header + load + code)
    os.chmod(path, 0o755)
