# shellcheck shell=bash
# What the scripts in .ci share. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything a script downloads or builds for itself lives here, outside the clone, so that the
# next clone finds it. agent/build.rs looks for bpf-linker in tools/bin of the same folder.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/scope-http-requests
tools=$cache/tools
# shellcheck disable=SC2034 # for those that source this
logs=$cache/logs
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

# The machine's own target, as cargo calls it.
host_target() { rustc -vV | sed -n 's/^host: //p'; }

# Of cargo's messages (--message-format=json), the program of a test or a benchmark.
program_of() { sed -n "s/.*\"executable\":\"\([^\"]*\/$1-[^\"]*\)\".*/\1/p"; }

# The two compilers for BPF that agent/build.rs looks for, in its order: the pinned toolchain with the source of core, and
# Debian's, which has a ready-made core.
has_source_of_core() { [ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library/core" ]; }
has_debians_core() { [ -d /usr/lib/rustlib/bpfel-unknown-none ]; }

# Sets `kernel` and `hook` to the parts of KERNEL[:HOOK].
# shellcheck disable=SC2034 # for those that source this
parse_kernel() {
    kernel=${1%:*} hook=
    [ "$kernel" = "$1" ] || hook=${1#*:}
}

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

# A line of sources.list. $1: the mirror, $2: the suite. Not the system's keys: the same check on every distribution.
debian_source() {
    echo "deb [target=Packages lang=none signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $1 $2 main"
}

# Sets `private_apt` to the options with which apt has all its own below folder $1: sources.list, lists and downloads.
# What the system's apt knows and trusts stays as it is; proxies configured there apply. Old suites are no longer
# re-signed, hence Check-Valid-Until; the signature itself is checked.
# shellcheck disable=SC2034 # for those that source this
use_private_apt() {
    mkdir -p "$1"/{state/lists/partial,cache/archives/partial}
    private_apt=(
        -o Dir::Etc::SourceList="$1/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o Dir::State="$1/state" -o Dir::Cache="$1/cache"
        -o APT::Sandbox::User= -o Acquire::Check-Valid-Until=false
    )
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
        host=$(host_target | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${host}_RUNNER=sudo -E"
    else
        say "SKIPPED: what needs root (to include it: sudo -v first, or run as root)"
    fi
}
