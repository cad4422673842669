//! What the live table shows of responses; as JSON on the plugin socket, too. PURE.

use std::collections::BTreeMap;

use common::duration::BOUNDS_NS;
use common::exchange::UNTOLD;
use serde::{Deserialize, Serialize};

use crate::counting::responded::{OTHER, Responded};
use crate::counting::responses::Durations;

/// Responses of a row, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answered {
    /// Since the agent began to count.
    pub responses: u64,
    /// Those of 5xx a second, at this tick.
    pub error_rate: f32,
    /// Seconds within which half of the responses of the last 15 s were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f32>,
    /// The same of 95 in 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f32>,
    /// The same of 99 in 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f32>,
    /// Responses by status; `unknown`, and `other` for those that found no room.
    pub statuses: BTreeMap<String, u64>,
    /// Responses by duration: those within each of [`bounds`], and at the end those beyond the last.
    pub buckets: Vec<u64>,
    /// All durations that are known, together.
    pub duration_sum: f64,
    /// Responses whose duration is not known.
    pub unknown_durations: u64,
}

/// Upper bounds of the buckets, in seconds.
#[must_use]
pub fn bounds() -> [f64; BOUNDS_NS.len()] {
    BOUNDS_NS.map(|bound| bound as f64 / 1e9)
}

impl Answered {
    /// As of this tick.
    #[must_use]
    pub fn new(responded: &Responded, now: u64) -> Self {
        let [p50, p95, p99] =
            responded.quantiles(now, [0.5, 0.95, 0.99]).map(|found| found.map(|seconds| seconds as f32));
        let Durations { buckets, sum_ns, unknown } = responded.durations;
        Self {
            responses: responded.responses(),
            error_rate: responded.error_rate(now),
            p50,
            p95,
            p99,
            statuses: responded.statuses.iter().map(|(status, count)| (name(*status), *count)).collect(),
            buckets: buckets.into(),
            duration_sum: sum_ns as f64 / 1e9,
            unknown_durations: unknown,
        }
    }
}

/// Which share of the durations of so many responses is not known, for people; `None` where all are.
#[must_use]
pub fn unknown_share(unknown_durations: u64, responses: u64) -> Option<String> {
    let percent = unknown_durations as f64 / responses.max(1) as f64 * 100.0;
    match percent {
        0.0 => None,
        ..0.01 => Some("less than 0.01%".to_owned()),
        _ => Some(format!("{percent:.2}%")),
    }
}

/// A status for people.
#[must_use]
pub fn name(status: u32) -> String {
    match status {
        UNTOLD => "unknown".to_owned(),
        OTHER => "other".to_owned(),
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_unknown_durations() {
        let share = unknown_share;
        assert_eq!(share(0, 0), None);
        assert_eq!(share(0, 5), None);
        assert_eq!(share(1, 3).as_deref(), Some("33.33%"));
        assert_eq!(share(1, 1_000_000).as_deref(), Some("less than 0.01%"));
        assert_eq!(share(5, 5).as_deref(), Some("100.00%"));
    }

    #[test]
    fn statuses_have_names() {
        assert_eq!([200, UNTOLD, OTHER].map(name), ["200", "unknown", "other"]);
    }
}
