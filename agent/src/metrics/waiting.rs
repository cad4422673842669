//! Requests that wait for the name of their pod, or of their container in it, before they are added to a series. PURE.
//!
//! A series never gives back what it has, and Prometheus never forgets it: so nothing is put into the one of no name that
//! may have a name a second later.

use std::collections::HashMap;
use std::sync::Arc;

use common::maps::Counts;

use super::tally::{Labels, UNKNOWN};
use crate::counting::counts::add;
use crate::counting::placing::{CONTAINER_WAIT_TICKS, MAX_WAITING, missing};
use crate::counting::snapshot::{Process, Standing};
use crate::pods::cgroup::Candidate;
use crate::pods::index::{Place, Pods};

/// What has waited, and the series that it goes to.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) labels: Labels,
    pub(super) counts: Counts,
}

/// What waits, by cgroup and by what labels have of the process itself: processes may end meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    held: HashMap<(Arc<[Candidate]>, Labels), Held>,
}

#[derive(Clone, Debug)]
struct Held {
    counts: Counts,
    /// The tick at which the first of it came.
    since: u64,
}

impl Waiting {
    /// Takes what a process received, if there is a name to wait for and room.
    pub(super) fn takes(&mut self, process: &Process, labels: &Labels, counts: &Counts, tick: u64) -> bool {
        let waits = match &process.place {
            Some(place) => place.container_id.is_some() && place.container.is_none(),
            None => process.standing == Standing::Awaited,
        };
        if !waits {
            return false;
        }
        let key = (Arc::clone(&process.identity.candidates), labels.clone());
        if self.held.len() >= MAX_WAITING && !self.held.contains_key(&key) {
            return false;
        }
        let held = self.held.entry(key).or_insert(Held { counts: Counts::default(), since: tick });
        add(&mut held.counts, counts);
        true
    }

    /// What need not wait any longer: its name is known, or it has waited for long enough.
    pub(super) fn released(&mut self, pods: &Pods, tick: u64) -> Vec<Named> {
        let named = |((candidates, labels), held): (&(Arc<[Candidate]>, Labels), &mut Held)| {
            let waited = tick.saturating_sub(held.since);
            let labels = match pods.resolve(candidates) {
                Some(place)
                    if place.container.is_none() && place.container_id.is_some() && waited < CONTAINER_WAIT_TICKS =>
                {
                    return None;
                }
                Some(place) => placed(labels, &place),
                None => match missing(candidates, pods, waited) {
                    Standing::Awaited => return None,
                    Standing::Unknown => Labels { namespace: UNKNOWN.into(), ..labels.clone() },
                    Standing::Outside | Standing::Found => labels.clone(),
                },
            };
            Some(Named { labels, counts: held.counts })
        };
        let mut released = Vec::new();
        self.held.retain(|key, held| match named((key, held)) {
            Some(named) => {
                released.push(named);
                false
            }
            None => true,
        });
        released
    }

    /// All that waits.
    pub(super) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.held.values().for_each(|held| add(&mut sum, &held.counts));
        sum
    }
}

fn placed(labels: &Labels, place: &Place<'_>) -> Labels {
    Labels {
        namespace: place.pod.namespace.clone(),
        pod: place.pod.name.clone(),
        container: place.container.map(|container| container.name.clone()).unwrap_or_default(),
        ..labels.clone()
    }
}
