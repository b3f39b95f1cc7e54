# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/setup, run and check share. They set `root`, the source tree.

build=${root:?}/build
logs=$build/log

say() {
    echo "${0##*/}: $*" >&2
}

give_up() {
    say "$*"
    exit 1
}

# step WHAT LOG COMMAND [ARG…]: quiet unless it fails, then the log's end and
# one sentence.
step() {
    local what=$1 log=$logs/$2
    shift 2
    mkdir -p "$logs"
    "$@" >"$log" 2>&1 </dev/null && return
    tail -n 25 "$log" >&2
    give_up "$what failed; all of what it said is in $log"
}

# configured DIR [OPTION…]: bootstraps and configures what is not yet.
configured() {
    local dir=$1
    shift
    if [ -e "$root/config.status" ]; then
        give_up "this tree was configured in place; 'make distclean' it first"
    fi
    if [ ! -x "$root/configure" ] || [ ! -e "$root/Makefile.in" ]; then
        say "preparing the build system"
        step "bootstrap" bootstrap.log "$root/bootstrap"
    fi
    if [ ! -e "$dir/Makefile" ] || [ ! -e "$dir/config.status" ]; then
        say "configuring ${dir#"$root/"}"
        mkdir -p "$dir"
        step "configure" "configure-${dir##*/}.log" \
            env -C "$dir" "$root/configure" --silent "$@"
    fi
}

# built DIR TARGET…: make, which knows what is up to date.
built() {
    local dir=$1
    shift
    step "building" "make-${dir##*/}.log" \
        make -s --no-print-directory -C "$dir" -j "$(nproc)" "$@"
}

# One builder at a time; the others wait for it.
lock_build() {
    mkdir -p "$build" 2>/dev/null || :
    [ -w "$build" ] || give_up "$build, where everything is built, is not yours to write to"
    exec 9>"$build/.lock"
    flock 9
}

unlock_build() {
    exec 9>&-
}
