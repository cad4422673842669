//! In which pod and container each process is, among the pods that are known. PURE.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::counting::living::Place;
use crate::pods::cgroup::{Candidate, ContainerId, PodUid};
use crate::pods::index::{self, Pods};

/// What came of looking for a process's pod.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Found(PlaceKey),
    Unknown,
    Outside,
}

/// How many live processes were found where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// The pod is known.
    pub found: u64,
    /// The cgroup names a pod or container that is not known.
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
    located: Located,
}

impl Placing {
    /// Whether the pods have changed: then every process is to be looked for anew, as if none had been.
    pub(super) fn begin(&mut self, pods: &Pods) -> bool {
        let has_changed = self.pods_version.replace(pods.version()) != Some(pods.version());
        if has_changed {
            self.before = std::mem::take(&mut self.places);
            self.located = Located::default();
        }
        has_changed
    }

    /// Looks for the place of a process. Processes of one container share it.
    pub(super) fn find(&mut self, candidates: &[Candidate], pods: &Pods) -> (Outcome, Option<Arc<Place>>) {
        match pods.resolve(candidates) {
            Some(found) => {
                let key = place_key(&found);
                let before = &self.before;
                let (place, processes) = self.places.entry(key).or_insert_with(|| (shared(found, before.get(&key)), 0));
                *processes += 1;
                (Outcome::Found(key), Some(Arc::clone(place)))
            }
            None if candidates.is_empty() => (Outcome::Outside, None),
            None => (Outcome::Unknown, None),
        }
    }

    /// All have been looked for.
    pub(super) fn end(&mut self) {
        self.before = Places::new();
    }

    /// A live process has this outcome.
    pub(super) fn enter(&mut self, outcome: Outcome) {
        *self.located.at(outcome) += 1;
    }

    /// A process with this outcome has ended.
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

    /// The place of ended processes: if the pod is still there, or a process lives in that container.
    pub(super) fn of_ended(&self, candidates: &[Candidate], pods: &Pods) -> Option<Arc<Place>> {
        pods.resolve(candidates).and_then(|found| match self.places.get(&place_key(&found)) {
            Some((shared, _)) => Some(Arc::clone(shared)),
            None => found.is_live.then(|| Arc::new(found.into())),
        })
    }
}

impl Located {
    fn at(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Found(_) => &mut self.found,
            Outcome::Outside => &mut self.outside,
            Outcome::Unknown => &mut self.unknown,
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
