//! How long to wait before the API server is asked again. PURE.
//!
//! A node is to have current names within 10 s of a server that is ready, and 5 000 nodes that wait for one are no storm.

use crate::pods::news::Trouble;
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses grow from here to there, and each is up to twice as long, at random.
const LEAST: Duration = Duration::from_millis(800);
const MOST: Duration = Duration::from_secs(4);
/// A server that sheds load is left alone so many times longer.
const WHEN_THROTTLED: u32 = 4;
/// A version that is too old needs a new list and no patience; but other nodes need theirs at the same time.
const TOO_OLD: Duration = Duration::from_millis(1_500);

/// Those of one outage.
#[derive(Debug)]
pub struct Pauses {
    growing: ExponentialBackoff,
    was_too_old: bool,
}

impl Default for Pauses {
    fn default() -> Self {
        let growing = ExponentialBuilder::default().with_min_delay(LEAST).with_max_delay(MOST);
        Self { growing: growing.with_jitter().without_max_times().build(), was_too_old: false }
    }
}

impl Pauses {
    /// The one after this trouble; `None` is a version that is too old. Of two of those one after another the second is
    /// a server's that fails.
    pub fn after(&mut self, trouble: Option<Trouble>) -> Duration {
        let was_too_old = std::mem::replace(&mut self.was_too_old, trouble.is_none());
        if trouble.is_none() && !was_too_old {
            return part_of(TOO_OLD);
        }
        let pause = self.growing.next().unwrap_or(MOST);
        if trouble == Some(Trouble::Throttled) { pause * WHEN_THROTTLED } else { pause }
    }
}

/// Any part of it. The standard library's hashes are seeded at random: enough to spread, nothing more.
pub fn part_of(time: Duration) -> Duration {
    time.mul_f64((random() % 1_000) as f64 / 1_000.0)
}

/// A number that other processes do not have.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Option<Trouble> = Some(Trouble::Unreachable);
    const TEN_MINUTES: Duration = Duration::from_secs(600);

    /// How often a server is asked in ten minutes in which it fails so.
    fn asked(trouble: Option<Trouble>) -> usize {
        let (mut pauses, mut waited, mut times) = (Pauses::default(), Duration::ZERO, 0);
        while waited < TEN_MINUTES {
            waited += pauses.after(trouble);
            times += 1;
        }
        times
    }

    #[test]
    fn after_any_outage_names_are_asked_for_within_10_s() {
        let mut pauses = Pauses::default();
        for attempt in 0..1_000 {
            let pause = pauses.after(DOWN);
            // The server may be ready right after an attempt, and the next one finds that its version is too old.
            assert!(pause + TOO_OLD < Duration::from_secs(10), "{attempt}: {pause:?}");
        }
        assert!(pauses.after(None) <= TOO_OLD);
    }

    #[test]
    fn a_new_outage_begins_with_short_pauses() {
        for trouble in [DOWN, Some(Trouble::Forbidden), Some(Trouble::Garbage)] {
            assert!((LEAST..=2 * LEAST).contains(&Pauses::default().after(trouble)));
        }
    }

    #[test]
    fn a_server_that_fails_is_asked_now_and_then() {
        assert!((75..=155).contains(&asked(DOWN)), "{}", asked(DOWN));
        assert!((75..=155).contains(&asked(None)), "{}", asked(None));
        let throttled = asked(Some(Trouble::Throttled));
        assert!((18..=45).contains(&throttled), "{throttled}");
    }

    #[test]
    fn nodes_that_wait_for_the_same_server_are_spread() {
        let mut nodes: Vec<_> = (0..5_000).map(|_| Pauses::default()).collect();
        let mut last = Duration::ZERO;
        for round in 0..10 {
            let mut pauses: Vec<_> = nodes.iter_mut().map(|node| node.after(DOWN)).collect();
            pauses.sort_unstable();
            last = pauses[4_999] - pauses[0];
            let in_a_second = |from: &Duration| {
                pauses.iter().filter(|pause| **pause >= *from && **pause < *from + Duration::from_secs(1)).count()
            };
            let most = pauses.iter().step_by(100).map(in_a_second).max().unwrap();
            assert!(round < 3 || most < 1_600, "{round}: {most} in a second");
        }
        assert!(last > Duration::from_secs(3), "{last:?}");
    }
}
