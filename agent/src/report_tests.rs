//! The report against golden files and against what Scope's decoder insists on. PURE but for the golden files.
use super::*;
use crate::golden;
use crate::process::Identity;
use crate::snapshot::tests_support::{placed, process, snapshot};
use proptest::prelude::*;
use serde_json::Value;
use std::sync::Arc;

fn parsed(snapshot: &Snapshot) -> Value {
    serde_json::from_slice(&render(snapshot)).unwrap()
}

#[track_caller]
fn check_golden(name: &str, snapshot: &Snapshot) {
    let pretty = serde_json::to_string_pretty(&parsed(snapshot)).unwrap() + "\n";
    golden::check(name, &pretty);
}

#[test]
fn golden_reports() {
    check_golden("report-empty.json", &Snapshot::empty("node-1".into()));
    check_golden("report-one.json", &snapshot(vec![process(42, &[1.0], 1)]));
    let several = vec![process(42, &[3.0, 0.5, 1234.25, 0.0], 1238), process(7, &[0.0, 2.0], 2)];
    check_golden("report-several.json", &snapshot(several));
    check_golden("report-pods.json", &in_pods());
}

/// Two processes in one container, one in another of the same pod, one in a pod's own cgroup, one outside.
fn in_pods() -> Snapshot {
    snapshot(vec![
        placed(process(1, &[8.0, 1.0, 2.0, 3.0], 14), "web-1", Some('a')),
        placed(process(2, &[0.25], 1), "web-1", Some('a')),
        placed(process(3, &[0.5, 0.5], 1), "web-1", Some('b')),
        placed(process(4, &[0.0], 7), "db-0", None),
        process(5, &[1.0], 1),
    ])
}

#[test]
fn containers_and_pods_have_the_sums_of_their_live_processes() {
    let report = parsed(&in_pods());
    let rates = |topology: &str, id: &str| {
        let metric = &report[topology]["nodes"][id]["metrics"][RATE];
        let samples = metric["samples"].as_array().unwrap().iter().map(|sample| sample["value"].as_f64().unwrap());
        (samples.collect::<Vec<_>>(), metric["max"].as_f64().unwrap())
    };
    let container = |digit: &str| format!("{};<container>", digit.repeat(64));
    assert_eq!(rates("Container", &container("a")), (vec![1.0, 2.0, 3.25], 8.0));
    assert_eq!(rates("Container", &container("b")), (vec![0.5, 0.5], 1.0));
    assert_eq!(rates("Pod", "uid-of-web-1;<pod>"), (vec![1.0, 2.5, 3.75], 8.0));
    assert_eq!(rates("Pod", "uid-of-db-0;<pod>"), (vec![0.0], 1.0));
    for topology in ["Process", "Container", "Pod"] {
        assert_eq!(report[topology]["metric_templates"][RATE]["id"], RATE);
        for (id, node) in report[topology]["nodes"].as_object().unwrap() {
            assert_eq!(node["id"], id.as_str());
        }
    }
}

#[test]
fn of_too_many_pods_the_busiest_are_reported_and_it_is_said() {
    let many = (1..=MAX_REPORTED_SUMS as u32 + 2)
        .map(|pid| placed(process(pid, &[0.0], u64::from(pid)), &format!("web-{pid}"), None));
    let report = parsed(&snapshot(many.collect()));
    let nodes = report["Pod"]["nodes"].as_object().unwrap();
    assert_eq!(nodes.len(), MAX_REPORTED_SUMS);
    assert!(!nodes.contains_key("uid-of-web-2;<pod>") && nodes.contains_key("uid-of-web-3;<pod>"));
    let said = "Adds http request metrics to processes (the busiest 2000 of 2002 pods)";
    assert_eq!(report["Plugins"][0]["description"], said);
}

#[test]
fn the_bytes_are_those_of_the_documented_example() {
    let report = render(&snapshot(vec![process(42, &[1.0], 1)]));
    golden::check("report-one.raw.json", std::str::from_utf8(&report).unwrap());
}

#[test]
fn samples_ascend_and_a_new_process_has_fewer() {
    let report = parsed(&snapshot(vec![process(1, &[1.0, 2.0, 3.0, 4.0], 10), process(2, &[9.0], 9)]));
    let samples = |pid: u32| {
        let node = &report["Process"]["nodes"][format!("node-1;{pid}")];
        let samples = node["metrics"][RATE]["samples"].as_array().unwrap();
        samples
            .iter()
            .map(|s| (s["date"].as_str().unwrap().to_owned(), s["value"].as_f64().unwrap()))
            .collect::<Vec<_>>()
    };
    let dates: Vec<_> = samples(1).into_iter().map(|(date, _)| date).collect();
    assert_eq!(dates[0], "2016-09-21T07:22:22.293175000Z");
    assert!(dates.is_sorted());
    assert_eq!(samples(1).iter().map(|(_, value)| *value).collect::<Vec<_>>(), [2.0, 3.0, 4.0]);
    assert_eq!(samples(2), [(dates[2].clone(), 9.0)]);
}

#[test]
fn processes_that_the_host_cannot_see_or_name_are_left_out() {
    let mut unseen = process(3, &[1.0], 1);
    unseen.identity = Arc::new(Identity { pid: None, ..(*unseen.identity).clone() });
    let mut old = process(5, &[1.0], 100);
    old.key.start_ns = 1;
    let report = parsed(&snapshot(vec![unseen, process(4, &[], 1), process(5, &[2.0], 2), old]));
    let nodes = report["Process"]["nodes"].as_object().unwrap();
    assert_eq!(nodes.keys().collect::<Vec<_>>(), ["node-1;5"]);
    assert_eq!(nodes["node-1;5"]["latest"][TOTAL]["value"], "2");
}

#[test]
fn of_too_many_processes_the_busiest_are_reported_and_it_is_said() {
    let many = (1..=MAX_REPORTED_PROCESSES as u32 + 3).map(|pid| process(pid, &[0.0], u64::from(pid))).collect();
    let report = parsed(&snapshot(many));
    let nodes = report["Process"]["nodes"].as_object().unwrap();
    assert_eq!(nodes.len(), MAX_REPORTED_PROCESSES);
    assert!(!nodes.contains_key("node-1;3") && nodes.contains_key("node-1;4"));
    let said = "Adds http request metrics to processes (the busiest 5000 of 5003)";
    assert_eq!(report["Plugins"][0]["description"], said);
}

proptest! {
    /// Whatever the host and the processes are called and whatever they do: strict JSON with a
    /// node for each process, whose id is its key and whose numbers are finite.
    #[test]
    fn always_valid(host in any::<String>(), rates in prop::collection::vec(prop::collection::vec(0.0f32..1e9, 1..5), 0..20), command in any::<String>()) {
        let processes: Vec<_> = rates.iter().enumerate().map(|(index, rates)| {
            let mut process = process(index as u32 + 1, rates, u64::MAX / 1000);
            process.identity = Arc::new(Identity { command: command.clone(), ..(*process.identity).clone() });
            process
        }).collect();
        let state = Snapshot { host: host.as_str().into(), ..snapshot(processes) };
        let report = parsed(&state);
        let nodes = report["Process"]["nodes"].as_object().unwrap();
        prop_assert_eq!(nodes.len(), rates.len());
        for (id, node) in nodes {
            prop_assert_eq!(node["id"].as_str(), Some(id.as_str()));
            let metric = &node["metrics"][RATE];
            let max = metric["max"].as_f64().unwrap();
            for sample in metric["samples"].as_array().unwrap() {
                prop_assert!(sample["value"].as_f64().unwrap() <= max);
                prop_assert!(sample["date"].as_str().unwrap().parse::<Timestamp>().is_ok());
            }
        }
    }
}
