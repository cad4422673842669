//! The rates of the last minute, a ring of fixed size. PURE.

use serde::{Deserialize, Serialize};

use crate::counting::carried;

/// How many ticks a report repeats, so that a missed poll costs nothing.
pub const REPEATED_TICKS: usize = 3;

/// How many ticks are kept: a minute at one tick a second. Older ones are overwritten.
pub const LENGTH: usize = 60;

/// Requests per second at each of the last ticks, which are numbered.
///
/// A tick without a request needs not be noted: every question names the present one, and where nothing was noted the
/// rate was 0. So what is idle costs nothing.
///
/// `f32` has seven digits, more than a measured rate has, and halves what a thousand processes cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The rate at tick `n` is at `n % LENGTH`.
    #[serde(with = "carried::rates")]
    samples: [f32; LENGTH],
    /// The last tick noted.
    noted: u64,
    /// How many ticks there were up to that one.
    length: u8,
}

impl Default for History {
    fn default() -> Self {
        Self { samples: [0.0; LENGTH], noted: 0, length: 0 }
    }
}

impl History {
    /// Notes the rate (not negative) at a tick later than all noted before.
    pub fn note(&mut self, tick: u64, rate: f32) {
        if self.length > 0 {
            (self.noted + 1..tick).take(LENGTH).for_each(|quiet| self.samples[place(quiet)] = 0.0);
            self.length = self.len(tick) as u8;
        } else {
            self.length = 1;
        }
        self.samples[place(tick)] = rate;
        self.noted = tick;
    }

    /// The newest rates, at most `count` of them, the oldest first.
    pub fn last(&self, now: u64, count: usize) -> impl ExactSizeIterator<Item = f32> + DoubleEndedIterator + '_ {
        let count = count.min(self.len(now));
        let first = now + 1 - count as u64;
        (0..count).map(move |index| self.at(first + index as u64))
    }

    /// The newest rate; 0 before the first.
    #[must_use]
    pub fn newest(&self, now: u64) -> f32 {
        self.at(now)
    }

    /// The highest rate of the last minute.
    #[must_use]
    pub fn highest(&self, now: u64) -> f32 {
        // Bits of floats that are not negative are ordered as integers, and a maximum of those is
        // found eight at a time; places not filled yet hold a zero.
        let bits = match now - self.noted {
            0 => self.samples.iter().map(|rate| rate.to_bits()).max(),
            quiet if quiet >= LENGTH as u64 => None,
            _ => self.last(now, LENGTH).map(f32::to_bits).max(),
        };
        bits.map_or(0.0, f32::from_bits)
    }

    /// How many rates there are.
    #[must_use]
    pub fn len(&self, now: u64) -> usize {
        let quiet = if self.length > 0 { now - self.noted } else { 0 };
        (u64::from(self.length) + quiet).min(LENGTH as u64) as usize
    }

    /// Whether it has rates of later ticks than this one.
    #[must_use]
    pub fn is_later_than(&self, now: u64) -> bool {
        self.noted > now || usize::from(self.length) > LENGTH
    }

    /// Whether there is none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The rate at one of the last `LENGTH` ticks.
    fn at(&self, tick: u64) -> f32 {
        if tick > self.noted { 0.0 } else { self.samples[place(tick)] }
    }
}

/// Adds rates, the newest first, to a sum of others that may be shorter.
pub fn add_newest_first(sum: &mut Vec<f32>, rates: impl Iterator<Item = f32>) {
    for (index, rate) in rates.enumerate() {
        match sum.get_mut(index) {
            Some(sum) => *sum += rate,
            None => sum.push(rate),
        }
    }
}

fn place(tick: u64) -> usize {
    (tick % LENGTH as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes these rates at ticks from 1 on, and asks after as many more without one.
    #[track_caller]
    fn check(noted: u64, quiet: u64, asked: usize, expected: &[f32]) {
        let mut history = History::default();
        (1..=noted).for_each(|tick| history.note(tick, tick as f32));
        let now = noted + quiet;
        assert_eq!(history.last(now, asked).collect::<Vec<_>>(), expected);
        assert_eq!(history.newest(now), expected.last().copied().unwrap_or_default());
    }

    #[test]
    fn the_newest_rates_oldest_first() {
        check(0, 0, 3, &[]);
        check(0, 9, 3, &[]);
        check(1, 0, 3, &[1.0]);
        check(2, 0, 3, &[1.0, 2.0]);
        check(5, 0, 3, &[3.0, 4.0, 5.0]);
        let length = LENGTH as u64;
        check(length, 0, 2, &[59.0, 60.0]);
        check(length + 1, 0, 2, &[60.0, 61.0]);
        check(10 * length + 3, 0, 3, &[601.0, 602.0, 603.0]);
        check(2, 1, 9, &[1.0, 2.0, 0.0]);
        check(2, 2, 3, &[2.0, 0.0, 0.0]);
        check(length, length - 1, LENGTH, &[&[60.0][..], &[0.0; LENGTH - 1]].concat());
        check(length, 10 * length, 2, &[0.0, 0.0]);
    }

    #[test]
    fn the_ring_forgets_what_is_older_than_a_minute() {
        let length = LENGTH as u64;
        let mut history = History::default();
        history.note(1, 1e6);
        assert_eq!((history.highest(1), history.highest(length), history.highest(length + 1)), (1e6, 1e6, 0.0));
        (2..length + 2).for_each(|tick| history.note(tick, 2.0));
        let now = length + 1;
        assert_eq!((history.len(now), history.highest(now), history.newest(now)), (LENGTH, 2.0, 2.0));
    }

    proptest::proptest! {
        /// Whether a tick without a request is noted makes no difference, after any pause.
        #[test]
        fn what_is_not_noted_is_zero(rates in proptest::collection::vec(proptest::option::weighted(0.1, 1_u8..9), 1..200)) {
            let (mut sparse, mut dense) = (History::default(), History::default());
            for (rate, tick) in rates.iter().zip(1..) {
                let rate = rate.map(f32::from);
                if rate.is_some() || tick == 1 {
                    sparse.note(tick, rate.unwrap_or_default());
                }
                dense.note(tick, rate.unwrap_or_default());
                let all = |history: &History| history.last(tick, LENGTH).collect::<Vec<_>>();
                proptest::prop_assert_eq!(all(&sparse), all(&dense));
                proptest::prop_assert_eq!(sparse.highest(tick), dense.highest(tick));
            }
        }
    }
}
