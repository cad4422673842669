//! What the report says of responses. PURE but for the golden files.
use super::*;
use crate::scope::report::Extent;
use crate::scope::report::document::{ERRORS, MILLISECONDS, STATUS};

/// One that fails now and then, one that is slow, and one that was never asked.
fn answers() -> Snapshot {
    let web = answering(placed(process(1, &[8.0, 3.0], 14), "web-1", Some('a')), &[(200, 8), (503, 2)], 2);
    let slow = answering(placed(process(2, &[1.0], 1), "web-1", Some('b')), &[(200, 1)], 18);
    answered(snapshot(vec![web, slow, process(5, &[1.0], 1)]))
}

#[test]
fn golden_report() {
    check_golden("report-answers.json", &answers());
}

#[test]
fn errors_percentiles_and_statuses_are_on_each_topology() {
    let report = parsed(&answers());
    let said = |topology: &str, id: &str| {
        let node = &report[topology]["nodes"][id];
        let metrics = &node["metrics"];
        let errors = metrics[ERRORS]["samples"].as_array().and_then(|samples| samples.last()?["value"].as_f64());
        let milliseconds = metrics[MILLISECONDS]["samples"][0]["value"].as_f64();
        let failed = node["latest"][format!("{STATUS}503")]["value"].as_str().map(str::to_owned);
        (errors, milliseconds, failed)
    };
    let container = |digit: &str| format!("{};<container>", digit.repeat(64));
    let failed = || Some("2".to_owned());
    assert_eq!(said("Process", "node-1;1"), (Some(2.0), Some(0.4875), failed()));
    assert_eq!(said("Process", "node-1;2"), (Some(0.0), Some(9875.0), None));
    assert_eq!(said("Process", "node-1;5"), (None, None, None), "it has answered nothing");
    assert_eq!(said("Container", &container("a")), (Some(2.0), Some(0.4875), failed()));
    assert_eq!(said("Pod", "uid-of-web-1;<pod>"), (Some(2.0), Some(8625.0), failed()));
    assert_eq!(said("Host", "node-1;<host>"), (Some(2.0), Some(8625.0), failed()));
    for topology in Topology::ALL.map(Topology::key) {
        let templates = &report[topology]["table_templates"][STATUS];
        assert_eq!((templates["prefix"].as_str(), templates["type"].as_str()), (Some(STATUS), Some("property-list")));
        let metric = |name: &str| {
            report[topology]["nodes"].as_object().unwrap().values().next().unwrap()["metrics"][name].clone()
        };
        assert_eq!((metric(ERRORS)["max"].as_f64(), metric(MILLISECONDS)["max"].as_f64()), (Some(2.0), Some(10_000.0)));
    }
}

#[test]
fn where_responses_are_not_counted_nothing_is_said_of_them() {
    let report = render(&snapshot(vec![process(1, &[1.0], 1)]), Content::WHOLE, Vec::new()).json;
    let report = std::str::from_utf8(&report).unwrap();
    assert!(!report.contains("table_templates") && !report.contains("rror") && !report.contains("p95"), "{report}");
}

#[test]
fn of_many_processes_those_are_told_of_whose_turn_it_is() {
    let many = (1..=1_500).map(|pid| answering(process(pid, &[1.0], 9), &[(200, 9)], 2)).collect();
    let state = answered(snapshot(many));
    let told = |report| -> Vec<String> {
        let content = Content { extent: Extent::after(report, 1), ..Content::WHOLE };
        let json: Value = serde_json::from_slice(&render(&state, content, Vec::new()).json).unwrap();
        let nodes = json["Process"]["nodes"].as_object().unwrap();
        assert_eq!(nodes.len(), 1_500);
        let told = nodes.iter().filter(|(_, node)| node["metrics"].get(ERRORS).is_some());
        told.map(|(id, node)| (id, &node["latest"]))
            .inspect(|(_, latest)| assert!(latest.get("http_responses_200").is_some()))
            .map(|(id, _)| id.clone())
            .collect()
    };
    let mut all: Vec<_> = (1..=4).flat_map(told).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1_500, "in four reports of each");
    assert!((300..450).contains(&told(1).len()), "{}", told(1).len());
}
