//! Wiring: which tasks there are, in which order they start and end. EDGE.
//!
//! The only module that knows all others.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::system::uname;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::clock::SystemClock;
use crate::counting::counts::requests;
use crate::counting::overview::{Facts, Overview};
use crate::counting::snapshot::Snapshot;
use crate::counting::summary;
use crate::counting::tick::{Clock as _, Handed, Probe, Processes, Sampler};
use crate::exit::Failure;
use crate::handover::{self, Given, Layouts, NotStarted, Origin, Start, Started, Taken};
use crate::kernel::{Kernel, has_host_pids, sees_only_itself};
use crate::metrics::{self, Instruments, Meter};
use crate::plaintext::{Looking, Looks};
use crate::pods::cluster::{Cluster, find_cluster};
use crate::pods::index::{Pod, Pods};
use crate::pods::news::State;
use crate::pods::watch::{self as pod_watch, Pace};
use crate::sampling::{Outlets, sample};
use crate::scope::plugin::{self, Answers, ClaimError, Limits, Pulse, Refusal, Reports, Serving, Taker, Takers};
use crate::scope::{host, peer};
use crate::settings::config::Config;
use crate::shutdown::{self, Shutdown, Signals, unwound};
use crate::telemetry::HeldLines;
use crate::terminal::{self, Controls};

/// Time between two lines of the log that say how it goes.
const SUMMARY: Duration = Duration::from_secs(10);
/// How long a probe that cannot load is told to Scope, which looks for new plugins every 5 s.
const REFUSAL: Duration = Duration::from_secs(15);

/// Counts until it is asked to end.
///
/// # Errors
///
/// Why it could not; it is logged.
pub async fn run<K: Probe + Send + 'static, P: Processes + Send + 'static, E: Display>(
    config: Config,
    lines: Option<HeldLines>,
    load: impl FnMut(Option<Handed>) -> Result<K, E>,
    processes: P,
) -> Result<End, Failure> {
    // From here on no signal ends the agent without its socket being removed.
    let mut signals = Signals::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    // Whoever looks at a live table by hand ends nobody else's agent over it: there is `top`.
    let layout = lines
        .is_none()
        .then(|| Layouts { probe: Kernel::layout_of(config.probe), tls: Kernel::tls_layout_of(config.probe) });
    let start = Start { root: config.plugins_root.clone(), layout, load };
    match start.start().await {
        Ok(started) => count((config, lines), started, processes, &mut signals).await,
        Err(NotStarted::NoSocket(error @ ClaimError::InUse(_))) => Err(Failure::Unavailable(error.to_string())),
        Err(NotStarted::NoSocket(error)) => Err(Failure::Io(error.to_string())),
        Err(NotStarted::NoProbe(error, claimed)) => {
            let cause = error.to_string();
            if lines.is_none()
                && let Some((_socket, listener)) = claimed
            {
                refuse(&cause, listener, &mut signals).await;
            }
            Err(Failure::Unavailable(cause))
        }
    }
}

/// How counting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent was asked to.
    Asked,
    /// Another agent goes on.
    HandedOver,
}

async fn count<K: Probe + Send + 'static, P: Processes + Send + 'static>(
    (config, lines): (Config, Option<HeldLines>),
    Started { probe, socket, listener, origin, kept, read }: Started<K>,
    processes: P,
    signals: &mut Signals,
) -> Result<End, Failure> {
    let host_is_chosen = config.host.is_some();
    let host = config.host.map_or_else(|| peer::own_host_name().into(), |host: host::HostName| host.shared());
    let metrics_listener = match config.metrics_address {
        Some(address) => Some(metrics::listen(address).await.map_err(Failure::Io)?),
        None => None,
    };
    let socket_path = socket.path().display().to_string();
    let responses = probe.responses();
    let facts = Facts {
        probe: probe.description(),
        responses: responses.to_string(),
        socket: socket_path,
        shown: config.shown,
    };
    let handovers = kept.as_ref().map_or(0, |kept| kept.handovers + 1);
    tracing::info!(
        %host, probe = facts.probe, responses = facts.responses, socket = facts.socket,
        started_from = origin.name(), handovers, "counting"
    );
    if sees_only_itself() {
        tracing::warn!(
            "no hostPID: the agent sees no process but its own, and Scope will show none; set hostPID: true in Kubernetes, --pid=host for a container"
        );
    }

    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::empty(Arc::clone(&host))));
    let (trigger, shutdown) = shutdown::channel();
    let (mut trigger_sampling, end_sampling) = shutdown::channel();
    let (takers, mut asked) = probe
        .layout()
        .map(|layout| Takers::new(Serving { layout, started_from: origin.name().to_owned(), handovers }))
        .unzip();
    let given_listener = listener.as_fd().try_clone_to_owned();
    let given_listener = given_listener.map_err(|error| Failure::Io(format!("cannot share the socket: {error}")))?;
    let mut sampler = Sampler::new(probe, processes, SystemClock, host);
    let mut none_yet = Pods::new(!has_host_pids());
    none_yet.set_watched(config.node.is_some());
    let began = kept.as_ref().and_then(|kept| Timestamp::from_nanosecond(kept.began_ns).ok());
    let began = began.unwrap_or_else(|| SystemClock.wall());
    let mut meter_before = None;
    let is_resumed = kept.is_some();
    if let Some(kept) = kept {
        sampler = sampler.resumed(kept.counting);
        meter_before = kept.metrics;
        if kept.node == config.node {
            none_yet.resume(kept.pods);
        }
    } else {
        sampler = sampler.read_at_once();
    }
    let node = config.node.clone();
    let (publish_pods, pods) = watch::channel(none_yet);
    let (publish_state, pod_state) = watch::channel(State::default());
    let watching =
        tokio::spawn(watch_pods(config.node.clone(), config.kubeconfig, publish_pods, publish_state.clone()));
    let (beat, pulse) = watch::channel(Pulse::new());
    let instruments = Instruments::default();
    let before = Arc::clone(&snapshots.borrow());
    let meter = metrics_listener.is_some().then(|| {
        let meter = Meter::new(config.metrics_by, before, instruments.clone());
        meter_before.into_iter().fold(meter, Meter::resumed)
    });
    let measured = metrics_listener.zip(meter.as_ref()).map(|(listener, meter)| {
        let facts = metrics::Facts {
            node: config.node,
            kernel: uname().release().to_string_lossy().into_owned(),
            probe: facts.probe.clone(),
            started: began,
            counted: responses,
            max_processes: config.probe.max_processes,
            started_from: (origin.name(), &Origin::NAMES),
            handovers,
        };
        let state = pod_state.clone();
        let render = meter.exposition(facts, move || (state.borrow().name(), &State::NAMES));
        let pulse = pulse.clone();
        let complaint = Arc::new(move |question| pulse.borrow().complaint(question, None));
        (listener, metrics::Answers { render, complaint })
    });
    let looking = Looking::start(sampler.plaintext(), read);
    let outlets = Outlets { publish, beat, meter, pod_state: publish_state, looking };
    // The first tick makes the agent ready.
    let mut sampling = tokio::spawn(sample(sampler, outlets, pods.clone(), (end_sampling, Instant::now())));
    if is_resumed {
        // What another agent has left is shown anew before anybody is answered, or totals would be seen to fall.
        // A tick is told of whether it could read or not.
        let _ = pulse.clone().changed().await;
    }
    let measuring = measured.map(|(listener, answers)| {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "serving metrics");
        }
        metrics::serve_apart(listener, metrics::LIMITS, shutdown.clone(), answers)
    });
    let measuring = measuring.transpose().map_err(|error| Failure::Io(format!("cannot serve metrics: {error}")))?;
    let reports = Reports::new(snapshots.clone(), pulse)
        .with_chosen_host(host_is_chosen)
        .with_topologies(config.topologies)
        .with_pods(pod_state)
        .with_facts(facts.clone())
        .with_takers(takers)
        .noted_by(instruments);
    let answers: Arc<dyn Answers> = Arc::new(reports);
    let serving = tokio::spawn(plugin::serve(listener, answers, Limits::DEFAULT, shutdown.clone()));
    let mut showing = tokio::spawn(show(snapshots.clone(), (facts, config.colour), lines, shutdown));

    let (reason, shown, given) = loop {
        let taker = tokio::select! {
            name = signals.received() => break (name.to_owned(), Ok(()), None),
            shown = &mut showing => break ("the terminal".to_owned(), unwound(shown), None),
            Some(taker) = next(&mut asked) => taker,
        };
        // Nobody may read the kernel's marks while another agent decides whether it does.
        drop(trigger_sampling);
        let (sampler, outlets) = unwound(sampling.await);
        let by = taker.pid.map_or_else(|| "another agent".to_owned(), |pid| format!("the agent with PID {pid}"));
        let tls_layout = Kernel::tls_layout_of(config.probe);
        let last =
            Last { sampler, outlets, node: node.clone(), pods: pods.borrow().carried(), began, handovers, tls_layout };
        let listener = given_listener.try_clone();
        let (given, last) = unwound(spawn_blocking(move || last.hand_over(taker, listener)).await);
        let (trigger, end_sampling) = shutdown::channel();
        trigger_sampling = trigger;
        match given {
            Ok(given) => {
                sampling = tokio::spawn(async { (last.sampler, last.outlets) });
                break (format!("a handover to {by}"), Ok(()), Some(given));
            }
            Err(error) => {
                tracing::warn!(%error, "{by} did not go on with what is counted here: this one does");
                let first = Instant::now();
                sampling = tokio::spawn(sample(last.sampler, last.outlets, pods.clone(), (end_sampling, first)));
            }
        }
    };
    drop(trigger_sampling);
    let (sampler, outlets) = unwound(sampling.await);
    watching.abort();
    trigger.pull();
    unwound(serving.await);
    if let Some(measuring) = measuring {
        let ended = unwound(spawn_blocking(|| measuring.join()).await);
        let served = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Err(error) = served {
            tracing::error!("cannot serve metrics: {error}");
        }
    }
    drop((sampler, outlets));
    let end = if given.is_some() { End::HandedOver } else { End::Asked };
    match end {
        End::HandedOver => socket.give(),
        End::Asked => drop(socket),
    }
    if !showing.is_finished() {
        // Waits until the terminal is as it was.
        unwound(showing.await).map_err(terminal::failed)?;
    }
    let last = Arc::clone(&snapshots.borrow());
    tracing::info!("ended by {reason}: {}", summary::farewell(&last));
    // The other agent waits for this, so that all that is served here is free.
    drop(given);
    shown.map_err(terminal::failed).map(|()| end)
}

/// The next that wants to go on, if anybody may.
async fn next(asked: &mut Option<mpsc::Receiver<Taker>>) -> Option<Taker> {
    match asked {
        Some(asked) => asked.recv().await,
        None => std::future::pending().await,
    }
}

/// What was counted, up to the last tick.
struct Last<K, P> {
    sampler: Sampler<K, P, SystemClock>,
    outlets: Outlets,
    node: Option<String>,
    pods: Vec<(Pod, Option<Duration>)>,
    began: Timestamp,
    handovers: u64,
    tls_layout: Option<String>,
}

impl<K: Probe, P: Processes> Last<K, P> {
    /// Gives it to another agent. If that fails this one may go on.
    fn hand_over(mut self, taker: Taker, listener: io::Result<OwnedFd>) -> (io::Result<Given>, Self) {
        let looks = self.outlets.looking.pause();
        let reads_on = taker.takes_probe && taker.tls_layout == self.tls_layout;
        let taken = self.offer(taker, listener, looks.as_ref().filter(|_| reads_on));
        match (&taken, looks) {
            (_, None) => {}
            (Err(_), Some(looks)) => self.outlets.looking.go_on(looks),
            (Ok(_), Some(looks)) if reads_on => looks.given(),
            (Ok(_), Some(looks)) => {
                tracing::info!("the other agent does not read on in TLS what is read here: nothing is from now on");
                // Before the other one may probe the same files: two would count everything twice.
                drop(looks);
            }
        }
        (taken.map(Taken::give), self)
    }

    fn offer(&self, taker: Taker, listener: io::Result<OwnedFd>, looks: Option<&Looks>) -> io::Result<Taken> {
        let (mut state, all) = self.descriptors(&taker, listener)?;
        let mut following = Vec::new();
        if let Some(looks) = looks {
            let (probe, descriptors) = looks.hand_over()?;
            state.tls = Some(handover::Tls { probe, descriptors: descriptors.len(), read: looks.read() });
            following = descriptors;
        }
        handover::offer(taker, &state, (&all, &following))
    }

    fn descriptors(&self, taker: &Taker, listener: io::Result<OwnedFd>) -> io::Result<(handover::State, Vec<OwnedFd>)> {
        let (mut state, mut all) = (handover::State::default(), vec![listener?]);
        if taker.takes_probe {
            let (counting, handed) = self.sampler.hand_over()?;
            all.extend(handed.descriptors);
            state.probe = Some(handed.state);
            state.kept = Some(handover::Kept {
                counting,
                metrics: self.outlets.meter.as_ref().map(Meter::carried),
                node: self.node.clone(),
                pods: self.pods.clone(),
                began_ns: self.began.as_nanosecond(),
                handovers: self.handovers,
            });
        }
        Ok((state, all))
    }
}

/// Keeps the pods of this node current until it is dropped. Nobody waits for it.
async fn watch_pods(
    node: Option<String>,
    kubeconfig: Option<PathBuf>,
    pods: watch::Sender<Pods>,
    state: watch::Sender<State>,
) {
    let Some(node) = node else {
        tracing::info!("no names of pods: NODE_NAME and --node-name are not set");
        return;
    };
    match find_cluster(kubeconfig.as_deref()).await {
        Cluster::Found(config) => {
            state.send_replace(State::Starting);
            // What it means for people the watch logs itself.
            pod_watch::run(*config, node, Pace::random(), pods, state).await;
        }
        Cluster::Absent(cause) => {
            tracing::info!(%cause, "no names of pods");
            pods.send_modify(|pods| pods.set_watched(false));
            state.send_replace(State::Off(cause));
        }
    }
}

/// The live table if logs are held for one, else a line now and then.
async fn show(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    (facts, colour): (Facts, bool),
    lines: Option<HeldLines>,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    if let Some(lines) = lines {
        let picture =
            |snapshot: &Arc<Snapshot>| (Arc::new(Overview::new(snapshot, &facts)), lines.last(terminal::NOTICES));
        return terminal::run(snapshots, picture, (Controls::default(), colour), shutdown).await;
    }
    let mut due = interval_at(Instant::now() + SUMMARY, SUMMARY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = shutdown.requested() => return Ok(()),
        }
        let snapshot = Arc::clone(&snapshots.borrow());
        tracing::info!(
            per_second = snapshot.rate,
            total = requests(&snapshot.totals),
            processes = snapshot.processes.len(),
            ended = snapshot.ended.processes,
            pods_awaited = snapshot.located.awaited,
            pods_unknown = snapshot.located.unknown,
            responses = snapshot.responded.as_ref().map(|all| all.responses()),
            errors_per_second = snapshot.responded.as_ref().map(|all| all.error_rate(snapshot.now)),
            losses = summary::losses(&snapshot.losses),
            joined = summary::joined(&snapshot.losses),
            tls_connections = snapshot.totals.tls_connections,
            busiest = summary::line(&snapshot, facts.shown),
            "requests"
        );
    }
}

/// Tells Scope for a while why there are no counts.
async fn refuse(cause: &str, listener: UnixListener, signals: &mut Signals) {
    tracing::error!(for_seconds = REFUSAL.as_secs(), "{cause} (telling Scope so before the agent ends)");
    let (trigger, shutdown) = shutdown::channel();
    let answers: Arc<dyn Answers> = Arc::new(Refusal(cause.to_owned()));
    let serving = tokio::spawn(plugin::serve(listener, answers, Limits::DEFAULT, shutdown));
    tokio::select! {
        () = sleep(REFUSAL) => {}
        _ = signals.received() => {}
    }
    trigger.pull();
    unwound(serving.await);
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
