//! How long the responses of the last ticks took, and how many of them failed, a ring of fixed size. PURE.

use std::collections::VecDeque;

use common::duration::BUCKETS;
use serde::{Deserialize, Serialize};

/// How many ticks percentiles are of: 15 s at one tick a second, as long as the window that Scope shows.
pub const WINDOW_TICKS: u64 = 15;

/// The last ticks. One without a response needs not be noted, so what is idle costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// In ascending order, and no two further apart than the window: at most as many as it has ticks.
    ticks: VecDeque<Tick>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tick {
    number: u64,
    /// Responses by duration.
    buckets: [u32; BUCKETS],
    /// Errors a second.
    errors: f32,
}

impl Recent {
    /// Adds what a tick brought, that one which was noted last or a later one.
    pub fn note(&mut self, number: u64, buckets: &[u64; BUCKETS], errors: f32) {
        // Four billions between two ticks are more than a machine answers.
        self.add_tick(&Tick { number, buckets: buckets.map(|count| u32::try_from(count).unwrap_or(u32::MAX)), errors });
    }

    /// Adds what others answered at the same ticks.
    pub fn add(&mut self, other: &Self) {
        other.ticks.iter().for_each(|tick| self.add_tick(tick));
    }

    /// Responses of the window that ends now, by duration.
    #[must_use]
    pub fn buckets(&self, now: u64) -> [u64; BUCKETS] {
        let mut sums = [0; BUCKETS];
        for tick in self.ticks.iter().filter(|tick| tick.number + WINDOW_TICKS > now) {
            sums.iter_mut().zip(tick.buckets).for_each(|(sum, count)| *sum += u64::from(count));
        }
        sums
    }

    /// Errors a second at one tick.
    #[must_use]
    pub fn errors(&self, number: u64) -> f32 {
        self.ticks.iter().rev().find(|tick| tick.number == number).map_or(0.0, |tick| tick.errors)
    }

    fn add_tick(&mut self, more: &Tick) {
        let newest = self.ticks.back().map_or(0, |tick| tick.number).max(more.number);
        while self.ticks.front().is_some_and(|tick| tick.number + WINDOW_TICKS <= newest) {
            self.ticks.pop_front();
        }
        if more.number + WINDOW_TICKS <= newest {
            return;
        }
        match self.ticks.binary_search_by_key(&more.number, |tick| tick.number) {
            Ok(place) => {
                let tick = &mut self.ticks[place];
                tick.errors += more.errors;
                for (sum, count) in tick.buckets.iter_mut().zip(more.buckets) {
                    *sum = sum.saturating_add(count);
                }
            }
            Err(place) => self.ticks.insert(place, more.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(bucket: usize) -> [u64; BUCKETS] {
        std::array::from_fn(|index| u64::from(index == bucket))
    }

    #[test]
    fn what_is_older_than_the_window_is_not_in_it() {
        let mut recent = Recent::default();
        recent.note(1, &one(3), 2.0);
        recent.note(1, &one(3), 0.5);
        assert_eq!((recent.errors(1), recent.errors(2)), (2.5, 0.0));
        assert_eq!((recent.buckets(WINDOW_TICKS)[3], recent.buckets(WINDOW_TICKS + 1)[3]), (2, 0));
        recent.note(WINDOW_TICKS + 1, &one(4), 0.0);
        assert_eq!(recent.ticks.len(), 1);
    }

    proptest! {
        /// Whatever is added in whatever order, it is what a list of everything gives, and the bound holds.
        #[test]
        fn it_is_what_a_list_gives(parts in prop::collection::vec(prop::collection::vec((1..60_u64, 0..BUCKETS), 0..40), 1..4)) {
            let mut sum = Recent::default();
            for part in &parts {
                let mut ordered = part.clone();
                ordered.sort_unstable();
                let mut recent = Recent::default();
                ordered.iter().for_each(|(tick, bucket)| recent.note(*tick, &one(*bucket), 1.0));
                sum.add(&recent);
            }
            prop_assert!(sum.ticks.len() <= WINDOW_TICKS as usize);
            let now = parts.iter().flatten().map(|(tick, _)| *tick).max().unwrap_or(1);
            let in_window = |tick: u64| tick + WINDOW_TICKS > now;
            let mut expected = [0; BUCKETS];
            parts.iter().flatten().filter(|(tick, _)| in_window(*tick)).for_each(|(_, bucket)| expected[*bucket] += 1);
            prop_assert_eq!(sum.buckets(now), expected);
            let errors = parts.iter().flatten().filter(|(tick, _)| *tick == now).count();
            prop_assert_eq!(sum.errors(now), errors as f32);
        }
    }
}
