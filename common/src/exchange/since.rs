//! Times in 32 bits: how long after a base. PURE.

/// They are kept in units of 1024 ns. Base and time are cut off to whole units before one is taken from the other, so that what was kept
/// here and is kept again, after another base, is not cut off twice.
const UNIT: u32 = 10;
/// The time is not known.
const UNKNOWN: u32 = u32::MAX;

/// How long after the base a time is. Not known of one in a unit before it, nor from 73 minutes behind it on.
#[inline(always)]
pub(super) const fn since(base_ns: u64, time_ns: u64) -> u32 {
    let since = (time_ns >> UNIT).wrapping_sub(base_ns >> UNIT);
    if since < UNKNOWN as u64 { since as u32 } else { UNKNOWN }
}

/// The time that was so long after the base, at most 1023 ns too early: the base itself where it was in the same unit. 0: not known.
#[inline(always)]
pub(super) const fn time_ns(base_ns: u64, since: u32) -> u64 {
    let unit = (base_ns >> UNIT).wrapping_add(since as u64) << UNIT;
    // Of the base's unit what the base has of it, of others nothing: without a branch, of which the verifier would follow both ways.
    let rest = base_ns & (since as u64).wrapping_sub(1) >> (u64::BITS - UNIT);
    if since == UNKNOWN { 0 } else { unit | rest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first time that is not known any more, where the base is in the unit of 0.
    const BEYOND: u64 = (UNKNOWN as u64) << UNIT;

    #[test]
    fn what_is_known_of_times() {
        let rows: &[(u64, u64, u64)] = &[
            // base, time, what is known of it
            (5000, 5000, 5000),
            (5000, 5119, 5000),
            (5000, 5120, 5120),
            (5000, 6143, 5120),
            (5000, 6144, 6144),
            (5000, 4999, 5000),
            (5000, 4095, 0),
            (0, BEYOND - 1, BEYOND - 1024),
            (0, BEYOND, 0),
            (1023, BEYOND - 1, BEYOND - 1024),
            (1023, BEYOND, 0),
            (0, u64::MAX, 0),
            // What is not known stays so.
            (5000, 0, 0),
            (0, 0, 0),
        ];
        for &(base_ns, time, known) in rows {
            assert_eq!(time_ns(base_ns, since(base_ns, time)), known, "{time} since {base_ns}");
        }
    }

    proptest! {
        /// From one base to the next, as from an inbox to what waits.
        #[test]
        fn cut_off_once(first in 1_u64..1 << 62, earlier in 0_u64..1 << 40, later in 0_u64..1 << 40) {
            let time = first + later;
            let once = time_ns(first, since(first, time));
            prop_assert!(once <= time && time - once < 1 << UNIT);
            let base = first.saturating_sub(earlier).max(1);
            let twice = time_ns(base, since(base, once));
            prop_assert!(twice <= time && time - twice < 1 << UNIT, "{twice} of {once} of {time}");
        }
    }
}
