# SPDX-License-Identifier: Apache-2.0
"""Reads a pprof profile without any protobuf library.

Profile.read(path) decodes the bytes (gzip or not) with a decoder of the wire
format that knows the profile's fields by number alone, so what it says about a
file does not depend on the code that wrote it. It is strict: a field it does
not know, a wrong wire type or a truncated message is an error, and errors are
FormatError with a sentence.

    p = Profile.read("out.pb.gz")
    for s in p.samples:
        s.stack      # names, leaf first, inlined functions included
        s.values     # one number per sample type
        s.labels     # {"thread_name": "worker", "thread_id": 4711}
    p.total("cpu"), p.flat("cpu"), p.cum("cpu")
"""

import collections
import gzip
import io
import zlib


class FormatError(Exception):
    pass


VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def _varint(buf, pos):
    value = shift = 0
    while True:
        if pos >= len(buf) or shift > 63:
            raise FormatError("varint ends badly at byte %d" % pos)
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, pos


def fields(buf):
    """Yields (field number, wire type, value) of one message."""
    pos = 0
    while pos < len(buf):
        key, pos = _varint(buf, pos)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise FormatError("field number 0")
        if wire == VARINT:
            value, pos = _varint(buf, pos)
        elif wire == BYTES:
            length, pos = _varint(buf, pos)
            value = buf[pos : pos + length]
            if len(value) != length:
                raise FormatError("field %d is longer than its message" % number)
            pos += length
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
            value = buf[pos : pos + length]
            if len(value) != length:
                raise FormatError("field %d is longer than its message" % number)
            pos += length
        else:
            raise FormatError("field %d has wire type %d" % (number, wire))
        yield number, wire, value


def _signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value


class _Spec:
    """A message: field number -> (attribute, kind).

    Kinds: int (signed), uint, bool, bytes; with '*' repeated (packed or not);
    a message is named by its class."""

    def __init__(self, **by_name):
        self.by_number = {number: (name, kind) for name, (number, kind) in by_name.items()}


def _is_list(kind):
    return isinstance(kind, list) or (isinstance(kind, str) and kind.endswith("*"))


def _scalar(kind, value):
    kind = kind.rstrip("*")
    if kind == "int":
        return _signed(value)
    if kind == "bool":
        return bool(value)
    return value


class Message:
    spec = None

    def __init__(self, buf):
        self.present = []  # field numbers in the order they came
        self.packed = set()  # repeated numbers that came packed
        for name, kind in self.spec.by_number.values():
            empty = [] if _is_list(kind) else None
            if not _is_list(kind):
                empty = b"" if kind == "bytes" else False if kind == "bool" else 0
                if isinstance(kind, type):
                    empty = None
            setattr(self, name, empty)
        for number, wire, value in fields(buf):
            self._take(number, wire, value)

    def _take(self, number, wire, value):
        if number not in self.spec.by_number:
            raise FormatError("%s has unknown field %d" % (type(self).__name__, number))
        name, kind = self.spec.by_number[number]
        if number in self.present and not _is_list(kind):
            raise FormatError("%s.%s comes twice" % (type(self).__name__, name))
        self.present.append(number)
        if isinstance(kind, list):  # repeated message
            self._expect(name, wire, BYTES)
            getattr(self, name).append(kind[0](value))
        elif isinstance(kind, type):
            self._expect(name, wire, BYTES)
            setattr(self, name, kind(value))
        elif kind.startswith("bytes"):
            self._expect(name, wire, BYTES)
            if _is_list(kind):
                getattr(self, name).append(value)
            else:
                setattr(self, name, value)
        elif _is_list(kind) and wire == BYTES:
            self.packed.add(number)
            pos = 0
            while pos < len(value):
                item, pos = _varint(value, pos)
                getattr(self, name).append(_scalar(kind, item))
        else:
            self._expect(name, wire, VARINT)
            if _is_list(kind):
                getattr(self, name).append(_scalar(kind, value))
            else:
                setattr(self, name, _scalar(kind, value))

    def _expect(self, name, wire, wanted):
        if wire != wanted:
            raise FormatError(
                "%s.%s has wire type %d, not %d" % (type(self).__name__, name, wire, wanted)
            )


class RawValueType(Message):
    spec = _Spec(type=(1, "int"), unit=(2, "int"))


class RawLabel(Message):
    spec = _Spec(key=(1, "int"), str=(2, "int"), num=(3, "int"), num_unit=(4, "int"))


class RawSample(Message):
    spec = _Spec(location_id=(1, "uint*"), value=(2, "int*"), label=(3, [RawLabel]))


class RawMapping(Message):
    spec = _Spec(
        id=(1, "uint"),
        memory_start=(2, "uint"),
        memory_limit=(3, "uint"),
        file_offset=(4, "uint"),
        filename=(5, "int"),
        build_id=(6, "int"),
        has_functions=(7, "bool"),
        has_filenames=(8, "bool"),
        has_line_numbers=(9, "bool"),
        has_inline_frames=(10, "bool"),
    )


class RawLine(Message):
    spec = _Spec(function_id=(1, "uint"), line=(2, "int"), column=(3, "int"))


class RawLocation(Message):
    spec = _Spec(
        id=(1, "uint"),
        mapping_id=(2, "uint"),
        address=(3, "uint"),
        line=(4, [RawLine]),
        is_folded=(5, "bool"),
    )


class RawFunction(Message):
    spec = _Spec(
        id=(1, "uint"),
        name=(2, "int"),
        system_name=(3, "int"),
        filename=(4, "int"),
        start_line=(5, "int"),
    )


class RawProfile(Message):
    """Fields 1-14. 15 (doc_url) is unknown here on purpose: some readers refuse it."""

    spec = _Spec(
        sample_type=(1, [RawValueType]),
        sample=(2, [RawSample]),
        mapping=(3, [RawMapping]),
        location=(4, [RawLocation]),
        function=(5, [RawFunction]),
        string_table=(6, "bytes*"),
        drop_frames=(7, "int"),
        keep_frames=(8, "int"),
        time_nanos=(9, "int"),
        duration_nanos=(10, "int"),
        period_type=(11, RawValueType),
        period=(12, "int"),
        comment=(13, "int*"),
        default_sample_type=(14, "int"),
    )


ValueType = collections.namedtuple("ValueType", "type unit")
Function = collections.namedtuple("Function", "id name system_name filename start_line")
Line = collections.namedtuple("Line", "function line")
Location = collections.namedtuple("Location", "id mapping address lines")
Mapping = collections.namedtuple(
    "Mapping",
    "id start limit offset filename build_id "
    "has_functions has_filenames has_line_numbers has_inline_frames",
)


class Sample:
    """One sample. stack: function names, leaf first, inlined ones included;
    a location without a line is shown as its address, '0x…'."""

    def __init__(self, locations, values, labels, label_units):
        self.locations = locations
        self.values = values
        self.labels = labels
        self.label_units = label_units
        self.stack = []
        for location in locations:
            names = [line.function.name for line in location.lines]
            self.stack += names or ["0x%x" % location.address]

    def __repr__(self):
        return "Sample(%r, %r, %r)" % (self.stack, self.values, self.labels)


class Profile:
    def __init__(self, raw):
        self.raw = raw
        self.strings = [self._utf8(s) for s in raw.string_table]
        self.sample_types = [self._value_type(t) for t in raw.sample_type]
        self.period_type = self._value_type(raw.period_type) if raw.period_type else None
        self.period = raw.period
        self.time_nanos = raw.time_nanos
        self.duration_nanos = raw.duration_nanos
        self.default_sample_type = self.string(raw.default_sample_type)
        self.comments = [self.string(c) for c in raw.comment]
        self.functions = [
            Function(
                f.id,
                self.string(f.name),
                self.string(f.system_name),
                self.string(f.filename),
                f.start_line,
            )
            for f in raw.function
        ]
        self.mappings = [
            Mapping(
                m.id,
                m.memory_start,
                m.memory_limit,
                m.file_offset,
                self.string(m.filename),
                self.string(m.build_id),
                m.has_functions,
                m.has_filenames,
                m.has_line_numbers,
                m.has_inline_frames,
            )
            for m in raw.mapping
        ]
        self._functions = self._by_id("function", self.functions)
        self._mappings = self._by_id("mapping", self.mappings)
        self.locations = [self._location(l) for l in raw.location]
        self._locations = self._by_id("location", self.locations)
        self.samples = [self._sample(s) for s in raw.sample]

    @classmethod
    def read(cls, path):
        with open(path, "rb") as f:
            return cls.decode(f.read())

    @classmethod
    def decode(cls, data):
        if data[:2] == b"\x1f\x8b":
            try:
                with gzip.GzipFile(fileobj=io.BytesIO(data)) as f:
                    data = f.read()
            except (OSError, EOFError, zlib.error) as e:
                raise FormatError("bad gzip: %s" % e) from e
        return cls(RawProfile(data))

    @staticmethod
    def _utf8(data):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as e:
            raise FormatError("string %r is not UTF-8" % data) from e

    def string(self, index):
        if not 0 <= index < len(self.strings):
            raise FormatError("string %d of %d" % (index, len(self.strings)))
        return self.strings[index]

    def _value_type(self, raw):
        return ValueType(self.string(raw.type), self.string(raw.unit))

    @staticmethod
    def _by_id(what, items):
        table = {}
        for item in items:
            if item.id == 0 or item.id in table:
                raise FormatError("%s id %d is 0 or comes twice" % (what, item.id))
            table[item.id] = item
        return table

    @staticmethod
    def _find(what, table, number):
        if number not in table:
            raise FormatError("there is no %s %d" % (what, number))
        return table[number]

    def _location(self, raw):
        mapping = None
        if raw.mapping_id != 0:
            mapping = self._find("mapping", self._mappings, raw.mapping_id)
        lines = [
            Line(self._find("function", self._functions, l.function_id), l.line)
            for l in raw.line
        ]
        return Location(raw.id, mapping, raw.address, lines)

    def _sample(self, raw):
        if len(raw.value) != len(self.sample_types):
            raise FormatError("a sample has %d values" % len(raw.value))
        labels, units = {}, {}
        for label in raw.label:
            key = self.string(label.key)
            if label.str != 0:
                labels[key] = self.string(label.str)
            else:
                labels[key] = label.num
            if label.num_unit != 0:
                units[key] = self.string(label.num_unit)
        locations = [self._find("location", self._locations, i) for i in raw.location_id]
        return Sample(locations, raw.value, labels, units)

    def type_index(self, name=None):
        """The index of a sample type; of the one readers show first without a name."""
        if name is None:
            return len(self.sample_types) - 1
        for i, t in enumerate(self.sample_types):
            if t.type == name:
                return i
        raise KeyError(name)

    def total(self, name=None):
        i = self.type_index(name)
        return sum(s.values[i] for s in self.samples)

    def flat(self, name=None):
        """Function name -> value of the samples with it as the leaf."""
        i = self.type_index(name)
        result = collections.Counter()
        for s in self.samples:
            if s.stack:
                result[s.stack[0]] += s.values[i]
        return result

    def cum(self, name=None):
        """Function name -> value of the samples with it anywhere, once for each."""
        i = self.type_index(name)
        result = collections.Counter()
        for s in self.samples:
            for function in set(s.stack):
                result[function] += s.values[i]
        return result

    def by_label(self, key, name=None):
        """Label value (None: without) -> value."""
        i = self.type_index(name)
        result = collections.Counter()
        for s in self.samples:
            result[s.labels.get(key)] += s.values[i]
        return result
