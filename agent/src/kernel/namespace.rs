//! Which PID namespace the agent is in, and so whose PIDs it sees; which user namespace, and so what root may. EDGE.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// The inode of the initial PID namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xeffffffc;

/// The inode of the initial user namespace (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xeffffffd;

/// Whether the agent is in a user namespace of its own, where capabilities are none of the kernel's.
#[must_use]
pub fn has_own_users() -> bool {
    fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.ino() != INITIAL_USER_NAMESPACE)
}

/// Whether the agent sees the host's PIDs, by which Scope names processes.
#[must_use]
pub fn has_host_pids() -> bool {
    pid_namespace() == 0
}

/// Whether the agent is the first process of a PID namespace of its own, as in a container without `hostPID`. A node of
/// kind has such a namespace too, but there the agent is not the first.
#[must_use]
pub fn sees_only_itself() -> bool {
    !has_host_pids() && std::process::id() == 1
}

/// The inode of the agent's PID namespace, 0 for the initial one (or where it cannot be told).
pub fn pid_namespace() -> u32 {
    match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) if namespace.ino() != INITIAL_PID_NAMESPACE => namespace.ino() as u32,
        _ => 0,
    }
}
