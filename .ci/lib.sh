# shellcheck shell=bash
# What the scripts in .ci share. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything a script downloads or builds for itself lives here, outside the clone, so that the
# next clone finds it. agent/build.rs looks for bpf-linker in tools/bin of the same folder.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/scope-http-requests
tools=$cache/tools
# Servers and modprobe live in sbin, which an ordinary user's PATH leaves out.
export PATH="$tools/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The toolchain that rust-toolchain.toml pins.
pinned_toolchain() { sed -n 's/^channel *= *"\(.*\)"/\1/p' "$root/rust-toolchain.toml"; }

# Runs a command as root: directly, or through sudo. Without either, prints the command to run.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "this needs root and there is no sudo. As root, run:  $*"
    fi
}

# The address of Debian's mirror, from this machine's own apt. $1: the label of the archive.
mirror() {
    # shellcheck disable=SC2016 # the format is apt's
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n "s/^$1 //p" | sort -u | head -n 1
}

# --- steps ----------------------------------------------------------------------------------
# A step is a command: exit code 0 passes, 77 skips (it has said why), any other fails. A failed
# step does not stop the ones after it, so that one run shows all that is wrong.
passed=0 failed=0 skipped=0

step() {
    local name=$1 status=0 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@" </dev/null 2>&1 || status=$?
    case $status in
    0) passed=$((passed + 1)) verdict=passed ;;
    77) skipped=$((skipped + 1)) verdict=skipped ;;
    *) failed=$((failed + 1)) verdict="FAILED with exit code $status" ;;
    esac
    printf -- '--- %s: %s after %d s\n' "$name" "$verdict" $((SECONDS - start))
}

# The closing line, and whether all is well.
steps_end() {
    echo
    if [ $skipped = 0 ]; then
        echo "$passed passed, $failed failed"
    else
        echo "$passed passed, $failed failed, $skipped skipped"
    fi
    [ $failed = 0 ]
}

skip() {
    say "SKIPPED: $*"
    exit 77
}

# Lets cargo run test and bench binaries as root through sudo, where it asks no password.
use_root_runner() {
    [ "$(id -u)" != 0 ] || return 0
    if have sudo && sudo -n true 2>/dev/null; then
        say "running the binaries as root, through sudo"
        local host
        host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${host}_RUNNER=sudo -E"
    else
        say "SKIPPED: what needs root (to include it: sudo -v first, or run as root)"
    fi
}
