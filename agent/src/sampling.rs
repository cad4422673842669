//! Ticks, one a second: each is read where it keeps nobody waiting, and handed to all who show it. EDGE.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::counting::plaintext::Reading;
use crate::counting::rates::Located;
use crate::counting::snapshot::Snapshot;
use crate::counting::tick::{Clock, Probe, Processes, Sampler, TICK};
use crate::counting::tls;
use crate::fault::{Fault, Say};
use crate::metrics::Meter;
use crate::plaintext::Looking;
use crate::pods::index::Pods;
use crate::pods::news::{self as pod_news, State};
use crate::scope::plugin::Pulse;
use crate::shutdown::{Shutdown, unwound};

/// Where what a sampling finds goes.
pub struct Outlets {
    /// The snapshot.
    pub publish: watch::Sender<Arc<Snapshot>>,
    /// That there was a tick.
    pub beat: watch::Sender<Pulse>,
    /// Only where metrics are served.
    pub meter: Option<Meter>,
    /// How the watch on pods stands, which is compared with where processes are.
    pub pod_state: watch::Sender<State>,
    /// What looks at processes that receive TLS.
    pub looking: Looking,
}

/// Ticks from the first moment until shutdown, and once more then, so that the last totals are whole.
pub async fn sample<K, P, C>(
    mut sampler: Sampler<K, P, C>,
    mut outlets: Outlets,
    pods: watch::Receiver<Pods>,
    (mut shutdown, first): (Shutdown, Instant),
) -> (Sampler<K, P, C>, Outlets)
where
    K: Probe + Send + 'static,
    P: Processes + Send + 'static,
    C: Clock + Send + 'static,
{
    let mut ticks = interval_at(first, TICK);
    // After a stop there is one tick, which covers all of it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut reading, mut releasing) = (Fault::default(), Fault::default());
    let mut named = tls::Named::default();
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = shutdown.requested() => true,
        };
        // The kernel and /proc may take their time; whoever asks for a report does not wait for them.
        let (returned, meter, tick) = unwound(
            spawn_blocking({
                let (pods, plain, mut meter) = (pods.clone(), outlets.looking.state(), outlets.meter.take());
                move || {
                    let begun = Instant::now();
                    let tick = sampler.read().map(|read| {
                        let snapshot = Snapshot { plain, ..sampler.snapshot(&read, &pods.borrow()) };
                        let snapshot = Arc::new(snapshot);
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
            outlets.looking.note(&snapshot);
            // Where they are looked at, it is said what was found.
            if snapshot.plain.reading != Reading::On {
                for tls::Newcomer { command, pid, pod } in named.take(&snapshot) {
                    tracing::info!(command, pid, pod, "receives TLS: requests in it are not counted");
                }
            }
            outlets.publish.send_replace(snapshot);
        }
        if is_last {
            return (sampler, outlets);
        }
    }
}

fn say(fault: &mut Fault, action: &str, error: Option<&io::Error>) {
    match (fault.note(error.is_some()), error) {
        (Say::Begun, Some(error)) => tracing::warn!(%error, "cannot {action}; tried again at each tick"),
        (Say::Over(failures), _) => tracing::info!(failures, "can {action} again"),
        _ => {}
    }
}
