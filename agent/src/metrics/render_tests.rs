//! The whole text, that the catalog has all of it, and labels that a process or a cluster chose. PURE.
use super::*;
use crate::counting::responses::{Counted, Durations, Kind};
use crate::counting::snapshot::Process;
use crate::counting::snapshot::tests_support::{answered, answering, placed, process, snapshot, with_tls};
use crate::golden;
use crate::metrics::labels::Grouping;
use crate::metrics::tally::Tally;
use crate::pods::index::Pods;
use common::exchange::{Asked, UNTOLD, Untold};
use common::series::Outcome;
use std::collections::BTreeSet;
use std::time::Duration;

fn scrape(snapshot: Snapshot, grouping: Grouping) -> Scrape {
    let mut tally = Tally::new(grouping);
    tally.take(&snapshot, &Pods::default());
    let instruments = Instruments::default();
    instruments.ticks.observe(0.000_3);
    instruments.reports.observe(0.002);
    instruments.report_bytes.set(2048);
    Scrape {
        facts: Arc::new(Facts {
            node: Some("node-1".into()),
            kernel: "6.18.0".into(),
            probe: "tp_btf/hook".into(),
            started: Timestamp::new(1_474_442_000, 500_000_000).unwrap(),
            counted: Counted::At("hook".into()),
            max_processes: 8192,
            started_from: ("handover", &["nothing", "handover"]),
            handovers: 3,
        }),
        observed: Arc::new(Observed {
            snapshot: Arc::new(snapshot),
            totals: Arc::clone(tally.totals()),
            pods: 2,
            refused_pods: 0,
        }),
        instruments,
        api_server: ("watching", &["off", "watching"]),
    }
}

/// Two pods, a process outside, a loss, and a kernel that measures.
fn busy() -> Snapshot {
    let mut web = answering(placed(process(1, &[1.0], 7), "web-1", Some('a')), &[(200, 4), (503, 1)], 6);
    Arc::make_mut(web.responded.as_mut().unwrap()).note_outcome(&Outcome { unanswered: 1, lost: 0 });
    let mut state = answered(snapshot(vec![
        web,
        with_tls(placed(process(2, &[1.0], 4), "web-2", None), 3),
        with_tls(answering(process(3, &[1.0], 2), &[(200, 2)], 19), 12),
    ]));
    let unknown = (Kind { asked: Asked::HTTP_2, status: UNTOLD }, Durations { unknown: 3, ..Durations::default() });
    state.grown[1].kinds = vec![unknown];
    let all = Arc::make_mut(state.responded.as_mut().unwrap());
    all.note(100, (unknown.0, &unknown.1), |_| 0.0);
    state.untold[Untold::Status as usize] = 3;
    state.totals.requests = [0, 13, 0];
    state.losses.failures[Failure::Gap as usize] = 1;
    state.losses.failures[Failure::Joined as usize] = 2;
    state.slots_used = 4;
    state.program.calls = 1000;
    state.program.time = Duration::from_micros(350);
    state
}

#[test]
fn the_whole_text_in_both_formats() {
    golden::check("metrics/openmetrics.txt", &scrape(busy(), Grouping::Container).render(Format::OpenMetrics));
    golden::check("metrics/prometheus.txt", &scrape(busy(), Grouping::Process).render(Format::Prometheus));
}

#[test]
fn what_is_exposed_is_what_the_catalog_lists() {
    let text = scrape(busy(), Grouping::Container).render(Format::Prometheus);
    let exposed: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(exposed, catalog::ALL.iter().map(Metric::name).collect::<Vec<_>>());
    let known: BTreeSet<_> =
        catalog::ALL.iter().flat_map(|metric| metric.labels).copied().chain(["k8s_node_name", "le"]).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, labels)) = line.split_once('{') else { continue };
        for label in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
            assert!(known.contains(label.0), "{} in {line}", label.0);
        }
    }
}

#[test]
fn every_request_is_somewhere() {
    let text = scrape(busy(), Grouping::Container).render(Format::Prometheus);
    let sum = |prefix: &str| -> u64 {
        let lines = text.lines().filter(|line| line.starts_with(prefix));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    let responses = sum("scope_http_requests_node_responses_total");
    let rest =
        ["in_flight", "unanswered_total", "lost_responses_total"].map(|name| format!("scope_http_requests_{name}"));
    let requests = responses + rest.iter().map(|name| sum(name)).sum::<u64>();
    assert_eq!((responses, requests), (10, sum("scope_http_requests_node_total")));
    let in_series =
        sum("http_server_request_duration_seconds_count") + sum("scope_http_requests_unknown_durations_total");
    assert_eq!(in_series + sum("scope_http_requests_waiting_responses"), responses);
    let tls = ["tls_connections_total", "node_tls_connections_total"];
    assert_eq!(tls.map(|name| sum(&format!("scope_http_requests_{name}"))), [15, 15]);
}

#[test]
fn where_responses_are_not_counted_nothing_says_that_there_were_none() {
    let text = scrape(snapshot(vec![process(1, &[1.0], 7)]), Grouping::Container).render(Format::Prometheus);
    assert!(text.contains("state=\"counted\"} 1"), "{text}");
    assert!(!text.contains("request_duration_seconds_count{") && !text.contains("in_flight"), "{text}");
}

#[test]
fn without_measurements_of_the_kernel_there_are_none() {
    let text = scrape(snapshot(vec![]), Grouping::Container).render(Format::Prometheus);
    assert!(!text.contains("program_run"), "{text}");
}

#[test]
fn names_that_a_process_chose_stay_within_their_quotes() {
    let mut hostile = process(1, &[1.0], 1);
    Arc::make_mut(&mut hostile.identity).command = "a\"} 9\n# \\ {".into();
    let text = scrape(snapshot(vec![hostile]), Grouping::Process).render(Format::OpenMetrics);
    let line = text.lines().find(|line| line.starts_with("scope_http_requests_total")).unwrap();
    assert!(line.ends_with(r#"process_command="a\"} 9\n# \\ {"} 1"#), "{line}");
}

#[test]
fn series_come_in_the_same_order_each_time() {
    let processes: Vec<Process> = (1..50).map(|pid| placed(process(pid, &[], 1), &format!("p{pid}"), None)).collect();
    let reversed = processes.iter().rev().cloned().collect();
    let text = |processes| scrape(snapshot(processes), Grouping::Container).render(Format::OpenMetrics);
    assert_eq!(text(processes), text(reversed));
}
