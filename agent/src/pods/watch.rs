//! The one watch on this node's pods: fills [`Pods`], never gives up, never holds anything up. EDGE.

use crate::pods::index::{Pod, Pods};
pub use crate::pods::news::State;
use crate::pods::object::PodObject;
use crate::pods::pauses::{Pauses, part_of, random};
use crate::pods::trouble::{self, Report, Talk, Trouble};
use futures_util::StreamExt;
use hyper::Response;
use kube::client::ClientBuilder;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tower::limit::RateLimitLayer;
use tower::util::MapResponseLayer;

/// A list or a first answer that takes longer is reported; the request itself goes on.
pub const SLOW_AFTER: Duration = Duration::from_secs(30);
/// After trouble the watch works when it was answered and nothing failed for so long: a version that is too old comes as
/// its first event, and a role may allow the list and not the watch.
pub const WELL_AFTER: Duration = Duration::from_millis(500);
/// No way to the server is an error after so long. A server that comes up meanwhile answers the system's next attempt.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How often deleted pods are looked through for those to forget.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Nodes start and resume their watches at times of their own, or thousands would march in step.
const START_DELAY_MAX: Duration = Duration::from_secs(3);
/// At most this many requests in this time, whatever the server does.
const REQUESTS_MAX: u64 = 5;
const REQUESTS_PER: Duration = Duration::from_secs(10);
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 200..=290;

/// When to ask.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause before the first list.
    pub start_delay: Duration,
    /// After how many seconds the server ends a watch, which is then resumed.
    pub watch_seconds: u32,
    /// A list that takes longer is reported.
    pub slow_after: Duration,
    /// A watch that has not failed for so long after it was answered works.
    pub well_after: Duration,
}

impl Pace {
    /// A pace of this process's own.
    pub fn random() -> Self {
        let span = u64::from(WATCH_SECONDS.end() - WATCH_SECONDS.start()) + 1;
        let spread = u32::try_from(random() % span).unwrap_or_default();
        Self {
            start_delay: part_of(START_DELAY_MAX),
            watch_seconds: WATCH_SECONDS.start() + spread,
            slow_after: SLOW_AFTER,
            well_after: WELL_AFTER,
        }
    }
}

/// Watches the pods of `node` until it is dropped. Publishes them, and how the watch stands.
pub async fn run(config: Config, node: String, pace: Pace, pods: watch::Sender<Pods>, state: watch::Sender<State>) {
    let mut watch = PodWatch {
        pace,
        selector: selector(&node, pace),
        node,
        started: Instant::now(),
        pauses: Pauses::default(),
        talk: Talk::default(),
        pods,
        state,
        has_listed: false,
        listing: true,
        fresh: Vec::new(),
        is_unproven: false,
        answered: Arc::default(),
        was_answered: false,
    };
    sleep(pace.start_delay).await;
    loop {
        match watch.client(config.clone()).await {
            Ok(client) => watch.follow(client).await,
            Err(error) => watch.failed(trouble::of_client(&error)).await,
        }
    }
}

/// Only this node's pods, from the API server's cache, without an initial list over the watch: where its feature
/// gate is off, kube repeats that for ever.
fn selector(node: &str, pace: Pace) -> watcher::Config {
    let selector =
        watcher::Config::default().any_semantic().fields(&format!("spec.nodeName={node}")).timeout(pace.watch_seconds);
    // With a page size kube leaves out `resourceVersion=0`, and the list goes to etcd instead of the cache.
    watcher::Config { page_size: None, ..selector }
}

/// A client that notices a silent server (kube looks after a dead stream, but not after a list or the start of a
/// watch), and that asks at a bounded rate (kube resumes a watch that ends at once without a pause).
fn client(mut config: Config, pace: Pace, answered: Arc<AtomicBool>) -> kube::Result<Client> {
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(Duration::from_secs(u64::from(pace.watch_seconds) + 10));
    config.reset_reader_on_write = true;
    // The pauses here suffice: kube would try 15 times more, in silence, before it gives an error.
    config.default_retry = false;
    let rate = RateLimitLayer::new(REQUESTS_MAX, REQUESTS_PER);
    // kube says nothing of a watch that is answered and has no events.
    let note = MapResponseLayer::new(move |response: Response<_>| {
        if response.status().is_success() {
            answered.store(true, Ordering::Relaxed);
        }
        response
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&rate).with_layer(&note).build())
}

struct PodWatch {
    pace: Pace,
    selector: watcher::Config,
    node: String,
    /// What `now` is measured from.
    started: Instant,
    pauses: Pauses,
    talk: Talk,
    pods: watch::Sender<Pods>,
    state: watch::Sender<State>,
    /// There was a list since the start.
    has_listed: bool,
    /// A list was asked for and has not arrived whole.
    listing: bool,
    /// What of it has arrived.
    fresh: Vec<Pod>,
    /// There was trouble, or a version that is too old, and whether the watch works since is to be seen.
    is_unproven: bool,
    /// Set when the server answers the list or the watch.
    answered: Arc<AtomicBool>,
    /// The watch was, when last looked.
    was_answered: bool,
}

impl PodWatch {
    /// A client made on a thread of its own: kube runs a kubeconfig's credential plugin there and waits for it, and a
    /// plugin may ask somebody for a password.
    async fn client(&mut self, config: Config) -> kube::Result<Client> {
        let (pace, answered) = (self.pace, Arc::clone(&self.answered));
        let mut made = spawn_blocking(move || client(config, pace, answered));
        loop {
            match timeout(pace.slow_after, &mut made).await {
                Ok(made) => return made.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
                Err(_) => {
                    let cause = format!("no credentials for {} s", pace.slow_after.as_secs());
                    self.tell(Report { trouble: Trouble::Configuration, cause });
                }
            }
        }
    }

    /// Follows one watcher until what it sends cannot be read: then an event is lost and only a fresh list helps. Or until
    /// its credentials are refused.
    async fn follow(&mut self, client: Client) {
        let events = watcher(Api::<PodObject>::all(client), self.selector.clone());
        let mut events = std::pin::pin!(events);
        self.listing = true;
        loop {
            let patience = match (self.listing, self.is_unproven) {
                (true, _) => self.pace.slow_after,
                (false, true) => self.pace.well_after,
                (false, false) => SWEEP_EVERY,
            };
            match timeout(patience, events.next()).await {
                Err(_) => self.quiet(),
                Ok(None) => return, // never: a watcher does not end
                Ok(Some(Ok(event))) => self.take(event),
                Ok(Some(Err(error))) => {
                    let report = trouble::of_watch(&error);
                    let lost = match &report {
                        // An answer instead of an event, and kube would ask for that version for ever.
                        None => matches!(error, watcher::Error::WatchStartFailed(_)),
                        // kube reads a token's file again when the wall clock says that a minute has passed: not for days, if that
                        // was set back. A new client reads it, and asks a plugin for new credentials.
                        Some(report) => matches!(report.trouble, Trouble::Garbage | Trouble::Unauthorized),
                    };
                    self.failed(report).await;
                    if lost {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Event<PodObject>) {
        let now = self.started.elapsed();
        match event {
            Event::Init => {
                self.listing = true;
                self.fresh.clear();
                return;
            }
            Event::InitApply(object) => {
                self.fresh.extend(object.pod);
                return;
            }
            Event::InitDone => return self.take_list(),
            Event::Apply(object) => {
                if let Some(pod) = object.pod {
                    self.pods.send_modify(|pods| pods.apply(pod));
                }
            }
            Event::Delete(object) => {
                if let Some(pod) = object.pod {
                    self.pods.send_modify(|pods| pods.delete(pod.uid, now));
                }
            }
        }
        self.well();
    }

    fn take_list(&mut self) {
        self.listing = false;
        // That was the list's; what comes now is the watch's.
        self.forget_answers();
        let list = std::mem::take(&mut self.fresh);
        if !std::mem::replace(&mut self.has_listed, true) {
            tracing::info!("watching {} pods of node {}", list.len(), self.node);
        }
        let now = self.started.elapsed();
        self.pods.send_modify(|pods| pods.replace(list, now));
        if !self.talk.is_in_trouble() {
            self.is_current();
        }
    }

    /// Nothing came for a while: nothing happens on this node, or the server is slow.
    fn quiet(&mut self) {
        if self.listing {
            let cause = format!("no answer for {} s", self.pace.slow_after.as_secs());
            let trouble = Trouble::Slow;
            self.tell(Report { trouble, cause });
        } else if self.is_unproven {
            let is_answered = self.answered.load(Ordering::Relaxed);
            if std::mem::replace(&mut self.was_answered, is_answered) {
                self.well();
            }
        }
        let now = self.started.elapsed();
        self.pods.send_modify(|pods| pods.sweep(now));
    }

    /// Says what failed and waits before the next attempt.
    async fn failed(&mut self, report: Option<Report>) {
        self.is_unproven = true;
        self.forget_answers();
        let pause = self.pauses.after(report.as_ref().map(|report| report.trouble));
        if let Some(report) = report {
            self.tell(report);
        }
        sleep(pause).await;
    }

    fn forget_answers(&mut self) {
        self.answered.store(false, Ordering::Relaxed);
        self.was_answered = false;
    }

    fn tell(&mut self, report: Report) {
        self.is_unproven = true;
        self.talk.trouble(&report);
        self.state.send_replace(State::Failing { report, has_listed: self.has_listed });
    }

    /// The watch works: the next trouble is a new one.
    fn well(&mut self) {
        self.is_unproven = false;
        self.pauses = Pauses::default();
        self.talk.recovered();
        self.is_current();
    }

    fn is_current(&self) {
        self.state.send_if_modified(State::note_well);
    }
}
