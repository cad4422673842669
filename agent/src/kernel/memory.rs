//! How much memory the kernel may still charge to this agent, for the state of connections. EDGE.
//!
//! The kernel lets an allocation of the probe pass beyond a cgroup's limit, and then kills the agent for it. So the agent
//! keeps the probe within the limit.

use std::fs;
use std::path::{Path, PathBuf};

/// A connection's state: 192 bytes for the socket's storage and 192 for what is in it, and what the slabs cost beside.
pub const CONNECTION_BYTES: u64 = 400;
/// What the agent itself may come to need between two ticks.
pub const RESERVE_BYTES: u64 = 8 << 20;
const CGROUPS: &str = "/sys/fs/cgroup";

/// Where this process's cgroup (v2) is, as it sees it.
pub fn own_cgroup() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(CGROUPS).join(path.trim_start_matches('/')))
}

/// How many more connections there is room for, in this cgroup and those above it.
pub(super) fn room_for_connections() -> i64 {
    let own = own_cgroup().unwrap_or_default();
    let folders = own.ancestors().take_while(|folder| folder.starts_with(CGROUPS));
    folders.filter_map(room_in).min().map_or(i64::MAX, connections)
}

/// Bytes below a cgroup's limit; `None` without one.
fn room_in(folder: &Path) -> Option<u64> {
    let number = |name| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let (limit, used) = (number("memory.max")?, number("memory.current")?);
    let room = limit.saturating_sub(used);
    if room >= limit / 2 {
        return Some(room);
    }
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    Some(room.saturating_add(reclaimable(&statistics)).min(limit))
}

/// What the kernel takes back before it kills anybody: the page cache, and slabs that it calls so.
fn reclaimable(statistics: &str) -> u64 {
    let value = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        matches!(name, "inactive_file" | "active_file" | "slab_reclaimable").then(|| value.parse::<u64>().ok())?
    };
    statistics.lines().filter_map(value).sum()
}

/// How many connections fit into so many bytes.
pub fn connections(bytes: u64) -> i64 {
    (bytes.saturating_sub(RESERVE_BYTES) / CONNECTION_BYTES).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_takes_back_is_room() {
        assert_eq!(
            reclaimable("anon 5\nfile 9\ninactive_file 100\nactive_file 20\nslab_reclaimable 3\nslab 7\nx\n"),
            123
        );
        assert_eq!(reclaimable(""), 0);
    }

    #[test]
    fn the_agent_keeps_some_for_itself() {
        assert_eq!(connections(0), 0);
        assert_eq!(connections(RESERVE_BYTES), 0);
        assert_eq!(connections(RESERVE_BYTES + 10 * CONNECTION_BYTES), 10);
    }
}
