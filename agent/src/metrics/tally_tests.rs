//! What is added to which series, and that nothing is lost or counted twice. PURE.
use super::*;
use crate::counts::requests;
use crate::snapshot::tests_support::{placed, process, snapshot};

/// A tick with these live processes, and those of which it is the last word.
fn tick(sequence: u64, processes: Vec<Process>, departed: Vec<Process>) -> Snapshot {
    Snapshot { sequence, departed, ..snapshot(processes) }
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

fn web(pid: u32, total: u64) -> Process {
    placed(process(pid, &[], total), "web-1", Some('a'))
}

#[test]
fn processes_of_a_container_share_a_series_that_outlives_them() {
    let mut tally = tally(9);
    tally.take(&tick(1, vec![web(1, 5), web(2, 3), process(3, &[], 2)], vec![]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 8"]);
    // One ends, with a last word.
    tally.take(&tick(2, vec![web(1, 5), process(3, &[], 2)], vec![web(2, 10)]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 15"]);
    // The kernel still names it for a tick.
    tally.take(&tick(3, vec![web(1, 5), process(3, &[], 2)], vec![web(2, 10)]));
    tally.take(&tick(4, vec![process(3, &[], 2)], vec![]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 15"]);
    // A pod of the same name comes back, with a process that has the old PID.
    let again = Process { key: ProcessKey { start_ns: 9, tgid: 2, reserved: 0 }, ..web(2, 1) };
    tally.take(&tick(5, vec![again, process(3, &[], 2)], vec![]));
    assert_eq!(lines(&tally), ["// 2", "shop/web-1/server-a 16"]);
}

#[test]
fn what_came_before_the_pod_was_known_stays_where_it_was_counted() {
    let mut tally = tally(9);
    tally.take(&tick(1, vec![process(1, &[], 5)], vec![]));
    tally.take(&tick(2, vec![web(1, 7)], vec![]));
    assert_eq!(lines(&tally), ["// 5", "shop/web-1/server-a 2"]);
}

#[test]
fn processes_are_told_apart_if_asked() {
    let mut tally = Tally::new(Grouping::Process);
    tally.take(&tick(1, vec![web(1, 5), web(2, 3)], vec![]));
    let mut labels: Vec<_> = tally.totals.series.keys().map(|labels| (&*labels.pid, &*labels.command)).collect();
    labels.sort_unstable();
    assert_eq!(labels, [("1", "server-1"), ("2", "server-2")]);
}

#[test]
fn what_finds_no_room_is_counted_as_other() {
    let mut tally = tally(2);
    let pods = |total| (1..=4).map(|pid| placed(process(pid, &[], total), &format!("p{pid}"), None)).collect();
    tally.take(&tick(1, pods(1), vec![]));
    assert_eq!((tally.totals.series.len(), requests(&tally.totals.other)), (2, 2));
    tally.take(&tick(2, pods(3), vec![]));
    assert_eq!((tally.totals.series.len(), requests(&tally.totals.other)), (2, 6));
}

#[test]
fn at_the_limit_idle_series_make_room() {
    let mut tally = tally(2);
    let pod = |name: &str, pid, total| placed(process(pid, &[], total), name, None);
    tally.take(&tick(1, vec![pod("old", 1, 5), pod("busy", 2, 1)], vec![]));
    // Not before its time.
    let late = IDLE_TICKS;
    tally.take(&tick(late, vec![pod("old", 1, 5), pod("busy", 2, 2), pod("new", 3, 1)], vec![]));
    assert_eq!((lines(&tally).len(), requests(&tally.totals.other)), (2, 1));
    tally.take(&tick(late + 1, vec![pod("old", 1, 5), pod("busy", 2, 2), pod("new", 3, 4)], vec![]));
    assert_eq!(lines(&tally), ["shop/busy/ 2", "shop/new/ 3"]);
    assert_eq!((requests(&tally.totals.retired), tally.totals.retired_series), (5, 1));
    // The one that made room goes on at what is new.
    tally.take(&tick(late + 2, vec![pod("old", 1, 6), pod("busy", 2, 2), pod("new", 3, 4)], vec![]));
    assert_eq!(requests(&tally.totals.other), 2);
}

#[test]
fn outcomes_of_searches() {
    let mut lost = process(3, &[], 1);
    let candidate = crate::cgroup::candidates(&format!("0::/kubepods/{}", "a".repeat(64)));
    Arc::make_mut(&mut lost.identity).candidates = candidate.into();
    let mut tally = tally(9);
    tally.take(&tick(1, vec![web(1, 1), web(2, 1), lost, process(4, &[], 1)], vec![]));
    assert_eq!(tally.totals.lookups, Lookups { found: 2, unknown: 1, outside: 1 });
}

/// One process's part in a tick: it grows by so much, in this pod, and ends or not.
type Event = (usize, u64, u8, bool);

proptest::proptest! {
    /// Whatever grows, moves, ends and comes back: all series together are all requests, and none falls.
    #[test]
    fn the_sum_is_exact(ticks in proptest::collection::vec((1_u64..1000, proptest::collection::vec(event(), 0..8)), 1..40)) {
        let mut tally = tally(3);
        let mut before: HashMap<Arc<Labels>, u64> = HashMap::new();
        let mut alive: [Option<Process>; 6] = Default::default();
        let (mut sequence, mut expected, mut retired) = (0, 0, 0);
        for (pause, events) in ticks {
            sequence += pause;
            let mut departed = Vec::new();
            for (pid, more, pod, ends) in events {
                let last = alive[pid].take().unwrap_or_else(|| born(pid, sequence));
                if departed.iter().any(|process: &Process| process.key == last.key) {
                    continue;
                }
                let grown = placed(process(1, &[], last.requests() + more), &format!("p{pod}"), None);
                let grown = Process { key: last.key, ..grown };
                expected += more;
                if ends { departed.push(grown) } else { alive[pid] = Some(grown) }
            }
            tally.take(&tick(sequence, alive.iter().flatten().cloned().collect(), departed));
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

fn event() -> impl proptest::strategy::Strategy<Value = Event> {
    (0..6_usize, 0..9_u64, 0..5_u8, proptest::bool::weighted(0.2))
}

/// A process that has received nothing yet.
fn born(pid: usize, sequence: u64) -> Process {
    Process { key: ProcessKey { start_ns: sequence, tgid: pid as u32, reserved: 0 }, ..process(1, &[], 0) }
}
