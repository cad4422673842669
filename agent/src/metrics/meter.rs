//! Hands each tick to the metrics, and gives whoever scrapes the last one. EDGE.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::format::Format;
use super::instruments::Instruments;
use super::labels::Grouping;
use super::render::{Facts, Observed, Scrape};
use super::server::Render;
use super::tally::{CarriedMeter, Tally};
use crate::counting::snapshot::Snapshot;
use crate::counting::tick::TICK;
use crate::pods::index::Pods;

/// How the watch on pods stands, and how it may.
pub type ApiServer = (&'static str, &'static [&'static str]);

/// Takes what each tick brings.
pub struct Meter {
    instruments: Instruments,
    last: Arc<Mutex<Last>>,
}

/// The state after the last tick. A scrape holds it for no longer than it takes to share it: a tick never waits for a
/// client.
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

    /// Goes on where another agent's ended.
    #[must_use]
    pub fn resumed(self, carried: CarriedMeter) -> Self {
        self.instruments.resume(carried.noted);
        lock(&self.last).tally.resume(carried.tally);
        self
    }

    /// What another agent goes on with.
    #[must_use]
    pub fn carried(&self) -> CarriedMeter {
        CarriedMeter { tally: lock(&self.last).tally.carried(), noted: self.instruments.noted() }
    }

    /// What is observed whenever it is asked.
    pub fn observed(&self) -> impl Fn() -> Observed + Send + Sync + use<> {
        let last = Arc::clone(&self.last);
        move || {
            let Last { snapshot, tally, pods, refused_pods } = &*lock(&last);
            let (snapshot, totals) = (Arc::clone(snapshot), Arc::clone(tally.totals()));
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

    /// The metrics as they were at the last tick. Whoever asks again before the next gets the same text.
    #[must_use]
    pub fn exposition(&self, facts: Facts, api_server: impl Fn() -> ApiServer + Send + Sync + 'static) -> Arc<Render> {
        let (facts, observed, instruments) = (Arc::new(facts), self.observed(), self.instruments.clone());
        let kept = Mutex::new(Vec::new());
        Arc::new(move |format| {
            let observed = observed();
            let mut kept = lock(&kept);
            // Where the kernel cannot be read there are no ticks, and the text still changes.
            kept.retain(|text: &Text| text.tick == observed.snapshot.sequence && text.rendered.elapsed() < TICK);
            let bytes = kept.iter().find(|text| text.format == format).map(|text| text.bytes.clone());
            let bytes = bytes.unwrap_or_else(|| {
                let (tick, rendered) = (observed.snapshot.sequence, Instant::now());
                let scrape = Scrape {
                    facts: Arc::clone(&facts),
                    observed: Arc::new(observed),
                    instruments: instruments.clone(),
                    api_server: api_server(),
                };
                let bytes = Bytes::from(scrape.render(format));
                kept.push(Text { tick, format, rendered, bytes: bytes.clone() });
                bytes
            });
            instruments.scrapes.inc();
            bytes
        })
    }
}

/// The metrics, rendered.
struct Text {
    tick: u64,
    format: Format,
    rendered: Instant,
    bytes: Bytes,
}

/// A panic while it was held ends the agent anyway.
fn lock<T>(last: &Mutex<T>) -> MutexGuard<'_, T> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::responses::Counted;
    use crate::counting::snapshot::tests_support::{process, snapshot};

    #[test]
    fn the_text_is_rendered_once_a_tick_and_format() {
        let instruments = Instruments::default();
        let mut meter = Meter::new(Grouping::Container, Arc::new(snapshot(vec![])), instruments.clone());
        let facts = Facts {
            node: None,
            kernel: "6.18".into(),
            probe: "probe".into(),
            started: jiff::Timestamp::UNIX_EPOCH,
            counted: Counted::At("hook".into()),
            max_processes: 1,
            started_from: ("nothing", &["nothing"]),
            handovers: 0,
        };
        let render = meter.exposition(facts, || ("off", &["off"]));
        let tick = |sequence, requests| {
            let state = snapshot(vec![process(1, &[1.0], requests)]);
            Arc::new(Snapshot { sequence, ..state })
        };
        meter.take(&tick(1, 5), &Pods::default());
        let (first, begun) = (render(Format::Prometheus), Instant::now());
        let again = render(Format::Prometheus);
        // Unless the machine stood still for a second in between, the same bytes, not only equal ones.
        assert!(again.as_ptr() == first.as_ptr() || begun.elapsed() >= TICK);
        assert_ne!(render(Format::OpenMetrics), first);
        meter.take(&tick(2, 2), &Pods::default());
        let text = String::from_utf8(render(Format::Prometheus).to_vec()).unwrap();
        assert!(text.contains("scope_http_requests_total{network_protocol_version=\"1.1\"} 7"), "{text}");
        assert_eq!(instruments.scrapes.get(), 4);
        // Nobody holds what a tick adds to.
        assert_eq!(Arc::strong_count(lock(&meter.last).tally.totals()), 1);
    }
}
