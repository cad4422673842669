//! What a process, or several together, has answered. PURE.

use common::duration::BUCKETS;
use common::series::Outcome;
use serde::{Deserialize, Serialize};

use crate::counting::quantile::quantile;
use crate::counting::recent::Recent;
use crate::counting::responses::{Durations, Kind, add, count};

/// Statuses told apart in a sum. Servers use a dozen; of more, responses with further ones are under [`OTHER`], so that a
/// sum takes no more than 1 KiB for them.
pub const MAX_STATUSES: usize = 64;

/// In place of a status that found no room.
pub const OTHER: u32 = 0;

/// Responses: cumulative, and those of the last ticks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Responded {
    /// How many, by status, in ascending order.
    pub statuses: Vec<(u32, u64)>,
    /// Those of 5xx.
    pub errors: u64,
    /// By duration, whatever the status.
    pub durations: Durations,
    /// What became of requests otherwise.
    pub outcome: Outcome,
    /// The last ticks.
    pub recent: Recent,
}

impl Responded {
    /// Adds what a tick brought of one kind. `per_second` makes a rate of a number at that tick.
    pub fn note(&mut self, tick: u64, (kind, new): (Kind, &Durations), per_second: impl Fn(u64) -> f32) {
        let responses = count(new);
        self.add_status(kind.status, responses);
        add(&mut self.durations, new);
        let errors = if kind.is_error() { responses } else { 0 };
        self.errors += errors;
        self.recent.note(tick, &new.buckets, per_second(errors));
    }

    /// Adds requests that went without an answer.
    pub fn note_outcome(&mut self, new: &Outcome) {
        self.outcome.unanswered += new.unanswered;
        self.outcome.lost += new.lost;
    }

    /// Adds what others answered.
    pub fn add(&mut self, others: &Self) {
        others.statuses.iter().for_each(|(status, count)| self.add_status(*status, *count));
        self.errors += others.errors;
        add(&mut self.durations, &others.durations);
        self.note_outcome(&others.outcome);
        self.recent.add(&others.recent);
    }

    /// How many responses there were.
    #[must_use]
    pub fn responses(&self) -> u64 {
        count(&self.durations)
    }

    /// Of so many requests, how many may still be answered.
    #[must_use]
    pub fn in_flight(&self, requests: u64) -> u64 {
        let Outcome { unanswered, lost } = self.outcome;
        requests.saturating_sub(self.responses() + unanswered + lost)
    }

    /// Errors a second at this tick.
    #[must_use]
    pub fn error_rate(&self, now: u64) -> f32 {
        self.recent.errors(now)
    }

    /// Seconds within which these shares of the responses of the last 15 s were; `None` where there was none.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, now: u64, shares: [f64; N]) -> [Option<f64>; N] {
        let buckets: [u64; BUCKETS] = self.recent.buckets(now);
        shares.map(|share| quantile(share, &buckets))
    }

    fn add_status(&mut self, status: u32, count: u64) {
        if count == 0 {
            return;
        }
        let place = self.statuses.binary_search_by_key(&status, |(known, _)| *known);
        match place {
            Ok(place) => self.statuses[place].1 += count,
            Err(place) if status == OTHER || self.statuses.len() < MAX_STATUSES => {
                self.statuses.insert(place, (status, count));
            }
            Err(_) => self.add_status(OTHER, count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::exchange::Asked;
    use proptest::prelude::*;

    fn kind(status: u32) -> Kind {
        Kind { asked: Asked::HTTP_1, status }
    }

    fn one(bucket: usize) -> Durations {
        let mut series = Durations::default();
        (series.buckets[bucket], series.sum_ns) = (1, 7);
        series
    }

    #[test]
    fn statuses_beyond_the_bound_are_together() {
        let mut responded = Responded::default();
        (100..=999).for_each(|status| responded.note(1, (kind(status), &one(0)), |errors| errors as f32));
        assert_eq!(responded.statuses.len(), MAX_STATUSES + 1);
        assert_eq!(responded.statuses[0], (OTHER, 900 - MAX_STATUSES as u64));
        assert_eq!((responded.responses(), responded.errors, responded.error_rate(1)), (900, 100, 100.0));
    }

    #[test]
    fn what_is_neither_answered_nor_lost_is_in_flight() {
        let mut responded = Responded::default();
        responded.note(1, (kind(200), &Durations { unknown: 3, ..one(2) }), |_| 0.0);
        responded.note_outcome(&Outcome { unanswered: 2, lost: 1 });
        assert_eq!((responded.in_flight(10), responded.in_flight(5)), (3, 0));
        assert_eq!(responded.quantiles(1, [0.5]), [Some(0.000_375)]);
        assert_eq!(responded.quantiles(99, [0.5]), [None]);
    }

    proptest! {
        /// Adding sums gives what noting everything in one gives.
        #[test]
        fn sums_are_of_all(parts in prop::collection::vec(prop::collection::vec((1..9_u64, 200..230_u32, 0..BUCKETS), 0..20), 1..4)) {
            let note = |responded: &mut Responded, (tick, status, bucket): &(u64, u32, usize)| {
                responded.note(*tick, (kind(*status), &one(*bucket)), |errors| errors as f32);
            };
            let (mut sum, mut whole) = (Responded::default(), Responded::default());
            for part in &parts {
                let mut responded = Responded::default();
                part.iter().for_each(|event| note(&mut responded, event));
                sum.add(&responded);
            }
            let mut all: Vec<_> = parts.iter().flatten().collect();
            all.sort_unstable();
            all.into_iter().for_each(|event| note(&mut whole, event));
            prop_assert_eq!(sum, whole);
        }
    }
}
