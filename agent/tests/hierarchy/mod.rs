//! Where cgroup v2 is mounted, for tests that make cgroups of their own.

use std::path::{Path, PathBuf};

use rustix::fs::statfs;

/// The type of a cgroup v2 file system (`CGROUP2_SUPER_MAGIC` in linux/magic.h).
const CGROUP2: i64 = 0x6367_7270;

/// The cgroup v2 hierarchy at or below `mount`: a hybrid host has it beside those of cgroup v1.
pub fn unified(mount: &Path) -> Option<PathBuf> {
    let is_unified = |path: &PathBuf| statfs(path).is_ok_and(|system| system.f_type == CGROUP2);
    [mount.to_path_buf(), mount.join("unified")].into_iter().find(is_unified)
}
