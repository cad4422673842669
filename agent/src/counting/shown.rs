//! Which processes people are shown, in Scope, in the live table and in the log; totals are of all. PURE.

use crate::counting::living::Process;

/// A choice of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// All of them.
    #[default]
    All,
    /// Those whose cgroup names a pod or a container: not the kubelet, the container runtime and whatever else the
    /// machine runs itself.
    Pods,
}

impl Shown {
    /// Whether a process is one of those.
    #[must_use]
    pub fn has(self, process: &Process) -> bool {
        self == Self::All || process.place.is_some() || !process.identity.candidates.is_empty()
    }
}
