//! Which report who gets, what is said and noted, and what a tick costs. EDGE.
use super::super::answer::ScopeProbe;
use super::*;
use crate::counting::snapshot::tests_support::{process, snapshot};
use crate::telemetry::HeldLines;
use serde_json::Value;
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

/// Reports on the snapshots that are sent.
fn reports(first: Snapshot) -> (watch::Sender<Arc<Snapshot>>, Reports) {
    let (ticks, snapshots) = watch::channel(Arc::new(first));
    let (_pulse, pulse) = watch::channel(Pulse::new());
    (ticks, Reports::new(snapshots, pulse))
}

fn numbered(sequence: u64) -> Snapshot {
    Snapshot { sequence, ..snapshot((1..=300).map(|pid| process(pid, &[1.0], 1)).collect()) }
}

/// A Scope probe that got reports up to that on a tick.
fn probe(reports: u64, tick: u64, host: Option<&str>) -> Asked {
    let scope = ScopeProbe { host: host.map(Into::into), reports, tick: (reports > 0).then_some(tick) };
    Asked { gzip: false, scope: Some(scope) }
}

fn json(reports: &Reports, asked: &Asked) -> Value {
    serde_json::from_slice(&reports.report(asked).unwrap().bytes).unwrap()
}

#[track_caller]
fn lines_of(act: impl FnOnce()) -> Vec<String> {
    let lines = HeldLines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, act);
    lines.last(usize::MAX)
}

#[track_caller]
fn check_names(names: &[&str], host_is_chosen: bool, expected: &[&str]) {
    let (_ticks, reports) = reports(Snapshot::empty("node-1".into()));
    let reports = reports.with_chosen_host(host_is_chosen);
    let lines = lines_of(|| {
        for name in names {
            let scope = scope(name);
            let told = reports.scopes_host(scope.id());
            end(scope);
            assert_eq!(told.as_deref(), (!name.contains(';')).then_some(*name));
        }
    });
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    assert!(lines.iter().zip(expected).all(|(line, words)| line.contains(words)), "{lines:?}");
}

#[test]
fn another_name_for_the_host_is_said_once() {
    check_names(&["node-1"], true, &[]);
    check_names(&["node-2"], true, &["WARN"]);
    check_names(&["node-1", "node-2", "node-2"], true, &["--hostname=node-2"]);
    check_names(&["node-2", "node-3"], false, &["INFO"]);
    check_names(&["a;b"], true, &[]);
}

#[test]
fn where_nobody_chose_a_name_scope_is_answered_with_its_own() {
    let (_ticks, reports) = reports(numbered(1));
    let host = |report: &Value| {
        report["Host"]["nodes"].as_object().unwrap().keys().next().unwrap().split(';').next().unwrap().to_owned()
    };
    assert_eq!(host(&json(&reports, &probe(0, 0, Some("node-2")))), "node-2");
    assert_eq!(host(&json(&reports, &probe(0, 0, Some("node-3")))), "node-3");
    assert_eq!(host(&json(&reports, &probe(0, 0, None))), "node-1");
    assert_eq!(host(&json(&reports, &Asked::default())), "node-1");
    let reports = reports.with_chosen_host(true);
    reports.rendered.lock().unwrap().reports.clear();
    let said = |report: &Value| report["Plugins"][0]["description"].as_str().unwrap().contains("--hostname=node-2");
    // Each time, not only the first.
    for reports_before in 0..3 {
        let report = json(&reports, &probe(reports_before, 0, Some("node-2")));
        assert_eq!((host(&report).as_str(), said(&report)), ("node-1", true));
    }
    assert!(!said(&json(&reports, &probe(0, 0, Some("node-1")))));
}

#[test]
fn a_report_is_rendered_when_asked_for_and_once_a_tick() {
    let (ticks, reports) = reports(numbered(0));
    let rendered = || {
        let kept = reports.rendered.lock().unwrap();
        (kept.tick, kept.reports.len())
    };
    ticks.send_replace(Arc::new(numbered(1)));
    assert_eq!(rendered(), (0, 0), "nobody has asked");
    let whole = Asked::default();
    let report = reports.report(&whole).unwrap();
    // The same bytes, not only equal ones.
    assert_eq!(reports.report(&whole).unwrap().bytes.as_ptr(), report.bytes.as_ptr());
    (2..5).for_each(|sequence| drop(ticks.send_replace(Arc::new(numbered(sequence)))));
    assert_eq!(rendered(), (1, 1), "nobody has asked since");
    assert_ne!(reports.report(&whole).unwrap().bytes.as_ptr(), report.bytes.as_ptr());
    assert_eq!(rendered(), (4, 1));
    // Who takes gzip gets the same in it; two probes that go in step share theirs.
    let compressed = Asked { gzip: true, ..probe(7, 3, None) };
    let first = reports.report(&compressed).unwrap();
    assert_eq!(reports.report(&compressed).unwrap().bytes.as_ptr(), first.bytes.as_ptr());
    assert_eq!(rendered(), (4, 2));
    (0..2 * MAX_KEPT as u64).for_each(|n| drop(reports.report(&probe(1, 4, Some(&n.to_string())))));
    assert_eq!(rendered(), (4, MAX_KEPT));
}

#[test]
fn once_scope_has_hung_up_it_gets_the_busiest_and_it_is_said() {
    let (ticks, reports) = reports(numbered(1));
    let late = Duration::from_millis(500);
    let nodes = |asked: &Asked| json(&reports, asked)["Process"]["nodes"].as_object().unwrap().len();
    let lines = lines_of(|| {
        let report = reports.report(&probe(0, 0, None)).unwrap();
        assert_eq!(report.nodes, 300);
        reports.abandoned(report.nodes, late);
        reports.abandoned(report.nodes, late);
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("150 busiest"), "{lines:?}");
    assert_eq!((nodes(&probe(0, 0, None)), nodes(&Asked::default())), (100, 300), "people have time");
    let description = json(&reports, &probe(0, 0, None))["Plugins"][0]["description"].to_string();
    assert!(description.contains("(the busiest 100 of 300: Scope had no time for more)"), "{description}");
    let Instruments { scope_hangups, left_out, .. } = &reports.instruments;
    assert_eq!((scope_hangups.get(), left_out.get()), (2, 200), "whatever people get");
    ticks.send_replace(Arc::new(numbered(2)));
    assert_eq!((nodes(&probe(0, 0, None)), left_out.get()), (100, 200));
    let lines = lines_of(|| (0..10_000).for_each(|_| reports.taken()));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(nodes(&probe(0, 0, None)), 300);
}
