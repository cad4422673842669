//! The one watch on this node's pods: fills [`Pods`], never gives up, never holds anything up. EDGE.

use crate::pods::index::{Pod, Pods};
pub use crate::pods::news::State;
use crate::pods::object::PodObject;
use crate::pods::trouble::{self, Report, Talk, Trouble};
use futures_util::StreamExt;
use kube::client::ClientBuilder;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client, Config};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tower::limit::RateLimitLayer;

/// A list or a first answer that takes longer is reported; the request itself goes on.
pub const SLOW_AFTER: Duration = Duration::from_secs(30);
/// Trouble is over when this passes without an error: longer than the longest pause between two attempts (30 s and
/// its jitter), as a watch that resumes says nothing until a pod changes.
pub const QUIET_MEANS_WELL: Duration = Duration::from_secs(70);
/// Trouble is over when so long after a fresh list the watch from there on has not failed: a role may allow the list and
/// not the watch, and then one is as good as the other is bad. Longer than the pause that `REQUESTS_MAX` may impose.
pub const WELL_AFTER: Duration = Duration::from_secs(12);
/// How often deleted pods are looked through for those to forget.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Nodes start and resume their watches at times of their own, or thousands would march in step.
const START_DELAY_MAX: Duration = Duration::from_secs(3);
/// At most this many requests in this time, whatever the server does.
const REQUESTS_MAX: u64 = 5;
const REQUESTS_PER: Duration = Duration::from_secs(10);
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 200..=290;

/// Where pods may be asked for.
#[derive(Debug)]
pub enum Cluster {
    /// There is none, or no way to it; the agent runs without pod names.
    Absent(String),
    /// In-cluster files or a kubeconfig.
    Found(Box<Config>),
}

/// When to ask.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause before the first list.
    pub start_delay: Duration,
    /// After how many seconds the server ends a watch, which is then resumed.
    pub watch_seconds: u32,
    /// A list that takes longer is reported.
    pub slow_after: Duration,
    /// A watch that has not failed for so long after a fresh list works.
    pub well_after: Duration,
}

impl Pace {
    /// A pace of this process's own.
    pub fn random() -> Self {
        let span = u64::from(WATCH_SECONDS.end() - WATCH_SECONDS.start()) + 1;
        let spread = u32::try_from(random() % span).unwrap_or_default();
        Self {
            start_delay: START_DELAY_MAX.mul_f64((random() % 1_000) as f64 / 1_000.0),
            watch_seconds: WATCH_SECONDS.start() + spread,
            slow_after: SLOW_AFTER,
            well_after: WELL_AFTER,
        }
    }
}

/// The standard library's hashes are seeded at random: enough to spread, nothing more.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Finds the cluster: by this kubeconfig, or else by the service account of the pod this runs in, or else by the
/// kubeconfig that kubectl would use.
pub async fn find_cluster(kubeconfig: Option<&Path>) -> Cluster {
    let options = KubeConfigOptions::default();
    if let Some(path) = kubeconfig {
        return match Kubeconfig::read_from(path) {
            Ok(kubeconfig) => found(Config::from_custom_kubeconfig(kubeconfig, &options).await),
            Err(error) => found(Err(error)),
        };
    }
    let in_cluster = match Config::incluster() {
        Ok(config) => return Cluster::Found(Box::new(config)),
        Err(error) => error,
    };
    match Config::from_kubeconfig(&options).await {
        Ok(config) => Cluster::Found(Box::new(config)),
        Err(kubeconfig) => Cluster::Absent(why_absent(&in_cluster, &kubeconfig)),
    }
}

fn found(config: Result<Config, KubeconfigError>) -> Cluster {
    match config {
        Ok(config) => Cluster::Found(Box::new(config)),
        Err(error) => Cluster::Absent(format!("no usable kubeconfig: {}", trouble::chain(&error))),
    }
}

fn why_absent(in_cluster: &InClusterError, kubeconfig: &KubeconfigError) -> String {
    let no_kubeconfig = match kubeconfig {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(error, _) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    };
    let no_pod = matches!(in_cluster, InClusterError::ReadEnvironmentVariable(_));
    match (no_kubeconfig, no_pod) {
        (true, true) => "neither a service account nor a kubeconfig".into(),
        (_, false) => format!("no usable service account: {}", trouble::chain(in_cluster)),
        (false, true) => format!("no usable kubeconfig: {}", trouble::chain(kubeconfig)),
    }
}

/// Watches the pods of `node` until it is dropped. Publishes them, and how the watch stands.
pub async fn run(config: Config, node: String, pace: Pace, pods: watch::Sender<Pods>, state: watch::Sender<State>) {
    let mut watch = PodWatch {
        pace,
        selector: selector(&node, pace),
        started: Instant::now(),
        backoff: DefaultBackoff::default(),
        talk: Talk::default(),
        pods,
        state,
        listing: true,
        on_probation: false,
        fresh: Vec::new(),
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
fn client(mut config: Config, pace: Pace) -> kube::Result<Client> {
    config.read_timeout = Some(Duration::from_secs(u64::from(pace.watch_seconds) + 10));
    config.reset_reader_on_write = true;
    // The pauses here suffice: kube would try 15 times more, in silence, before it gives an error.
    config.default_retry = false;
    let rate = RateLimitLayer::new(REQUESTS_MAX, REQUESTS_PER);
    Ok(ClientBuilder::try_from(config)?.with_layer(&rate).build())
}

struct PodWatch {
    pace: Pace,
    selector: watcher::Config,
    /// What `now` is measured from.
    started: Instant,
    backoff: DefaultBackoff,
    talk: Talk,
    pods: watch::Sender<Pods>,
    state: watch::Sender<State>,
    /// A list was asked for and has not arrived whole.
    listing: bool,
    /// It has arrived after trouble, and whether the watch works is to be seen.
    on_probation: bool,
    /// What of it has arrived.
    fresh: Vec<Pod>,
}

impl PodWatch {
    /// A client made on a thread of its own: kube runs a kubeconfig's credential plugin there and waits for it, and a
    /// plugin may ask somebody for a password.
    async fn client(&mut self, config: Config) -> kube::Result<Client> {
        let pace = self.pace;
        let mut made = spawn_blocking(move || client(config, pace));
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

    /// Follows one watcher until what it sends cannot be read: then an event is lost and only a fresh list helps.
    async fn follow(&mut self, client: Client) {
        let events = watcher(Api::<PodObject>::all(client), self.selector.clone());
        let mut events = std::pin::pin!(events);
        let mut quiet_since = Instant::now();
        self.listing = true;
        loop {
            let patience = match (self.listing, self.on_probation) {
                (true, _) => self.pace.slow_after,
                (false, true) => self.pace.well_after,
                (false, false) => SWEEP_EVERY,
            };
            match timeout(patience, events.next()).await {
                Err(_) => self.quiet(quiet_since.elapsed()),
                Ok(None) => return, // never: a watcher does not end
                Ok(Some(Ok(event))) => self.take(event),
                Ok(Some(Err(error))) => {
                    let report = trouble::of_watch(&error);
                    let lost = matches!(&report, Some(report) if report.trouble == Trouble::Garbage);
                    self.failed(report).await;
                    if lost {
                        return;
                    }
                    quiet_since = Instant::now();
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
            Event::InitDone => {
                self.listing = false;
                let list = std::mem::take(&mut self.fresh);
                self.pods.send_modify(|pods| pods.replace(list, now));
                self.on_probation = self.talk.is_in_trouble();
                if self.on_probation {
                    return;
                }
            }
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

    /// Nothing came for a while: nothing happens on this node, or the server is slow.
    fn quiet(&mut self, since: Duration) {
        if self.listing {
            let cause = format!("no answer for {} s", self.pace.slow_after.as_secs());
            let trouble = Trouble::Slow;
            self.tell(Report { trouble, cause });
        } else if self.on_probation || since >= QUIET_MEANS_WELL {
            self.well();
        }
        let now = self.started.elapsed();
        self.pods.send_modify(|pods| pods.sweep(now));
    }

    /// Says what failed and waits before the next attempt.
    async fn failed(&mut self, report: Option<Report>) {
        self.on_probation = false;
        if let Some(report) = report {
            self.tell(report);
        }
        let pause = self.backoff.next().unwrap_or(SLOW_AFTER);
        sleep(pause).await;
    }

    fn tell(&mut self, report: Report) {
        self.talk.trouble(&report);
        self.state.send_replace(State::Failing(report));
    }

    fn well(&mut self) {
        self.on_probation = false;
        self.talk.recovered();
        self.state.send_if_modified(State::note_well);
    }
}
