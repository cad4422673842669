//! Ticks with paused time: no test waits. EDGE (tokio), without kernel, /proc or sockets.
#[path = "../tests/played/mod.rs"]
mod played;

use super::*;
use crate::counting::counts::ProcessCounts;
use crate::counting::identity::Identity;
use crate::counting::plaintext::Reading;
use crate::counting::rates::Looked;
use crate::counting::responses::count;
use crate::counting::tick::{Clock, TICK};
use crate::health::Question;
use crate::metrics::Observed;
use crate::metrics::labels::Grouping;
use common::maps::ProcessKey;
use jiff::Timestamp;
use played::Steady;
use std::collections::BTreeMap;

struct Immortal;

impl Processes for Immortal {
    fn ended(&mut self) -> Vec<ProcessKey> {
        Vec::new()
    }
    fn forget(&mut self, _given_up: &[ProcessKey]) {}
    fn track(&mut self, process: &ProcessCounts) -> Looked {
        Identity::from_counts(process).into()
    }
    fn unreadable(&self) -> u64 {
        0
    }
}

/// Tokio's clock, which a test holds still and moves.
struct Paused(Instant);

impl Clock for Paused {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.monotonic()
    }
}

struct Sampling {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    pulse: watch::Receiver<Pulse>,
    trigger: shutdown::Trigger,
    task: tokio::task::JoinHandle<(Sampler<Steady, Immortal, Paused>, Outlets)>,
}

fn sampling() -> Sampling {
    sampling_with(None)
}

fn sampling_with(meter: Option<Meter>) -> Sampling {
    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::empty("host".into())));
    let (trigger, shutdown) = shutdown::channel();
    let sampler = Sampler::new(Steady::of(1), Immortal, Paused(Instant::now()), "host".into());
    let (beat, pulse) = watch::channel(Pulse::new());
    let (_, pods) = watch::channel(Pods::default());
    let (pod_state, _) = watch::channel(State::default());
    let first = Instant::now() + TICK;
    let task = tokio::spawn(sample(
        sampler,
        Outlets { publish, beat, meter, pod_state, looking: Looking::none(Reading::Off) },
        pods,
        (shutdown, first),
    ));
    Sampling { snapshots, pulse, trigger, task }
}

impl Sampling {
    /// Waits for the next tick and gives its number, rate and total.
    async fn next(&mut self) -> (u64, f32, u64) {
        self.snapshots.changed().await.unwrap();
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        (snapshot.sequence, snapshot.rate, requests(&snapshot.totals))
    }
}

#[tokio::test(start_paused = true)]
async fn a_tick_each_second() {
    let started = Instant::now();
    let mut sampling = sampling();
    for number in 1..=5 {
        let (sequence, rate, total) = sampling.next().await;
        assert_eq!((sequence, total), (number, number * 10));
        assert!((rate - 10.0).abs() < 0.1, "{rate}");
    }
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_tick_makes_the_agent_ready() {
    let mut sampling = sampling();
    let ready = |sampling: &Sampling| sampling.pulse.borrow().complaint(Question::Ready, None);
    assert_eq!(ready(&sampling).as_deref(), Some("no counts from the kernel yet"));
    sampling.next().await;
    assert_eq!(ready(&sampling), None);
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_there_is_one_tick_over_all_of_it_and_none_bunch() {
    let mut sampling = sampling();
    sampling.next().await;
    let stopped = Instant::now();
    tokio::time::advance(Duration::from_secs(60)).await;
    let (_, rate, _) = sampling.next().await;
    assert!((rate - 10.0 / 60.0).abs() < 0.01, "{rate}");
    assert_eq!(stopped.elapsed().as_secs(), 60);
    let (_, rate, _) = sampling.next().await;
    assert!((rate - 10.0).abs() < 0.1, "{rate}");
    assert_eq!(stopped.elapsed().as_secs(), 61);
}

#[tokio::test(start_paused = true)]
async fn shutdown_makes_a_last_tick_so_that_totals_are_whole() {
    let mut sampling = sampling();
    sampling.next().await;
    sampling.trigger.pull();
    let (sequence, _, total) = sampling.next().await;
    assert_eq!((sequence, total), (2, 20));
    sampling.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn metrics_have_each_tick_and_the_last_one() {
    let before = Arc::new(Snapshot::empty("host".into()));
    let meter = Meter::new(Grouping::Process, before, Instruments::default());
    let observed = meter.observed();
    let mut sampling = sampling_with(Some(meter));
    let counted = || {
        let observed = observed();
        let series = observed.totals.requests.series.values().map(|series| requests(&series.counts));
        (observed.snapshot.sequence, series.sum::<u64>())
    };
    assert_eq!(counted(), (0, 0));
    for number in 1..=3 {
        sampling.next().await;
        assert_eq!(counted(), (number, number * 10));
    }
    sampling.trigger.pull();
    sampling.task.await.unwrap();
    assert_eq!(counted(), (4, 40));
    let Observed { snapshot, totals, .. } = observed();
    // One of the last requests is in flight; what is answered is in a series of its status.
    assert_eq!(snapshot.responded.as_ref().map(|all| (all.responses(), all.in_flight(40))), Some((39, 1)));
    let statuses = totals.responses.series.iter().map(|(labels, series)| (labels.status, count(&series.counts)));
    assert_eq!(statuses.collect::<BTreeMap<_, _>>(), BTreeMap::from([(200, 35), (503, 4)]));
}
