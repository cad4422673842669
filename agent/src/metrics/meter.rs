//! Hands each tick to the metrics, and gives whoever scrapes the last one. EDGE.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::instruments::Instruments;
use super::render::{Facts, Observed, Scrape};
use super::server::Render;
use super::tally::{Grouping, Tally};
use crate::pods::Pods;
use crate::snapshot::Snapshot;

/// How the watch on pods stands, and how it may.
pub type ApiServer = (&'static str, &'static [&'static str]);

/// Takes what each tick brings.
pub struct Meter {
    tally: Tally,
    instruments: Instruments,
    publish: watch::Sender<Arc<Observed>>,
}

impl Meter {
    /// Before the first tick.
    #[must_use]
    pub fn new(grouping: Grouping, before: Arc<Snapshot>, instruments: Instruments) -> Self {
        let tally = Tally::new(grouping);
        let observed = Observed { snapshot: before, totals: tally.totals().clone(), pods: 0, refused_pods: 0 };
        Self { tally, instruments, publish: watch::Sender::new(Arc::new(observed)) }
    }

    /// What is observed from now on.
    #[must_use]
    pub fn observed(&self) -> watch::Receiver<Arc<Observed>> {
        self.publish.subscribe()
    }

    /// Takes a tick; each must be given, in order.
    pub fn take(&mut self, snapshot: &Arc<Snapshot>, pods: &Pods) {
        self.tally.take(snapshot);
        self.publish.send_replace(Arc::new(Observed {
            snapshot: Arc::clone(snapshot),
            totals: self.tally.totals().clone(),
            pods: pods.live(),
            refused_pods: pods.refused(),
        }));
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
                observed: Arc::clone(&observed.borrow()),
                instruments: instruments.clone(),
                api_server: api_server(),
            };
            let text = scrape.render(format);
            instruments.scrapes.inc();
            text
        })
    }
}
