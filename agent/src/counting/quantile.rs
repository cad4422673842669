//! Percentiles of durations that are known by bucket. PURE.

use common::duration::{BOUNDS_NS, BUCKETS};

/// Of what no bound is above, no more is known than that it was above the last one.
pub const BEYOND: f64 = seconds(BOUNDS_NS[BOUNDS_NS.len() - 1]);

/// Seconds within which this share of the responses was (0.95: the 95th percentile), as `histogram_quantile` of Prometheus
/// finds it: between a bucket's bounds they are taken to be spread evenly, and where it is the last one, the result is its
/// lower bound, [`BEYOND`]. `None` where there was no response.
#[must_use]
pub fn quantile(share: f64, buckets: &[u64; BUCKETS]) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = share.clamp(0.0, 1.0) * total as f64;
    let mut below = 0;
    let mut lower = 0.0;
    for (bound, count) in BOUNDS_NS.into_iter().zip(*buckets) {
        let upper = seconds(bound);
        if count > 0 && (below + count) as f64 >= rank {
            return Some(lower + (upper - lower) * ((rank - below as f64) / count as f64));
        }
        below += count;
        lower = upper;
    }
    Some(BEYOND)
}

const fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::duration::bucket;
    use proptest::prelude::*;

    fn of(durations_ns: &[u64]) -> [u64; BUCKETS] {
        let mut buckets = [0; BUCKETS];
        durations_ns.iter().for_each(|duration| buckets[bucket(*duration) as usize] += 1);
        buckets
    }

    #[track_caller]
    fn check(share: f64, durations_ns: &[u64], expected: Option<f64>) {
        assert_eq!(quantile(share, &of(durations_ns)), expected, "{share} of {durations_ns:?}");
    }

    /// By hand, after what `histogram_quantile` documents.
    #[test]
    fn as_prometheus_interpolates() {
        check(0.95, &[], None);
        check(0.5, &[1], Some(0.000_05));
        check(1.0, &[1], Some(0.000_1));
        check(0.5, &[2_000_000; 4], Some(0.001_75));
        check(0.5, &[1, 2_000_000], Some(0.000_1));
        check(0.75, &[1, 2_000_000], Some(0.001_75));
        check(0.99, &[11_000_000_000], Some(BEYOND));
        check(0.5, &[1, 11_000_000_000], Some(0.000_1));
    }

    proptest! {
        /// It lies in the bucket of the duration that a sorted list has at that place.
        #[test]
        fn it_is_in_the_right_bucket(mut durations in prop::collection::vec(1..9_000_000_000_u64, 1..200), share in 0.001..=1.0) {
            durations.sort_unstable();
            let place = f64::ceil(share * durations.len() as f64) as usize;
            let exact = bucket(durations[place.clamp(1, durations.len()) - 1]) as usize;
            let found = quantile(share, &of(&durations)).unwrap();
            let lower = if exact == 0 { 0.0 } else { seconds(BOUNDS_NS[exact - 1]) };
            prop_assert!(found >= lower && found <= seconds(BOUNDS_NS[exact]), "{found} is not in bucket {exact}");
        }

        /// A larger share never takes less.
        #[test]
        fn it_grows_with_the_share(buckets in prop::array::uniform20(0..1000_u64), a in 0.0..=1.0, b in 0.0..=1.0) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(quantile(low, &buckets) <= quantile(high, &buckets));
            prop_assert!(quantile(high, &buckets).is_none_or(|found| (0.0..=BEYOND).contains(&found)));
        }
    }
}
