//! What each cgroup id stands for, so that a process that ended before /proc was asked still has a pod. PURE.
//!
//! The kernel notes the id of the counted process's cgroup (v2: the inode of its directory, which on 64-bit machines is
//! never given out twice). A living process of the same cgroup teaches it, or a walk through the hierarchy does.

use crate::pods::cgroup::Candidate;
use std::collections::HashMap;
use std::time::Duration;

/// Ids beyond this make it forget all of them; living processes and the next walk teach them again.
pub const MAX_IDS: usize = 8_192;
/// At most one walk in this time, so one a tick: it reads a directory for each cgroup of the node.
pub const WALK_EVERY: Duration = Duration::from_millis(500);

/// Cgroup ids and the candidates of their paths.
#[derive(Debug, Default)]
pub struct CgroupIds {
    known: HashMap<u64, Box<[Candidate]>>,
    walked: Option<Duration>,
}

impl CgroupIds {
    /// Takes note of a path's candidates, empty ones too: a host's service has none.
    pub fn learn(&mut self, id: u64, candidates: &[Candidate]) {
        // 0 is what kernels without cgroup v2 give.
        if id == 0 || self.known.get(&id).is_some_and(|known| **known == *candidates) {
            return;
        }
        if self.known.len() >= MAX_IDS {
            self.known.clear();
        }
        self.known.insert(id, candidates.into());
    }

    /// The candidates of an id; `None` if it is not known.
    pub fn candidates(&self, id: u64) -> Option<&[Candidate]> {
        self.known.get(&id).map(AsRef::as_ref)
    }

    /// Whether a walk is worth it for this id now. Answers yes once per [`WALK_EVERY`], and once per id: what a walk
    /// does not find is gone or out of sight, and the next one would not find it either.
    pub fn wants_walk(&mut self, id: u64, now: Duration) -> bool {
        let rested = self.walked.is_none_or(|walked| now.saturating_sub(walked) >= WALK_EVERY);
        let wants = id != 0 && rested && !self.known.contains_key(&id);
        if wants {
            self.walked = Some(now);
            self.learn(id, &[]);
        }
        wants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::cgroup::candidates;

    #[test]
    fn what_a_living_process_teaches_serves_the_dead() {
        let mut ids = CgroupIds::default();
        let taught = candidates(&format!("0::/docker/{}", "a".repeat(64)));
        ids.learn(7, &taught);
        ids.learn(8, &[]);
        ids.learn(0, &taught);
        assert_eq!(ids.candidates(7), Some(&taught[..]));
        assert_eq!(ids.candidates(8), Some(&[][..]));
        assert_eq!(ids.candidates(0), None);
    }

    #[test]
    fn walks_are_rare_and_for_unknown_ids_only() {
        let mut ids = CgroupIds::default();
        ids.learn(7, &[]);
        let at = |tenths: u64| Duration::from_millis(100 * tenths);
        let asked = [(7, 0), (0, 0), (9, 0), (10, 4), (10, 5), (9, 20), (10, 30), (11, 30)];
        let wants = asked.map(|(id, now)| ids.wants_walk(id, at(now)));
        assert_eq!(wants, [false, false, true, false, true, false, false, true]);
    }

    #[test]
    fn the_bound_holds() {
        let mut ids = CgroupIds::default();
        (1..=MAX_IDS as u64 + 1).for_each(|id| ids.learn(id, &[]));
        assert_eq!(ids.candidates(1), None);
        assert!(ids.candidates(MAX_IDS as u64 + 1).is_some());
    }
}
