//! The whole text, that the catalog has all of it, and labels that a process or a cluster chose. PURE.
use super::*;
use crate::counting::snapshot::Process;
use crate::counting::snapshot::tests_support::{placed, process, snapshot};
use crate::golden;
use crate::metrics::tally::{Grouping, Tally};
use crate::pods::index::Pods;
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
            max_processes: 8192,
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
    let mut state = snapshot(vec![
        placed(process(1, &[1.0], 7), "web-1", Some('a')),
        placed(process(2, &[1.0], 4), "web-2", None),
        process(3, &[1.0], 2),
    ]);
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
