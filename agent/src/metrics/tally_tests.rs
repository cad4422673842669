//! What is added to which series, and that nothing is lost or counted twice. PURE.
use super::*;
use crate::counting::counts::requests;
use crate::counting::rates::Growth;
use crate::counting::snapshot::tests_support::{placed, process, snapshot};
use common::maps::ProcessKey;

/// A tick at which each of these processes received so much.
fn tick(sequence: u64, grown: Vec<(Process, u64)>) -> Snapshot {
    let growth = |(process, more)| Growth { process: Arc::new(process), counts: counts(more) };
    Snapshot { sequence, grown: grown.into_iter().map(growth).collect(), ..snapshot(vec![]) }
}

fn counts(requests: u64) -> Counts {
    Counts { requests: [0, requests, 0], unsynced: 0 }
}

fn tally(limit: usize) -> Tally {
    Tally { limit, ..Tally::new(Grouping::Container) }
}

/// `namespace/pod/container count` of every series, in order.
fn lines(tally: &Tally) -> Vec<String> {
    let mut series: Vec<_> = tally.totals.series.iter().collect();
    series.sort_unstable_by_key(|(labels, _)| (*labels).clone());
    let line = |(labels, series): (&Arc<Labels>, &Series)| {
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
    tally.take(&tick(1, vec![(web(1), 5), (web(2), 3), (process(3, &[], 2), 2)]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 8"]);
    tally.take(&tick(2, vec![(web(2), 7)]));
    tally.take(&tick(3, vec![]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 15"]);
    // A pod of the same name comes back, with a process that has the old PID.
    let again = Process { key: ProcessKey { start_ns: 9, tgid: 2, reserved: 0 }, ..web(2) };
    tally.take(&tick(4, vec![(again, 1)]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 16"]);
}

#[test]
fn what_came_before_the_pod_was_known_stays_where_it_was_counted() {
    let mut tally = tally(9);
    tally.take(&tick(1, vec![(process(1, &[], 5), 5)]));
    tally.take(&tick(2, vec![(web(1), 2)]));
    assert_eq!(lines(&tally), ["// 5", "shop/web-1/server-a 2"]);
}

#[test]
fn processes_are_told_apart_if_asked() {
    let mut tally = Tally::new(Grouping::Process);
    tally.take(&tick(1, vec![(web(1), 5), (web(2), 3)]));
    let mut labels: Vec<_> = tally.totals.series.keys().map(|labels| (&*labels.pid, &*labels.command)).collect();
    labels.sort_unstable();
    assert_eq!(labels, [("1", "server-1"), ("2", "server-2")]);
}

#[test]
fn what_finds_no_room_is_counted_as_other() {
    let mut tally = tally(2);
    let pods = |more| ["a", "b", "c", "d"].map(|name| (pod(name), more)).into();
    tally.take(&tick(1, pods(1)));
    assert_eq!((tally.totals.series.len(), requests(&tally.totals.other)), (2, 2));
    tally.take(&tick(2, pods(2)));
    assert_eq!((tally.totals.series.len(), requests(&tally.totals.other)), (2, 6));
}

#[test]
fn at_the_limit_idle_series_make_room() {
    let mut tally = tally(2);
    tally.take(&tick(1, vec![(pod("old"), 5), (pod("busy"), 1)]));
    // Not before its time.
    let late = IDLE_TICKS;
    tally.take(&tick(late, vec![(pod("busy"), 1), (pod("new"), 1)]));
    assert_eq!((lines(&tally).len(), requests(&tally.totals.other)), (2, 1));
    tally.take(&tick(late + 1, vec![(pod("new"), 3)]));
    assert_eq!(lines(&tally), ["shop/busy/ 2", "shop/new/ 3"]);
    assert_eq!((requests(&tally.totals.retired), tally.totals.retired_series), (5, 1));
    // The one that made room goes on at what is new.
    tally.take(&tick(late + 2, vec![(pod("old"), 1)]));
    assert_eq!(requests(&tally.totals.other), 2);
}

#[test]
fn outcomes_of_searches_add_up() {
    let mut tally = tally(9);
    let located = Located { found: 2, unknown: 1, outside: 3 };
    (1..=2).for_each(|sequence| tally.take(&Snapshot { located, ..tick(sequence, vec![]) }));
    assert_eq!(tally.totals.lookups, Located { found: 4, unknown: 2, outside: 6 });
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
            tally.take(&tick(sequence, events.into_iter().map(|(name, more)| (pod(&format!("p{name}")), more)).collect()));
            let totals = tally.totals();
            let series = totals.series.iter().map(|(labels, series)| (Arc::clone(labels), requests(&series.counts)));
            let now: HashMap<_, _> = series.collect();
            proptest::prop_assert_eq!(now.values().sum::<u64>() + requests(&totals.other) + requests(&totals.retired), expected);
            proptest::prop_assert!(now.len() <= 3);
            // Those that made room may be back within the same tick, from 0 on.
            if totals.retired_series == retired {
                proptest::prop_assert!(before.iter().all(|(labels, count)| now[labels] >= *count));
            }
            retired = totals.retired_series;
            before = now;
        }
    }
}
