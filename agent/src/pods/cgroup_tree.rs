//! Walks the cgroup v2 hierarchy to find out which id stands for which path. EDGE.

use crate::pods::cgroup::{Candidate, candidates};
use std::fs::{self, DirEntry};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

/// Directories beyond this are not visited: what lies there stays unknown.
pub const MAX_DIRECTORIES: usize = 20_000;
/// The type of a cgroup v2 file system (`CGROUP2_SUPER_MAGIC` in linux/magic.h).
const CGROUP2: i64 = 0x6367_7270;

/// The cgroup v2 hierarchy at or below `mount`: a hybrid host has it beside those of cgroup v1, whose ids are others and
/// would be mistaken for its.
#[must_use]
pub fn unified(mount: &Path) -> Option<PathBuf> {
    let is_unified = |path: &PathBuf| statfs(path).is_ok_and(|system| system.f_type == CGROUP2);
    [mount.to_path_buf(), mount.join("unified")].into_iter().find(is_unified)
}

/// Calls `found` with the id and the candidates of every cgroup below `root`. What vanishes meanwhile is left out.
///
/// In a container `root` shows only its own part, unless the host's is mounted there.
pub fn walk(root: &Path, mut found: impl FnMut(u64, &[Candidate])) {
    let mut pending = vec![root.to_path_buf()];
    let mut visited = 0;
    while let Some(directory) = pending.pop() {
        for entry in subdirectories(&directory) {
            if visited >= MAX_DIRECTORIES {
                return;
            }
            visited += 1;
            let path = entry.path();
            found(entry.ino(), &of_path(root, &path));
            pending.push(path);
        }
    }
}

fn subdirectories(directory: &Path) -> impl Iterator<Item = DirEntry> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // Links are not followed, so the walk ends.
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

fn of_path(root: &Path, path: &Path) -> Vec<Candidate> {
    let below = path.strip_prefix(root).unwrap_or(path);
    candidates(&format!("0::/{}", below.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::cgroup_ids::CgroupIds;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn finds_every_directory_by_its_inode() {
        let root = tempfile::tempdir().unwrap();
        let pod = "kubepods/pod44c76ce5-f953-4bd3-bc89-12621681af49";
        let container = root.path().join(pod).join("a".repeat(64));
        fs::create_dir_all(container.join("init")).unwrap();
        std::os::unix::fs::symlink(root.path(), container.join("loop")).unwrap();
        let mut ids = CgroupIds::default();
        walk(root.path(), |id, candidates| ids.learn(id, candidates));
        let id = |path: &Path| fs::metadata(path).unwrap().ino();
        let inner = ids.candidates(id(&container.join("init"))).unwrap();
        assert!(inner[0].pod.is_some() && inner[0].container.is_some());
        assert_eq!(ids.candidates(id(&container)), Some(inner));
        assert_eq!(ids.candidates(id(&root.path().join("kubepods"))), Some(&[][..]));
    }

    #[test]
    fn only_a_cgroup_v2_hierarchy_is_walked() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("unified")).unwrap();
        assert_eq!(unified(folder.path()), None);
        assert_eq!(unified(Path::new("/nonexistent")), None);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let found = mounts.lines().find_map(|line| {
            let [_, path, "cgroup2"] = line.split(' ').take(3).collect::<Vec<_>>()[..] else { return None };
            Some(PathBuf::from(path))
        });
        let Some(mounted) = found else {
            eprintln!("SKIPPED: no cgroup v2 here");
            return;
        };
        assert_eq!(unified(&mounted), Some(mounted.clone()));
        if mounted.ends_with("unified") {
            assert_eq!(unified(mounted.parent().unwrap()), Some(mounted.clone()));
        }
    }

    #[test]
    fn nothing_there_is_nothing_found() {
        walk(Path::new("/nonexistent"), |_, _| panic!("there is nothing"));
    }
}
