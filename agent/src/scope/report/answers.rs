//! What nodes say of their responses: errors a second, a percentile, a table of statuses. PURE.

use std::cmp::Reverse;

use super::document::{Metric, Sample, rounded};
use super::render::Source;
use crate::counting::answered;
use crate::counting::quantile::BEYOND;
use crate::counting::responded::{OTHER, Responded};
use common::duration::BOUNDS_NS;

/// Rows of a node's table of statuses: the most frequent ones, and one for all others.
pub const MOST_STATUSES: usize = 12;

/// The percentile of durations that is reported.
const SHARE: f64 = 0.95;

/// Where the scales end on which all nodes of a topology are.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub errors: f32,
    pub milliseconds: f32,
}

impl Scale {
    /// Of nodes with these responses. Errors end at the most of any of them at the ticks that are told; durations at the bound above all of the
    /// machine's.
    pub fn new<'a>(source: &Source, nodes: impl Iterator<Item = &'a Responded>) -> Self {
        let now = source.snapshot.now;
        let errors = nodes.flat_map(|node| errors(node, now, source.dates.len())).fold(1.0, f32::max);
        let all = source.snapshot.responded.as_deref().map(|all| all.recent.buckets(now)).unwrap_or_default();
        let last = all.iter().rposition(|count| *count > 0).unwrap_or_default();
        let seconds = BOUNDS_NS.get(last).map_or(BEYOND, |bound| *bound as f64 / 1e9);
        Self { errors: rounded(errors), milliseconds: (seconds * 1e3) as f32 }
    }
}

/// Errors a second at the last ticks, the newest last.
pub fn errors(responded: &Responded, now: u64, ticks: usize) -> impl Iterator<Item = f32> {
    let first = (now + 1).saturating_sub(ticks as u64);
    (first..=now).map(|tick| responded.recent.errors(tick))
}

/// Milliseconds within which 95 in 100 responses of the last 15 s were; `None` where there was none.
pub fn milliseconds(responded: &Responded, now: u64) -> Option<f32> {
    let [seconds] = responded.quantiles(now, [SHARE]);
    seconds.map(|seconds| rounded((seconds * 1e3) as f32))
}

/// Rows of the table: statuses and how many responses had each.
pub fn statuses(responded: &Responded) -> Vec<(String, u64)> {
    let mut statuses = responded.statuses.clone();
    if statuses.len() > MOST_STATUSES {
        statuses.sort_unstable_by_key(|(status, count)| (*status == OTHER, Reverse(*count), *status));
        let others = statuses.split_off(MOST_STATUSES).into_iter().map(|(_, count)| count).sum();
        statuses.push((OTHER, others));
    }
    statuses.into_iter().map(|(status, count)| (answered::name(status), count)).collect()
}

/// The metrics of a sum: errors a second, and the percentile.
pub fn metrics(responded: &Responded, source: &Source, scale: Scale) -> [Option<Metric>; 2] {
    let (now, dates) = (source.snapshot.now, &source.dates);
    let samples = dates.iter().zip(errors(responded, now, dates.len()));
    let samples = samples.map(|(date, value)| Sample { date: date.clone(), value: rounded(value) }).collect();
    let errors = Metric { samples, min: 0.0, max: scale.errors };
    let newest = milliseconds(responded, now).zip(dates.last());
    let percentile = newest.map(|(value, date)| {
        let samples = vec![Sample { date: date.clone(), value }];
        Metric { samples, min: 0.0, max: scale.milliseconds }
    });
    [Some(errors), percentile]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_most_frequent_statuses() {
        let mut responded = Responded { statuses: vec![(200, 7), (500, 1)], ..Responded::default() };
        assert_eq!(statuses(&responded), [("200".to_owned(), 7), ("500".to_owned(), 1)]);
        responded.statuses = (0..40).map(|n| (if n == 0 { OTHER } else { 200 + n }, u64::from(n) + 1)).collect();
        let rows = statuses(&responded);
        assert_eq!(rows.len(), MOST_STATUSES + 1);
        assert_eq!(rows[0], ("239".to_owned(), 40));
        let others: u64 = (1..=40 - MOST_STATUSES as u64).sum();
        assert_eq!(rows[MOST_STATUSES], ("other".to_owned(), others));
    }
}
