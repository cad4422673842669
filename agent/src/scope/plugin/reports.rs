//! The reports and overviews that clients of the plugin socket get, rendered when they are asked for. EDGE.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::{Answers, Asked, Report};
use super::pulse::Pulse;
use super::takers::Takers;
use crate::counting::overview::{Facts, Overview};
use crate::counting::shown::Shown;
use crate::counting::snapshot::Snapshot;
use crate::health::Question;
use crate::http::encoding::gzip;
use crate::metrics::Instruments;
use crate::pods::news;
use crate::scope::report::{Content, Extent, render};
use crate::scope::room::{Change, Room};
use crate::scope::topologies::Topologies;
use crate::scope::{host, peer};

/// Reports on one tick that are kept: two Scope probes ask for two, people for a third.
const MAX_KEPT: usize = 8;

/// The last reports.
pub struct Reports {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    pulse: watch::Receiver<Pulse>,
    host: Arc<str>,
    /// Whether somebody chose that name: then it is used, whatever Scope calls this host.
    host_is_chosen: bool,
    topologies: Topologies,
    /// How the watch on pods stands, where there is one.
    pods: Option<watch::Receiver<news::State>>,
    rendered: Mutex<Kept>,
    room: Mutex<Room>,
    warned: AtomicBool,
    instruments: Instruments,
    facts: Facts,
    takers: Option<Takers>,
}

/// Reports on one tick.
#[derive(Default)]
struct Kept {
    tick: u64,
    reports: Vec<(Kind, Report)>,
    /// What the next report is written into.
    buffer: Vec<u8>,
}

/// What tells reports on the same tick apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    extent: Extent,
    /// How Scope calls this host, if it is known.
    scopes_host: Option<Arc<str>>,
    gzip: bool,
}

impl Reports {
    /// Reports on the last of these snapshots, rendered when first asked for and at most once each.
    #[must_use]
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>, pulse: watch::Receiver<Pulse>) -> Self {
        let host = Arc::clone(&snapshots.borrow().host);
        Self {
            snapshots,
            pulse,
            host,
            host_is_chosen: false,
            topologies: Topologies::ALL,
            pods: None,
            rendered: Mutex::default(),
            room: Mutex::default(),
            warned: AtomicBool::new(false),
            instruments: Instruments::default(),
            facts: Facts::default(),
            takers: None,
        }
    }

    /// Calls this host as it does even where Scope calls it otherwise, if somebody chose the name.
    #[must_use]
    pub fn with_chosen_host(self, host_is_chosen: bool) -> Self {
        Self { host_is_chosen, ..self }
    }

    /// Fills these topologies only.
    #[must_use]
    pub fn with_topologies(self, topologies: Topologies) -> Self {
        Self { topologies, ..self }
    }

    /// Says how the watch on pods stands.
    #[must_use]
    pub fn with_pods(self, pods: watch::Receiver<news::State>) -> Self {
        Self { pods: Some(pods), ..self }
    }

    /// Says so to whoever shows a live table.
    #[must_use]
    pub fn with_facts(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    /// Lets other agents go on with what is counted here.
    #[must_use]
    pub fn with_takers(self, takers: Option<Takers>) -> Self {
        Self { takers, ..self }
    }

    /// Notes there what reports cost and how often Scope asks.
    #[must_use]
    pub fn noted_by(mut self, instruments: Instruments) -> Self {
        self.instruments = instruments;
        self
    }

    fn kind(&self, asked: &Asked, tick: u64) -> Kind {
        let Some(probe) = &asked.scope else {
            return Kind { extent: Extent::WHOLE, scopes_host: None, gzip: asked.gzip };
        };
        let ago = probe.tick.map_or(u64::MAX, |last| tick.saturating_sub(last));
        let extent = Extent { nodes: lock(&self.room).nodes(), ..Extent::after(probe.reports, ago) };
        Kind { extent, scopes_host: probe.host.clone(), gzip: asked.gzip }
    }

    fn kept_or_rendered(&self, asked: &Asked) -> Report {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let kind = self.kind(asked, snapshot.sequence);
        let mut kept = lock(&self.rendered);
        kept.turn_to(snapshot.sequence);
        if let Some(report) = kept.find(&kind) {
            return report.clone();
        }
        let buffer = std::mem::take(&mut kept.buffer);
        let (report, buffer) = self.render(&snapshot, &kind, buffer);
        kept.buffer = buffer;
        if kept.reports.len() < MAX_KEPT {
            kept.reports.push((kind, report.clone()));
        }
        report
    }

    /// Writes a report over `buffer`, and returns it with the buffer for the next one.
    fn render(&self, snapshot: &Snapshot, kind: &Kind, buffer: Vec<u8>) -> (Report, Vec<u8>) {
        let mismatch = kind.scopes_host.as_deref().filter(|scopes| self.host_is_chosen && **scopes != *self.host);
        let notices = [
            mismatch.map(host::advice),
            (self.facts.shown == Shown::Pods).then(|| "processes in pods alone".to_owned()),
            self.pods.as_ref().and_then(|pods| pods.borrow().notice()),
        ];
        let notice = notices.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let content = Content {
            topologies: self.topologies,
            shown: self.facts.shown,
            extent: kind.extent,
            host: kind.scopes_host.as_deref().filter(|_| !self.host_is_chosen),
            notice: (!notice.is_empty()).then_some(&*notice),
        };
        let begun = Instant::now();
        let rendered = render(snapshot, content, buffer);
        let (bytes, buffer) = if kind.gzip {
            (Bytes::from(gzip(&rendered.json)), rendered.json.into())
        } else {
            (rendered.json, Vec::new())
        };
        self.instruments.reports.observe(begun.elapsed().as_secs_f64());
        (Report { bytes, tick: snapshot.sequence, nodes: rendered.nodes, left_out: rendered.left_out }, buffer)
    }
}

impl Kept {
    /// Forgets reports on other ticks. Unless a client is still taking it, one of them gives its buffer.
    fn turn_to(&mut self, tick: u64) {
        if std::mem::replace(&mut self.tick, tick) == tick {
            return;
        }
        for (kind, report) in self.reports.drain(..) {
            if !kind.gzip && report.bytes.is_unique() && self.buffer.capacity() == 0 {
                self.buffer = report.bytes.into();
            }
        }
    }

    fn find(&self, kind: &Kind) -> Option<&Report> {
        self.reports.iter().find(|(kept, _)| kept == kind).map(|(_, report)| report)
    }
}

impl Answers for Reports {
    fn takers(&self) -> Option<&Takers> {
        self.takers.as_ref()
    }

    fn report(&self, asked: &Asked) -> Result<Report, String> {
        let report = self.kept_or_rendered(asked);
        if asked.scope.is_some() {
            self.instruments.scope_polls.inc();
            self.instruments.report_bytes.set(report.bytes.len() as u64);
            self.instruments.left_out.set(report.left_out as u64);
        }
        Ok(report)
    }

    /// Not kept: few look, and what they look at changes each second.
    fn overview(&self, after: Option<u64>) -> Result<Option<Bytes>, String> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let is_new = after != Some(snapshot.sequence);
        Ok(is_new.then(|| Overview::new(&snapshot, &self.facts).json().into()))
    }

    fn complaint(&self, question: Question) -> Option<String> {
        self.pulse.borrow().complaint(question, None)
    }

    fn remark(&self) -> Option<String> {
        self.pods.as_ref().map(|pods| pods.borrow().line())
    }

    /// Says so once if it is not the agent's name for it.
    fn scopes_host(&self, pid: u32) -> Option<Arc<str>> {
        let scopes = match peer::host_name(pid) {
            Ok(name) => name.and_then(|name| host::HostName::parse(&name).ok()),
            Err(error) => {
                tracing::debug!(pid, %error, "cannot tell how Scope calls this host");
                None
            }
        }?;
        if let Some(warning) = host::mismatch(&self.host, &scopes.to_string())
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            if self.host_is_chosen {
                tracing::warn!("{warning}");
            } else {
                tracing::info!(host = %self.host, %scopes, "Scope calls this host otherwise: it is answered with its own name");
            }
        }
        Some(scopes.shared())
    }

    fn taken(&self) {
        if lock(&self.room).taken() == Change::Whole {
            tracing::info!("Scope takes whole reports again");
        }
    }

    fn abandoned(&self, nodes: usize, after: Duration) {
        self.instruments.scope_hangups.inc();
        let mut room = lock(&self.room);
        if room.abandoned(nodes, after) == Change::Short {
            tracing::warn!(
                nodes,
                ?after,
                "Scope hung up before it had the whole report: it gets the {} busiest of each kind, and more again while it takes them; give this node more processor time, or report less with --topologies",
                room.nodes()
            );
        }
    }
}

/// What a panic may have left is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "reports_tests.rs"]
mod tests;
