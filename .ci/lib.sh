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

# --- architectures --------------------------------------------------------------------------
# Named as Debian and container images name them.
architectures=(amd64 arm64)

# The kernel's and the compilers' name of architecture $1.
machine_of() {
    case $1 in
    amd64) echo x86_64 ;;
    arm64) echo aarch64 ;;
    *) fail "no architecture $1; architectures: ${architectures[*]}" ;;
    esac
}

host_architecture() {
    local architecture
    for architecture in "${architectures[@]}"; do
        [ "$(machine_of "$architecture")" != "$(uname -m)" ] || echo "$architecture"
    done
}

# The standard library of architecture $1 that fits Debian's rustc-web, unpacked by .ci/setup.
debians_std() { echo "$tools/std-$1-$(dpkg-query --show --showformat '${Version}' rustc-web 2>/dev/null)"; }

# Whether the pinned toolchain can build for architecture $1.
has_rustups_std() { [ -d "$(rustc --print sysroot)/lib/rustlib/$(machine_of "$1")-unknown-linux-gnu/lib" ]; }

# Sets `target`, and `cargo` and `strip`, the commands that build static programs for architecture $1: where that is
# another one than this machine's, with a cross compiler, and with rustup's standard library or else Debian's.
# shellcheck disable=SC2034 # for those that source this
use_architecture() {
    local machine variable
    machine=$(machine_of "$1")
    target=$machine-unknown-linux-gnu
    cargo=(cargo) strip=strip
    export RUSTFLAGS='-C target-feature=+crt-static'
    [ "$1" != "$(host_architecture)" ] || return 0
    strip=$machine-linux-gnu-strip
    variable=${target//-/_}
    export "CC_$variable=$machine-linux-gnu-gcc" "AR_$variable=$machine-linux-gnu-ar"
    export "CARGO_TARGET_${variable^^}_LINKER=$machine-linux-gnu-gcc"
    if ! has_rustups_std "$1"; then
        cargo=(env -u RUSTUP_TOOLCHAIN RUSTC=/usr/bin/rustc /usr/bin/cargo)
        RUSTFLAGS="$RUSTFLAGS --sysroot=$(debians_std "$1")/usr"
    fi
}

# Of cargo's messages (--message-format=json), the program of a test or a benchmark.
program_of() { sed -n "s/.*\"executable\":\"\([^\"]*\/$1-[^\"]*\)\".*/\1/p"; }

# The two compilers for BPF that agent/build.rs looks for, in its order: the pinned toolchain with the source of core, and
# Debian's, which has a ready-made core.
has_source_of_core() { [ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library/core" ]; }
has_debians_core() { [ -d /usr/lib/rustlib/bpfel-unknown-none ]; }

# Sets `kernel`, `hook`, `without_loop` and `architecture` to what [ARCHITECTURE:]KERNEL[:HOOK] says; the kernel keeps its architecture
# where it is named, and is amd64's where none is.
# shellcheck disable=SC2034 # for those that source this
parse_kernel() {
    local prefix='' rest=$1
    architecture=amd64 hook='' without_loop=''
    case $1 in
    amd64:* | arm64:*) architecture=${1%%:*} prefix=${1%%:*}: rest=${1#*:} ;;
    esac
    kernel=$prefix${rest%%:*}
    [ "${rest%%:*}" = "$rest" ] || hook=${rest#*:}
    [ "$hook" != without-loop ] || hook='' without_loop=1
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
passed=0 failed_steps=() skipped_steps=() verdicts=()

step() {
    local name=$1 start=$SECONDS statuses
    shift
    mkdir -p "$logs/steps"
    printf '\n=== %s\n' "$name"
    set +e
    "$@" </dev/null 2>&1 | tee "$logs/steps/$name"
    statuses=("${PIPESTATUS[@]}")
    set -e
    case ${statuses[0]} in
    0) passed=$((passed + 1)) verdict=passed ;;
    77) skipped_steps+=("$name") verdict=skipped ;;
    *) failed_steps+=("$name") verdict="FAILED with exit code ${statuses[0]}" ;;
    esac
    verdicts+=("$(printf -- '--- %s: %s after %d s' "$name" "$verdict" $((SECONDS - start)))")
    echo "${verdicts[-1]}"
}

# What the failed steps said last, the closing line, and whether all is well. Who sees only the end of a long log sees why.
steps_end() {
    local name
    for name in "${skipped_steps[@]}"; do printf '\n=== %s was skipped:\n%s\n' "$name" "$(grep SKIPPED "$logs/steps/$name" | tail -n 3)"; done
    for name in "${failed_steps[@]}"; do
        printf '\n=== %s failed:\n' "$name"
        grep -nE '^(error|test .* FAILED|not ok|FAIL|---- )|panicked at|FAILED|differs|: [0-9]+ instead of' "$logs/steps/$name" | cut -c1-300 | tail -n 20 || true
        echo ...
        tail -n 30 "$logs/steps/$name" | cut -c1-300
    done
    printf '\n'
    printf '%s\n' "${verdicts[@]}"
    printf '\n%d passed, %d failed%s%s\n' "$passed" ${#failed_steps[@]} "${failed_steps[*]:+ (${failed_steps[*]})}" \
        "${skipped_steps[*]:+, ${#skipped_steps[@]} skipped (${skipped_steps[*]})}"
    [ ${#failed_steps[@]} = 0 ]
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
