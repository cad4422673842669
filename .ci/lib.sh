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
