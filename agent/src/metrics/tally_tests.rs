//! What is added to which series, and that nothing is lost or counted twice. PURE.
use std::collections::HashMap;

use super::*;
use crate::counting::counts::requests;
use crate::counting::placing::{CONTAINER_WAIT_TICKS, MAX_WAITING, POD_WAIT_TICKS};
use crate::counting::rates::Growth;
use crate::counting::responses::count;
use crate::counting::snapshot::tests_support::{kinds, placed, process, snapshot};
use crate::counting::snapshot::{Process, Standing};
use crate::metrics::bounded::{self, IDLE_TICKS};
use crate::pods::cgroup::{ContainerId, PodUid, candidates};
use crate::pods::index::{Container, ContainerKind, Pod};
use common::maps::ProcessKey;

/// A tick at which each of these processes received so much.
fn tick(sequence: u64, grown: Vec<(Process, u64)>) -> Snapshot {
    let growth = |(process, more)| Growth { process: Arc::new(process), counts: counts(more), kinds: Vec::new() };
    Snapshot { sequence, grown: grown.into_iter().map(growth).collect(), ..snapshot(vec![]) }
}

fn counts(requests: u64) -> Counts {
    Counts { requests: [0, requests, 0], ..Counts::default() }
}

fn tally(limit: usize) -> Tally {
    Tally { rooms: (Room::new(limit), Room::new(limit)), ..Tally::new(Grouping::Container) }
}

/// A tick while nobody asks for pods.
fn take(tally: &mut Tally, snapshot: &Snapshot) {
    tally.take(snapshot, &Pods::default());
}

/// `namespace/pod/container count` of every series, in order.
fn lines(tally: &Tally) -> Vec<String> {
    let mut series: Vec<_> = tally.totals.requests.series.iter().collect();
    series.sort_unstable_by_key(|(labels, _)| (*labels).clone());
    let line = |(labels, series): (&Arc<Labels>, &bounded::Series<Counts>)| {
        let Labels { namespace, pod, container, .. } = &**labels;
        format!("{namespace}/{pod}/{container} {}", requests(&series.counts))
    };
    series.into_iter().map(line).collect()
}

fn web(pid: u32) -> Process {
    placed(process(pid, &[], 9), "web-1", Some('a'))
}

fn pod(name: &str) -> Process {
    placed(process(1, &[], 9), name, None)
}

#[test]
fn processes_of_a_container_share_a_series_that_outlives_them() {
    let mut tally = tally(9);
    take(&mut tally, &tick(1, vec![(web(1), 5), (web(2), 3), (process(3, &[], 2), 2)]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 8"]);
    take(&mut tally, &tick(2, vec![(web(2), 7)]));
    take(&mut tally, &tick(3, vec![]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 15"]);
    // A pod of the same name comes back, with a process that has the old PID.
    let again = Process { key: ProcessKey { start_ns: 9, tgid: 2, reserved: 0 }, ..web(2) };
    take(&mut tally, &tick(4, vec![(again, 1)]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 16"]);
}

/// A process of this container of pod 1, of which nothing is known but its cgroup.
fn nameless(pid: u32, container: char, standing: Standing) -> Process {
    let mut process = Process { standing, ..process(pid, &[], 9) };
    let path = format!("0::/kubepods/pod{UID}/{}", container.to_string().repeat(64));
    Arc::make_mut(&mut process.identity).candidates = candidates(&path).into();
    process
}

const UID: &str = "44c76ce5-f953-4bd3-bc89-12621681af49";

/// Pod 1 with a container `server` of this digit, if any.
fn pod_1(digit: Option<char>) -> Pod {
    let container = |digit: char| Container {
        name: "server".into(),
        id: ContainerId::parse(&digit.to_string().repeat(64)).unwrap(),
        kind: ContainerKind::Regular,
    };
    Pod {
        uid: PodUid::parse(UID).unwrap(),
        config_hash: None,
        scope_uid: UID.into(),
        namespace: "shop".into(),
        name: "web-1".into(),
        containers: digit.map(container).into_iter().collect(),
    }
}

fn watched() -> Pods {
    let mut pods = Pods::default();
    pods.set_watched(true);
    pods
}

#[test]
fn what_has_a_pod_without_a_name_yet_waits_for_it() {
    let (mut tally, mut pods) = (tally(9), watched());
    let waiting = |tally: &Tally| requests(&tally.totals.waiting);
    tally.take(&tick(1, vec![(nameless(1, 'a', Standing::Awaited), 5), (process(2, &[], 2), 2)]), &pods);
    assert_eq!((lines(&tally), waiting(&tally)), (vec!["// 2".into()], 5));
    // The process has ended, and another of its container received something, when the pod is known but its container is not.
    pods.apply(pod_1(None));
    let mut second = placed(nameless(3, 'a', Standing::Found), "web-1", Some('a'));
    Arc::make_mut(second.place.as_mut().unwrap()).container = None;
    tally.take(&tick(2, vec![(second, 1)]), &pods);
    assert_eq!((lines(&tally).len(), waiting(&tally)), (1, 6));
    pods.apply(pod_1(Some('a')));
    tally.take(&tick(3, vec![]), &pods);
    assert_eq!((lines(&tally), waiting(&tally)), (vec!["// 2".to_owned(), "shop/web-1/server 6".into()], 0));
}

#[test]
fn what_waits_in_vain_is_unknown_and_not_outside_pods() {
    let (mut tally, pods) = (tally(9), watched());
    tally.take(&tick(1, vec![(nameless(1, 'a', Standing::Awaited), 5)]), &pods);
    tally.take(&tick(POD_WAIT_TICKS, vec![]), &pods);
    assert_eq!(lines(&tally).len(), 0);
    tally.take(&tick(1 + POD_WAIT_TICKS, vec![]), &pods);
    assert_eq!(lines(&tally), ["_unknown// 5"]);
    tally.take(&tick(2 + POD_WAIT_TICKS, vec![(nameless(1, 'a', Standing::Unknown), 1)]), &pods);
    assert_eq!((lines(&tally), requests(&tally.totals.waiting)), (vec!["_unknown// 6".into()], 0));
}

#[test]
fn a_containers_name_is_waited_for_shortly() {
    let (mut tally, mut pods) = (tally(9), watched());
    pods.apply(pod_1(None));
    tally.take(&tick(1, vec![(nameless(1, 'a', Standing::Awaited), 5)]), &pods);
    tally.take(&tick(CONTAINER_WAIT_TICKS, vec![]), &pods);
    assert_eq!(lines(&tally).len(), 0);
    tally.take(&tick(1 + CONTAINER_WAIT_TICKS, vec![]), &pods);
    assert_eq!(lines(&tally), ["shop/web-1/ 5"]);
}

#[test]
fn nobody_waits_once_nobody_asks_for_pods() {
    let (mut tally, mut pods) = (tally(9), watched());
    tally.take(&tick(1, vec![(nameless(1, 'a', Standing::Awaited), 5)]), &pods);
    pods.set_watched(false);
    tally.take(&tick(2, vec![]), &pods);
    assert_eq!(lines(&tally), ["_unknown// 5"]);
}

#[test]
fn what_finds_no_room_to_wait_is_unknown_at_once() {
    let (mut tally, pods) = (tally(9), watched());
    let of_cgroup = |n: usize| {
        let mut process = nameless(1, 'a', Standing::Awaited);
        Arc::make_mut(&mut process.identity).candidates = candidates(&format!("0::/kubepods/pod{n:032x}")).into();
        (process, 1)
    };
    tally.take(&tick(1, (0..=MAX_WAITING).map(of_cgroup).collect()), &pods);
    assert_eq!((lines(&tally), requests(&tally.totals.waiting)), (vec!["_unknown// 1".into()], MAX_WAITING as u64));
}

#[test]
fn processes_are_told_apart_if_asked() {
    let mut tally = Tally::new(Grouping::Process);
    take(&mut tally, &tick(1, vec![(web(1), 5), (web(2), 3)]));
    let mut labels: Vec<_> =
        tally.totals.requests.series.keys().map(|labels| (&*labels.pid, &*labels.command)).collect();
    labels.sort_unstable();
    assert_eq!(labels, [("1", "server-1"), ("2", "server-2")]);
}

#[test]
fn what_finds_no_room_is_counted_as_other() {
    let mut tally = tally(2);
    let pods = |more| ["a", "b", "c", "d"].map(|name| (pod(name), more)).into();
    take(&mut tally, &tick(1, pods(1)));
    assert_eq!((tally.totals.requests.series.len(), requests(&tally.totals.requests.other)), (2, 2));
    take(&mut tally, &tick(2, pods(2)));
    assert_eq!((tally.totals.requests.series.len(), requests(&tally.totals.requests.other)), (2, 6));
}

#[test]
fn at_the_limit_idle_series_make_room() {
    let mut tally = tally(2);
    take(&mut tally, &tick(1, vec![(pod("old"), 5), (pod("busy"), 1)]));
    // Not before its time.
    let late = IDLE_TICKS;
    take(&mut tally, &tick(late, vec![(pod("busy"), 1), (pod("new"), 1)]));
    assert_eq!((lines(&tally).len(), requests(&tally.totals.requests.other)), (2, 1));
    take(&mut tally, &tick(late + 1, vec![(pod("new"), 3)]));
    assert_eq!(lines(&tally), ["shop/busy/ 2", "shop/new/ 3"]);
    assert_eq!((requests(&tally.totals.requests.retired), tally.totals.requests.retired_series), (5, 1));
    // The one that made room goes on at what is new.
    take(&mut tally, &tick(late + 2, vec![(pod("old"), 1)]));
    assert_eq!(requests(&tally.totals.requests.other), 2);
}

#[test]
fn at_the_limit_the_dead_go_first_for_those_that_live() {
    let mut tally = tally(3);
    let living = |pods: &[&str]| pods.iter().map(|name| pod(name)).collect();
    let taken = |tally: &mut Tally, sequence, lives: &[&str], grow: &[&str]| {
        let grown = grow.iter().map(|name| (pod(name), 1)).collect();
        tally.take(&Snapshot { processes: living(lives), ..tick(sequence, grown) }, &Pods::default());
        (lines(tally).join(", "), requests(&tally.totals.requests.other), tally.totals.requests.retired_series)
    };
    let lives = ["a", "b"];
    assert_eq!(taken(&mut tally, 1, &lives, &["a", "dead-1"]).1, 0);
    assert_eq!(taken(&mut tally, 2, &lives, &["dead-2"]).1, 0);
    // One that is dead itself pushes nobody out.
    assert_eq!(taken(&mut tally, 3, &lives, &["dead-3"]), ("shop/a/ 1, shop/dead-1/ 1, shop/dead-2/ 1".into(), 1, 0));
    // The one that did not grow for longest, and not the living one that is idle.
    assert_eq!(taken(&mut tally, 4, &lives, &["b"]), ("shop/a/ 1, shop/b/ 1, shop/dead-2/ 1".into(), 1, 1));
    assert_eq!(taken(&mut tally, 5, &["a", "b", "c"], &["c"]).0, "shop/a/ 1, shop/b/ 1, shop/c/ 1");
    // All live: what is new finds no room.
    assert_eq!(taken(&mut tally, 6, &["a", "b", "c", "d"], &["d"]).1, 2);
    assert_eq!(requests(&tally.totals.requests.retired), 2);
}

#[test]
fn outcomes_of_searches_add_up() {
    let mut tally = tally(9);
    let located = Located { found: 2, awaited: 5, unknown: 1, outside: 3 };
    (1..=2).for_each(|sequence| take(&mut tally, &Snapshot { located, ..tick(sequence, vec![]) }));
    assert_eq!(tally.totals.lookups, Located { found: 4, awaited: 10, unknown: 2, outside: 6 });
}

proptest::proptest! {
    /// Whatever grows, wherever it runs: all series together are all requests, and none falls.
    #[test]
    fn the_sum_is_exact(ticks in proptest::collection::vec((1_u64..1000, proptest::collection::vec((0..5_u8, 0..9_u64), 0..8)), 1..40)) {
        let mut tally = tally(3);
        let mut before: HashMap<Arc<Labels>, u64> = HashMap::new();
        let (mut sequence, mut expected, mut retired) = (0, 0, 0);
        for (pause, events) in ticks {
            sequence += pause;
            expected += events.iter().map(|(_, more)| more).sum::<u64>();
            take(&mut tally, &tick(sequence, events.into_iter().map(|(name, more)| (pod(&format!("p{name}")), more)).collect()));
            let totals = tally.totals();
            let series = totals.requests.series.iter().map(|(labels, series)| (Arc::clone(labels), requests(&series.counts)));
            let now: HashMap<_, _> = series.collect();
            proptest::prop_assert_eq!(now.values().sum::<u64>() + requests(&totals.requests.other) + requests(&totals.requests.retired), expected);
            proptest::prop_assert!(now.len() <= 3);
            // Those that made room may be back within the same tick, from 0 on.
            if totals.requests.retired_series == retired {
                proptest::prop_assert!(before.iter().all(|(labels, count)| now[labels] >= *count));
            }
            retired = totals.requests.retired_series;
            before = now;
        }
    }
}

/// The process answered these, and received nothing.
fn answers(process: Process, statuses: &[(u32, u64)]) -> Growth {
    Growth { process: Arc::new(process), counts: Counts::default(), kinds: kinds(statuses, 3) }
}

fn responses(tally: &Tally) -> Vec<String> {
    let mut series: Vec<_> = tally.totals.responses.series.iter().collect();
    series.sort_unstable_by_key(|(labels, _)| (*labels).clone());
    let line = |(labels, series): (&Arc<ResponseLabels>, &bounded::Series<_>)| {
        format!(
            "{}/{} {} {} {}",
            labels.labels.namespace,
            labels.labels.pod,
            labels.method,
            labels.status,
            count(&series.counts)
        )
    };
    series.into_iter().map(line).collect()
}

#[test]
fn responses_have_a_series_for_each_status_and_wait_for_names_as_requests_do() {
    let (mut tally, mut pods) = (tally(9), watched());
    let waits = nameless(1, 'a', Standing::Awaited);
    let grown = vec![answers(waits.clone(), &[(200, 2)]), answers(pod("web"), &[(200, 3), (500, 1)])];
    tally.take(&Snapshot { grown, ..tick(1, vec![]) }, &pods);
    tally.take(&Snapshot { grown: vec![answers(waits, &[(200, 1), (404, 1)])], ..tick(2, vec![]) }, &pods);
    assert_eq!(
        (responses(&tally), tally.totals.waiting_responses),
        (vec!["shop/web GET 200 3".into(), "shop/web GET 500 1".into()], 4)
    );
    pods.apply(pod_1(Some('a')));
    tally.take(&tick(3, vec![]), &pods);
    let expected = ["shop/web GET 200 3", "shop/web GET 500 1", "shop/web-1 GET 200 3", "shop/web-1 GET 404 1"];
    assert_eq!((responses(&tally), tally.totals.waiting_responses), (expected.map(str::to_owned).into(), 0));
    assert_eq!(tally.totals.requests.series.len(), 0, "nothing was received");
}

#[test]
fn responses_that_find_no_room_are_counted_as_other() {
    let mut tally = tally(2);
    let grown = vec![answers(pod("a"), &[(200, 1), (404, 2), (500, 3)])];
    take(&mut tally, &Snapshot { grown, processes: [pod("a")].into_iter().collect(), ..tick(1, vec![]) });
    assert_eq!((responses(&tally).len(), count(&tally.totals.responses.other)), (2, 3));
}

#[test]
fn no_more_kinds_wait_than_there_is_room_for() {
    let (mut tally, pods) = (tally(9), watched());
    let all: Vec<_> = (0..MAX_WAITING as u32).map(|status| (status, 1)).collect();
    let grown = vec![
        answers(nameless(1, 'a', Standing::Awaited), &all),
        answers(nameless(2, 'b', Standing::Awaited), &[(200, 7)]),
    ];
    tally.take(&Snapshot { grown, ..tick(1, vec![]) }, &pods);
    assert_eq!(
        (responses(&tally), tally.totals.waiting_responses),
        (vec!["_unknown/ GET 200 7".into()], MAX_WAITING as u64)
    );
}
