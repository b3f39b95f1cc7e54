# SPDX-License-Identifier: Apache-2.0
"""The symbols of an ELF file, and which of them names an address by the rule of
docs/SYMBOLS.md: written from that page, not from the program."""

import bisect
import collections
import os
import struct

DEBUG = "/usr/lib/debug/.build-id/%s/%s.debug"
_SYMTAB, _NOBITS, _DYNSYM, _NOTE = 2, 8, 11, 7
_EXECUTABLE = 0x6  # SHF_ALLOC and SHF_EXECINSTR
_NOTYPE, _FUNC, _IFUNC = 0, 2, 10
_ABSOLUTE, _COMMON = 0xfff1, 0xfff2
# Of a symbol's binding: local, global, weak, unique
_ORDER = {1: 0, 10: 0, 2: 1}

Symbol = collections.namedtuple("Symbol", "start end rank name")


def plain(name):
    """Without the version that linkers put behind it."""
    return name.split("@")[0] or name


class _Elf:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        shoff, = struct.unpack_from("<Q", self.data, 40)
        size, n = struct.unpack_from("<HH", self.data, 58)
        # name, type, flags, address, offset, size, link
        self.sections = [struct.unpack_from("<IIQQQQI", self.data, shoff + i * size)
                         for i in range(n)]

    def bytes_of(self, section):
        return self.data[section[4]:section[4] + section[5]]

    def table(self, kind):
        """(name, type, binding, section, value, size) of each symbol."""
        for section in self.sections:
            if section[1] != kind:
                continue
            strings = self.bytes_of(self.sections[section[6]])
            for name, info, _, where, value, size in struct.iter_unpack(
                    "<IBBHQQ", self.bytes_of(section)):
                text = strings[name:strings.index(b"\0", name)].decode(errors="replace")
                yield text, info & 15, info >> 4, where, value, size

    def build_id(self):
        for section in self.sections:
            note = self.bytes_of(section) if section[1] == _NOTE else b""
            if note[12:16] == b"GNU\0" and note[8:12] == b"\3\0\0\0":
                return note[16:16 + struct.unpack_from("<I", note, 4)[0]].hex()
        return None


class Symbols:
    """All symbols of code: those of the file, then those of its debug file."""

    def __init__(self, path):
        elf = _Elf(path)
        self.code = [(s[3], s[3] + s[5]) for s in elf.sections
                     if s[2] & _EXECUTABLE == _EXECUTABLE]
        self.symbols = []
        number = elf.build_id()
        debug = number and DEBUG % (number[:2], number[2:])
        own, exported = list(elf.table(_SYMTAB)), list(elf.table(_DYNSYM))
        tables = [own, exported if len(exported) > len(own) else []]
        if not own and debug and os.path.exists(debug):
            tables.append(_Elf(debug).table(_SYMTAB))
        for number, table in enumerate(tables):
            for symbol in table:
                self._add(number, *symbol)
        self.symbols.sort()
        self.starts = [s.start for s in self.symbols]
        self.by_name = collections.defaultdict(set)
        for symbol in self.symbols:
            self.by_name[plain(symbol.name)].add(symbol)
        # The furthest that any of the symbols up to here reaches
        self.reach = []
        for symbol in self.symbols:
            self.reach.append(max(symbol.end, self.reach[-1] if self.reach else 0))

    def _section(self, address):
        return next((c for c in self.code if c[0] <= address < c[1]), None)

    def _add(self, table, name, kind, binding, where, value, size):
        section = self._section(value)
        if (where in (0, _COMMON) or kind not in (_NOTYPE, _FUNC, _IFUNC) or section is None or
                (kind == _NOTYPE and where == _ABSOLUTE)):
            return
        if not name or name.startswith(("$", ".L")):
            return
        underscores = len(name) - len(name.lstrip("_"))
        rank = (_ORDER.get(binding, 2), kind == _NOTYPE, underscores, len(name), table, name)
        self.symbols.append(Symbol(value, min(value + size, section[1]), rank, name))

    def covering(self, address):
        """The symbols whose size covers an address."""
        found = []
        i = bisect.bisect_right(self.starts, address) - 1
        while i >= 0 and self.reach[i] > address:
            if self.symbols[i].end > address:
                found.append(self.symbols[i])
            i -= 1
        return found

    def chosen(self, address):
        """The symbol that names an address, or None."""
        covering = self.covering(address)
        if not covering:
            return self._label(address)
        start = max(s.start for s in covering)
        return min((s for s in covering if s.start == start), key=lambda s: s.rank)

    def _label(self, address):
        """The last symbol before it, if that has no size and is not in one that has."""
        i = bisect.bisect_right(self.starts, address) - 1
        if i < 0:
            return None
        start = self.starts[i]
        here = self.symbols[bisect.bisect_left(self.starts, start):i + 1]
        if any(s.end > s.start for s in here) or self.covering(start):
            return None
        section = self._section(start)
        if section is None or address >= section[1]:
            return None
        return min(here, key=lambda s: s.rank)
