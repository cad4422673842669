//! What the agent's parts note of themselves: atomics, without I/O. PURE.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use serde::{Deserialize, Serialize};

/// Shared by whoever notes and whoever renders; a clone is the same instruments.
#[derive(Clone, Debug)]
pub struct Instruments {
    /// Seconds that each tick took.
    pub ticks: Histogram,
    /// Seconds that rendering each report took.
    pub reports: Histogram,
    /// Bytes of the last report.
    pub report_bytes: Gauge<u64, AtomicU64>,
    /// Nodes that found no room in the last report.
    pub left_out: Gauge<u64, AtomicU64>,
    /// Reports that Scope asked for.
    pub scope_polls: Counter,
    /// Reports on which Scope hung up.
    pub scope_hangups: Counter,
    /// Scrapes of the metrics.
    pub scrapes: Counter,
}

/// What of it is handed to the next agent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Noted {
    scope_polls: u64,
    scope_hangups: u64,
    scrapes: u64,
}

impl Instruments {
    /// What another agent goes on with. Histograms and gauges begin anew.
    #[must_use]
    pub fn noted(&self) -> Noted {
        let (scope_polls, scope_hangups) = (self.scope_polls.get(), self.scope_hangups.get());
        Noted { scope_polls, scope_hangups, scrapes: self.scrapes.get() }
    }

    /// Goes on where another agent's ended.
    pub fn resume(&self, noted: Noted) {
        self.scope_polls.inc_by(noted.scope_polls);
        self.scope_hangups.inc_by(noted.scope_hangups);
        self.scrapes.inc_by(noted.scrapes);
    }
}

impl Default for Instruments {
    /// From 0.25 ms, what an idle tick takes, to 2 s, twice the time between two ticks.
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_25, 2.0, 14));
        Self {
            ticks: seconds(),
            reports: seconds(),
            report_bytes: Gauge::default(),
            left_out: Gauge::default(),
            scope_polls: Counter::default(),
            scope_hangups: Counter::default(),
            scrapes: Counter::default(),
        }
    }
}
