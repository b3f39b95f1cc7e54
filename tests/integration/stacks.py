#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stacks of programs whose callers are known: who called whom, to the very
start of the thread."""

import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import procs
import profiler
import roots
import tap
import victims
from victims import Victim

REACHED = 0.98
SECONDS = 1
ENOUGH = 200  # samples to judge by: the first of each thread may be cut


def run_on(victim, hz=499, enough=ENOUGH):
    return profiler.profile(victim.pid, SECONDS, hz=hz, enough=enough)


def check_reached(run, what, extra=(), least=REACHED):
    part, text = roots.reached(run.profile, extra)
    tap.at_least(part, least, what + ": stacks reach the start of their thread", text)


def has_chain(stack, chain):
    """Whether these functions follow one another on the stack, leaf first."""
    n = len(chain)
    return any(stack[i : i + n] == chain for i in range(len(stack) - n + 1))


def part_with(profile, condition):
    """The part of the samples, weighed, that meets a condition."""
    total = good = 0
    for sample in profile.samples:
        if roots.is_real(sample):
            total += sample.values[-1]
            if condition(sample):
                good += sample.values[-1]
    return good / total if total else 0.0


def check_chain(run, chain, least, what):
    part = part_with(run.profile, lambda s: has_chain(s.stack, chain))
    tap.at_least(part, least, "%s: %s" % (what, " <- ".join(chain)), lambda: stacks_text(run))


def stacks_text(run, n=8):
    samples = sorted(run.profile.samples, key=lambda s: -s.values[-1])[:n]
    return "\n".join("%d: %s" % (s.values[-1], " <- ".join(s.stack)) for s in samples)


def code_of(victim):
    """{function: (start, end)} by the victim's own words. It ends."""
    code = {}
    for line in victim.end():
        if line.startswith("code "):
            _, function, start, end = line.split()
            code[function] = (int(start, 16), int(end, 16))
    return code


def functions_of(sample, code):
    """Those of a stack, leaf first, by where they are."""
    return [function for location in sample.locations
            for function, (start, end) in code.items() if start <= location.address < end]


def check_chain_program(name):
    """chain.c in one of its builds; its own words say where its functions are."""
    victim = Victim(name)
    run = run_on(victim)
    code = code_of(victim)
    check_reached(run, name)

    def functions(sample):
        return functions_of(sample, code)

    run.code = code
    leaf = ["chain_leaf", "chain_two", "chain_one"]
    in_thread = leaf + ["chain_thread"]
    tids = {s.labels.get("thread_id") for s in run.profile.samples} - {None, victim.pid}

    def right(sample):
        want = in_thread if sample.labels.get("thread_id") in tids else leaf
        found = functions(sample)
        # in memset, or entering a function: a shorter chain, and no wrong one
        return found == want[len(want) - len(found):] and len(found) >= len(want) - 2

    tap.at_least(part_with(run.profile, right), REACHED,
                 name + ": every frame is the one that called",
                 lambda: stacks_text(run) + "\n%r" % code)
    tap.at_least(part_with(run.profile, lambda s: functions(s)[:1] == ["chain_leaf"]), 0.5,
                 name + ": chain_leaf is where the time goes", lambda: stacks_text(run))
    return run


def test_static():
    run = check_chain_program("static_c")
    # how much of the two processors each thread gets is not ours to say
    check_chain(run, ["chain_leaf", "chain_two", "chain_one", "chain_thread"], 0.05, "static_c")


def test_stripped_pie():
    run = check_chain_program("stripped_pie")
    named = {f.name for f in run.profile.functions}
    tap.ok(not any(n.startswith("chain_") for n in named), "stripped_pie: has no names")
    tap.ok(any(n.startswith("stripped_pie+0x") for n in named),
           "stripped_pie: what has no name is shown by its offset", repr(sorted(named)))
    start, end = run.code["chain_leaf"]
    at = [l for l in run.profile.locations if start <= l.address < end]
    want = {"stripped_pie+0x%x" % (start - l.mapping.start + l.mapping.offset) for l in at}
    tap.at_least(len(at), 2, "stripped_pie: several addresses of one function")
    tap.equal({l.lines[0].function.name for l in at}, want,
              "stripped_pie: a function without a name is one, by its start")


def test_debug_file():
    """A stripped program finds its names in the file that .gnu_debuglink names."""
    objcopy = procs.program("objcopy")
    directory = procs.temp_dir()
    program, debug = directory + "/prog", directory + "/prog.debug"
    subprocess.run([objcopy, "--only-keep-debug", victims.path("nofp"), debug], check=True)
    subprocess.run([objcopy, "--strip-all", "--add-gnu-debuglink=" + debug,
                    victims.path("nofp"), program], check=True)
    for there in (True, False):
        if not there:
            os.unlink(debug)
        process = procs.spawn([program, "60"], stdout=subprocess.DEVNULL)
        procs.wait_until("it works", lambda: procs.cpu_ns(process.pid) > 100000000)
        run = profiler.profile(process.pid, 1, hz=199)
        named = {f.name for f in run.profile.functions}
        tap.equal("chain_leaf" in named, there,
                  "a debug file %s" % ("gives names" if there else "that is gone gives none"),
                  repr(sorted(named)))


def test_without_frame_pointers():
    check_chain_program("nofp")


def test_without_unwind_tables():
    check_chain_program("frame_pointers")


def test_with_neither():
    """No unwind tables and no frame pointers: the code itself tells."""
    check_chain_program("no_tables")
    check_chain_program("no_tables_stripped")


def check_called_by_pointer(name):
    victim = Victim(name)
    run = run_on(victim)
    code = code_of(victim)
    check_reached(run, name)
    want = ["pointed_leaf", "pointed_compare"]
    tap.at_least(part_with(run.profile, lambda s: functions_of(s, code)[:2] == want), 0.9,
                 name + ": the function that the C library called is there",
                 lambda: stacks_text(run))


def test_called_by_pointer():
    """The same, where no call in the program says where a function begins. lld lets the
    code of a file begin anywhere in its page."""
    check_called_by_pointer("pointed_stripped")
    procs.program("ld.lld")
    check_called_by_pointer("pointed_lld")


def test_borrowed_frame_pointer():
    """Code made at run time that has RBP as it found it."""
    victim = Victim("borrowed")
    run = run_on(victim)
    code = code_of(victim)
    check_reached(run, "borrowed")
    want = ["leaf", "middle", "outer", "jumper"]

    def right(sample):
        found = functions_of(sample, code)
        return found == want[len(want) - len(found):] and "borrow_thread" in sample.stack

    tap.at_least(part_with(run.profile, right), REACHED,
                 "borrowed: every frame is the one that called", lambda: stacks_text(run))
    tap.at_least(part_with(run.profile, lambda s: functions_of(s, code)[:1] == want[:1]), 0.5,
                 "borrowed: leaf is where the time goes", lambda: stacks_text(run))


def test_newborn_threads():
    """A thread that has not run yet is asked to stop, and stops where clone() let it begin:
    that is whole, though it is one frame."""
    run = run_on(Victim("churn", 0, 50))
    bad = [s for s in run.profile.samples if s.stack[-1] == "[truncated]"]
    total = run.profile.total("samples")
    tap.at_least(1 - sum(s.values[0] for s in bad) / total, REACHED,
                 "churn: stacks reach the start of their thread, each counted alike",
                 lambda: "%r" % bad[:5])


def test_unoptimised():
    check_chain_program("debug_frame")


def test_debug_frame_alone():
    """The program's own functions are in .debug_frame, what it is linked with not."""
    check_chain_program("only_debug_frame")


def test_cpp():
    victim = Victim("cpp")
    run = run_on(victim)
    check_reached(run, "cpp")
    chains = [["orchard::Tree<%s>::pick(int)" % kind,
               "orchard::harvest<orchard::Tree<%s> >(orchard::Plant&, int)" % kind,
               "orchard::season<%s>(bool)" % kind] for kind in ("int", "char")]
    for chain in chains:
        check_chain(run, chain[:2], 0.05, "cpp")
    either = part_with(run.profile, lambda s: any(s.stack[: len(c)] == c for c in chains))
    tap.at_least(either, 0.4, "cpp: work that is called directly", lambda: stacks_text(run))
    either = part_with(run.profile, lambda s: any(s.stack[:2] == c[:2] for c in chains))
    tap.at_least(either, 0.9, "cpp: all work", lambda: stacks_text(run))
    mangled = {f.system_name for f in run.profile.functions}
    tap.ok("_ZN7orchard4TreeIiE4pickEi" in mangled, "cpp: system names are the mangled ones",
           repr(sorted(mangled)))


def test_rust_names():
    victim = Victim("rustnames")
    run = run_on(victim)
    names = [line.split(" ", 2)[1:] for line in victim.end() if line.startswith("name ")]
    check_reached(run, "rustnames")
    check_chain(run, [readable for _, readable in names], 0.9, "rustnames")
    mangled = {f.system_name for f in run.profile.functions}
    for name, _ in names:
        tap.ok(name in mangled, "%s is kept as the system name" % name, repr(sorted(mangled)))


def check_deep(frames, size, what):
    run = run_on(Victim("deep", frames, size))
    check_reached(run, what)
    part = part_with(run.profile, lambda s: s.stack.count("descend") == frames)
    tap.at_least(part, 0.95, what + ": all are there", lambda: stacks_text(run, 2))


def test_deep_100k():
    """100 KiB of stack: more than is copied at first."""
    check_deep(100, 1024, "100 frames of 1 KiB")


def test_deep_many_small():
    check_deep(400, 16, "400 small frames")


def test_deep_2m():
    """2 MiB of stack: more than is ever copied. Cut short, said, not invented."""
    victim = Victim("deep", 64, 32768)
    run = run_on(victim)
    allowed = {"at_the_bottom", "descend", "descend_start", "start_thread", "clone3",
               "__clone3", "[truncated]"}
    strange = {n for s in run.profile.samples if roots.is_real(s) for n in s.stack} - allowed
    part = part_with(run.profile, lambda s: has_chain(s.stack, ["at_the_bottom", "descend"]))
    tap.at_least(part, 0.95, "2 MiB: the leaf and its caller are right",
                 lambda: stacks_text(run, 2))
    tap.equal(strange, set(), "2 MiB: no frame is invented", lambda: stacks_text(run, 2))
    whole, _ = roots.reached(run.profile)
    if whole < REACHED:
        text = run.stderr + "\n".join(run.profile.comments)
        tap.ok("truncated" in text or "cut short" in text, "2 MiB: that it is cut short is said",
               text)


def test_signal_handlers():
    victim = Victim("sigstack")
    run = run_on(victim)
    check_reached(run, "sigstack")

    def through(sample):
        stack = sample.stack
        if "on_signal" not in stack:
            return False
        rest = stack[stack.index("on_signal") + 1:]
        # in between is __restore_rt, if it has a name
        return rest[1:3] == ["interrupted_work", "raiser"]

    for name in ("alternate", "same-stack"):
        of_thread = [s for s in run.profile.samples if s.labels.get("thread_name") == name
                     and "handler_work" in s.stack]
        total = sum(s.values[0] for s in of_thread)
        bad = sum(s.values[0] for s in of_thread if not through(s))
        tap.ok(total > 10 and bad <= max(1, (1 - REACHED) * total),
               "sigstack: from the handler to what it interrupted, thread %s (%d of %d samples)"
               % (name, total - bad, total), lambda: stacks_text(run))


def test_shares_stacks():
    run = run_on(Victim("shares", 2))
    check_reached(run, "shares (clock_gettime: the vDSO)")


def go_code(victim, run):
    """Where the victim says its functions begin, as (start, end) ranges."""
    starts = {}
    for line in victim.lines:
        if line.startswith("code "):
            _, name, address = line.split()
            starts[name] = int(address, 16)
    return starts


def test_go():
    victim = Victim("go_pure")
    run = run_on(victim)
    check_reached(run, "go_pure")
    check_chain(run, ["main.leaf", "main.middle", "main.outer", "main.worker"], 0.9, "go_pure")
    tap.at_least(part_with(run.profile, lambda s: s.stack[-1].startswith("runtime.goexit")), 0.9,
                 "go_pure: … <- runtime.goexit", lambda: stacks_text(run))


def test_go_stripped():
    """Built without symbols: the frames are known by where the program says they are."""
    import procs
    import subprocess
    import victims

    procs.program("go")
    directory = procs.temp_dir()
    victims.build_go(victims.go_packages()["go_pure"], directory + "/go_stripped",
                     "-ldflags=-s -w")
    process = procs.spawn([directory + "/go_stripped"], stdout=subprocess.PIPE)
    victim = type("Stripped", (), {})()
    victim.output = procs.Lines(process.stdout)
    victim.output.wait_for("ready ")
    victim.lines = victim.output.lines
    run = profiler.profile(process.pid, SECONDS, hz=199)
    starts = go_code(victim, run)
    goexit = starts["runtime.goexit"]
    check_reached(run, "go_pure, stripped", [(goexit, goexit + 32)])
    worker = starts["main.worker"]
    part = part_with(run.profile, lambda s: any(
        worker <= l.address < worker + 256 for l in s.locations[-3:]))
    tap.at_least(part, 0.9, "go_pure, stripped: main.worker is above runtime.goexit",
                 lambda: stacks_text(run))


def test_go_systemstack():
    """What the runtime does on the thread's own stack, for a goroutine, is its."""
    run = run_on(Victim("go_alloc"))
    check_reached(run, "go_alloc")
    stacks = [([n.split(".abi")[0] for n in s.stack], s.values[-1])
              for s in run.profile.samples if roots.is_real(s)]
    on_system = [(n, v) for n, v in stacks if "runtime.systemstack" in n]
    joined = sum(v for n, v in on_system if "main.grow" in n[n.index("runtime.systemstack"):])
    # The collector's own goroutines use systemstack as well.
    workers = sum(v for n, v in on_system if any(w.startswith(("runtime.gcBg", "runtime.bg"))
                                                 for w in n))
    total = sum(v for _, v in on_system)
    tap.at_least(len(on_system), 10, "go_alloc: stacks through systemstack")
    tap.at_least((joined + workers) / max(1, total), 0.95,
                 "go_alloc: from systemstack to the goroutine", lambda: stacks_text(run))
    tap.at_least(joined, 1, "go_alloc: … also to main.grow", lambda: stacks_text(run))
    scheduler = [n for n, _ in stacks if "runtime.schedule" in n]
    tap.ok(not any(name.startswith("main.") for n in scheduler
                   for name in n[n.index("runtime.schedule"):]),
           "go_alloc: the scheduler runs for no goroutine", repr(scheduler[:3]))


def remove_section_headers(path):
    """The program as a loader sees it: e_shoff, e_shentsize, e_shnum, e_shstrndx are 0."""
    with open(path, "r+b") as f:
        f.seek(40)
        f.write(bytes(8))
        f.seek(58)
        f.write(bytes(6))


def test_go_table_without_a_name():
    """A table that no section names, for there are none."""
    procs.program("go")
    directory = procs.temp_dir()
    for name, package, flags in (
            ("without section headers", "go_alloc", ["-ldflags=-s -w"]),
            ("the same, PIE with cgo", "go_cgo_pprof", ["-buildmode=pie", "-ldflags=-s -w"])):
        program = directory + "/" + name.replace(" ", "-")
        victims.build_go(victims.go_packages()[package], program, *flags)
        remove_section_headers(program)
        process = procs.spawn([program], stdout=subprocess.PIPE)
        procs.Lines(process.stdout).wait_for("ready ")
        run = profiler.profile(process.pid, SECONDS, hz=199)
        whole = part_with(run.profile, lambda s: "[truncated]" not in s.stack)
        tap.at_least(whole, 0.95, "Go, %s: stacks are complete" % name, lambda: stacks_text(run))
        deep = part_with(run.profile, lambda s: len(s.stack) >= 4)
        tap.at_least(deep, 0.7, "Go, %s: stacks have their callers" % name,
                     lambda: stacks_text(run))


def go_names(sample):
    """Without what differs from build to build: _cgo_0394b3fc3b6a_Cfunc_f, f.abi0."""
    return [re.sub(r"^(_cgo(?:exp)?_)[0-9a-f]{12}_", r"\1", n.split(".abi")[0])
            for n in sample.stack]


def check_whole(run, chain, least, what):
    """Of the samples in chain[0], how many have the chain from there to the root."""
    inside = [(go_names(s), s.values[-1]) for s in run.profile.samples]
    inside = [(names[names.index(chain[0]):], v) for names, v in inside if chain[0] in names]
    good = sum(v for names, v in inside
               if [n for n in names if not n.startswith("runtime.cgocallback")] == chain)
    tap.at_least(good / max(1, sum(v for _, v in inside)), least,
                 "%s: %s" % (what, " <- ".join(chain)), lambda: stacks_text(run))


CGO_CHAIN = ["cpuHog", "_cgo_Cfunc_cpuHog", "runtime.asmcgocall", "runtime.cgocall",
             "main._Cfunc_cpuHog", "main.main", "runtime.main", "runtime.goexit"]
CALLBACK_CHAIN = ["main.goCallback", "_cgoexp_goCallback", "crosscall2", "goCallback",
                  "sleepAndCallBack", "_cgo_Cfunc_sleepAndCallBack", "runtime.asmcgocall",
                  "runtime.cgocall", "main._Cfunc_sleepAndCallBack", "main.main.func1",
                  "runtime.goexit"]


def test_cgo():
    run = run_on(Victim("go_cgo_pprof"))
    check_reached(run, "go_cgo_pprof")
    tap.at_least(profiler.shares(run.profile, ["cpuHog"])["cpuHog"], 0.7,
                 "go_cgo_pprof: cpuHog is where the time goes",
                 lambda: profiler.top_text(run.profile))
    check_whole(run, CGO_CHAIN, 0.98, "go_cgo_pprof")


def run_built(package, *flags):
    """A Go victim that is built in another way."""
    procs.program("go")
    program = procs.temp_dir() + "/" + package
    victims.build_go(victims.go_packages()[package], program, *flags)
    process = procs.spawn([program], stdout=subprocess.PIPE)
    procs.Lines(process.stdout).wait_for("ready ")
    return profiler.profile(process.pid, SECONDS, hz=199)


def test_go_pie():
    """At an address that differs from run to run; with cgo, linked by the system's linker."""
    run = run_built("go_pure", "-buildmode=pie")
    check_reached(run, "go_pure, PIE")
    check_chain(run, ["main.leaf", "main.middle", "main.outer", "main.worker"], 0.9,
                "go_pure, PIE")
    run = run_built("go_cgo_pprof", "-buildmode=pie")
    check_reached(run, "go_cgo_pprof, PIE")
    check_whole(run, CGO_CHAIN, 0.98, "go_cgo_pprof, PIE")


def test_cgo_stripped():
    """Go's functions are named by its own table; C's have no names any more. In the PIE,
    which the system's linker made, no section names that table."""
    for what, flags in (("stripped", ["-ldflags=-s -w"]),
                        ("stripped PIE", ["-buildmode=pie", "-ldflags=-s -w"])):
        run = run_built("go_cgo_pprof", *flags)
        whole = part_with(run.profile, lambda s: "[truncated]" not in s.stack)
        tap.at_least(whole, 0.95, "go_cgo_pprof, %s: stacks are complete" % what,
                     lambda: stacks_text(run))
        names = [(go_names(s), s.values[-1]) for s in run.profile.samples]
        inside = [(n, v) for n, v in names if "runtime.asmcgocall" in n]
        good = sum(v for n, v in inside
                   if n[n.index("runtime.asmcgocall"):] == CGO_CHAIN[2:]
                   and n.index("runtime.asmcgocall") >= 2)
        tap.at_least(part_with(run.profile, lambda s: "runtime.asmcgocall" in go_names(s)), 0.7,
                     "go_cgo_pprof, %s: time in C" % what, lambda: stacks_text(run))
        tap.at_least(good / max(1, sum(v for _, v in inside)), 0.98,
                     "go_cgo_pprof, %s: two frames <- %s" % (what, " <- ".join(CGO_CHAIN[2:])),
                     lambda: stacks_text(run))


def check_cgo_thread(name):
    victim = Victim(name)
    run = run_on(victim)
    check_reached(run, name)
    chain = ["cpuHogThread", "cpuHogDriver"]
    check_chain(run, chain, 0.9, name)
    # start_thread and clone3 have names only where libc's debug file is installed
    part = part_with(run.profile, lambda s: s.stack[:2] == chain and len(s.stack) == 4)
    tap.at_least(part, 0.9, name + ": … <- start_thread <- clone3", lambda: stacks_text(run))
    tap.ok("invented" not in profiler_names(run), name + ": nothing is made up")
    tap.ok("OK" in victim.end(), name + " comes to its end")


def profiler_names(run):
    return {f.name for f in run.profile.functions}


def test_cgo_thread():
    check_cgo_thread("go_cgo_thread")


def test_cgo_thread_without_traceback():
    check_cgo_thread("go_cgo_thread_notraceback")


def test_cgo_callbacks():
    victim = Victim("go_cgo_callback", 4)
    run = profiler.profile(victim.pid, 3, hz=999)
    lines = victim.output.read_all()
    tap.ok("OK" in lines, "go_cgo_callback prints OK, profiled at 999 Hz", repr(lines))
    # Threads change stacks at every call and callback here; the first stack that
    # is met elsewhere is cut, until what is copied has been made to fit.
    check_reached(run, "go_cgo_callback", least=0.95)

    tap.at_least(sum(s.values[0] for s in run.profile.samples
                     if CALLBACK_CHAIN[0] in go_names(s)),
                 20, "go_cgo_callback: samples of the callback")
    check_whole(run, CALLBACK_CHAIN, 0.9, "go_cgo_callback")


if __name__ == "__main__":
    profiler.require()
    tap.run([
        test_static,
        test_stripped_pie,
        test_debug_file,
        test_without_frame_pointers,
        test_debug_frame_alone,
        test_without_unwind_tables,
        test_with_neither,
        test_called_by_pointer,
        test_newborn_threads,
        test_borrowed_frame_pointer,
        test_unoptimised,
        test_cpp,
        test_rust_names,
        test_deep_100k,
        test_deep_many_small,
        test_deep_2m,
        test_signal_handlers,
        test_shares_stacks,
        test_go,
        test_go_stripped,
        test_go_pie,
        test_go_systemstack,
        test_go_table_without_a_name,
        test_cgo,
        test_cgo_stripped,
        test_cgo_thread,
        test_cgo_thread_without_traceback,
        test_cgo_callbacks,
    ])
