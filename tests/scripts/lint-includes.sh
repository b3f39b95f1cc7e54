#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# scripts/lint-includes sees what it is there to see: small trees with one fault
# each, and their twins without it.
set -u
lint=$(cd "${srcdir:-.}" && pwd)/scripts/lint-includes
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
n=0

# verdict EXPECTED NAME FILE LINE…: FILE holds the lines; is it faulted or not?
verdict() {
    expected=$1 name=$2 file=$3
    shift 3
    mkdir -p "$tree/$(dirname "$file")"
    printf '%s\n' "$@" >"$tree/$file"
    if "$lint" "$tree" >"$tree/out" 2>&1; then got=clean; else got=faulted; fi
    rm -rf "$tree/src"
    n=$((n + 1))
    if [ "$got" = "$expected" ]; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name: $got"
        sed 's/^/# /' "$tree/out"
    fi
}

echo 1..15
verdict clean 'a room includes itself and what is below' src/capture/a.c \
    '#include "capture/a.h"' '#include "target/b.h"' '#include "base/c.h"'
verdict clean 'what is below the rooms below, too' src/unwind/a.c '#include "target/maps.h"'
verdict faulted 'nothing upward' src/base/a.c '#include "target/b.h"'
verdict faulted 'profiles know no target' src/profile/a.h '#include "target/b.h"'
verdict faulted 'outputs know no target' src/output/a.c '  #  include "target/b.h"'
verdict faulted 'rooms side by side stay apart' src/symbol/a.c '#include "unwind/b.h"'
verdict faulted 'a room nobody has heard of' src/attic/a.c 'int x;'
verdict faulted 'an include of such a room' src/main.c '#include "attic/b.h"'
verdict clean 'ptrace in the tracer' src/target/tracer.c 'x = ptrace(PTRACE_SEIZE, 1, 0, 0);'
verdict faulted 'ptrace elsewhere' src/target/launch.c 'x = ptrace(PTRACE_SEIZE, 1, 0, 0);'
verdict clean 'ptrace in comments and strings' src/target/launch.c \
    '/* ptrace(2) */ // ptrace(2)' 'puts("ptrace(2)");' '/*' ' * ptrace(2)' ' */'
verdict faulted 'code behind a comment' src/target/launch.c '/* a */ ptrace(x); /* b' ' c */'
verdict faulted 'libunwind outside of its file' src/unwind/driver.c '#include <libunwind.h>'
verdict faulted 'zlib outside of pprof' src/output/folded.c '#include <zlib.h>'
verdict faulted 'no sources at all' doc/a.c ''
