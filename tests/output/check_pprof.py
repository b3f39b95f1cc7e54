#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pprof files, field by field, by a decoder that shares nothing with the encoder.

What the profile "full" holds is written in encode_fixture.c; the rules that
readers need kept are those at the top of src/output/pprof.c.
"""

import gzip
import os
import re
import shutil
import subprocess

import fixture
import pprof
import procs
import tap


def read(which):
    return pprof.Profile.read(fixture.write(which, "pprof"))


def mapping(profile, filename):
    return next(m for m in profile.mappings if m.filename == filename)


def claims(m):
    return (m.has_functions, m.has_filenames, m.has_line_numbers, m.has_inline_frames)


def check_rules(p, what):
    """What must hold of every profile."""
    tap.equal(p.strings[0], "", what + ": string 0 is empty")
    tap.equal(len(set(p.strings)), len(p.strings), what + ": no string comes twice")
    for name in ("mappings", "locations", "functions"):
        ids = [item.id for item in getattr(p, name)]
        tap.equal(ids, list(range(1, len(ids) + 1)), what + ": ids of %s are 1..N" % name)
    tap.ok(p.mappings, what + ": there is a mapping")
    tap.equal(p.period_type, ("cpu", "nanoseconds"), what + ": period type")
    tap.ok(not {7, 8, 14} & set(p.raw.present), what + ": default type and filters unset")
    tap.ok(all(l.lines for l in p.locations), what + ": every location has a line")
    tap.ok(
        all(f.name and f.system_name for f in p.functions),
        what + ": every function has both names",
    )
    tap.ok(
        all(label.key != 0 for s in p.raw.sample for label in s.label),
        what + ": every label has a key",
    )
    tap.ok(
        all(l.str or l.num or l.num_unit for s in p.raw.sample for l in s.label),
        what + ": no label is a 0 without a unit",
    )
    tap.ok(
        not any(c.startswith("executableInfo=") for c in p.comments),
        what + ": no comment looks like data",
    )
    tap.ok(
        all(s.packed == {1, 2} for s in p.raw.sample),
        what + ": location ids and values are packed",
    )
    seen = {(tuple(s.location_id), str([vars(l) for l in s.label])) for s in p.raw.sample}
    tap.equal(len(seen), len(p.samples), what + ": stack and labels name one sample")
    tap.ok(not any("\x00" <= c < " " for s in p.strings for c in s), what + ": no controls")
    unused = set(p.strings) - used_strings(p)
    tap.equal(unused, set(), what + ": every string is used")


def used_strings(p):
    used = {""}
    for t in p.sample_types + [p.period_type]:
        used.update(t)
    for f in p.functions:
        used.update((f.name, f.system_name, f.filename))
    for m in p.mappings:
        used.update((m.filename, m.build_id))
    for s in p.samples:
        used.update(s.labels, s.label_units.values())
        used.update(v for v in s.labels.values() if isinstance(v, str))
    used.update(p.comments)
    return used


def test_rules():
    check_rules(read("full"), "full")
    check_rules(read("empty"), "empty")


def test_head():
    p = read("full")
    tap.equal(p.sample_types, [("samples", "count"), ("cpu", "nanoseconds")], "types")
    tap.equal(p.period, 10101010, "period")
    tap.equal(p.time_nanos, 1700000000123456789, "start")
    tap.equal(p.duration_nanos, 30000000000, "duration")
    tap.equal(
        p.comments,
        ["cprof-attach <test> & more", "#hidden", " executableInfo=0,1,2"],
        "comments",
    )


def test_mappings():
    p = read("full")
    first = p.mappings[0]
    tap.equal(
        first[1:6],
        (
            0x401000,
            0x500000,
            0x1000,
            "/usr/bin/demo",
            "00ff10abcdef0123456789abcdef0123456789ab",
        ),
        "mapping 1 is the main binary, as it was mapped",
    )
    tap.equal(claims(first), (True, True, True, True), "all is known of the main binary")
    tap.equal(
        claims(mapping(p, "/usr/lib/libfoo.so.1")),
        (False,) * 4,
        "a mapping with an unnamed location claims nothing",
    )
    tap.equal(
        claims(mapping(p, "/usr/lib/libbar.so")),
        (True, False, False, False),
        "names without files are functions alone",
    )
    tap.equal(claims(mapping(p, "[vdso]")), (False,) * 4, "a stand-in is no function")
    tap.equal(
        claims(mapping(p, "/usr/lib/libidle.so")), (False,) * 4, "no location, no claim"
    )
    bars = [m for m in p.mappings if m.filename == "/usr/lib/libbar.so"]
    tap.equal(
        [m.start for m in bars],
        [0x7F0000200000, 0x7E0000200000],
        "the same file in two processes is two mappings",
    )


def test_empty_has_a_mapping():
    p = read("empty")
    tap.equal(len(p.mappings), 1, "one mapping is made up")
    tap.equal(p.samples, [], "no samples")
    tap.equal(len(p.sample_types), 2, "but their types")


def line(location):
    return [(l.function.name, l.function.filename, l.line) for l in location.lines]


def test_locations():
    p = read("full")
    at = {l.address: l for l in p.locations}
    tap.equal(
        line(at[0x4012FF]),
        [
            ("util::mix(unsigned int)", "/src/util.h", 5),
            ("util::work()", "/src/work.cc", 24),
        ],
        "the innermost inlined function is the first line",
    )
    tap.equal(
        [(l.function.system_name, l.function.start_line) for l in at[0x4012FF].lines],
        [("_ZN4util3mixEj", 3), ("_ZN4util4workEv", 20)],
        "mangled names and first lines",
    )
    tap.equal(line(at[0x7F0000001300]), [("libfoo.so.1+0x2300", "", 0)], "unresolved")
    tap.equal(line(at[0x7FFFF7FC1A10]), [("[vdso]+0xa10", "", 0)], "without lines")
    kernel = at[0xFFFFFFFF81000123]
    tap.equal(kernel.mapping, None, "an address in no mapping")
    tap.equal(line(kernel), [("0xffffffff81000123", "", 0)], "has its address for a name")
    pseudo = next(l for l in p.locations if line(l)[0][0] == "[not sampled]")
    tap.equal((pseudo.address, pseudo.mapping), (0, None), "a pseudo location lies nowhere")
    tap.equal(at[0x401234].mapping.filename, "/usr/bin/demo", "a location's mapping")


def test_utf8():
    raw = b"bad\xff;na\xe2\x82me\n\x1b[31m\xed\xa0\x80\xef\xbf\xbf"
    want = raw.decode("utf-8", "replace").translate({c: "\ufffd" for c in range(32)})
    p = read("full")
    names = [f.name for f in p.functions]
    tap.ok(want in names, "a name is repaired as Python does it", lambda: (want, names))
    want = b"bad\xc0\xaf name".decode("utf-8", "replace")
    tap.ok(any(s.labels.get("thread_name") == want for s in p.samples), "so is a label")


def test_samples():
    p = read("full")
    demo = ["hash<&>", "util::mix(unsigned int)", "util::work()", "main", "_start"]
    worker = {"thread_name": "worker", "thread_id": 4711, "process_id": 4700}
    first, second, recursive, foreign, broken, pseudo = p.samples
    tap.equal(first.stack, demo, "leaf first, with inlined functions")
    tap.equal(first.values, [3, 30000000], "equal stacks and labels are one sample")
    tap.equal(first.labels, worker, "labels of the first process")
    tap.equal(second.stack, demo, "the same stack in another process")
    tap.equal(second.values, [1, 5000000], "is a sample of its own")
    tap.equal(
        {k: v for k, v in second.labels.items() if k != "thread_name"},
        {"thread_id": 4800, "process_id": 4799, "wait": 0, "size": -5},
        "a 0 with a unit stays, and so does a negative number",
    )
    tap.equal(second.label_units, {"wait": "nanoseconds", "size": "bytes"}, "units")
    tap.equal(recursive.stack, ["main", "foo_run", "main", "_start"], "recursion")
    tap.equal(p.cum()["main"], 50000000, "counts once in cum")
    tap.equal(foreign.labels, {}, "a sample without labels")
    tap.equal(broken.values, [1, 40000000], "a stack across mappings")
    tap.equal(pseudo.stack, ["[not sampled]"], "what could not be sampled")
    tap.equal(pseudo.values, [0, 10000000], "has time and no sample")
    tap.equal(p.total(), 100000000, "the total")


def test_gzip():
    for name in ("a.pb.gz", "a.pb", "a.pprof"):
        with open(fixture.write("full", "pprof", name), "rb") as f:
            data = f.read()
        tap.equal(data[:3], b"\x1f\x8b\x08", name + " is gzip")
        tap.equal(data[4:8], b"\0\0\0\0", name + " has no time of its own in it")
        pprof.RawProfile(gzip.decompress(data))


def test_large():
    p = read("large")
    n = 200000
    tap.equal(len(p.samples), n, "all samples are there")
    tap.equal(p.total("cpu"), n * (n - 1) // 2, "with their values")
    check_rules(p, "large")


def test_truncated():
    """The decoder is a judge only if it can say no."""
    with open(fixture.write("full", "pprof"), "rb") as f:
        data = f.read()
    raw = gzip.decompress(data)
    for what, bad in (
        ("gzip", data[:-9]),
        ("message", raw[:-1]),
        ("field 15", raw + b"\x78\x01"),
        ("field twice", raw + b"\x60\x01"),
        ("bytes for a number", raw + b"\x4a\x01\x00"),
        ("string", raw + b"\x32\x01\xff"),
    ):
        try:
            pprof.Profile.decode(bad)
            tap.ok(False, "a bad %s is refused" % what)
        except pprof.FormatError:
            tap.ok(True, "a bad %s is refused" % what)


def test_protoc():
    """The schema, read by protoc, finds in the file what our decoder does."""
    protoc = procs.program("protoc")
    srcdir = os.environ["CPROF_SRCDIR"]
    with open(fixture.write("full", "pprof"), "rb") as f:
        raw = gzip.decompress(f.read())
    text = subprocess.run(
        [
            protoc,
            "--proto_path=" + srcdir,
            "--decode=perftools.profiles.Profile",
            "proto/profile.proto",
        ],
        input=raw,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    p = pprof.Profile.decode(raw)
    tap.equal(re.findall(r"^\d+: ", text, re.M), [], "no unknown field at the top")
    tap.equal(re.findall(r"^ +\d+: ", text, re.M), [], "nor below")
    for name, items in (
        ("sample", p.samples),
        ("location", p.locations),
        ("function", p.functions),
        ("mapping", p.mappings),
        ("string_table", p.strings),
    ):
        found = len(re.findall(r"^%s[ :]" % name, text, re.M))
        tap.equal(found, len(items), "protoc counts as many of " + name)
    tap.contains(text, "time_nanos: 1700000000123456789", "the start")
    tap.contains(text, "has_inline_frames: true", "a flag")
    tap.contains(text, "num: -5", "a negative number")


def go_pprof(*args):
    go = procs.program("go")
    home = procs.temp_dir()
    env = dict(os.environ, PPROF_TMPDIR=home, HOME=home, PPROF_BINARY_PATH=home)
    done = subprocess.run(
        [go, "tool", "pprof", *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    tap.equal(done.returncode, 0, "go tool pprof " + args[0], done.stderr)
    return done.stdout.decode("utf-8")


def test_go_pprof():
    path = fixture.write("full", "pprof", "full.pb.gz")
    top = go_pprof("-top", path)
    tap.ok(
        re.search(r"^ +35ms 35.00% 75.00% +35ms 35.00%  hash<&>$", top, re.M),
        "-top shows the hottest function",
        top,
    )
    tap.ok(re.search(r"^ +7ms +7.00% +100% +50ms 50.00%  main$", top, re.M), "recursion", top)
    tap.contains(top, "util::mix(unsigned int) (inline)", "-top knows what was inlined")
    tap.contains(top, "Duration: 30s, Total samples = 100ms", "-top knows the time")
    traces = go_pprof("-traces", path)
    tap.contains(traces, "thread_name:  worker", "-traces shows labels")
    tap.contains(traces, "process_id:  4799", "-traces shows numbers")
    raw = go_pprof("-raw", path)
    tap.contains(raw, "/usr/bin/demo 00ff10abcdef", "-raw shows the main binary")
    tap.contains(raw, "[FN][FL][LN][IN]", "-raw shows what it has")
    comments = go_pprof("-comments", path)
    tap.contains(comments, "cprof-attach <test> & more", "-comments")
    tap.contains(go_pprof("-top", fixture.write("empty", "pprof")), "0 total", "empty")


if __name__ == "__main__":
    if not os.access(fixture.PROGRAM, os.X_OK):
        tap.skip_all("encode_fixture was not built")
    if not shutil.which("go"):
        tap.diag("no go here: its pprof does not read the files")
    tap.run(
        [
            test_rules,
            test_head,
            test_mappings,
            test_empty_has_a_mapping,
            test_locations,
            test_utf8,
            test_samples,
            test_gzip,
            test_large,
            test_truncated,
            test_protoc,
            test_go_pprof,
        ]
    )
