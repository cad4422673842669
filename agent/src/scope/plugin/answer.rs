//! What each request on the plugin socket is answered with. EDGE.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use hyper::{Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::counting::overview::{self, Facts, Overview};
use crate::counting::snapshot::Snapshot;
use crate::health::{self, Question, Vitals};
use crate::http::serve::{of_type, refused, text};
use crate::metrics::Instruments;
use crate::pods::news;
use crate::scope::report::Content;
use crate::scope::topologies::Topologies;
use crate::scope::{host, peer, report};

/// Where the answer to `GET /report` comes from.
pub trait Answers: Send + Sync {
    /// The report, or why there is none.
    ///
    /// # Errors
    ///
    /// One line for people.
    fn report(&self) -> Result<Bytes, String>;

    /// The last tick as the live table shows it, unless it is the one with this number.
    ///
    /// # Errors
    ///
    /// One line for people.
    fn overview(&self, _after: Option<u64>) -> Result<Option<Bytes>, String> {
        Err("nothing to show".to_owned())
    }

    /// One line that says what is wrong, if something is.
    fn complaint(&self, question: Question) -> Option<String>;

    /// One line of what else there is to know for whoever asks how the agent is.
    fn remark(&self) -> Option<String> {
        None
    }

    /// A Scope probe with this PID has asked.
    fn polled_by_scope(&self, _pid: Option<u32>) {}
}

/// When the sampling last did what. Tokio's clock, unlike the one for rates, stands still while the machine sleeps:
/// waking up is no reason to complain.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    started: Instant,
    ticked: Option<Instant>,
    read: Option<Instant>,
}

impl Pulse {
    /// Of a sampling that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), ticked: None, read: None }
    }

    /// Notes the end of a tick, and whether it read the kernel's counts.
    pub fn beat(&mut self, read: bool) {
        let now = Instant::now();
        self.ticked = Some(now);
        if read {
            self.read = Some(now);
        }
    }

    /// One line that says what is wrong, if something is.
    #[must_use]
    pub fn complaint(&self, question: Question, refusal: Option<&str>) -> Option<String> {
        let since = |at: Instant| at.duration_since(self.started);
        let vitals =
            Vitals { started: Duration::ZERO, ticked: self.ticked.map(since), read: self.read.map(since), refusal };
        health::complaint(question, vitals, self.started.elapsed())
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

/// The last report.
pub struct Reports {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    pulse: watch::Receiver<Pulse>,
    host: Arc<str>,
    topologies: Topologies,
    /// How the watch on pods stands, where there is one.
    pods: Option<watch::Receiver<news::State>>,
    /// The number of the tick that it reports on.
    rendered: Mutex<Option<(u64, Bytes)>>,
    /// The Scope probe whose name for the host was compared last.
    compared: AtomicU32,
    warned: AtomicBool,
    instruments: Instruments,
    facts: Facts,
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
            topologies: Topologies::ALL,
            pods: None,
            rendered: Mutex::new(None),
            compared: AtomicU32::new(0),
            warned: AtomicBool::new(false),
            instruments: Instruments::default(),
            facts: Facts::default(),
        }
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

    /// Notes there what reports cost and how often Scope asks.
    #[must_use]
    pub fn noted_by(mut self, instruments: Instruments) -> Self {
        self.instruments = instruments;
        self
    }
}

impl Answers for Reports {
    fn report(&self) -> Result<Bytes, String> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        // What a panic may have left is a whole report or none.
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sequence, report)) = &*rendered
            && *sequence == snapshot.sequence
        {
            return Ok(report.clone());
        }
        // Unless a client is still taking it, the report before this one gives its buffer.
        let before = rendered.take().map(|(_, report)| report).filter(Bytes::is_unique);
        let notice = self.pods.as_ref().and_then(|pods| pods.borrow().notice());
        let content = Content { topologies: self.topologies, notice: notice.as_deref() };
        let begun = Instant::now();
        let report = report::render(&snapshot, content, before.map(Vec::from).unwrap_or_default());
        self.instruments.reports.observe(begun.elapsed().as_secs_f64());
        self.instruments.report_bytes.set(report.len() as u64);
        *rendered = Some((snapshot.sequence, report.clone()));
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

    /// Compares the names of the host, once with each Scope probe, until there is a warning.
    fn polled_by_scope(&self, pid: Option<u32>) {
        self.instruments.scope_polls.inc();
        let Some(pid) = pid else { return };
        if self.warned.load(Ordering::Relaxed) || self.compared.swap(pid, Ordering::Relaxed) == pid {
            return;
        }
        match peer::host_name(pid) {
            Ok(Some(scopes)) => {
                if let Some(warning) = host::mismatch(&self.host, &scopes) {
                    self.warned.store(true, Ordering::Relaxed);
                    tracing::warn!("{warning}");
                }
            }
            Ok(None) => tracing::debug!(pid, "nothing tells how Scope calls this host"),
            Err(error) => tracing::debug!(pid, %error, "cannot tell how Scope calls this host"),
        }
    }
}

/// Instead of reports, the line that says why there are none.
///
/// Scope overwrites a report's status with "ok", but shows the reason phrase of any other answer.
pub struct Refusal(pub String);

impl Answers for Refusal {
    fn report(&self) -> Result<Bytes, String> {
        Err(self.0.clone())
    }

    fn overview(&self, _after: Option<u64>) -> Result<Option<Bytes>, String> {
        Err(self.0.clone())
    }

    /// It is not restarted for this: it ends by itself.
    fn complaint(&self, question: Question) -> Option<String> {
        Pulse::new().complaint(question, Some(&self.0))
    }
}

pub(super) fn answer<B: Body>(answers: &dyn Answers, request: &Request<B>, peer: Option<u32>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let question = Question::at(path);
    if question.is_none() && !matches!(path, "/report" | overview::PATH) {
        return text(StatusCode::NOT_FOUND, "the paths are /report, /overview, /health/live and /health/ready\n");
    }
    if let Some(refusal) = refused(request.method()) {
        return refusal;
    }
    if let Some(question) = question {
        return match answers.complaint(question) {
            None => {
                text(StatusCode::OK, answers.remark().map_or_else(|| "ok\n".into(), |line| format!("ok\n{line}\n")))
            }
            Some(complaint) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{complaint}\n")),
        };
    }
    if path == overview::PATH {
        return match answers.overview(after(request.uri().query())) {
            Ok(Some(overview)) => of_type("application/json", overview),
            Ok(None) => text(StatusCode::NO_CONTENT, ""),
            Err(cause) => refusal(cause),
        };
    }
    if host::is_scope(request.uri().query()) {
        answers.polled_by_scope(peer);
    }
    match answers.report() {
        Ok(report) => of_type("application/json", report),
        Err(cause) => refusal(cause),
    }
}

/// The number of the tick that whoever asks has seen.
fn after(query: Option<&str>) -> Option<u64> {
    query?.split('&').find_map(|parameter| parameter.strip_prefix("after=")?.parse().ok())
}

fn refusal(cause: String) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, format!("{cause}\n"));
    let phrase: String = cause.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    if let Ok(phrase) = ReasonPhrase::try_from(phrase) {
        response.extensions_mut().insert(phrase);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::HeldLines;
    use std::io::{Read as _, Write as _};
    use std::process::{Child, Command, Stdio};

    /// A process that has this name for the host.
    fn scope(name: &str) -> Child {
        let mut command = Command::new("cat");
        command.env("SCOPE_HOSTNAME", name).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Once it echoes it has its environment.
        child.stdin.as_mut().unwrap().write_all(b".").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[track_caller]
    fn check(names: &[&str], expected: usize) {
        let (_sender, snapshots) = watch::channel(Arc::new(Snapshot::empty("node-1".into())));
        let (_pulse, pulse) = watch::channel(Pulse::new());
        let (reports, lines) = (Reports::new(snapshots, pulse), HeldLines::default());
        let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            for name in names {
                let scope = scope(name);
                // It polls every second.
                (0..3).for_each(|_| reports.polled_by_scope(Some(scope.id())));
                end(scope);
            }
            reports.polled_by_scope(None);
        });
        let lines = lines.last(usize::MAX);
        assert_eq!(lines.len(), expected, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("--hostname=node-2")), "{lines:?}");
    }

    #[test]
    fn another_name_for_the_host_is_warned_about_once() {
        check(&["node-1"], 0);
        check(&["node-2"], 1);
        check(&["node-1", "node-2", "node-2"], 1);
    }

    #[test]
    fn a_report_is_rendered_when_asked_for_and_once_a_tick() {
        let snapshot = |sequence| Arc::new(Snapshot { sequence, ..Snapshot::empty("node-1".into()) });
        let (ticks, snapshots) = watch::channel(snapshot(0));
        let (_pulse, pulse) = watch::channel(Pulse::new());
        let reports = Reports::new(snapshots, pulse);
        let rendered = || reports.rendered.lock().unwrap().as_ref().map(|(sequence, _)| *sequence);
        ticks.send_replace(snapshot(1));
        assert_eq!(rendered(), None, "nobody has asked");
        let report = reports.report().unwrap();
        // The same bytes, not only equal ones.
        assert_eq!(reports.report().unwrap().as_ptr(), report.as_ptr());
        (2..5).for_each(|sequence| drop(ticks.send_replace(snapshot(sequence))));
        assert_eq!(rendered(), Some(1), "nobody has asked since");
        assert_ne!(reports.report().unwrap().as_ptr(), report.as_ptr());
        assert_eq!(rendered(), Some(4));
    }
}
