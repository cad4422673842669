//! Privileges, limits, names and places on this machine. EDGE.

use std::fs;
use std::net::TcpListener;

use rustix::fs::{Access, access};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::finding::Finding;
use super::serving::serving;
use crate::kernel::memory::{connections, own_cgroup};
use crate::kernel::survey::{
    IN_USER_NAMESPACE, LOCKDOWN, OUT_OF_USER_NAMESPACE, kubernetes_names, missing_capabilities,
};
use crate::kernel::{Kernel, confinement, has_host_pids, has_own_users};
use crate::scope::plugin::{PluginsRoot, is_served, socket_path};
use crate::scope::{host, peer};
use crate::settings::config::Config;

/// Agent, maps and the kernel's types while it starts.
const MEMORY_BYTES: u64 = 96 * 1024 * 1024;
/// Open files beside the one for each process that is counted.
const OTHER_FILES: u64 = 256;

/// Capabilities one by one, lockdown, seccomp, AppArmor.
pub(super) fn privileges() -> Vec<Finding> {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let missing = missing_capabilities();
    let all = kubernetes_names(&missing);
    let profile = confinement::withholds(&missing);
    let mut findings = Vec::new();
    for (name, capability) in [("CAP_BPF", CapabilitySet::BPF), ("CAP_PERFMON", CapabilitySet::PERFMON)] {
        findings.push(if has_own_users() {
            Finding::failed("capability", format!("{name}: {IN_USER_NAMESPACE}"), OUT_OF_USER_NAMESPACE)
        } else if effective.contains(capability) {
            Finding::ok("capability", name)
        } else if let Some(profile) = profile.as_ref().filter(|_| missing.contains(&name)) {
            let found = format!("{name}: the AppArmor profile {profile} withholds it");
            Finding::failed("capability", found, confinement::cure(&missing))
        } else if missing.contains(&name) {
            let to_do = format!("run as root, or in Kubernetes add {all} to securityContext.capabilities.add");
            Finding::failed("capability", format!("{name} is missing"), to_do)
        } else {
            Finding::ok("capability", format!("{name}, by CAP_SYS_ADMIN"))
        });
    }
    findings.push(if effective.contains(CapabilitySet::SYS_PTRACE) {
        Finding::ok("capability", "CAP_SYS_PTRACE")
    } else {
        Finding::note(
            "capability",
            "CAP_SYS_PTRACE is missing: it cannot be told whether Scope has another name for this host",
        )
    });
    findings.push(lockdown(fs::read_to_string(LOCKDOWN).ok().as_deref()));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    findings.push(seccomp(&status));
    findings.extend(
        confinement::profile().map(|profile| Finding::note("AppArmor", format!("the profile {profile} holds"))),
    );
    findings
}

/// `none [integrity] confidentiality`: the one in brackets holds.
fn lockdown(text: Option<&str>) -> Finding {
    let state = text.and_then(|text| text.split_once('[')?.1.split_once(']')).map(|(state, _)| state);
    match state {
        Some("confidentiality") => Finding::failed(
            "lockdown",
            "confidentiality: forbids tracing programs",
            "boot without lockdown=confidentiality",
        ),
        Some(state) => Finding::ok("lockdown", state),
        None => Finding::note("lockdown", format!("unknown: {LOCKDOWN} is not there")),
    }
}

fn seccomp(status: &str) -> Finding {
    match status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim) {
        Some("0") => Finding::ok("seccomp", "no profile"),
        Some(_) => Finding::note("seccomp", "a profile holds: if the probe does not load, it may forbid bpf(2)"),
        None => Finding::note("seccomp", "unknown"),
    }
}

/// Memory and open files.
pub(super) fn limits(max_processes: u32) -> Vec<Finding> {
    let needed = u64::from(max_processes) + OTHER_FILES;
    let files = getrlimit(Resource::Nofile).current;
    let files = match files {
        Some(limit) if limit < needed => Finding::warning(
            "open files",
            format!("at most {limit}: the end of further processes is noticed late"),
            format!("raise the limit to {needed} (LimitNOFILE, ulimit -n)"),
        ),
        limit => {
            Finding::ok("open files", limit.map_or_else(|| "no limit".to_owned(), |limit| format!("at most {limit}")))
        }
    };
    let limit = own_cgroup().and_then(|folder| fs::read_to_string(folder.join("memory.max")).ok());
    let locked = match getrlimit(Resource::Memlock).current {
        Some(bytes) => Finding::note(
            "locked memory",
            format!("at most {} KiB; only Linux before 5.11 counts maps there", bytes / 1024),
        ),
        None => Finding::ok("locked memory", "no limit"),
    };
    vec![memory(limit.as_deref()), locked, files]
}

fn memory(limit: Option<&str>) -> Finding {
    match limit.map(str::trim) {
        Some("max") => Finding::ok("memory", "no limit of this cgroup's own"),
        Some(text) => match text.parse::<u64>() {
            Ok(bytes) if bytes < MEMORY_BYTES => Finding::warning(
                "memory",
                format!("at most {} MiB for this cgroup: the agent may be killed while it starts", bytes >> 20),
                format!("allow {} MiB (in the chart: resources.limits.memory)", MEMORY_BYTES >> 20),
            ),
            Ok(bytes) => {
                let room = connections(bytes - MEMORY_BYTES);
                let limit = format!("at most {} MiB for this cgroup", bytes >> 20);
                Finding::ok("memory", format!("{limit}: room for some {room} connections that carry HTTP at a time"))
            }
            Err(_) => Finding::note("memory", format!("the limit of this cgroup cannot be read: {text:?}")),
        },
        None => Finding::note("memory", "no limit to be seen (no cgroup v2, or its root)"),
    }
}

/// PID namespace, and the host's name against that of a Scope probe that runs here.
pub(super) fn names(config: &Config) -> Vec<Finding> {
    let pids = if has_host_pids() {
        Finding::ok("hostPID", "the host's PID namespace")
    } else {
        Finding::warning(
            "hostPID",
            "a PID namespace of its own: Scope names processes by the host's PIDs, and will show none of this agent's",
            "hostPID: true in Kubernetes, --pid=host for a container; within a node of kind it is right as it is",
        )
    };
    let host = config.host.as_ref().map_or_else(peer::own_host_name, ToString::to_string);
    vec![pids, host_name(&host, config.host.is_some())]
}

fn host_name(own: &str, is_chosen: bool) -> Finding {
    let Some(pid) = scope_probe() else {
        return Finding::note("host's name", format!("{own:?}; no Scope probe runs here to compare it with"));
    };
    match peer::host_name(pid) {
        Ok(Some(scopes)) => match host::mismatch(own, &scopes) {
            None => Finding::ok("host's name", format!("{own:?}, as Scope's probe (PID {pid}) has it")),
            Some(_) if !is_chosen => Finding::ok(
                "host's name",
                format!("{own:?}; Scope's probe (PID {pid}) calls it {scopes:?}, and is answered with that"),
            ),
            Some(_) => Finding::warning(
                "host's name",
                format!(
                    "Scope's probe (PID {pid}) calls this host {scopes:?}, the agent {own:?}: Scope shows its processes without names, and a second host"
                ),
                format!("start the agent with --hostname={scopes} (or {}={scopes})", host::VARIABLE),
            ),
        },
        Ok(None) => Finding::note(
            "host's name",
            format!("{own:?}; nothing tells how Scope's probe (PID {pid}) calls this host"),
        ),
        Err(error) => {
            Finding::note("host's name", format!("{own:?}; that of Scope's probe (PID {pid}) cannot be read: {error}"))
        }
    }
}

/// The PID of a Scope probe.
fn scope_probe() -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is_scope_probe(&String::from_utf8_lossy(&arguments))
    })
}

/// Scope's one binary is told by its arguments that it is to be a probe; it calls its children `scope-probe`.
fn is_scope_probe(command_line: &str) -> bool {
    let mut arguments = command_line.split('\0');
    let program = arguments.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let is_told = arguments.any(|argument| argument.starts_with("--probe") || argument == "--mode=probe");
    program == "scope-probe" || (program == "scope" && is_told)
}

/// The plugin's folder, the metrics' address, the clock.
pub(super) fn places(config: &Config) -> Vec<Finding> {
    let mut findings = vec![plugins(&config.plugins_root, &Kernel::layout_of(config.probe))];
    if let Some(address) = config.metrics_address {
        findings.push(match TcpListener::bind(address) {
            Ok(_) => Finding::ok("metrics", format!("{address} is free")),
            Err(error) => Finding::failed("metrics", format!("{address}: {error}"), "choose another --metrics-address"),
        });
    }
    findings
}

fn plugins(root: &PluginsRoot, layout: &str) -> Finding {
    const CHECK: &str = "plugin folder";
    let (folder, socket) = (&root.path, socket_path(&root.path));
    let shown = folder.display();
    if is_served(folder) {
        return serving(CHECK, &socket, layout);
    }
    // The nearest folder that is there: those below it would be created.
    let nearest = folder.ancestors().find(|ancestor| ancestor.exists());
    let is_usable =
        nearest.is_some_and(|there| there.is_dir() && access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok());
    match (is_usable, folder.exists()) {
        (true, true) => Finding::ok(CHECK, format!("{shown} can be written")),
        (true, false) => Finding::note(
            CHECK,
            format!(
                "{shown} is not there yet and would be created; a Scope probe that is already running has plugins off: restart it"
            ),
        ),
        (false, _) if root.fallbacks.is_empty() => Finding::failed(
            CHECK,
            format!("{shown} cannot be used"),
            "run as root, or use another place with --plugins-root",
        ),
        (false, _) => Finding::warning(
            CHECK,
            format!("{shown} cannot be used: the agent would use a folder of its own, where Scope will not find it"),
            "run as root, or use another place with --plugins-root",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{Failed, Note, Ok, Warning};
    use super::*;
    use std::path::Path;

    #[test]
    fn states_of_lockdown() {
        for (text, expected) in [
            (Some("[none] integrity confidentiality\n"), Ok),
            (Some("none [integrity] confidentiality\n"), Ok),
            (Some("none integrity [confidentiality]\n"), Failed),
            (Some("none"), Note),
            (None, Note),
        ] {
            assert_eq!(lockdown(text).verdict, expected, "{text:?}");
        }
    }

    #[test]
    fn limits_of_memory() {
        for (text, expected) in [
            (Some("max\n"), Ok),
            (Some("134217728\n"), Ok),
            (Some("33554432\n"), Warning),
            (Some("?"), Note),
            (None, Note),
        ] {
            assert_eq!(memory(text).verdict, expected, "{text:?}");
        }
    }

    #[test]
    fn profiles_of_seccomp() {
        assert_eq!(seccomp("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n").verdict, Ok);
        assert_eq!(seccomp("Seccomp:\t2\n").verdict, Note);
        assert_eq!(seccomp("").verdict, Note);
    }

    #[test]
    fn who_is_a_scope_probe() {
        for (line, expected) in [
            ("/home/weave/scope\0--mode=probe\0--probe.docker=true\0", true),
            ("scope-probe\0--mode=probe\0", true),
            ("/usr/bin/scope\0--probe-only\0", true),
            ("/home/weave/scope\0--mode=app\0", false),
            ("/usr/bin/scope-http-requests\0check\0", false),
            ("grep\0scope\0--probe\0", false),
            ("", false),
        ] {
            assert_eq!(is_scope_probe(line), expected, "{line}");
        }
    }

    #[test]
    fn folders_for_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let verdict = |path: &Path, fallbacks: &[&str]| {
            plugins(&PluginsRoot { path: path.into(), fallbacks: fallbacks.iter().map(Into::into).collect() }, "")
                .verdict
        };
        assert_eq!(verdict(folder.path(), &[]), Ok);
        assert_eq!(verdict(&folder.path().join("not/yet"), &[]), Note);
        assert_eq!(verdict(&file.join("below"), &[]), Failed);
        assert_eq!(verdict(&file, &["/tmp/other"]), Warning);
    }
}
