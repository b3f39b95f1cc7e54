#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The outputs for people: folded stacks, the table, and the flame graph."""

import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import fixture
import procs
import tap

SVG = "{http://www.w3.org/2000/svg}"
BROKEN = b"bad\xff;na\xe2\x82me\n\x1b[31m\xed\xa0\x80\xef\xbf\xbf".decode("utf-8", "replace")
BROKEN = BROKEN.replace("\n", "\ufffd").replace("\x1b", "\ufffd")


def test_folded():
    lines = fixture.text("full", "folded").splitlines()
    want = [
        "_start;main;bar;[vdso]+0xa10;libfoo.so.1+0x2300 8000000",
        "_start;main;foo_run;main 7000000",
        "_start;main;util::work();util::mix(unsigned int);hash<&> 35000000",
        "[not sampled] 10000000",
        "0xffffffff81000123;bar;%s 40000000" % BROKEN.replace(";", ":"),
    ]
    tap.equal(lines, sorted(want, key=lambda s: s.encode()), "stacks, sorted, root first")
    tap.equal(fixture.text("empty", "folded"), "", "nothing of nothing")


def test_folded_large():
    lines = fixture.text("large", "folded").splitlines()
    tap.equal(len(lines), len(set(l.rsplit(" ", 1)[0] for l in lines)), "no stack twice")
    total = sum(int(l.rsplit(" ", 1)[1]) for l in lines)
    tap.equal(total, 200000 * 199999 // 2, "nothing is lost")


def test_text():
    text = fixture.text("full", "text")
    tap.contains(text, "cprof-attach <test> & more\n", "comments come first")
    tap.ok("#hidden" not in text, "hidden ones do not")
    tap.contains(text, "Started:  2023-11-14 22:13:20 UTC\n", "start")
    tap.contains(text, "Lasted:   30.00s\n", "duration")
    tap.contains(text, "Measured: cpu in nanoseconds\n", "what was measured")
    tap.contains(text, "Total:    100.00ms in 7 samples\n", "total")
    rows = [l.split(None, 5) for l in text[text.index("flat%") :].splitlines()[1:]]
    tap.equal(
        rows[1],
        ["35.00ms", "35.00%", "75.00%", "35.00ms", "35.00%", "hash<&>"],
        "the second hottest",
    )
    tap.equal(rows[0][5], BROKEN, "the hottest, its name repaired")
    tap.ok(
        ["7.00ms", "7.00%", "100.00%", "50.00ms", "50.00%", "main"] in rows,
        "recursion counts once in cum",
        text,
    )
    flat = [float(r[0][:-2]) for r in rows]
    tap.equal(flat, sorted(flat, reverse=True), "hottest first")
    empty = fixture.text("empty", "text")
    tap.contains(empty, "Total:    0ns in 0 samples\n", "an empty profile")


class Frame:
    def __init__(self, group):
        title = group.find(SVG + "title").text
        rect = group.find(SVG + "rect")
        self.name, self.value, self.percent = re.fullmatch(
            r"(.*) \((.*), (.*)%\)", title, re.S
        ).groups()
        self.x, self.y, self.w = (float(rect.get(k)) for k in ("x", "y", "width"))
        self.label = group.find(SVG + "text").text or ""

    def inside(self, other):
        return self.x >= other.x - 0.01 and self.x + self.w <= other.x + other.w + 0.01


def frames_of(svg):
    root = ElementTree.fromstring(svg.encode())
    return [Frame(g) for g in root.iter(SVG + "g") if g.get("class") == "f"]


def test_svg():
    svg = fixture.text("full", "svg")
    frames = frames_of(svg)
    root = frames[0]
    named = {f.name: f for f in frames}
    tap.equal((root.name, root.value, root.percent), ("all", "100.00ms", "100.00"), "root")
    tap.equal(named["hash<&>"].percent, "35.00", "a share")
    tap.equal(named["hash<&>"].label, "hash<&>", "a label that fits")
    share = named["hash<&>"].w / root.w
    tap.ok(abs(share - 0.35) < 0.001, "is the share of the width", share)
    mains = [f for f in frames if f.name == "main"]
    tap.equal(sorted(f.percent for f in mains), ["50.00", "7.00"], "recursion is two frames")
    below = max(mains, key=lambda f: f.y)
    tap.ok(below.inside(named["foo_run"]), "a callee is below its caller")
    tap.equal(below.y - named["foo_run"].y, 17, "one row below")
    tap.ok(named["foo_run"].inside(named["_start"]), "and its caller's caller")
    broken = BROKEN.replace("\uffff", "\ufffd")
    tap.ok(broken in named, "a name that XML cannot hold is repaired", list(named))
    tap.contains(svg, "cprof-attach &lt;test&gt; &amp; more", "comments are in it, escaped")
    for y in {f.y for f in frames}:
        row = sorted((f for f in frames if f.y == y), key=lambda f: f.x)
        apart = all(a.x + a.w <= b.x + 0.01 for a, b in zip(row, row[1:]))
        tap.ok(apart, "frames at y %d do not overlap" % y)


def test_svg_empty():
    frames = frames_of(fixture.text("empty", "svg"))
    tap.equal([f.name for f in frames], ["all"], "only the root")


def test_svg_large():
    svg = fixture.text("large", "svg")
    frames = frames_of(svg)
    tap.ok(min(f.w for f in frames) >= 0.09, "frames too narrow to see are left out")
    widths = sum(f.w for f in frames if f.y == frames[0].y + 17)
    tap.ok(abs(widths - frames[0].w) < 1, "the first row fills the width", widths)
    cut = [f for f in frames if f.label.endswith("..")]
    tap.ok(all(len(f.label) * 7.2 <= f.w for f in frames), "labels fit into their frames")
    tap.ok(all(f.name.startswith(f.label[:-2]) for f in cut), "cut ones are beginnings")


def test_svg_stands_alone():
    svg = fixture.text("full", "svg")
    outside = set(re.findall(r"https?://[^\"' ]*", svg)) - {"http://www.w3.org/2000/svg"}
    tap.equal(outside, set(), "no part comes from outside")
    if shutil.which("xmllint"):
        path = fixture.write("full", "svg", "full.svg")
        done = subprocess.run(["xmllint", "--noout", "--nonet", path])
        tap.equal(done.returncode, 0, "xmllint accepts it")


# Just enough of a browser's document for the script to run in.
DOM = r"""
const fs = require('fs');
function element(attrs, text) {
  return { attrs, textContent: text, style: {}, classes: new Set(), on: {},
    getAttribute(k) { return this.attrs[k]; },
    setAttribute(k, v) { this.attrs[k] = v; },
    addEventListener(k, f) { this.on[k] = f; },
    classList: null };
}
function withClasses(e) {
  e.classList = { toggle(c, on) { on ? e.classes.add(c) : e.classes.delete(c); } };
  return e;
}
const groups = JSON.parse(process.argv[2]).map(f => {
  const g = withClasses(element({}, ''));
  const parts = { title: element({}, f.title), rect: element({ x: f.x, y: f.y, width: f.w }),
    text: element({}, '') };
  g.querySelector = k => parts[k];
  g.parts = parts;
  return g;
});
const ids = {};
for (const id of ['info', 'search', 'reset']) ids[id] = element({}, '');
global.document = { getElementById: id => ids[id], querySelectorAll: () => groups,
  addEventListener() {} };
global.prompt = () => process.argv[4];
eval(fs.readFileSync(process.argv[3], 'utf8'));
const named = n => groups.find(g => g.parts.title.textContent.startsWith(n + ' ('));
const show = g => [+g.parts.rect.attrs.x, +g.parts.rect.attrs.width, g.style.display];
const out = {};
named('foo_run').on.click();
out.zoomed = Object.fromEntries(['all', 'foo_run', 'hash<&>'].map(n => [n, show(named(n))]));
out.label = named('foo_run').parts.text.textContent;
ids.reset.on.click();
out.reset = Object.fromEntries(['all', 'foo_run', 'hash<&>'].map(n => [n, show(named(n))]));
ids.search.on.click();
out.info = ids.info.textContent;
out.hits = groups.filter(g => g.classes.has('hit')).length;
console.log(JSON.stringify(out));
"""


def test_svg_script():
    node = procs.program("node")
    svg = fixture.text("full", "svg")
    script = re.search(r"<!\[CDATA\[(.*?)\]\]>", svg, re.S).group(1)
    directory = procs.temp_dir()
    paths = [os.path.join(directory, n) for n in ("dom.js", "script.js")]
    for path, content in zip(paths, (DOM, script)):
        with open(path, "w", encoding="utf-8") as f:
            f.write(content)
    frames = frames_of(svg)
    given = [
        {"title": "%s (%s, %s%%)" % (f.name, f.value, f.percent), "x": f.x, "y": f.y, "w": f.w}
        for f in frames
    ]
    done = subprocess.run(
        [node, paths[0], json.dumps(given), paths[1], "^(main|bar)"],
        stdout=subprocess.PIPE,
        check=True,
    )
    out = json.loads(done.stdout)
    whole = [10, 1180, ""]
    before = {f.name: [f.x, f.w, ""] for f in frames}
    tap.equal(out["zoomed"]["all"], whole, "what is above a zoomed frame is as wide")
    tap.equal(
        [round(v, 1) if v else v for v in out["zoomed"]["foo_run"]],
        whole,
        "a click makes a frame as wide as the picture",
    )
    tap.equal(out["zoomed"]["hash<&>"][2], "none", "what is beside it goes")
    tap.equal(out["label"], "foo_run", "its label fits now")
    for name in ("all", "foo_run", "hash<&>"):
        tap.equal(out["reset"][name], before[name], "reset puts %s back" % name)
    tap.equal(out["hits"], 4, "search marks frames")
    tap.equal(out["info"], "4 frames match: 90.00%", "and counts what is covered once")


if __name__ == "__main__":
    if not os.access(fixture.PROGRAM, os.X_OK):
        tap.skip_all("encode_fixture was not built")
    tap.run(
        [
            test_folded,
            test_folded_large,
            test_text,
            test_svg,
            test_svg_empty,
            test_svg_large,
            test_svg_stands_alone,
            test_svg_script,
        ]
    )
