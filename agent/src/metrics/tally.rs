//! Requests and responses by pod and container, or by process if asked: bounded, and no series ever falls. PURE.
//!
//! What a process received between two ticks is added to the series that it belongs to at the second: so a series goes
//! on when its processes end, its pod is deleted, or a pod of the same name comes back. What has a pod without a name yet
//! waits for it (`waiting`).

use std::sync::Arc;

use common::maps::Counts;
use serde::{Deserialize, Serialize};

use super::bounded::{Bounded, Room};
use super::instruments::Noted;
use super::labels::{Grouping, Labels, ResponseLabels};
use super::waiting::{Named, Waiting};
use crate::counting::rates::Located;
use crate::counting::responses::{Durations, Kind};
use crate::counting::snapshot::Snapshot;
use crate::pods::index::Pods;

/// Label sets of requests kept at a time. What finds no room is counted as [`super::labels::OTHER`].
pub const MAX_SERIES: usize = 5_000;

/// Label sets of responses kept at a time: each is a histogram, which takes as much in the text as twenty series of
/// requests. What finds no room is counted as [`super::labels::OTHER`].
pub const MAX_RESPONSE_SERIES: usize = 1_000;

/// Everything counted so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Requests, by labels.
    pub requests: Bounded<Labels, Counts>,
    /// Responses, by labels.
    pub responses: Bounded<ResponseLabels, Durations>,
    /// Requests that wait for the name of their pod or container.
    pub waiting: Counts,
    /// Responses that do.
    pub waiting_responses: u64,
    /// Where live processes were found, added up over all ticks.
    pub lookups: Located,
}

/// Adds up, tick by tick.
#[derive(Debug)]
pub struct Tally {
    grouping: Grouping,
    rooms: (Room<Labels>, Room<ResponseLabels>),
    /// Copied by a tick only while somebody renders it.
    totals: Arc<Totals>,
    waiting: Waiting,
}

/// What one agent's metrics tell the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CarriedMeter {
    /// Sums.
    pub(super) tally: CarriedTally,
    /// What its parts noted.
    pub(super) noted: Noted,
}

/// What one agent's sums tell the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CarriedTally {
    grouping: Grouping,
    totals: Arc<Totals>,
    waiting: Waiting,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new(grouping: Grouping) -> Self {
        let rooms = (Room::new(MAX_SERIES), Room::new(MAX_RESPONSE_SERIES));
        Self { grouping, rooms, totals: Arc::default(), waiting: Waiting::default() }
    }

    /// What another agent goes on with.
    #[must_use]
    pub fn carried(&self) -> CarriedTally {
        let Self { grouping, totals, waiting, .. } = self;
        CarriedTally { grouping: *grouping, totals: Arc::clone(totals), waiting: waiting.clone() }
    }

    /// Goes on where another ended, if it told requests apart by the same.
    pub fn resume(&mut self, carried: CarriedTally) {
        if carried.grouping == self.grouping {
            (self.totals, self.waiting) = (carried.totals, carried.waiting);
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    /// Adds what a tick brought. Each tick must be given, once.
    pub fn take(&mut self, snapshot: &Snapshot, pods: &Pods) {
        for Named { labels, counts, kinds } in self.waiting.released(pods, snapshot.sequence) {
            self.add(labels, (&counts, kinds), snapshot);
        }
        for grown in &snapshot.grown {
            let labels = Labels::of(&grown.process, self.grouping);
            if !self.waiting.takes(grown, &labels, snapshot.sequence) {
                self.add(labels.placed(&grown.process), (&grown.counts, grown.kinds.iter().copied()), snapshot);
            }
        }
        self.rooms.0.end();
        self.rooms.1.end();
        let totals = Arc::make_mut(&mut self.totals);
        (totals.waiting, totals.waiting_responses) = self.waiting.sums();
        let Located { found, awaited, unknown, outside } = snapshot.located;
        let lookups = &mut totals.lookups;
        lookups.found += found;
        lookups.awaited += awaited;
        lookups.unknown += unknown;
        lookups.outside += outside;
    }

    /// Adds requests and responses under these labels.
    fn add(
        &mut self,
        labels: Labels,
        (counts, kinds): (&Counts, impl IntoIterator<Item = (Kind, Durations)>),
        snapshot: &Snapshot,
    ) {
        let (totals, tick) = (Arc::make_mut(&mut self.totals), (snapshot, self.grouping));
        if *counts != Counts::default() {
            self.rooms.0.add(&mut totals.requests, (&labels, counts), tick);
        }
        let labels = Arc::new(labels);
        for (kind, series) in kinds {
            let key = ResponseLabels::new(Arc::clone(&labels), kind);
            self.rooms.1.add(&mut totals.responses, (&key, &series), tick);
        }
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
