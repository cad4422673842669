//! Builds the kernel side for the BPF target and hands the objects to the agent, which embeds them.
//!
//! Cargo's artifact dependencies are unstable, and aya-build cannot name a compiler, so this calls
//! cargo itself. Two compilers give the same object; the first that works is used:
//!
//! 1. the pinned toolchain with the standard library's source (`rustup component add rust-src`);
//! 2. Debian's `rustc-web` with its precompiled core for BPF (`libstd-rust-web-dev-bpf`).
//!
//! `make setup` installs what is missing.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

const TARGET: &str = "bpfel-unknown-none";
/// Separator of `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: char = '\x1f';
/// Crates that may use the compiler's unstable BPF support on a stable compiler.
const UNSTABLE_CRATES: &str = "aya_ebpf,probe,pages,comparison,tls";
const DEBIAN_TOOLCHAIN: &str = "/usr";

/// What `--version` names. Set it where the repository is not at hand, as in an image's build.
const COMMIT: &str = "SCOPE_HTTP_REQUESTS_COMMIT";

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    for source in ["probe-ebpf", "common/src", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    println!("cargo:rerun-if-env-changed=PATH");
    println!("cargo:rustc-env={COMMIT}={}", commit(&root));

    let out = PathBuf::from(variable("OUT_DIR"));
    let target_dir = shared_target_dir(&out).join("probe").join(variable("CARGO_CFG_TARGET_ARCH"));
    let mut build = compiler();
    build
        .current_dir(&root)
        .args(["build", "--package", "probe-ebpf", "--bins", "--release", "--locked"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags())
        // A check would be a branch that cannot be taken, and the verifier would follow it.
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false")
        .env("PATH", path_with_tools());
    for inherited in ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "CARGO_TARGET_DIR"] {
        build.env_remove(inherited);
    }
    let output = build.output().unwrap_or_else(|error| fail(&format!("cannot start {build:?}: {error}")));
    if !output.status.success() {
        fail(&format!("the probe did not build:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    for object in ["probe", "pages", "comparison", "tls"] {
        let built = target_dir.join(TARGET).join("release").join(object);
        if let Err(error) = copy_stripped(&built, &out.join(object)) {
            fail(&format!("cannot copy {}: {error}", built.display()));
        }
    }
}

/// Copies an object without what only a debugger reads: six parts of seven. Nor with the numbers of lines for the verifier's log, of which
/// aya keeps those of a whole section for each function in it, while it loads them.
fn copy_stripped(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let object = fs::read(from)?;
    let mut builder = Builder::read(&*object)?;
    for section in &mut builder.sections {
        let debugged = section.name.strip_prefix(b".rel").unwrap_or(&section.name);
        section.delete = debugged.starts_with(b".debug_");
        if *section.name == b".BTF.ext"[..]
            && let SectionData::Data(data) = &mut section.data
        {
            forget_lines(data.to_mut());
        }
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections among those of symbols; the writer wants them apart.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(fs::write(to, stripped)?)
}

/// `btf_ext_header.line_info_len` becomes 0.
fn forget_lines(extension: &mut [u8]) {
    const LINE_INFO_LENGTH: usize = 20;
    if let Some(length) = extension.get_mut(LINE_INFO_LENGTH..LINE_INFO_LENGTH + size_of::<u32>()) {
        length.fill(0);
    }
}

/// The commit this is built from, or `unknown`.
fn commit(root: &Path) -> String {
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    if let Some(commit) = env::var(COMMIT).ok().filter(|commit| !commit.is_empty()) {
        return commit;
    }
    // Its log grows with each commit and each checkout.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

/// The command `cargo` of the first compiler that can build for BPF.
fn compiler() -> Command {
    let sysroot = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "sysroot"])
        .output()
        .unwrap_or_else(|error| fail(&format!("cannot run rustc: {error}")));
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    if sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["-Z", "build-std=core"]).env("RUSTC_BOOTSTRAP", "1");
        return cargo;
    }
    let debian = Path::new(DEBIAN_TOOLCHAIN);
    if debian.join("lib/rustlib").join(TARGET).is_dir() {
        let mut cargo = Command::new(debian.join("bin/cargo"));
        cargo
            .env("RUSTC", debian.join("bin/rustc"))
            .env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES)
            .env_remove("RUSTUP_TOOLCHAIN");
        return cargo;
    }
    fail(
        "no compiler for the BPF target: neither the source of the standard library nor Debian's libstd-rust-web-dev-bpf is installed",
    )
}

/// The folder that all profiles and targets are built in: the objects are the same for each.
fn shared_target_dir(out: &Path) -> &Path {
    out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).unwrap_or(out)
}

/// Map definitions are read from BTF, which needs debug information.
fn rustflags() -> String {
    let arch = variable("CARGO_CFG_TARGET_ARCH");
    let flags = [
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        // Version 3 of the instruction set has 32-bit arithmetic (Linux 5.1).
        "-Ctarget-cpu=v3",
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Else neighbouring zeros are written by a call of `memset`, byte by byte. Worse, the verifier of Linux 6.1 stops telling what
        // matters on a way that returned from a call: it follows every way behind for each number that it knows.
        "-Clink-arg=--disable-expand-memcpy-in-order",
    ];
    flags.join(&SEPARATOR.to_string())
}

/// `PATH` with the folder in front where `make setup` puts bpf-linker.
fn path_with_tools() -> OsString {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let tools = cache.map(|cache| cache.join("scope-http-requests/tools/bin"));
    let inherited = env::var_os("PATH").unwrap_or_default();
    env::join_paths(tools.into_iter().chain(env::split_paths(&inherited))).unwrap_or(inherited)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

/// Ends the build with one cause and its cure.
fn fail(cause: &str) -> ! {
    println!("cargo:warning=run `make setup`, which installs what the probe's build needs");
    eprintln!("{cause}\nRun `make setup`: it installs what the probe's build needs.");
    std::process::exit(1)
}
