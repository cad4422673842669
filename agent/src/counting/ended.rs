//! What processes that have ended received, by cgroup: it stays in the totals of their container and their pod. PURE.
//!
//! Which pod a cgroup belongs to is asked anew at each tick, so what ended before the API server named the pod is not
//! lost to it.

use std::collections::HashMap;
use std::sync::Arc;

use common::maps::Counts;
use serde::{Deserialize, Serialize};

use crate::counting::carried;
use crate::counting::counts::{add, requests};
use crate::counting::history::REPEATED_TICKS;
use crate::counting::responded::Responded;
use crate::pods::cgroup::Candidate;

/// Cgroups beyond this push out the one that was quiet for longest, and what it held is missing from its container's
/// and its pod's totals from then on. A node has some hundred containers at a time.
pub const MAX_CGROUPS: usize = 2_048;

/// What is left of the processes of one cgroup that have ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remains {
    /// What the cgroup calls its pod and container, the likeliest first; never empty.
    pub candidates: Arc<[Candidate]>,
    /// What they received.
    pub totals: Counts,
    /// Their part in the requests per second of the last ticks, the newest last.
    pub rates: [f32; REPEATED_TICKS],
    /// What they answered, if anything.
    pub responded: Option<Arc<Responded>>,
    /// Ticks since a process that has ended brought anything.
    pub quiet_ticks: u32,
}

/// The remains of every cgroup.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Graveyard {
    #[serde(with = "carried::pairs")]
    by_cgroup: HashMap<Arc<[Candidate]>, Remains>,
    forgotten: Counts,
}

impl Graveyard {
    /// Begins a tick: nothing has been received in it yet.
    pub fn next_tick(&mut self) {
        for remains in self.by_cgroup.values_mut() {
            remains.rates.rotate_left(1);
            remains.rates[REPEATED_TICKS - 1] = 0.0;
            remains.quiet_ticks = remains.quiet_ticks.saturating_add(1);
        }
    }

    /// Adds what an ended process received and was not added before. A process whose cgroup names no container and no
    /// pod leaves nothing: it is in the totals of the host alone.
    pub fn add(&mut self, candidates: &[Candidate], received: &Counts) {
        if candidates.is_empty() || *received == Counts::default() {
            return;
        }
        let remains = self.at(candidates);
        add(&mut remains.totals, received);
        if requests(received) > 0 || received.tls_connections > 0 {
            remains.quiet_ticks = 0;
        }
    }

    /// Adds the newest rates of an ended process, the newest last.
    pub fn add_rates(&mut self, candidates: &[Candidate], rates: impl DoubleEndedIterator<Item = f32>) {
        // Nothing was added: nothing was received.
        let Some(remains) = self.by_cgroup.get_mut(candidates) else { return };
        for (sum, rate) in remains.rates.iter_mut().rev().zip(rates.rev()) {
            *sum += rate;
        }
    }

    /// Adds what an ended process answered and was not added before.
    pub fn add_responded(&mut self, candidates: &[Candidate], responded: &Responded) {
        if !candidates.is_empty() {
            Arc::make_mut(self.at(candidates).responded.get_or_insert_default()).add(responded);
        }
    }

    /// What is left, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Remains> {
        self.by_cgroup.values()
    }

    /// What those had that were pushed out.
    pub fn forgotten(&self) -> Counts {
        self.forgotten
    }

    fn at(&mut self, candidates: &[Candidate]) -> &mut Remains {
        if self.by_cgroup.len() >= MAX_CGROUPS && !self.by_cgroup.contains_key(candidates) {
            self.forget_the_quietest();
        }
        let key: Arc<[Candidate]> = candidates.into();
        let empty = Remains {
            candidates: Arc::clone(&key),
            totals: Counts::default(),
            rates: [0.0; REPEATED_TICKS],
            responded: None,
            quiet_ticks: 0,
        };
        self.by_cgroup.entry(key).or_insert(empty)
    }

    fn forget_the_quietest(&mut self) {
        let quietest = self.by_cgroup.values().max_by_key(|remains| remains.quiet_ticks);
        if let Some(candidates) = quietest.map(|remains| Arc::clone(&remains.candidates)) {
            let gone = self.by_cgroup.remove(&candidates);
            gone.into_iter().for_each(|remains| add(&mut self.forgotten, &remains.totals));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::cgroup::candidates;

    fn cgroup(n: usize) -> Vec<Candidate> {
        candidates(&format!("0::/docker/{n:064x}"))
    }

    fn counts(requests: u64) -> Counts {
        Counts { requests: [0, requests, 0], ..Counts::default() }
    }

    #[test]
    fn beyond_the_bound_the_quietest_is_forgotten() {
        let mut graveyard = Graveyard::default();
        graveyard.add(&cgroup(0), &counts(5));
        graveyard.next_tick();
        (1..MAX_CGROUPS).for_each(|n| graveyard.add(&cgroup(n), &counts(1)));
        graveyard.next_tick();
        graveyard.add(&cgroup(0), &counts(5));
        graveyard.add(&cgroup(MAX_CGROUPS), &counts(1));
        assert_eq!(graveyard.iter().count(), MAX_CGROUPS);
        let kept = graveyard.iter().find(|remains| *remains.candidates == cgroup(0)[..]);
        assert_eq!(kept.map(|remains| requests(&remains.totals)), Some(10));
        assert_eq!(requests(&graveyard.forgotten()), 1);
    }

    #[test]
    fn a_process_of_no_container_leaves_nothing() {
        let mut graveyard = Graveyard::default();
        graveyard.add(&[], &counts(5));
        graveyard.add(&cgroup(1), &counts(0));
        assert_eq!(graveyard.iter().count(), 0);
    }
}
