#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names, files, lines and inlined functions of programs built in every way that
changes where they are found.

The sources say themselves what is to be expected: MARK() (zoo.h) notes the address
of the code at a place, and comments such as "/* in deepest */" name its line.
"""

import os
import re
import shutil
import struct
import subprocess
import tempfile

import tap

HERE = os.path.join(os.environ.get("CPROF_SRCDIR", "."), "tests/symbol")
TOOL = os.path.join(os.environ.get("CPROF_BUILDDIR", "."), "tests/bench/name_addresses")
CC = os.environ.get("CC", "cc").split()
CXX = os.environ.get("CXX", "c++").split()
_directory = None

# mark -> functions, innermost first: (name, where it is, where it starts: the line
# before the comment, where the brace stands)
CHAIN = {
    "in deepest": [
        [("deepest", "in deepest", "start deepest"),
         ("middle", "middle calls deepest", "start middle"),
         ("outer", "outer calls middle", "start outer")],
        [("deepest", "in deepest", "start deepest"),
         ("outer", "outer calls deepest", "start outer")],
    ],
    "in middle": [[("middle", "in middle", "start middle"),
                   ("outer", "outer calls middle", "start outer")]],
    "in outer": [[("outer", "in outer", "start outer")]],
    "in main": [[("main", "in main", "start main")]],
}
ZOO = {
    "in walk": [[("zoo::Cage<char>::walk<4>(char)", "in walk", "start walk"),
                 ("zoo::Cage<char>::open(char)", "open calls walk", "start open")]],
    "in open": [[("zoo::Cage<char>::open(char)", "in open", "start open")]],
    # GCC has no mangled name for what no other file can call.
    "in hidden": [[(hidden, "in hidden", "start hidden"),
                   ("zoo::feed<int>(int)", "feed calls hidden", "start feed")]
                  for hidden in ("zoo::(anonymous namespace)::hidden",
                                 "zoo::(anonymous namespace)::hidden(int)")],
    "in feed": [[("zoo::feed<int>(int)", "in feed", "start feed")]],
    "in Keeper": [[("zoo::Keeper::Keeper(int)", "in Keeper", "start Keeper")]],
    "in plus": [[("zoo::Keeper::operator+(zoo::Keeper const&) const", "in plus",
                  "start plus")]],
    # Of a lambda GCC does not tell the start; clang has another name for it.
    "in lambda": [[("zoo::call(int)::{lambda(int)#1}::operator()(int) const",
                    "in lambda", None)],
                  [("zoo::call(int)::$_0::operator()(int) const",
                    "in lambda", "start lambda")]],
}


def directory():
    global _directory
    if _directory is None:
        _directory = tempfile.mkdtemp(prefix="cprof-lines-")
    return _directory


def run(*argv, **options):
    """Runs a tool of the build, in the directory; skips when it is not there or fails."""
    try:
        return subprocess.run(argv, check=True, capture_output=True, cwd=directory(),
                              **options).stdout
    except FileNotFoundError:
        return tap.skip("no %s here" % argv[0])
    except subprocess.CalledProcessError as why:
        return tap.skip("%s: %s" % (" ".join(argv), why.stderr.decode()[-200:]))


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            tap.skip("no %s here" % tool)


def build(name, *flags, source="chain.c", compiler=None):
    """Compiles a source; the program's path."""
    is_cxx = source.endswith(".cc")
    path = os.path.join(directory(), name)
    run(*(compiler or (CXX if is_cxx else CC)), "-O2", "-I", HERE, *flags, "-o", path,
        os.path.join(HERE, source))
    return path


def comments(source):
    """{comment: its line}"""
    with open(os.path.join(HERE, source), encoding="utf-8") as f:
        return {text: number for number, line in enumerate(f, 1)
                for text in re.findall(r"/\* (.*?) \*/", line)}


def marks(program):
    """[(address, line)] of section .marks."""
    for line in run("readelf", "-SW", program).decode().splitlines():
        found = re.match(r"\s*\[ *\d+\] \.marks +PROGBITS +(\w+) (\w+) (\w+)", line)
        if found:
            start, offset, size = (int(x, 16) for x in found.groups())
            break
    with open(program, "rb") as f:
        f.seek(offset)
        numbers = struct.iter_unpack("<iI", f.read(size))
    return [(start + 8 * i + to, line) for i, (to, line) in enumerate(numbers)]


def names(program, addresses, *options):
    """[[(function, file, line, start)]], of each address."""
    text = "".join("%x\n" % a for a in addresses)
    said = subprocess.run([TOOL, *options, program], input=text.encode(), check=True,
                          capture_output=True).stdout.decode()
    return [[(f[0], f[1], int(f[2]), int(f[3]))
             for f in (frame.rsplit("|", 3) for frame in line.split("\t")[1:])]
            for line in said.splitlines()]


def check(program, what, source="chain.c", expected=None):
    """Every mark has the functions and lines that the source says."""
    expected = expected or CHAIN
    line_of = comments(source)
    text_of = {line: text for text, line in line_of.items()}
    path = os.path.realpath(os.path.join(HERE, source))
    there = marks(program)
    wrong = []

    for (_, line), found in zip(there, names(program, [a for a, _ in there])):
        wanted = [[(f, path, line_of[at], line_of[start] - 1 if start else 0)
                   for f, at, start in chain]
                  for chain in expected[text_of[line]]]
        found = [(f, os.path.realpath(p), n, s) for f, p, n, s in found]
        if found not in wanted:
            wrong.append("%s: %s is none of %s" % (text_of[line], found, wanted))
    tap.ok(len(there) >= len(expected) and not wrong, what, "\n".join(wrong))


def test_dwarf_versions():
    for version in ("4", "5"):
        check(build("dwarf" + version, "-gdwarf-" + version), "DWARF %s" % version)
    if shutil.which("clang"):
        for version in ("4", "5"):
            check(build("clang" + version, "-gdwarf-" + version, compiler=["clang"]),
                  "DWARF %s of clang, without .debug_aranges" % version)


def test_kinds_of_programs():
    for what, flags in (("static", ["-static"]), ("PIE", ["-fPIE", "-pie"]),
                        ("no PIE", ["-no-pie"]), ("static PIE", ["-static-pie"]),
                        ("library", ["-shared", "-fPIC"])):
        check(build(what.replace(" ", ""), "-g", *flags), what)


def test_relative_directory():
    """A file named from the directory of the compilation, whose path is kept."""
    shutil.copy(os.path.join(HERE, "zoo.h"), directory())
    with open(os.path.join(directory(), "here.c"), "w", encoding="utf-8") as f:
        f.write('#include "zoo.h"\nint main(void)\n{\n\tMARK();\n\treturn 0;\n}\n')
    for version in ("4", "5"):
        run(*CC, "-gdwarf-" + version, "-O2", "-o", "here", "here.c")
        program = os.path.join(directory(), "here")
        (found,) = names(program, [marks(program)[0][0]])
        tap.equal(found, [("main", os.path.join(directory(), "here.c"), 4, 2)],
                  "DWARF %s: a path with its directory" % version)


def test_debuglink():
    program = build("linked", "-g", "-Wl,--build-id=none")
    run("objcopy", "--only-keep-debug", program, "linked.debug")
    run("strip", program)
    tap.ok(all(f[2] == 0 for chain in names(program, [a for a, _ in marks(program)])
               for f in chain), "stripped: no lines")
    run("objcopy", "--add-gnu-debuglink=linked.debug", program)
    check(program, "stripped, with .gnu_debuglink")
    program = build("halved", "-g")
    run("objcopy", "--only-keep-debug", program, "halved.debug")
    run("objcopy", "--strip-debug", "--add-gnu-debuglink=halved.debug", program)
    check(program, "stripped of DWARF alone, with .gnu_debuglink")


def test_minidebuginfo():
    """Names of local functions, no lines."""
    need("xz")
    program = build("mini", "-g")
    run("objcopy", "-S", "--keep-symbol=outer", "--keep-symbol=main", program, "mini.syms")
    run("objcopy", "--strip-all", program)
    run("xz", "-kf", "mini.syms")
    run("objcopy", "--add-section", ".gnu_debugdata=mini.syms.xz", program)
    found = names(program, [a for a, _ in marks(program)])
    if found[0][0][0].startswith("mini+"):
        tap.skip("built without liblzma")
    tap.equal({chain[-1][0] for chain in found}, {"outer", "main"}, "minidebuginfo: names")


def test_compressed():
    check(build("compressed", "-g", "-gz=zlib"), "-gz=zlib")


def test_linkers():
    for linker in ("gold", "lld", "bfd"):
        if not shutil.which("ld." + linker):
            tap.diag("no ld.%s here" % linker)
            continue
        check(build("by" + linker, "-g", "-fuse-ld=" + linker), "linked by " + linker)
        check(build("each" + linker, "-g", "-ffunction-sections", "-fuse-ld=" + linker),
              "sections of functions, linked by " + linker)


def test_identical_code_folding():
    """Two functions that are one have one name, always the same."""
    source = os.path.join(directory(), "folded.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write("__attribute__((noinline)) int twin_b(int x) { return x * 7 + 1; }\n"
                "__attribute__((noinline)) int twin_a(int x) { return x * 7 + 1; }\n"
                "int main(int c, char **v) { (void)v; return twin_a(c) + twin_b(c); }\n")
    for linker in ("gold", "lld"):
        if not shutil.which("ld." + linker):
            tap.diag("no ld.%s here" % linker)
            continue
        program = os.path.join(directory(), "icf" + linker)
        run(*CC, "-g", "-O2", "-fno-ipa-icf", "-fno-ipa-cp", "-ffunction-sections",
            "-fuse-ld=" + linker, "-Wl,--icf=all", "-o", program, source)
        symbols = dict(reversed(line.split()[::2]) for line in
                       run("nm", program).decode().splitlines() if " T twin" in line)
        tap.equal(symbols["twin_a"], symbols["twin_b"], linker + " has folded them")
        ((found,),) = names(program, [int(symbols["twin_a"], 16) + 1], "--no-inlines")
        tap.equal(found[0], "twin_a", linker + ": the first in the alphabet names it")


def test_split():
    for version in ("4", "5"):
        name = "split" + version
        source = os.path.join(HERE, "chain.c")
        run(*CC, "-O2", "-I", HERE, "-gdwarf-" + version, "-gsplit-dwarf", "-c",
            "-o", name + ".o", source)
        run(*CC, "-o", name, name + ".o")
        program = os.path.join(directory(), name)
        check(program, "DWARF %s, split" % version)
        os.unlink(os.path.join(directory(), name + ".dwo"))
        found = names(program, [a for a, _ in marks(program)])
        tap.equal({(len(chain), chain[0][0]) for chain in found},
                  {(1, "outer"), (1, "main")}, "without the .dwo: the symbols' names")


def test_split_not_believed():
    """A .dwo that somebody else could replace is not opened."""
    run(*CC, "-O2", "-I", HERE, "-g", "-gsplit-dwarf", "-c", "-o", "open.o",
        os.path.join(HERE, "chain.c"))
    run(*CC, "-o", "open", "open.o")
    program = os.path.join(directory(), "open")
    os.chmod(directory(), 0o777)
    tap.cleanup(os.chmod, directory(), 0o700)
    found = names(program, [a for a, _ in marks(program)])
    tap.ok(all(len(chain) == 1 for chain in found), "no inlined functions", found)


def test_split_of_another_user():
    """Nor one that root alone may read, if somebody else's program names it."""
    if os.getuid() != 0:
        tap.skip("needs root")
    run(*CC, "-O2", "-I", HERE, "-g", "-gsplit-dwarf", "-c", "-o", "closed.o",
        os.path.join(HERE, "chain.c"))
    run(*CC, "-o", "closed", "closed.o")
    program = os.path.join(directory(), "closed")
    tap.ok(any(len(chain) > 1 for chain in names(program, [a for a, _ in marks(program)])),
           "root's program: inlined functions")
    os.chown(program, 65534, 65534)
    found = names(program, [a for a, _ in marks(program)])
    tap.ok(all(len(chain) == 1 for chain in found), "another's: none", found)


def test_dwz():
    need("dwz")
    program = build("squeezed", "-g")
    run("dwz", program)
    check(program, "after dwz")
    one, two = build("one", "-g", "-DONE"), build("two", "-g")
    common = os.path.join(directory(), "common.dwz")
    run("dwz", "-m", common, "-M", common, one, two)
    if not os.path.exists(common):
        tap.skip("dwz has found nothing in common")
    for program in one, two:
        check(program, "after dwz -m: " + os.path.basename(program))
    os.rename(common, common + ".away")
    found = names(one, [a for a, _ in marks(one)])
    tap.equal({chain[-1][:2] for chain in found}, {("outer", ""), ("main", "")},
              "without what dwz has put aside: the symbols' names")


def test_zoo():
    for compiler in CXX, ["clang++"]:
        if not shutil.which(compiler[0]):
            continue
        for version in ("4", "5"):
            program = build("zoo" + version, "-gdwarf-" + version, "-std=c++17",
                            source="zoo.cc", compiler=compiler)
            check(program, "%s, DWARF %s: C++" % (compiler[0], version), "zoo.cc", ZOO)


def test_options():
    program = build("options", "-g", source="zoo.cc")
    there = [a for a, line in marks(program) if line == comments("zoo.cc")["in walk"]]
    (plain,) = names(program, there, "--no-lines")
    tap.equal(plain, [("zoo::Cage<char>::open(char)", "", 0, 0)], "--no-lines")
    (plain,) = names(program, there, "--no-inlines", "--no-demangle")
    tap.equal((plain[0][0], plain[0][2]),
              ("_ZN3zoo4CageIcE4openEc", comments("zoo.cc")["in walk"]),
              "--no-inlines --no-demangle")


RUST = """
pub mod garden { #[inline(never)] pub fn grow<T: Into<u64>>(x: T) -> u64 {
    std::hint::black_box(x.into() * 3) } }
fn main() { println!("{}", garden::grow(std::env::args().count() as u32)); }
"""


def test_rust():
    """Both manglings, as rustc makes them."""
    need("rustc")
    source = os.path.join(directory(), "garden.rs")
    with open(source, "w", encoding="utf-8") as f:
        f.write(RUST)
    for mangling, wanted in (("legacy", "garden::garden::grow"),
                             ("v0", "garden::garden::grow::<u32>")):
        program = os.path.join(directory(), "garden_" + mangling)
        try:
            run("rustc", "-g", "-O", "-Zunstable-options", "-Csymbol-mangling-version="
                + mangling, "--crate-name", "garden", "-o", program, source,
                env=dict(os.environ, RUSTC_BOOTSTRAP="1"))
        except subprocess.SubprocessError as why:
            tap.skip(str(why))
        start = next(int(line.split()[0], 16)
                     for line in run("nm", program).decode().splitlines()
                     if "garden" in line and "grow" in line)
        (found,) = names(program, [start])
        tap.equal((found[-1][0], os.path.basename(found[-1][1])), (wanted, "garden.rs"),
                  mangling)


def remove():
    if _directory:
        shutil.rmtree(_directory, True)


if __name__ == "__main__":
    if not os.access(TOOL, os.X_OK):
        tap.skip_all("tests/bench/name_addresses is not built")
    try:
        tap.run([
            test_dwarf_versions,
            test_kinds_of_programs,
            test_relative_directory,
            test_debuglink,
            test_minidebuginfo,
            test_compressed,
            test_linkers,
            test_identical_code_folding,
            test_split,
            test_split_not_believed,
            test_split_of_another_user,
            test_dwz,
            test_zoo,
            test_options,
            test_rust,
        ])
    finally:
        remove()
