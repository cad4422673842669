//! Wiring: which tasks there are, in which order they start and end. EDGE.
//!
//! The only module that knows all others.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::system::uname;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::clock::SystemClock;
use crate::counting::counts::requests;
use crate::counting::overview::{Facts, Overview};
use crate::counting::rates::Located;
use crate::counting::snapshot::Snapshot;
use crate::counting::summary;
use crate::counting::tick::{Clock, Probe, Processes, Sampler, TICK};
use crate::exit::Failure;
use crate::fault::{Fault, Say};
use crate::kernel::{has_host_pids, sees_only_itself};
use crate::metrics::{self, Instruments, Meter};
use crate::pods::cluster::{Cluster, find_cluster};
use crate::pods::index::Pods;
use crate::pods::news::{self as pod_news, State};
use crate::pods::watch::{self as pod_watch, Pace};
use crate::scope::plugin::{self, Answers, ClaimError, Limits, Pulse, Refusal, Reports, Socket};
use crate::scope::{host, peer};
use crate::settings::config::Config;
use crate::shutdown::{self, Shutdown, Signals};
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
    load: impl FnOnce() -> Result<K, E>,
    processes: P,
) -> Result<(), Failure> {
    // From here on no signal ends the agent without its socket being removed.
    let mut signals = Signals::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    let root = config.plugins_root.clone();
    let claimed = unwound(spawn_blocking(move || plugin::claim_first(&root)).await);
    let (socket, listener) = claimed.map_err(|error| match error {
        ClaimError::InUse(_) => Failure::Unavailable(error.to_string()),
        _ => Failure::Io(error.to_string()),
    })?;
    match load() {
        Ok(probe) => count(config, lines, (probe, processes), (socket, listener), &mut signals).await,
        Err(error) => {
            let cause = error.to_string();
            if lines.is_none() {
                refuse(&cause, listener, &mut signals).await;
            }
            Err(Failure::Unavailable(cause))
        }
    }
}

async fn count<K: Probe + Send + 'static, P: Processes + Send + 'static>(
    config: Config,
    lines: Option<HeldLines>,
    (probe, processes): (K, P),
    (socket, listener): (Socket, UnixListener),
    signals: &mut Signals,
) -> Result<(), Failure> {
    let host_is_chosen = config.host.is_some();
    let host = config.host.map_or_else(|| peer::own_host_name().into(), |host: host::HostName| host.shared());
    let metrics_listener = match config.metrics_address {
        Some(address) => Some(metrics::listen(address).await.map_err(Failure::Io)?),
        None => None,
    };
    let socket_path = socket.path().display().to_string();
    let facts = Facts { probe: probe.description(), socket: socket_path, shown: config.shown };
    tracing::info!(%host, probe = facts.probe, socket = facts.socket, "counting");
    if sees_only_itself() {
        tracing::warn!(
            "no hostPID: the agent sees no process but its own, and Scope will show none; set hostPID: true in Kubernetes, --pid=host for a container"
        );
    }

    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::empty(Arc::clone(&host))));
    let (trigger, shutdown) = shutdown::channel();
    let (trigger_sampling, end_sampling) = shutdown::channel();
    let sampler = Sampler::new(probe, processes, SystemClock, host);
    let mut none_yet = Pods::new(!has_host_pids());
    none_yet.set_watched(config.node.is_some());
    let (publish_pods, pods) = watch::channel(none_yet);
    let (publish_state, pod_state) = watch::channel(State::default());
    let watching =
        tokio::spawn(watch_pods(config.node.clone(), config.kubeconfig, publish_pods, publish_state.clone()));
    let (beat, pulse) = watch::channel(Pulse::new());
    let instruments = Instruments::default();
    let before = Arc::clone(&snapshots.borrow());
    let meter = metrics_listener.is_some().then(|| Meter::new(config.metrics_by, before, instruments.clone()));
    let measuring = metrics_listener.zip(meter.as_ref()).map(|(listener, meter)| {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "serving metrics");
        }
        let facts = metrics::Facts {
            node: config.node,
            kernel: uname().release().to_string_lossy().into_owned(),
            probe: facts.probe.clone(),
            started: SystemClock.wall(),
            max_processes: config.probe.max_processes,
        };
        let state = pod_state.clone();
        let render = meter.exposition(facts, move || (state.borrow().name(), &State::NAMES));
        let pulse = pulse.clone();
        let complaint = Arc::new(move |question| pulse.borrow().complaint(question, None));
        let answers = metrics::Answers { render, complaint };
        metrics::serve_apart(listener, metrics::LIMITS, shutdown.clone(), answers)
    });
    let measuring = measuring.transpose().map_err(|error| Failure::Io(format!("cannot serve metrics: {error}")))?;
    let sampling =
        tokio::spawn(sample(sampler, Outlets { publish, beat, meter, pod_state: publish_state }, pods, end_sampling));
    let reports = Reports::new(snapshots.clone(), pulse)
        .with_chosen_host(host_is_chosen)
        .with_topologies(config.topologies)
        .with_pods(pod_state)
        .with_facts(facts.clone())
        .noted_by(instruments);
    let answers: Arc<dyn Answers> = Arc::new(reports);
    let serving = tokio::spawn(plugin::serve(listener, answers, Limits::DEFAULT, shutdown.clone()));
    let mut showing = tokio::spawn(show(snapshots.clone(), (facts, config.colour), lines, shutdown));

    let (reason, shown) = tokio::select! {
        name = signals.received() => (name, Ok(())),
        shown = &mut showing => ("the terminal", unwound(shown)),
    };
    drop(trigger_sampling);
    let sampler = unwound(sampling.await);
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
    drop(sampler);
    drop(socket);
    if !showing.is_finished() {
        // Waits until the terminal is as it was.
        unwound(showing.await).map_err(terminal::failed)?;
    }
    let last = Arc::clone(&snapshots.borrow());
    tracing::info!("ended by {reason}: {}", summary::farewell(&last));
    shown.map_err(terminal::failed)
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

/// Where what a sampling finds goes.
struct Outlets {
    publish: watch::Sender<Arc<Snapshot>>,
    beat: watch::Sender<Pulse>,
    /// Only where metrics are served.
    meter: Option<Meter>,
    /// How the watch on pods stands, which is compared with where processes are.
    pod_state: watch::Sender<State>,
}

/// Ticks until shutdown and once more then, so that the last totals are whole.
async fn sample<K, P, C>(
    mut sampler: Sampler<K, P, C>,
    mut outlets: Outlets,
    pods: watch::Receiver<Pods>,
    mut shutdown: Shutdown,
) -> Sampler<K, P, C>
where
    K: Probe + Send + 'static,
    P: Processes + Send + 'static,
    C: Clock + Send + 'static,
{
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    // After a stop there is one tick, which covers all of it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut reading, mut releasing) = (Fault::default(), Fault::default());
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = shutdown.requested() => true,
        };
        // The kernel and /proc may take their time; whoever asks for a report does not wait for them.
        let (returned, meter, tick) = unwound(
            spawn_blocking({
                let (pods, mut meter) = (pods.clone(), outlets.meter.take());
                move || {
                    let begun = Instant::now();
                    let tick = sampler.read().map(|read| {
                        let snapshot = Arc::new(sampler.snapshot(&read, &pods.borrow()));
                        if let Some(meter) = &mut meter {
                            meter.take(&snapshot, &pods.borrow());
                        }
                        (snapshot, sampler.release())
                    });
                    if let Some(meter) = &mut meter {
                        meter.took(begun.elapsed());
                    }
                    (sampler, meter, tick)
                }
            })
            .await,
        );
        sampler = returned;
        outlets.meter = meter;
        outlets.beat.send_modify(|pulse| pulse.beat(tick.is_ok()));
        say(&mut reading, "read the kernel's counts", tick.as_ref().err());
        if let Ok((snapshot, release)) = tick {
            say(&mut releasing, "release ended processes", release.as_ref().err());
            let Located { found, awaited, unknown, .. } = snapshot.located;
            let is_lonely = pods.borrow().live() == 0 && found == 0 && awaited + unknown > 0;
            if outlets.pod_state.send_if_modified(|state| state.note_pods(is_lonely)) && is_lonely {
                tracing::warn!(processes = awaited + unknown, "{}", pod_news::NO_PODS);
            }
            outlets.publish.send_replace(snapshot);
        }
        if is_last {
            return sampler;
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
            losses = summary::losses(&snapshot.losses),
            joined = summary::joined(&snapshot.losses),
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

fn say(fault: &mut Fault, action: &str, error: Option<&io::Error>) {
    match (fault.note(error.is_some()), error) {
        (Say::Begun, Some(error)) => tracing::warn!(%error, "cannot {action}; tried again at each tick"),
        (Say::Over(failures), _) => tracing::info!(failures, "can {action} again"),
        _ => {}
    }
}

/// A panic of a task is one of the agent.
fn unwound<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
