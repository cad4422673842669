//! Why the probe cannot run here: the cause and the cure, in one line. EDGE.

use std::fs;
use std::io::{self, ErrorKind};

use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::{BtfError, EbpfError};
use common::layout::KernelFunction;
use rustix::thread::CapabilitySet;

use super::confinement;
use super::namespace::has_own_users;

/// The probe cannot be loaded. `Display` is one line: the cause, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel does not describe its types.
    #[error(
        "this kernel has no BTF ({path}: {source}): use Linux 5.15 or later, built with CONFIG_DEBUG_INFO_BTF=y",
        path = VMLINUX_BTF
    )]
    NoBtf {
        /// What reading it said.
        source: io::Error,
    },
    /// The file is there for all to read, and a security module says otherwise.
    #[error(
        "the kernel's BTF may not be read here ({path}: {source}): a security module forbids it; allow it there, in Kubernetes by securityContext.appArmorProfile.type=Unconfined or seLinuxOptions",
        path = VMLINUX_BTF
    )]
    BtfForbidden {
        /// What reading it said.
        source: io::Error,
    },
    /// The kernel's types are not those the probe knows.
    #[error("this kernel is not known to the probe ({0}): please report it with the output of `uname -r`")]
    Layout(#[from] super::btf::Error),
    /// A function of the kernel is missing.
    #[error(
        "this kernel lacks the function {name}, which tracing programs may call since Linux {since}: use a newer kernel"
    )]
    NoFunction {
        /// The function.
        name: &'static str,
        /// The first version of Linux that has it.
        since: &'static str,
    },
    /// The kernel has nothing of that name to attach to.
    #[error("this kernel has no {0}: use a kernel built with CONFIG_NET and CONFIG_TRACEPOINTS")]
    NoHook(String),
    /// Capabilities are missing.
    #[error(
        "the kernel refused the probe ({what}): {missing} missing; run as root, or in Kubernetes add {names} to securityContext.capabilities.add",
        missing = missing.join(" and "),
        names = kubernetes_names(missing)
    )]
    NoCapability {
        /// What was refused.
        what: String,
        /// All capabilities that are needed and missing.
        missing: Vec<&'static str>,
    },
    /// The capabilities are there, and withheld.
    #[error(
        "the kernel refused the probe ({what}): the AppArmor profile {profile} withholds {missing}; {cure}",
        missing = missing.join(" and "),
        cure = confinement::cure(missing)
    )]
    Confined {
        /// What was refused.
        what: String,
        /// All capabilities that are needed and withheld.
        missing: Vec<&'static str>,
        /// By whom.
        profile: String,
    },
    /// Whatever capabilities there are, they are not the kernel's.
    #[error("the kernel refused the probe ({0}), as {why}: {cure}", why = IN_USER_NAMESPACE, cure = OUT_OF_USER_NAMESPACE)]
    UserNamespace(String),
    /// Kernel lockdown forbids reading kernel memory.
    #[error("kernel lockdown ({0}) forbids tracing programs: boot without lockdown=confidentiality")]
    Lockdown(String),
    /// Everything needed is there, and the kernel still refused.
    #[error(
        "the kernel refused the probe ({0}): a seccomp profile or a security module may forbid bpf(2); allow it, in Kubernetes by securityContext.seccompProfile.type=Unconfined, or set securityContext.privileged=true"
    )]
    Refused(String),
    /// The kernel takes programs, but not at the end of a function.
    #[error(
        "the kernel takes programs and refused one at the end of a function (fexit, {0}): leave out --hook=fexit; before Linux 6.11, where there is no other way, use a newer kernel"
    )]
    NoFexit(String),
    /// The kernel cannot call programs at the end of a function (`DYNAMIC_FTRACE_WITH_DIRECT_CALLS`).
    #[error(
        "this kernel cannot call programs at the end of functions (fexit): use a newer kernel, on arm64 Linux 6.4 or later"
    )]
    NoTrampoline,
    /// The kernel cannot put one program at many places of a file (`uprobe_multi`).
    #[error(
        "this kernel cannot probe many places of a file at once (uprobe_multi): use Linux 6.6 or later built with CONFIG_UPROBES=y, or leave requests in TLS uncounted with --tls=off"
    )]
    NoUprobes,
    /// The verifier did not accept the program.
    #[error(
        "this kernel's verifier refused the probe ({0}): please report it with the output of `uname -r`; --log-level=debug shows the verifier's log"
    )]
    Verifier(String),
    /// Anything else.
    #[error("the probe cannot be loaded: {0}")]
    Other(String),
}

/// Where the kernel describes its types.
pub const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";
/// Where it shows the state of its lockdown.
pub const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Why capabilities may be of no use.
pub const IN_USER_NAMESPACE: &str = "root of a user namespace has no say over the kernel, whatever its capabilities";
/// What to do about it.
pub const OUT_OF_USER_NAMESPACE: &str = "run in the host's user namespace, that is as root without `unshare -U`, with no rootless runtime, in Kubernetes without hostUsers=false";

/// As securityContext.capabilities takes them: without `CAP_`.
pub fn kubernetes_names(capabilities: &[&str]) -> String {
    capabilities.iter().map(|name| name.trim_start_matches("CAP_")).collect::<Vec<_>>().join(" and ")
}

/// The kernel's own number, which no C library knows.
const ENOTSUPP: i32 = 524;

impl LoadError {
    pub(super) fn no_btf(source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::PermissionDenied => Self::BtfForbidden { source },
            _ => Self::NoBtf { source },
        }
    }

    pub(super) fn from_ebpf(error: EbpfError) -> Self {
        match error {
            EbpfError::ProgramError(error) => Self::from_program(error),
            // They are created in any order, and the one that came first says nothing.
            EbpfError::MapError(MapError::CreateError { io_error, .. })
                if io_error.kind() == ErrorKind::PermissionDenied =>
            {
                Self::classify("BPF_MAP_CREATE", Some(io_error.kind()))
            }
            EbpfError::MapError(error) => Self::classify(&source_chain(&error), io_kind(&error)),
            error => Self::classify(&source_chain(&error), io_kind(&error)),
        }
    }

    pub(super) fn from_map(error: MapError) -> Self {
        Self::from_ebpf(error.into())
    }

    /// Descriptors of what was loaded could not be had.
    pub(super) fn descriptors(error: io::Error) -> Self {
        Self::Other(format!("cannot keep the probe's descriptors: {error}"))
    }

    pub(super) fn from_program(error: ProgramError) -> Self {
        match error {
            ProgramError::Btf(BtfError::UnknownBtfTypeName { type_name }) => Self::NoHook(type_name),
            ProgramError::LoadError { io_error, verifier_log } => {
                tracing::debug!(%verifier_log, "verifier");
                let log = verifier_log.to_string();
                if let Some(function) =
                    KernelFunction::ALL.iter().find(|function| log.contains(&refusal_of(function.name())))
                {
                    return Self::no_function(*function);
                }
                match io_error.kind() {
                    ErrorKind::PermissionDenied if !log.trim().is_empty() => Self::Verifier(last_line(&log)),
                    ErrorKind::PermissionDenied => Self::classify("BPF_PROG_LOAD", Some(ErrorKind::PermissionDenied)),
                    _ => Self::Verifier(format!("{io_error}: {}", last_line(&log))),
                }
            }
            ProgramError::SyscallError(call) if call.io_error.raw_os_error() == Some(ENOTSUPP) => Self::NoTrampoline,
            error => Self::classify(&source_chain(&error), io_kind(&error)),
        }
    }

    pub(super) const fn no_function(function: KernelFunction) -> Self {
        Self::NoFunction { name: function.name(), since: function.since() }
    }

    /// The probe may still do elsewhere.
    pub(super) const fn is_about_hook(&self) -> bool {
        matches!(self, Self::NoFunction { .. } | Self::NoHook(_) | Self::Verifier(_))
    }

    /// Of a program at the end of a function. The maps were created, so bpf(2) itself is allowed.
    pub(super) fn at_fexit(self) -> Self {
        match self {
            Self::Refused(what) => Self::NoFexit(what),
            other => other,
        }
    }

    fn classify(what: &str, kind: Option<ErrorKind>) -> Self {
        if kind != Some(ErrorKind::PermissionDenied) {
            return Self::Other(what.to_owned());
        }
        if has_own_users() {
            return Self::UserNamespace(what.to_owned());
        }
        let missing = missing_capabilities();
        if let Some(profile) = confinement::withholds(&missing).filter(|_| !missing.is_empty()) {
            return Self::Confined { what: what.to_owned(), missing, profile };
        }
        if !missing.is_empty() {
            return Self::NoCapability { what: what.to_owned(), missing };
        }
        match fs::read_to_string(LOCKDOWN) {
            Ok(state) if state.contains("[confidentiality]") => Self::Lockdown("confidentiality".to_owned()),
            _ => Self::Refused(what.to_owned()),
        }
    }
}

/// The needed capabilities that this process lacks: BPF and PERFMON, or SYS_ADMIN for both.
pub(super) fn missing_capabilities() -> Vec<&'static str> {
    let Ok(sets) = rustix::thread::capabilities(None) else { return Vec::new() };
    if sets.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Vec::new();
    }
    [(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(capability, _)| !sets.effective.contains(*capability))
        .map(|(_, name)| name)
        .collect()
}

fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

fn source_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What the verifier says of a function that the kernel has, but not for tracing programs.
fn refusal_of(function: &str) -> String {
    format!("calling kernel function {function} is not allowed")
}

/// The verifier ends its log with these.
const STATISTICS: [&str; 4] = ["processed ", "verification time ", "stack depth ", "subprog "];

fn last_line(log: &str) -> String {
    log.lines()
        .rev()
        .find(|line| {
            let line = line.trim();
            !line.is_empty() && !STATISTICS.iter().any(|words| line.starts_with(words))
        })
        .unwrap_or("no log")
        .trim()
        .to_owned()
}
