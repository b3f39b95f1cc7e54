# SPDX-License-Identifier: Apache-2.0
"""TAP output for tests that are Python programs.

    import tap

    def test_answer():
        tap.equal(answer(), 42, "the answer is 42")

    if __name__ == "__main__":
        tap.run([test_answer])

Each function of the list is run on its own: an exception in one is a failed
line and the next still runs. tap.skip() gives up one function, tap.skip_all()
the whole program. Cleaning up is done by functions given to tap.cleanup(),
last one first, when the function that registered them ends, however it ends.
"""

import signal
import sys
import traceback

_count = 0
_failed = 0
_cleanups = []


class Skip(Exception):
    """Raised by skip(): ends the function that is running."""


class Ended(BaseException):
    """The program was asked to end by a signal: clean up and go."""


def _say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def diag(text):
    """Prints text as comment lines."""
    for line in str(text).splitlines():
        _say("# " + line)


def ok(condition, name, detail=None):
    """One result. `detail` (text, or a function that gives it) explains a failure."""
    global _count, _failed
    _count += 1
    name = name.replace("#", "\\#")
    _say("%s %d - %s" % ("ok" if condition else "not ok", _count, name))
    if not condition:
        _failed += 1
        if callable(detail):
            detail = detail()
        if detail is not None:
            diag(detail)
    return bool(condition)


def equal(got, want, name, detail=None):
    def explain():
        text = "got:  %r\nwant: %r" % (got, want)
        return text if detail is None else "%s\n%s" % (text, detail)

    return ok(got == want, name, explain)


def at_least(got, want, name, detail=None):
    return ok(got >= want, "%s (%s, at least %s)" % (name, _figure(got), _figure(want)), detail)


def at_most(got, want, name, detail=None):
    return ok(got <= want, "%s (%s, at most %s)" % (name, _figure(got), _figure(want)), detail)


def contains(text, part, name):
    return ok(part in text, name, lambda: "looked for: %r\nin: %s" % (part, text))


def _figure(value):
    return "%.4g" % value if isinstance(value, float) else str(value)


def skip(reason):
    """Ends the running function; what it has shown so far stands."""
    raise Skip(reason)


def skip_all(reason):
    """Ends the program before its first result."""
    _say("1..0 # SKIP " + reason)
    _clean(0)
    sys.exit(0)


def cleanup(function, *args):
    # Also in programs that are no tests, and may not have thought of it.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _on_signal)
    _cleanups.append((function, args))


def _clean(keep):
    while len(_cleanups) > keep:
        function, args = _cleanups.pop()
        try:
            function(*args)
        except Exception:
            ok(False, "cleaning up: " + getattr(function, "__name__", "?"),
               traceback.format_exc())


def clean():
    """For programs that are no tests: ends what was started so far."""
    _clean(0)


def _on_signal(number, _frame):
    raise Ended("ended by signal %d" % number)


def _run_one(function):
    global _count
    keep = len(_cleanups)
    try:
        function()
    except Skip as reason:
        _count += 1
        _say("ok %d - %s # SKIP %s" % (_count, function.__name__, reason))
    except Exception:
        ok(False, function.__name__ + " ran to its end", traceback.format_exc())
    finally:
        _clean(keep)


def run(functions):
    """Runs all functions, prints the plan, and ends the program.

    With arguments on the command line, only the functions so named are run.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)
    wanted = sys.argv[1:]
    try:
        for function in functions:
            if not wanted or function.__name__ in wanted:
                _run_one(function)
        _say("1..%d" % _count)
    except Ended as why:
        _say("Bail out! %s" % why)
        sys.exit(1)
    finally:
        _clean(0)
    sys.exit(1 if _failed else 0)
