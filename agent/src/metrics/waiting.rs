//! Requests and responses that wait for the name of their pod, or of their container in it, before they are added to a series. PURE.
//!
//! A series never gives back what it has, and Prometheus never forgets it: so nothing is put into the one of no name that
//! may have a name a second later.

use std::collections::HashMap;
use std::sync::Arc;

use common::maps::Counts;
use serde::{Deserialize, Serialize};

use super::labels::Labels;
use crate::counting::carried;
use crate::counting::counts::add;
use crate::counting::placing::{CONTAINER_WAIT_TICKS, MAX_WAITING, missing};
use crate::counting::rates::Growth;
use crate::counting::responses::{self, Durations, Kind};
use crate::counting::snapshot::{Place, Standing};
use crate::pods::cgroup::Candidate;
use crate::pods::index::Pods;

/// What has waited, and the series that it goes to.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) labels: Labels,
    pub(super) counts: Counts,
    pub(super) kinds: HashMap<Kind, Durations>,
}

/// What waits, by cgroup and by what labels have of the process itself: processes may end meanwhile.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Waiting {
    #[serde(with = "carried::pairs")]
    held: HashMap<(Arc<[Candidate]>, Labels), Held>,
    /// Kinds of responses in all of them together: no more than [`MAX_WAITING`].
    kinds: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    counts: Counts,
    #[serde(with = "carried::pairs")]
    kinds: HashMap<Kind, Durations>,
    /// The tick at which the first of it came.
    since: u64,
}

impl Waiting {
    /// Takes what a process received and answered, if there is a name to wait for and room.
    pub(super) fn takes(&mut self, grown: &Growth, labels: &Labels, tick: u64) -> bool {
        let process = &grown.process;
        let waits = match &process.place {
            Some(place) => place.awaits_name(),
            None => process.standing == Standing::Awaited,
        };
        if !waits {
            return false;
        }
        let key = (Arc::clone(&process.identity.candidates), labels.clone());
        if self.held.len() >= MAX_WAITING && !self.held.contains_key(&key) {
            return false;
        }
        let held = self.held.entry(key);
        let held = held.or_insert_with(|| Held { counts: Counts::default(), kinds: HashMap::new(), since: tick });
        let new = grown.kinds.iter().filter(|(kind, _)| !held.kinds.contains_key(kind)).count();
        if self.kinds + new > MAX_WAITING {
            return false;
        }
        self.kinds += new;
        add(&mut held.counts, &grown.counts);
        for (kind, series) in &grown.kinds {
            responses::add(held.kinds.entry(*kind).or_default(), series);
        }
        true
    }

    /// What need not wait any longer: its name is known, or it has waited for long enough.
    pub(super) fn released(&mut self, pods: &Pods, tick: u64) -> Vec<Named> {
        let named = |((candidates, labels), held): (&(Arc<[Candidate]>, Labels), &mut Held)| {
            let waited = tick.saturating_sub(held.since);
            let labels = match pods.resolve(candidates).map(Place::from) {
                Some(place) if place.awaits_name() && waited < CONTAINER_WAIT_TICKS => return None,
                Some(place) => labels.clone().at(&place),
                None => match missing(candidates, pods, waited) {
                    Standing::Awaited => return None,
                    Standing::Unknown => labels.clone().at_unknown(),
                    Standing::Outside | Standing::Found => labels.clone(),
                },
            };
            Some(Named { labels, counts: held.counts, kinds: std::mem::take(&mut held.kinds) })
        };
        let mut released: Vec<Named> = Vec::new();
        self.held.retain(|key, held| match named((key, held)) {
            Some(named) => {
                released.push(named);
                false
            }
            None => true,
        });
        self.kinds -= released.iter().map(|named| named.kinds.len()).sum::<usize>();
        released
    }

    /// All that waits: requests, and responses.
    pub(super) fn sums(&self) -> (Counts, u64) {
        let mut sum = Counts::default();
        self.held.values().for_each(|held| add(&mut sum, &held.counts));
        (sum, self.held.values().flat_map(|held| held.kinds.values()).map(responses::count).sum())
    }
}
