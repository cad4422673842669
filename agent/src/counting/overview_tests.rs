//! Rows for names and sums; random snapshots whose sums must be whole. PURE.
use super::*;
use crate::counting::ended::Remains;
use crate::counting::snapshot::PlacedRemains;
use crate::counting::snapshot::Standing;
use crate::counting::snapshot::tests_support::{answered, answering, placed, process, snapshot};
use crate::pods::cgroup::candidates;
use common::failure::Failure;
use common::maps::Counts;
use proptest::prelude::*;
use std::sync::Arc;

const OUTSIDE: &str = "(outside pods)";

fn overview(state: &Snapshot) -> Overview {
    Overview::new(
        state,
        &Facts {
            probe: "probe".into(),
            responses: "counted at hook".into(),
            socket: "socket".into(),
            shown: Shown::All,
        },
    )
}

#[track_caller]
fn check_name(command_line: &str, expected: &str) {
    let command_line = command_line.to_owned();
    let identity = Identity { pid: None, command: "comm".into(), command_line, candidates: Arc::default() };
    assert_eq!(name(&identity), expected);
}

#[test]
fn names() {
    check_name("", "comm");
    check_name("/usr/bin/python3 -m http.server", "python3 -m http.server");
    check_name("nginx: worker process", "nginx: worker process");
    check_name("node /srv/app.js", "node /srv/app.js");
    check_name("./a/b", "b");
}

#[test]
fn what_is_not_certain_is_said() {
    let mut state = snapshot(vec![]);
    let said = |state: &Snapshot| (overview(state).certainty, overview(state).exact);
    assert_eq!(said(&state), ("exact: nothing was lost".into(), true));
    state.losses.failures[Failure::Joined as usize] = 2;
    let joined = "exact, but for connections open before the probe: 2; certain again 0";
    assert_eq!(said(&state), (joined.into(), true));
    state.losses.skipped_calls = 1;
    assert_eq!(said(&state), ("not certain: skipped_calls 1; certain again 0".into(), false));
}

/// What ended processes of a place like that of `like` left.
fn left(like: &Process, requests: u64, rate: f32) -> PlacedRemains {
    let remains = Remains {
        candidates: candidates(&format!("0::/docker/{:064x}", 1)).into(),
        totals: Counts { requests: [requests, 0, 0], unsynced: 1, ..Counts::default() },
        rates: [0.0, 0.0, rate],
        responded: None,
        quiet_ticks: 0,
    };
    PlacedRemains { remains, place: like.place.clone(), standing: like.standing, is_there: true }
}

#[test]
fn processes_outside_pods_are_left_out_where_nobody_wants_to_see_them() {
    let mut unknown = process(3, &[1.0], 1);
    Arc::make_mut(&mut unknown.identity).candidates = candidates(&format!("0::/docker/{:064x}", 1)).into();
    let state = snapshot(vec![placed(process(1, &[1.0], 5), "web-1", Some('a')), process(2, &[9.0], 50), unknown]);
    let overview = Overview::new(&state, &Facts { shown: Shown::Pods, ..Facts::default() });
    let pids: Vec<_> = overview.table(Grouping::Process).rows.iter().map(|row| row.pid).collect();
    assert_eq!(pids, [Some(1), Some(3)]);
    assert_eq!(overview.table(Grouping::Process).left_out, 0);
    for grouping in [Grouping::Container, Grouping::Pod] {
        let names: Vec<_> = overview.table(grouping).rows.iter().map(|row| row.pod.as_str()).collect();
        assert_eq!(names, ["web-1"]);
    }
    assert_eq!((overview.total, overview.rate, overview.processes), (56, 11.0, 3), "totals are of all");
}

type Brief<'a> = (&'a str, usize, f32, u64);

#[track_caller]
fn check_rows(state: &Snapshot, grouping: Grouping, expected: &[Brief]) {
    let overview = overview(state);
    let rows = &overview.table(grouping).rows;
    let rows: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.processes, row.rate, row.total)).collect();
    assert_eq!(rows, expected);
}

#[test]
fn containers_and_pods_are_sums_with_ended_processes_and_nothing_is_missing() {
    let a = placed(process(1, &[1.0, 2.0], 10), "web-1", Some('a'));
    let b = placed(process(2, &[3.0], 20), "web-1", Some('b'));
    let unnamed = placed(process(3, &[0.5], 5), "web-2", Some('c'));
    let mut state = snapshot(vec![a.clone(), a.clone(), b, process(4, &[7.0], 30)]);
    state.remains = vec![left(&a, 100, 4.0), left(&unnamed, 1000, 0.0), left(&process(5, &[], 0), 2, 0.0)];
    // 40 of a host's process that has ended, and 2 of a container that is in no pod.
    state.totals.requests[0] += 100 + 1000 + 40 + 2;
    check_rows(
        &state,
        Grouping::Pod,
        &[("shop/web-1", 3, 11.0, 140), (OUTSIDE, 1, 7.0, 72), ("shop/web-2", 0, 0.0, 1000)],
    );
    let overview = overview(&state);
    let [processes, containers, pods] = &overview.tables;
    assert_eq!((processes.rows.len(), containers.rows.len(), pods.rows.len()), (4, 4, 3));
    for table in [containers, pods] {
        assert_eq!(table.rows.iter().map(|row| row.total).sum::<u64>(), overview.total);
    }
    assert_eq!(pods.rows[0].history, [0.0, 2.0, 11.0]);
    assert_eq!((pods.rows[0].unsynced, pods.rows[0].pod.as_str(), pods.rows[0].container.as_str()), (1, "web-1", ""));
    assert!(pods.rows[2].history.is_empty());
}

#[test]
fn a_container_that_restarted_has_one_row() {
    let now = placed(process(1, &[1.0], 10), "web-1", Some('a'));
    let mut before = placed(process(2, &[0.0], 20), "web-1", Some('b'));
    let place = Place { container: Some("server-a".into()), ..Place::clone(before.place.as_deref().unwrap()) };
    before.place = Some(place.into());
    let unnamed = Place { container: None, ..Place::clone(before.place.as_deref().unwrap()) };
    let mut state = snapshot(vec![now, Process { place: Some(unnamed.into()), ..process(3, &[], 5) }]);
    state.remains = vec![left(&before, 200, 0.0)];
    state.totals.requests[0] += 200;
    check_rows(
        &state,
        Grouping::Container,
        &[("shop/web-1/server-a", 1, 1.0, 210), ("shop/web-1/bbbbbbbbbbbb", 1, 0.0, 5)],
    );
}

#[test]
fn without_pods_there_is_one_row_for_all() {
    let state = snapshot(vec![process(1, &[1.0], 2), process(2, &[0.0], 3)]);
    check_rows(&state, Grouping::Pod, &[(OUTSIDE, 2, 1.0, 5)]);
    check_rows(&state, Grouping::Container, &[(OUTSIDE, 2, 1.0, 5)]);
    check_rows(&snapshot(vec![]), Grouping::Pod, &[]);
}

#[test]
fn not_known_yet_unknown_and_outside_pods_are_three_things() {
    let in_vain = |pid, standing, total| Process { standing, ..process(pid, &[1.0], total) };
    let mut state = snapshot(vec![
        in_vain(1, Standing::Awaited, 1),
        in_vain(2, Standing::Unknown, 20),
        in_vain(3, Standing::Outside, 300),
    ]);
    state.remains = vec![left(&in_vain(4, Standing::Unknown, 0), 4000, 0.0)];
    // Of more cgroups than are kept.
    state.forgotten.requests[0] = 50_000;
    state.totals.requests[0] += 4000 + 50_000 + 600_000;
    check_rows(
        &state,
        Grouping::Pod,
        &[(OUTSIDE, 1, 1.0, 600_300), ("(pod unknown)", 1, 1.0, 54_020), ("(pod not known yet)", 1, 1.0, 1)],
    );
}

#[test]
fn what_a_deleted_pod_had_stays_with_its_name() {
    let mut state = snapshot(vec![]);
    state.remains = vec![PlacedRemains { is_there: false, ..left(&placed(process(1, &[], 0), "web-1", None), 7, 0.0) }];
    state.totals.requests[0] += 7;
    check_rows(&state, Grouping::Pod, &[("shop/web-1", 0, 0.0, 7)]);
}

#[test]
fn of_too_many_processes_the_busiest_are_shown() {
    let most = MAX_ROWS as u32 + 7;
    let state = snapshot((1..=most).map(|pid| process(pid, &[pid as f32], 1)).collect());
    let overview = overview(&state);
    let table = overview.table(Grouping::Process);
    assert_eq!((table.rows.len(), table.left_out, table.rows[0].pid), (MAX_ROWS, 7, Some(most)));
    assert_eq!(overview.table(Grouping::Pod).rows[0].total, u64::from(most));
}

#[test]
fn an_idle_process_has_no_history_and_a_long_name_is_cut() {
    let mut idle = process(1, &[0.0; 60], 1);
    Arc::make_mut(&mut idle.identity).command_line = "é\n".repeat(10_000);
    let overview = overview(&snapshot(vec![idle]));
    let row = &overview.table(Grouping::Process).rows[0];
    assert!(row.history.is_empty() && row.name.chars().count() == MAX_NAME_CHARS && !row.name.contains('\n'));
}

#[test]
fn json_of_other_versions_is_taken_as_far_as_it_goes() {
    let json = r#"{"sequence": 4, "host": "a", "future": {}, "tables": [{"rows": [{"name": "x"}]}, {}, {}]}"#;
    let overview = Overview::of_json(json).unwrap();
    assert_eq!((overview.sequence, overview.tables[0].rows[0].name.as_str()), (4, "x"));
    for wrong in ["", r#"["x"]"#, "<html>", r#"{"sequence": "x"}"#, r#"{"tables": []}"#] {
        assert!(Overview::of_json(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn json_comes_back_as_it_went(
        processes in prop::collection::vec((prop::collection::vec(0.0f32..1e6, 0..70), 0u64..1_000_000, 0u8..4), 0..20),
    ) {
        let processes = processes.into_iter().zip(1..).map(|((rates, total, place), pid)| {
            let process = process(pid, &rates, total);
            match place {
                0 => process,
                1 => placed(process, "web-1", None),
                2 => placed(process, "web-1", Some('a')),
                _ => placed(process, "web-2", Some('b')),
            }
        });
        let overview = overview(&snapshot(processes.collect()));
        let json = String::from_utf8(overview.json()).unwrap();
        prop_assert_eq!(Overview::of_json(&json), Ok(overview.clone()));
        for grouping in Grouping::ALL {
            let total: u64 = overview.table(grouping).rows.iter().map(|row| row.total).sum();
            prop_assert_eq!(total, overview.total);
        }
    }
}

#[test]
fn responses_of_containers_and_pods_have_those_of_ended_processes() {
    let web = |pid, container| placed(process(pid, &[1.0], 9), "web-1", Some(container));
    let ended = answering(web(3, 'a'), &[(200, 1), (404, 2)], 18);
    let mut state = answered(snapshot(vec![
        answering(web(1, 'a'), &[(200, 4), (500, 1)], 2),
        answering(web(2, 'b'), &[(200, 3)], 2),
        process(4, &[1.0], 1),
    ]));
    let mut remains = left(&ended, 9, 0.0);
    remains.remains.responded.clone_from(&ended.responded);
    state.remains = vec![remains];
    let overview = overview(&state);
    let statuses = |by: Grouping, name: &str| {
        let row = overview.table(by).rows.iter().find(|row| row.name.contains(name)).unwrap();
        let answered = row.answered.as_ref()?;
        let statuses = answered.statuses.iter().map(|(status, count)| format!("{status} {count}"));
        Some((statuses.collect::<Vec<_>>().join(", "), answered.error_rate, answered.responses))
    };
    assert_eq!(statuses(Grouping::Process, "server-2"), Some(("200 3".into(), 0.0, 3)));
    assert_eq!(statuses(Grouping::Process, "server-4"), None);
    assert_eq!(statuses(Grouping::Container, "server-a"), Some(("200 5, 404 2, 500 1".into(), 1.0, 8)));
    assert_eq!(statuses(Grouping::Pod, "web-1"), Some(("200 8, 404 2, 500 1".into(), 1.0, 11)));
    assert_eq!(overview.answered.as_ref().map(|all| all.responses), Some(8), "what is given there");
    assert_eq!(Overview::of_json(&String::from_utf8(overview.json()).unwrap()), Ok(overview));
}
