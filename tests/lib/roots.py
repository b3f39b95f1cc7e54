# SPDX-License-Identifier: Apache-2.0
"""Whether a stack reaches the function in which its thread began.

Judged by the address of its outermost frame, not by the name that the profiler
gave it: a program's entry point is in its ELF header, and a thread's first
code follows the clone or clone3 system call of its C library, whose
instructions are found in the file. Go's outermost functions have names.
"""

import struct

# mov $435, %eax; syscall (clone3) and mov $56, %eax; syscall (clone), x86-64
_CLONES = (b"\xb8\xb3\x01\x00\x00\x0f\x05", b"\xb8\x38\x00\x00\x00\x0f\x05")
_AFTER_CLONE = 128  # how far the first code of the thread may reach
_AFTER_ENTRY = 64

# mcall and morestack are where Go's own tracebacks of a system stack end: what
# lies below them there is left over from earlier
_GO_STARTS = (
    "runtime.goexit", "runtime.mstart", "runtime.rt0_go", "_rt0_amd64", "runtime.clone",
    "runtime.mstart0", "runtime.mstart1", "runtime.mcall", "runtime.morestack",
)

_files = {}


class _File:
    """Where in an ELF file threads begin: ranges of file offsets."""

    def __init__(self, path):
        self.starts = []
        try:
            with open(path, "rb") as f:
                data = f.read()
            if data[:6] == b"\x7fELF\x02\x01":
                self._entry(data)
                self._clones(data)
        except (OSError, struct.error):
            pass

    def _entry(self, data):
        entry, phoff = struct.unpack_from("<QQ", data, 24)
        phentsize, phnum = struct.unpack_from("<HH", data, 54)
        for i in range(phnum):
            kind, _flags, offset, vaddr, _paddr, filesz = struct.unpack_from(
                "<IIQQQQ", data, phoff + i * phentsize)
            if kind == 1 and vaddr <= entry < vaddr + filesz:
                start = entry - vaddr + offset
                self.starts.append((start, start + _AFTER_ENTRY))

    def _clones(self, data):
        for pattern in _CLONES:
            at = data.find(pattern)
            while at >= 0:
                self.starts.append((at, at + _AFTER_CLONE))
                at = data.find(pattern, at + 1)


def _file(path):
    if path not in _files:
        _files[path] = _File(path)
    return _files[path]


def is_start(location, extra=()):
    """Whether this location is where a thread begins. `extra`: more ranges of
    addresses that are."""
    for start, end in extra:
        if start <= location.address < end:
            return True
    for line in location.lines:
        name = line.function.name
        if name.split(".abi")[0] in _GO_STARTS:
            return True
    mapping = location.mapping
    if mapping is None:
        return False
    offset = location.address - mapping.start + mapping.offset
    return any(s <= offset < e for s, e in _file(mapping.filename).starts)


def is_real(sample):
    """False for entries that stand for no code, such as [not sampled]."""
    return not (len(sample.stack) == 1 and sample.stack[0].startswith("["))


def reached(profile, extra=()):
    """(part of the stacks, by number of samples, that reach the start of their
    thread, a text that lists the outermost frames of those that do not)."""
    index = profile.type_index("samples")
    good = total = 0
    bad = {}
    for sample in profile.samples:
        if not is_real(sample):
            continue
        n = sample.values[index]
        total += n
        if sample.locations and is_start(sample.locations[-1], extra):
            good += n
        else:
            key = " <- ".join(sample.stack[-4:]) + " (of %d)" % len(sample.stack)
            bad[key] = bad.get(key, 0) + n
    worst = sorted(bad.items(), key=lambda item: -item[1])[:10]
    text = "\n".join("%d of %d: … %s" % (n, total, key) for key, n in worst)
    return (good / total if total else 0.0), text
