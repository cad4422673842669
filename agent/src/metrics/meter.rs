//! Hands each tick to the metrics, and gives whoever scrapes the last one. EDGE.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::instruments::Instruments;
use super::render::{Facts, Observed, Scrape};
use super::server::Render;
use super::tally::{Grouping, Tally};
use crate::counting::snapshot::Snapshot;
use crate::pods::index::Pods;

/// How the watch on pods stands, and how it may.
pub type ApiServer = (&'static str, &'static [&'static str]);

/// Takes what each tick brings.
pub struct Meter {
    instruments: Instruments,
    last: Arc<Mutex<Last>>,
}

/// The state after the last tick. Held for as long as adding up takes, or copying the sums for a scrape.
struct Last {
    snapshot: Arc<Snapshot>,
    tally: Tally,
    pods: usize,
    refused_pods: u64,
}

impl Meter {
    /// Before the first tick.
    #[must_use]
    pub fn new(grouping: Grouping, before: Arc<Snapshot>, instruments: Instruments) -> Self {
        let last = Last { snapshot: before, tally: Tally::new(grouping), pods: 0, refused_pods: 0 };
        Self { instruments, last: Arc::new(Mutex::new(last)) }
    }

    /// What is observed whenever it is asked.
    pub fn observed(&self) -> impl Fn() -> Observed + Send + Sync + use<> {
        let last = Arc::clone(&self.last);
        move || {
            let Last { snapshot, tally, pods, refused_pods } = &*lock(&last);
            let (snapshot, totals) = (Arc::clone(snapshot), tally.totals().clone());
            Observed { snapshot, totals, pods: *pods, refused_pods: *refused_pods }
        }
    }

    /// Takes a tick; each must be given, in order.
    pub fn take(&mut self, snapshot: &Arc<Snapshot>, pods: &Pods) {
        let mut last = lock(&self.last);
        last.tally.take(snapshot, pods);
        last.snapshot = Arc::clone(snapshot);
        last.pods = pods.live();
        last.refused_pods = pods.refused();
    }

    /// Notes how long a tick took, this one's part included, whether it read anything or not.
    pub fn took(&self, duration: Duration) {
        self.instruments.ticks.observe(duration.as_secs_f64());
    }

    /// The metrics as they are whenever somebody asks.
    #[must_use]
    pub fn exposition(&self, facts: Facts, api_server: impl Fn() -> ApiServer + Send + Sync + 'static) -> Arc<Render> {
        let (facts, observed, instruments) = (Arc::new(facts), self.observed(), self.instruments.clone());
        Arc::new(move |format| {
            let scrape = Scrape {
                facts: Arc::clone(&facts),
                observed: Arc::new(observed()),
                instruments: instruments.clone(),
                api_server: api_server(),
            };
            let text = scrape.render(format);
            instruments.scrapes.inc();
            text
        })
    }
}

/// A panic while it was held ends the agent anyway.
fn lock(last: &Mutex<Last>) -> MutexGuard<'_, Last> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}
