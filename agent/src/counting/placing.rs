//! In which pod and container each process is, among the pods that are known. PURE.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::counting::living::{Place, Standing};
use crate::pods::cgroup::{Candidate, ContainerId, PodUid};
use crate::pods::index::{self, Pods};

/// So many ticks (5 minutes) after a cgroup was first seen it waits for the pod that it names. The API server tells of a
/// pod before its process runs; it takes longer while it is away.
pub const POD_WAIT_TICKS: u64 = 5 * 60;
/// So many ticks it waits for a pod or a container's name that only the container's id can tell: a pod's status has it
/// within seconds.
pub const CONTAINER_WAIT_TICKS: u64 = 15;
/// Cgroups that wait at a time. What comes then is unknown at once.
pub const MAX_WAITING: usize = 4_096;

/// What came of looking for a process's pod.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Found(PlaceKey),
    Missing(Standing),
}

impl Outcome {
    pub(super) fn standing(self) -> Standing {
        match self {
            Self::Found(_) => Standing::Found,
            Self::Missing(standing) => standing,
        }
    }
}

/// What there is to say of a cgroup whose pod is not known, so many ticks after it was first seen.
#[must_use]
pub fn missing(candidates: &[Candidate], pods: &Pods, waited_ticks: u64) -> Standing {
    let names_pod = candidates.iter().any(|candidate| candidate.pod.is_some());
    let patience = if names_pod { POD_WAIT_TICKS } else { CONTAINER_WAIT_TICKS };
    if !candidates.is_empty() && pods.is_watched() && waited_ticks < patience {
        Standing::Awaited
    } else if names_pod {
        Standing::Unknown
    } else {
        Standing::Outside
    }
}

/// How many live processes were found where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The pod is known.
    pub found: u64,
    /// The cgroup names a pod or container that may be known later.
    pub awaited: u64,
    /// The cgroup names a pod that is not known.
    pub unknown: u64,
    /// The cgroup names none.
    pub outside: u64,
}

/// What tells places apart: the pod, and the container in it.
type PlaceKey = (PodUid, Option<ContainerId>);

/// Places in use, each with the number of processes that are or were there.
type Places = HashMap<PlaceKey, (Arc<Place>, usize)>;

/// Where processes were found.
#[derive(Debug, Default)]
pub(super) struct Placing {
    places: Places,
    /// Those of before the pods changed, while all processes are looked for anew.
    before: Places,
    /// The version of the pods among which they were.
    pods_version: Option<u64>,
    /// When each cgroup whose pod is not known was first seen.
    first_seen: HashMap<Arc<[Candidate]>, u64>,
    located: Located,
    /// The number of this tick.
    now: u64,
}

/// Where what is left of a cgroup's ended processes belongs.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    pub(super) place: Option<Arc<Place>>,
    pub(super) standing: Standing,
    /// Whether the pod is still there, or a process lives in that container.
    pub(super) is_there: bool,
}

impl Placing {
    /// Whether the pods have changed: then every process is to be looked for anew, as if none had been.
    pub(super) fn begin(&mut self, pods: &Pods, now: u64) -> bool {
        self.now = now;
        let has_changed = self.pods_version.replace(pods.version()) != Some(pods.version());
        if has_changed {
            self.before = std::mem::take(&mut self.places);
            self.located = Located::default();
        }
        has_changed
    }

    /// Looks for the place of a process. Processes of one container share it.
    pub(super) fn find(&mut self, candidates: &Arc<[Candidate]>, pods: &Pods) -> (Outcome, Option<Arc<Place>>) {
        let Some(found) = pods.resolve(candidates) else {
            let waited = self.waited(candidates);
            return (Outcome::Missing(missing(candidates, pods, waited)), None);
        };
        self.first_seen.remove(candidates);
        let key = place_key(&found);
        let before = &self.before;
        let (place, processes) = self.places.entry(key).or_insert_with(|| (shared(found, before.get(&key)), 0));
        *processes += 1;
        (Outcome::Found(key), Some(Arc::clone(place)))
    }

    /// For how many ticks a cgroup has been waiting; for ever if there is no room to note it.
    fn waited(&mut self, candidates: &Arc<[Candidate]>) -> u64 {
        let now = self.now;
        if candidates.is_empty() {
            return 0;
        }
        if let Some(first) = self.first_seen.get(candidates) {
            return now - first;
        }
        if self.first_seen.len() >= MAX_WAITING {
            self.first_seen.retain(|_, first| now - *first < POD_WAIT_TICKS);
        }
        if self.first_seen.len() >= MAX_WAITING {
            return u64::MAX;
        }
        self.first_seen.insert(Arc::clone(candidates), now);
        0
    }

    /// All have been looked for.
    pub(super) fn end(&mut self) {
        self.before = Places::new();
    }

    /// A live process has this outcome.
    pub(super) fn enter(&mut self, outcome: Outcome) {
        *self.located.at(outcome) += 1;
    }

    /// A process with this outcome has ended, or has another one now.
    pub(super) fn leave(&mut self, outcome: Outcome) {
        *self.located.at(outcome) -= 1;
    }

    /// A process with this outcome is forgotten.
    pub(super) fn forget(&mut self, outcome: Outcome) {
        if let Outcome::Found(place) = outcome
            && let Entry::Occupied(mut shared) = self.places.entry(place)
        {
            shared.get_mut().1 -= 1;
            if shared.get().1 == 0 {
                shared.remove();
            }
        }
    }

    /// Where live processes were found.
    pub(super) fn located(&self) -> Located {
        self.located
    }

    /// Where processes of this cgroup belong that have ended.
    pub(super) fn of_ended(&self, candidates: &[Candidate], pods: &Pods) -> Rest {
        let Some(found) = pods.resolve(candidates) else {
            let waited = self.first_seen.get(candidates).map_or(u64::MAX, |first| self.now - first);
            return Rest { place: None, standing: missing(candidates, pods, waited), is_there: false };
        };
        let standing = Standing::Found;
        match self.places.get(&place_key(&found)) {
            Some((shared, _)) => Rest { place: Some(Arc::clone(shared)), standing, is_there: true },
            None => Rest { is_there: found.is_live, place: Some(Arc::new(found.into())), standing },
        }
    }
}

impl Located {
    fn at(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome.standing() {
            Standing::Found => &mut self.found,
            Standing::Awaited => &mut self.awaited,
            Standing::Unknown => &mut self.unknown,
            Standing::Outside => &mut self.outside,
        }
    }
}

fn place_key(place: &index::Place) -> PlaceKey {
    (place.pod.uid, place.container_id)
}

/// The place as it was known before, unless there is more to say of it.
fn shared(found: index::Place, before: Option<&(Arc<Place>, usize)>) -> Arc<Place> {
    let place = Place::from(found);
    before.map(|(before, _)| before).filter(|before| ***before == place).map_or_else(|| Arc::new(place), Arc::clone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::cgroup::candidates;

    fn cgroup(n: usize) -> Arc<[Candidate]> {
        candidates(&format!("0::/kubepods/pod{n:08x}-0000-0000-0000-000000000000")).into()
    }

    #[track_caller]
    fn check(path: &str, is_watched: bool, waited_ticks: u64, expected: Standing) {
        let mut pods = Pods::default();
        pods.set_watched(is_watched);
        assert_eq!(missing(&candidates(path), &pods, waited_ticks), expected, "{path} {waited_ticks}");
    }

    #[test]
    fn what_may_be_known_later_is_waited_for() {
        let (pod, container) = (format!("0::/kubepods/pod{:032x}", 1), format!("0::/docker/{:064x}", 1));
        check(&pod, true, POD_WAIT_TICKS - 1, Standing::Awaited);
        check(&pod, true, POD_WAIT_TICKS, Standing::Unknown);
        check(&pod, false, 0, Standing::Unknown);
        check(&container, true, CONTAINER_WAIT_TICKS - 1, Standing::Awaited);
        check(&container, true, CONTAINER_WAIT_TICKS, Standing::Outside);
        check(&container, false, 0, Standing::Outside);
        check("0::/system.slice", true, 0, Standing::Outside);
    }

    #[test]
    fn beyond_the_bound_nobody_waits_until_others_are_through() {
        let mut pods = Pods::default();
        pods.set_watched(true);
        let mut placing = Placing::default();
        let standing = |placing: &mut Placing, n| placing.find(&cgroup(n), &pods).0.standing();
        placing.begin(&pods, 1);
        (0..MAX_WAITING).for_each(|n| assert_eq!(standing(&mut placing, n), Standing::Awaited));
        assert_eq!(standing(&mut placing, MAX_WAITING), Standing::Unknown);
        assert_eq!(placing.of_ended(&cgroup(0), &pods).standing, Standing::Awaited);
        assert_eq!(placing.of_ended(&cgroup(MAX_WAITING), &pods).standing, Standing::Unknown);
        placing.begin(&pods, 1 + POD_WAIT_TICKS);
        assert_eq!(standing(&mut placing, 0), Standing::Unknown);
        assert_eq!(standing(&mut placing, MAX_WAITING), Standing::Awaited);
    }
}
