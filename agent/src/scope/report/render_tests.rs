//! The report against golden files and against what Scope's decoder insists on. PURE but for the golden files.
use super::super::document::{RATE, TOTAL};
use super::super::{ENDED_SHOWN_TICKS, MAX_PROCESS_BYTES, MAX_REPORTED_PROCESSES, MAX_REPORTED_SUMS};
use super::*;
use crate::counting::counts::Pid;
use crate::counting::ended::Remains;
use crate::counting::identity::Identity;
use crate::counting::snapshot::PlacedRemains;
use crate::counting::snapshot::tests_support::{answered, answering, placed, process, snapshot, with_tls};
use crate::counting::snapshot::{Place, Process, REPEATED_TICKS};
use crate::golden;
use crate::pods::cgroup::ContainerId;
use common::maps::Counts;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::Arc;

fn parsed(snapshot: &Snapshot) -> Value {
    serde_json::from_slice(&render(snapshot, Content::WHOLE, Vec::new()).json).unwrap()
}

/// The sums of a node: its samples, its maximum and its total.
#[track_caller]
fn sums_of(report: &Value, topology: &str, id: &str) -> (Vec<f64>, f64, String) {
    let node = &report[topology]["nodes"][id];
    assert_eq!(node["id"], id, "{topology}");
    let metric = &node["metrics"][RATE];
    let samples = metric["samples"].as_array().unwrap().iter().map(|sample| sample["value"].as_f64().unwrap());
    let total = node["latest"][TOTAL]["value"].as_str().unwrap().to_owned();
    (samples.collect(), metric["max"].as_f64().unwrap(), total)
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
    let tls = with_tls(placed(process(42, &[0.0], 0), "web-1", Some('a')), 12);
    check_golden("report-tls.json", &snapshot(vec![tls, process(7, &[1.0], 1)]));
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
fn containers_pods_and_the_host_have_the_sums_of_their_processes() {
    let report = parsed(&in_pods());
    let container = |digit: &str| format!("{};<container>", digit.repeat(64));
    let check = |topology, id: &str, samples: &[f64], max, total: &str| {
        assert_eq!(sums_of(&report, topology, id), (samples.to_vec(), max, total.to_owned()), "{topology} {id}");
    };
    check("Container", &container("a"), &[1.0, 2.0, 3.25], 8.0, "15");
    check("Container", &container("b"), &[0.5, 0.5], 8.0, "1");
    check("Pod", "uid-of-web-1;<pod>", &[1.0, 2.5, 3.75], 8.0, "16");
    check("Pod", "uid-of-db-0;<pod>", &[0.0], 8.0, "7");
    check("Host", "node-1;<host>", &[1.0, 2.5, 4.75], 8.0, "24");
    for topology in Topology::ALL.map(Topology::key) {
        assert_eq!(report[topology]["metric_templates"][RATE]["id"], RATE);
        assert_eq!(report[topology]["metadata_templates"][TOTAL]["id"], TOTAL);
    }
}

/// What ended processes left in the cgroup where `like` is, quiet for this long.
fn left(like: &Process, rates: [f32; REPEATED_TICKS], total: u64, quiet_ticks: u32) -> PlacedRemains {
    let totals = Counts { requests: [0, total, 0], ..Counts::default() };
    let remains = Remains { candidates: [].into(), totals, rates, responded: None, quiet_ticks };
    PlacedRemains { remains, place: like.place.clone(), standing: like.standing, is_there: true }
}

#[test]
fn what_ended_processes_received_stays_with_their_container_and_pod() {
    let mut state = in_pods();
    let (busy, idle) = (placed(process(9, &[], 0), "web-2", Some('c')), placed(process(9, &[], 0), "old-1", Some('d')));
    state.remains = vec![
        left(state.processes.iter().nth(2).unwrap(), [0.0, 4.0, 0.0], 100, 1000),
        left(&busy, [0.0, 0.0, 6.0], 6, 0),
        left(&idle, [0.0; 3], 50, ENDED_SHOWN_TICKS),
    ];
    let report = parsed(&state);
    let container = |digit: &str| format!("{};<container>", digit.repeat(64));
    // A live process shares the cgroup: what was left counts however long ago it was.
    assert_eq!(sums_of(&report, "Container", &container("b")), (vec![0.0, 4.5, 0.5], 8.0, "101".into()));
    assert_eq!(sums_of(&report, "Pod", "uid-of-web-1;<pod>"), (vec![1.0, 6.5, 3.75], 8.0, "116".into()));
    // Each of its processes lived for less than a tick: shown while they come.
    assert_eq!(sums_of(&report, "Container", &container("c")), (vec![0.0, 0.0, 6.0], 8.0, "6".into()));
    assert_eq!(sums_of(&report, "Pod", "uid-of-web-2;<pod>").2, "6");
    assert!(report["Container"]["nodes"].get(container("d")).is_none(), "nothing lives there");
    assert!(report["Pod"]["nodes"].get("uid-of-old-1;<pod>").is_none(), "nothing lives there");
}

#[test]
fn the_nodes_of_a_topology_are_on_one_scale_and_rates_have_four_digits() {
    let mut state = snapshot(vec![
        placed(process(1, &[20_612.893, 8736.58], 9), "web-1", Some('a')),
        placed(process(2, &[58.123_456], 9), "web-2", Some('b')),
        placed(process(3, &[0.0], 9), "web-3", Some('c')),
    ]);
    state.history = state.processes.iter().next().unwrap().history.clone();
    let report = parsed(&state);
    for topology in ["Process", "Container", "Pod", "Host"] {
        for (id, node) in report[topology]["nodes"].as_object().unwrap() {
            assert_eq!(node["metrics"][RATE]["max"], 20_610.0, "{topology} {id}");
        }
    }
    assert_eq!(sums_of(&report, "Process", "node-1;1").0, [20_610.0, 8737.0]);
    assert_eq!(sums_of(&report, "Pod", "uid-of-web-2;<pod>").0, [58.12]);
}

#[test]
fn what_scopes_reporters_do_not_know_has_a_name() {
    let report = parsed(&in_pods());
    let container = &report["Container"]["nodes"][format!("{};<container>", "a".repeat(64))]["latest"];
    assert_eq!(container["docker_container_name"]["value"], "server-a");
    let pod = &report["Pod"]["nodes"]["uid-of-web-1;<pod>"]["latest"];
    assert_eq!(pod["kubernetes_name"]["value"], "web-1");
    assert_eq!(pod["kubernetes_namespace"]["value"], "shop");
}

#[test]
fn a_reader_of_each_tick_gets_what_it_does_not_have() {
    let few = in_pods();
    let many = crowded(30);
    let turn = |state: &Snapshot, reports, ticks| {
        let content = Content { extent: Extent::after(reports, ticks), ..Content::WHOLE };
        let report: Value = serde_json::from_slice(&render(state, content, Vec::new()).json).unwrap();
        let nodes = report["Process"]["nodes"].as_object().unwrap();
        assert_eq!(nodes.len(), state.processes.len());
        let ticks = nodes.values().map(|node| node["metrics"][RATE]["samples"].as_array().unwrap().len()).max();
        assert_eq!(Some(sums_of(&report, "Host", "node-1;<host>").0.len()), ticks);
        let told = nodes.iter().filter(|(_, node)| node.get("latest").is_some());
        let told = told.inspect(|(_, node)| assert!(node["latest"][TOTAL]["value"].is_string()));
        (ticks.unwrap(), told.map(|(id, _)| id.clone()).collect::<std::collections::BTreeSet<_>>())
    };
    for (reports, ticks, expected) in [(0, u64::MAX, 3), (1, 1, 1), (2, 1, 1), (3, 2, 2)] {
        let (ticks, told) = turn(&few, reports, ticks);
        assert_eq!((ticks, told.len()), (expected, 5), "of few there is all");
    }
    let told: Vec<_> = (1..=5).map(|reports| turn(&many, reports, 1).1).collect();
    assert!(told.iter().all(|told| told.len() < 1200), "{:?}", told.iter().map(|told| told.len()).collect::<Vec<_>>());
    assert_eq!(told.iter().flatten().collect::<std::collections::BTreeSet<_>>().len(), MAX_REPORTED_PROCESSES);
}

#[test]
fn a_reader_gets_as_many_nodes_as_it_has_time_for_and_its_own_name_for_the_host() {
    let extent = Extent { nodes: 2, ..Extent::WHOLE };
    let content = Content { extent, host: Some("node-2"), notice: Some("a notice"), ..Content::WHOLE };
    let rendered = render(&in_pods(), content, Vec::new());
    assert_eq!((rendered.nodes, rendered.left_out), (2, 3));
    let report: Value = serde_json::from_slice(&rendered.json).unwrap();
    let ids = |topology: &str| report[topology]["nodes"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    // By the highest rate of the last minute.
    assert_eq!(ids("Process"), ["node-2;1", "node-2;5"]);
    assert_eq!(ids("Host"), ["node-2;<host>"]);
    assert_eq!(
        report["Plugins"][0]["description"],
        format!("{DESCRIPTION} (the busiest 2 of 5: Scope had no time for more); a notice")
    );
    assert_eq!(report["Process"]["nodes"]["node-2;5"]["metrics"][RATE]["max"], 8.0, "the scale is that of all");
}

#[test]
fn processes_outside_pods_are_left_out_where_nobody_wants_to_see_them() {
    let content = Content { shown: Shown::Pods, ..Content::WHOLE };
    let mut state = in_pods();
    let mut unknown = process(6, &[1.0], 1);
    let candidates = crate::pods::cgroup::candidates(&format!("0::/docker/{}", "e".repeat(64)));
    Arc::make_mut(&mut unknown.identity).candidates = candidates.into();
    state.processes.push(Arc::new(unknown));
    let report: Value = serde_json::from_slice(&render(&state, content, Vec::new()).json).unwrap();
    let ids: Vec<_> = report["Process"]["nodes"].as_object().unwrap().keys().collect();
    assert_eq!(ids, ["node-1;1", "node-1;2", "node-1;3", "node-1;4", "node-1;6"]);
    assert_eq!(sums_of(&report, "Host", "node-1;<host>").2, "24", "totals are of all");
}

#[test]
fn only_what_is_chosen_is_reported() {
    let keys = |list: &str| {
        let content = Content { topologies: Topologies::parse(list).unwrap(), ..Content::WHOLE };
        let report: Value = serde_json::from_slice(&render(&in_pods(), content, Vec::new()).json).unwrap();
        report.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys("process,container,pod,host"), "Container Host Plugins Pod Process");
    assert_eq!(keys("process"), "Plugins Process");
    assert_eq!(keys("pod,container"), "Container Plugins Pod");
    assert_eq!(keys("host"), "Host Plugins");
}

#[test]
fn a_notice_ends_the_description() {
    let content = Content { notice: Some("no news of pods"), ..Content::WHOLE };
    let report: Value = serde_json::from_slice(&render(&in_pods(), content, Vec::new()).json).unwrap();
    assert_eq!(report["Plugins"][0]["description"], "Adds http request metrics to processes; no news of pods");
}

/// 5 000 processes in 110 pods, whose names have this many letters.
fn crowded(letters: usize) -> Snapshot {
    let processes = (1..=MAX_REPORTED_PROCESSES as u32).map(|pid| {
        let pod = format!("{}{:03}", "x".repeat(letters - 3), pid % 110);
        placed(process(4_000_000 + pid, &[1234.5, 2345.25, 3456.125], u64::from(pid)), &pod, Some('a'))
    });
    snapshot(processes.collect())
}

#[test]
fn five_thousand_processes_in_pods_fit_and_what_does_not_is_said() {
    let report = render(&crowded(30), Content::WHOLE, Vec::new()).json;
    let json: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(json["Process"]["nodes"].as_object().unwrap().len(), MAX_REPORTED_PROCESSES);
    assert_eq!(json["Plugins"][0]["description"], DESCRIPTION);
    assert!(report.len() < MAX_PROCESS_BYTES, "{}", report.len());
    // The longest name that Kubernetes allows.
    let report = render(&crowded(253), Content::WHOLE, Vec::new()).json;
    assert!(report.len() < MAX_PROCESS_BYTES + 1024 * 1024, "{}", report.len());
    let json: Value = serde_json::from_slice(&report).unwrap();
    let nodes = json["Process"]["nodes"].as_object().unwrap();
    assert!(nodes.len() > 2000 && nodes.contains_key("node-1;4005000") && !nodes.contains_key("node-1;4000001"));
    let said = format!("{DESCRIPTION} (the busiest {} of 5000)", nodes.len());
    assert_eq!(json["Plugins"][0]["description"], said.as_str());
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
    let content = Content { topologies: Topologies::parse("process").unwrap(), ..Content::WHOLE };
    let report = render(&snapshot(vec![process(42, &[1.0], 1)]), content, Vec::new()).json;
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

/// Any text, and rather often one whose JSON is longer than it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\"\\\\\\x00-\\x1f]{0,40}"]
}

fn places() -> impl Strategy<Value = Option<Place>> {
    let container = prop::option::of(prop::sample::select(vec!['a', 'b', 'c']));
    let place = (text(), text(), text(), container, prop::option::of(text()));
    prop::option::of(place.prop_map(|(scope_uid, namespace, pod, container, name)| Place {
        scope_uid: scope_uid.into(),
        namespace: namespace.into(),
        pod: pod.into(),
        container_id: container.and_then(|digit| ContainerId::parse(&digit.to_string().repeat(64))),
        container: name.map(Into::into),
    }))
}

type Any = (Vec<f32>, u64, Option<u32>, Option<Place>, Vec<(u32, u64, usize)>);

fn processes() -> impl Strategy<Value = Vec<Any>> {
    let rates = prop::collection::vec(0.0f32..f32::MAX / 100.0, 0..5);
    let answers = prop::collection::vec((100..1000u32, 0..1000u64, 0..20usize), 0..20);
    prop::collection::vec((rates, 0..u64::MAX / 1000, prop::option::of(1..30u32), places(), answers), 0..20)
}

proptest! {
    /// Whatever the host, the pods and the processes are called and whatever they do: strict JSON with a node for each
    /// live process that the host sees, in each topology ids that are their keys, numbers that are finite, samples that
    /// ascend and stay below the maximum, and no process larger than was reckoned with.
    #[test]
    fn always_valid(host in text(), any in processes(), ended in prop::collection::vec((places(), 0..30u32), 0..5)) {
        let any: Vec<_> = any.into_iter().enumerate().map(|(index, (rates, total, pid, place, answers))| {
            let mut process = process(index as u32 + 1, &rates, total);
            process.identity = Arc::new(Identity { pid: pid.map(Pid), ..(*process.identity).clone() });
            let process = Process { place: place.map(Arc::new), ..process };
            answers.into_iter().fold(process, |process, (status, count, bucket)| {
                answering(process, &[(status, count)], bucket)
            })
        }).collect();
        let pids: std::collections::BTreeSet<_> = any.iter().filter(|process| !process.history.is_empty())
            .filter_map(|process| process.identity.pid).collect();
        let mut state = Snapshot { host: host.as_str().into(), ..answered(snapshot(any)) };
        state.remains = ended.into_iter().map(|(place, quiet)| {
            let like = Process { place: place.map(Arc::new), ..process(1, &[], 0) };
            left(&like, [1.0, 2.0, 3.0], 6, quiet)
        }).collect();
        let source = Source::new(&state, Content::WHOLE);
        let processes = Processes::new(&source);
        let mut alone = Vec::new();
        processes.write(&mut alone, &source);
        prop_assert!(alone.len() <= processes.bytes + 1024, "{} > {}", alone.len(), processes.bytes);
        let report = parsed(&state);
        prop_assert_eq!(report["Process"]["nodes"].as_object().unwrap().len(), pids.len());
        prop_assert_eq!(report["Plugins"].as_array().unwrap().len(), 1);
        for (key, topology) in report.as_object().unwrap().iter().filter(|(key, _)| *key != "Plugins") {
            prop_assert!(Topology::ALL.iter().any(|topology| topology.key() == key));
            prop_assert_eq!(topology["metric_templates"][RATE]["id"].as_str(), Some(RATE));
            for (id, node) in topology["nodes"].as_object().unwrap() {
                prop_assert_eq!(node["id"].as_str(), Some(id.as_str()));
                prop_assert!(node["latest"][TOTAL]["value"].as_str().unwrap().parse::<u64>().is_ok());
                prop_assert!(node.get("topology").is_none(), "it would panic the Scope probe");
                prop_assert!(node["metrics"].get(RATE).is_some());
                for (name, metric) in node["metrics"].as_object().unwrap() {
                    prop_assert!(topology["metric_templates"].get(name).is_some(), "{} has no template", name);
                    let max = metric["max"].as_f64().unwrap();
                    let samples = metric["samples"].as_array().unwrap();
                    prop_assert!(samples.len() <= REPEATED_TICKS);
                    let dates: Vec<_> = samples.iter().map(|s| s["date"].as_str().unwrap().parse::<Timestamp>().unwrap()).collect();
                    prop_assert!(dates.is_sorted());
                    for sample in samples {
                        prop_assert!(sample["value"].as_f64().unwrap() <= max, "{} of {}", name, metric);
                    }
                }
            }
        }
    }
}

#[path = "render_answers_tests.rs"]
mod answers;
