//! The buckets of durations. PURE.

/// Upper bounds in nanoseconds: those that OpenTelemetry advises for `http.server.request.duration`, and five finer ones, since most
/// of a quick server's responses are within its first.
pub const BOUNDS_NS: [u64; 19] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// How many buckets there are: one behind the last bound.
pub const BUCKETS: usize = BOUNDS_NS.len() + 1;

/// Bounds are looked at a row at a time.
const ROW: usize = 5;
/// The bounds in rows, and one behind the last that no duration is above.
static ROWS_NS: [[u64; ROW]; BUCKETS / ROW] = rows();

const fn rows() -> [[u64; ROW]; BUCKETS / ROW] {
    let mut rows = [[u64::MAX >> 1; ROW]; BUCKETS / ROW];
    let mut index = 0;
    while index < BOUNDS_NS.len() {
        rows[index / ROW][index % ROW] = BOUNDS_NS[index];
        index += 1;
    }
    rows
}

/// The bucket of a duration (below 2^63 ns, which is 292 years): the first whose bound is not below it. Without a branch, of which the
/// verifier would follow both ways.
#[inline(always)]
#[must_use]
pub fn bucket(duration_ns: u64) -> u32 {
    let is_above = |bound: u64| (bound.wrapping_sub(duration_ns) >> 63) as u32;
    let above = |row: [u64; ROW]| row.into_iter().map(is_above).sum::<u32>();
    let row = is_above(BOUNDS_NS[ROW - 1]) + is_above(BOUNDS_NS[2 * ROW - 1]) + is_above(BOUNDS_NS[3 * ROW - 1]);
    ROWS_NS.get(row as usize).map_or(0, |bounds| ROW as u32 * row + above(*bounds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_belong_to_their_bucket() {
        for (index, bound) in BOUNDS_NS.into_iter().enumerate() {
            assert_eq!(bucket(bound) as usize, index);
            assert_eq!(bucket(bound + 1) as usize, index + 1);
        }
        assert_eq!(bucket(0), 0);
    }

    proptest! {
        #[test]
        fn a_bucket_is_what_a_search_finds(duration in 0..=u64::MAX >> 1) {
            prop_assert_eq!(bucket(duration) as usize, BOUNDS_NS.partition_point(|bound| *bound < duration));
        }
    }
}
