//! The rates of the last minute, a ring of fixed size. PURE.

/// How many ticks a report repeats, so that a missed poll costs nothing.
pub const REPEATED_TICKS: usize = 3;

/// How many ticks are kept: a minute at one tick a second. Older ones are overwritten.
pub const LENGTH: usize = 60;

/// Requests per second at each of the last ticks.
///
/// `f32` has seven digits, more than a measured rate has, and halves what a thousand processes cost.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    samples: [f32; LENGTH],
    next: u8,
    length: u8,
}

impl Default for History {
    fn default() -> Self {
        Self { samples: [0.0; LENGTH], next: 0, length: 0 }
    }
}

impl History {
    /// Adds the newest rate (not negative), in place of the oldest one if the ring is full.
    pub fn push(&mut self, rate: f32) {
        self.samples[usize::from(self.next)] = rate;
        self.next = (self.next + 1) % LENGTH as u8;
        self.length = (self.length + 1).min(LENGTH as u8);
    }

    /// The newest rates, at most `count` of them, the oldest first.
    pub fn last(&self, count: usize) -> impl ExactSizeIterator<Item = f32> + DoubleEndedIterator + '_ {
        let count = count.min(self.len());
        let first = usize::from(self.next) + LENGTH - count;
        (0..count).map(move |index| self.samples[(first + index) % LENGTH])
    }

    /// The newest rate; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> f32 {
        self.last(1).next().unwrap_or(0.0)
    }

    /// The highest rate of the last minute.
    #[must_use]
    pub fn highest(&self) -> f32 {
        // Bits of floats that are not negative are ordered as integers, and a maximum of those is
        // found eight at a time; places not filled yet hold a zero.
        self.samples.iter().map(|rate| rate.to_bits()).max().map_or(0.0, f32::from_bits)
    }

    /// How many rates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Whether there is none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pushed: usize, asked: usize, expected: &[f32]) {
        let mut history = History::default();
        (0..pushed).for_each(|rate| history.push(rate as f32));
        assert_eq!(history.last(asked).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_newest_rates_oldest_first() {
        check(0, 3, &[]);
        check(1, 3, &[0.0]);
        check(2, 3, &[0.0, 1.0]);
        check(5, 3, &[2.0, 3.0, 4.0]);
        check(LENGTH, 2, &[58.0, 59.0]);
        check(LENGTH + 1, 2, &[59.0, 60.0]);
        check(10 * LENGTH + 3, 3, &[600.0, 601.0, 602.0]);
    }

    #[test]
    fn the_ring_forgets_what_is_older_than_a_minute() {
        let mut history = History::default();
        history.push(1e6);
        assert_eq!(history.highest(), 1e6);
        (0..LENGTH).for_each(|_| history.push(2.0));
        assert_eq!((history.len(), history.highest(), history.newest()), (LENGTH, 2.0, 2.0));
    }
}
