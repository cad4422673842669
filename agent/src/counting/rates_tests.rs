//! Rows for the rates: readings in, rates and totals out. PURE.
use super::*;
use crate::counting::counts::Pid;
use crate::counting::ended::Remains;
use crate::pods::cgroup::{ContainerId, PodUid};
use proptest::prelude::*;

fn key(tgid: u32) -> ProcessKey {
    ProcessKey { start_ns: u64::from(tgid) * 10, tgid, reserved: 0 }
}

fn counts(requests: u64) -> Counts {
    Counts { requests: [0, requests, 0], ..Counts::default() }
}

fn reading(at_ms: u64, processes: &[(u32, u64)]) -> Reading {
    let processes = processes.iter().map(|(tgid, requests)| ProcessCounts {
        key: key(*tgid),
        pid: Some(Pid(*tgid)),
        command: format!("server-{tgid}").into(),
        candidates: Arc::default(),
        counts: counts(*requests),
    });
    Reading { at: Duration::from_millis(at_ms), processes: processes.collect(), ..Reading::default() }
}

fn keys(tgids: &[u32]) -> Vec<ProcessKey> {
    tgids.iter().copied().map(key).collect()
}

/// Live processes: PID, rate, requests.
fn live(rates: &Rates) -> Vec<(u32, f32, u64)> {
    let row = |process: &Process| (process.key.tgid, process.history.newest(rates.now()), process.requests());
    let mut live: Vec<_> = rates.live().iter().map(row).collect();
    live.sort_by_key(|row| row.0);
    live
}

/// One row: a reading, who ended before it and is forgotten after it; then the overall rate and total, and the live processes.
type Row<'a> = (Reading, &'a [u32], f32, u64, &'a [(u32, f32, u64)]);

#[track_caller]
fn check(rows: &[Row]) {
    let mut rates = Rates::new(Duration::ZERO);
    for (number, (reading, ended, rate, total, expected)) in rows.iter().enumerate() {
        rates.advance(reading, &keys(ended), Identity::from_counts);
        assert_eq!((rates.rate(), requests(&rates.totals())), (*rate, *total), "row {number}");
        assert_eq!(live(&rates), *expected, "row {number}");
        rates.forget(&keys(ended));
    }
}

#[test]
fn rates_are_over_the_measured_time() {
    check(&[
        (reading(1000, &[(1, 10)]), &[], 10.0, 10, &[(1, 10.0, 10)]),
        (reading(1500, &[(1, 20)]), &[], 20.0, 20, &[(1, 20.0, 20)]),
        (reading(3500, &[(1, 30)]), &[], 5.0, 30, &[(1, 5.0, 30)]),
    ]);
}

#[test]
fn a_stop_of_a_minute_gives_the_average_and_loses_nothing() {
    check(&[
        (reading(1000, &[(1, 100)]), &[], 100.0, 100, &[(1, 100.0, 100)]),
        (reading(61_000, &[(1, 6100)]), &[], 100.0, 6100, &[(1, 100.0, 6100)]),
    ]);
}

#[test]
fn an_idle_process_stays_with_zero_until_it_ends() {
    check(&[
        (reading(1000, &[(1, 4), (2, 1)]), &[], 5.0, 5, &[(1, 4.0, 4), (2, 1.0, 1)]),
        (reading(2000, &[(1, 4), (2, 1)]), &[], 0.0, 5, &[(1, 0.0, 4), (2, 0.0, 1)]),
        (reading(3000, &[(1, 6), (2, 3)]), &[2], 4.0, 9, &[(1, 2.0, 6)]),
        (reading(4000, &[(1, 6)]), &[], 0.0, 9, &[(1, 0.0, 6)]),
    ]);
}

#[test]
fn a_process_that_lived_for_less_than_a_tick_is_in_the_totals() {
    check(&[
        (reading(1000, &[]), &[], 0.0, 0, &[]),
        (reading(2000, &[(1, 7)]), &[1], 7.0, 7, &[]),
        (reading(3000, &[]), &[], 0.0, 7, &[]),
    ]);
}

#[test]
fn an_ended_process_that_the_kernel_still_names_is_not_counted_twice() {
    let mut rates = Rates::new(Duration::ZERO);
    for (at, counted, rate, total) in [(1000, 7, 7.0, 7), (2000, 7, 0.0, 7), (3000, 8, 1.0, 8)] {
        rates.advance(&reading(at, &[(1, counted)]), &keys(&[1]), Identity::from_counts);
        assert_eq!((rates.rate(), requests(&rates.totals()), live(&rates)), (rate, total, vec![]));
        assert_eq!(rates.ended(), Ended { processes: 1, totals: counts(total) });
    }
    rates.forget(&keys(&[1]));
    assert_eq!(rates.ended(), Ended { processes: 1, totals: counts(8) });
}

#[test]
fn what_grew_is_told_once_also_of_those_that_ended() {
    let mut rates = Rates::new(Duration::ZERO);
    let mut grown = |processes: &[(u32, u64)], ended: &[u32]| {
        rates.advance(&reading(0, processes), &keys(ended), Identity::from_counts);
        rates.grown().map(|grown| (grown.process.key.tgid, requests(&grown.counts))).collect::<Vec<_>>()
    };
    assert_eq!(grown(&[(1, 5), (2, 5)], &[]), [(1, 5), (2, 5)]);
    assert_eq!(grown(&[(1, 9), (2, 5)], &[1]), [(1, 4)]);
    assert_eq!(grown(&[(1, 9)], &[1]), []);
}

#[test]
fn what_is_idle_is_not_touched() {
    let mut rates = Rates::new(Duration::ZERO);
    rates.advance(&reading(1000, &[(1, 5), (2, 5)]), &[], Identity::from_counts);
    rates.locate(&Pods::default());
    let before = rates.live().clone();
    let is_same = |rates: &Rates, index| {
        let process = |processes: &Processes| std::ptr::from_ref(processes.iter().nth(index).unwrap());
        process(&before) == process(rates.live())
    };
    for second in 2..5 {
        rates.advance(&reading(second * 1000, &[(2, 5 + second)]), &[], Identity::from_counts);
        rates.locate(&Pods::default());
        assert_eq!([is_same(&rates, 0), is_same(&rates, 1)], [true, false]);
    }
    let idle: Vec<_> = rates.live().iter().next().unwrap().history.last(rates.now(), 9).collect();
    assert_eq!(idle, [5.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_live_process_missing_from_one_reading_is_not_counted_twice() {
    check(&[
        (reading(1000, &[(1, 7)]), &[], 7.0, 7, &[(1, 7.0, 7)]),
        (reading(2000, &[]), &[], 0.0, 7, &[(1, 0.0, 7)]),
        (reading(3000, &[(1, 9)]), &[], 2.0, 9, &[(1, 2.0, 9)]),
    ]);
}

#[test]
fn a_clock_that_stands_still_or_steps_back_defers_the_rate() {
    check(&[
        (reading(1000, &[(1, 7)]), &[], 7.0, 7, &[(1, 7.0, 7)]),
        (reading(1000, &[(1, 9)]), &[], 7.0, 9, &[(1, 7.0, 9)]),
        (reading(500, &[(1, 10)]), &[], 7.0, 10, &[(1, 7.0, 10)]),
        (reading(2000, &[(1, 11)]), &[], 4.0, 11, &[(1, 4.0, 11)]),
    ]);
}

#[test]
fn a_count_that_falls_is_not_believed() {
    check(&[
        (reading(1000, &[(1, 7)]), &[], 7.0, 7, &[(1, 7.0, 7)]),
        (reading(2000, &[(1, 3)]), &[], 0.0, 7, &[(1, 0.0, 7)]),
    ]);
}

/// One row: a reading, who ended before it; then total, rates and quiet ticks of what is left in the cgroup.
type Left<'a> = (Reading, &'a [u32], Option<(u64, [f32; 3], u32)>);

fn remains(rates: &Rates) -> Vec<Remains> {
    rates.remains(&Pods::default()).map(|placed| placed.remains).collect()
}

/// All processes are of one container; those that ended are forgotten at once, or not at all.
#[track_caller]
fn check_remains(forgets: bool, rows: &[Left]) {
    let mut rates = Rates::new(Duration::ZERO);
    let cgroup = crate::pods::cgroup::candidates(&format!("0::/docker/{}", "a".repeat(64)));
    for (number, (reading, ended, expected)) in rows.iter().enumerate() {
        let identify =
            |process: &ProcessCounts| Identity { candidates: cgroup.clone().into(), ..Identity::from_counts(process) };
        rates.advance(reading, &keys(ended), identify);
        let left = remains(&rates).into_iter().map(|left| (requests(&left.totals), left.rates, left.quiet_ticks));
        assert_eq!(left.collect::<Vec<_>>(), Vec::from_iter(*expected), "row {number}");
        if forgets {
            rates.forget(&keys(ended));
        }
    }
}

#[test]
fn a_process_that_lived_for_less_than_a_tick_leaves_its_requests_to_its_cgroup() {
    for forgets in [true, false] {
        check_remains(
            forgets,
            &[
                (reading(1000, &[(9, 1)]), &[], None),
                (reading(2000, &[(1, 7)]), &[1], Some((7, [0.0, 0.0, 7.0], 0))),
                (reading(3000, &[]), &[], Some((7, [0.0, 7.0, 0.0], 1))),
                (reading(5000, &[(2, 3), (3, 1)]), &[2, 3], Some((11, [7.0, 0.0, 2.0], 0))),
            ],
        );
    }
}

#[test]
fn an_ended_process_leaves_all_it_received_once() {
    check_remains(
        false,
        &[
            (reading(1000, &[(1, 4)]), &[], None),
            (reading(2000, &[(1, 6)]), &[], None),
            (reading(3000, &[(1, 9)]), &[1], Some((9, [4.0, 2.0, 3.0], 0))),
            // The kernel still names it, and it had received one more.
            (reading(4000, &[(1, 10)]), &[], Some((10, [2.0, 3.0, 1.0], 0))),
            (reading(5000, &[]), &[], Some((10, [3.0, 1.0, 0.0], 1))),
            (reading(6000, &[]), &[], Some((10, [1.0, 0.0, 0.0], 2))),
        ],
    );
    // Idle at its end, and a clock that stands still.
    check_remains(
        false,
        &[
            (reading(1000, &[(1, 4), (2, 1)]), &[], None),
            (reading(2000, &[]), &[1], Some((4, [0.0, 4.0, 0.0], 0))),
            (reading(2000, &[(2, 5)]), &[2], Some((9, [0.0, 4.0, 0.0], 0))),
            (reading(3000, &[]), &[], Some((9, [5.0, 0.0, 4.0], 1))),
            (reading(4000, &[]), &[], Some((9, [0.0, 4.0, 0.0], 2))),
        ],
    );
    // The rates of one that is forgotten before it was rated again are those that it had.
    check_remains(
        true,
        &[
            (reading(1000, &[(2, 1)]), &[], None),
            (reading(1000, &[(2, 5)]), &[2], Some((5, [0.0; 3], 0))),
            (reading(2000, &[]), &[], Some((5, [0.0, 1.0, 0.0], 1))),
        ],
    );
}

#[test]
fn a_returned_pid_has_the_cgroup_of_its_new_process() {
    let mut rates = Rates::new(Duration::ZERO);
    let identify = |process: &ProcessCounts| Identity {
        candidates: crate::pods::cgroup::candidates(&format!("0::/docker/{:064x}", process.key.start_ns)).into(),
        ..Identity::from_counts(process)
    };
    rates.advance(&reading(1000, &[(1, 7)]), &[], identify);
    let mut next = reading(2000, &[(1, 7), (1, 2)]);
    next.processes[1].key.start_ns = 99;
    rates.advance(&next, &[key(1)], identify);
    let [live] = rates.live().iter().collect::<Vec<_>>()[..] else { panic!("one lives") };
    assert_eq!((live.key.start_ns, live.identity.pid), (99, Some(Pid(1))));
    assert_eq!(live.identity.candidates.to_vec(), crate::pods::cgroup::candidates(&format!("0::/docker/{:064x}", 99)));
    let left = remains(&rates).into_iter().map(|left| (left.candidates.to_vec(), requests(&left.totals)));
    assert_eq!(left.collect::<Vec<_>>(), [(crate::pods::cgroup::candidates(&format!("0::/docker/{:064x}", 10)), 7)]);
}

#[test]
fn a_pid_that_returns_is_another_process() {
    let mut rates = Rates::new(Duration::ZERO);
    rates.advance(&reading(1000, &[(1, 7)]), &[], Identity::from_counts);
    let mut next = reading(2000, &[(1, 7), (1, 2)]);
    next.processes[1].key.start_ns = 99;
    rates.advance(&next, &[key(1)], Identity::from_counts);
    let live: Vec<_> = rates.live().iter().map(Process::requests).collect();
    assert_eq!((live, requests(&rates.totals())), (vec![2], 9));
    assert_eq!(rates.ended(), Ended { processes: 1, totals: counts(7) });
}

proptest! {
    /// Whatever is read, in whatever order processes come and go: totals only rise and rates are
    /// finite and not negative.
    #[test]
    fn totals_never_fall(steps in prop::collection::vec(
        (0u64..3000, prop::collection::vec((1u32..5, 0u64..1000), 0..5), prop::collection::vec(1u32..5, 0..3), any::<bool>()), 1..30)) {
        let (mut rates, mut at, mut before) = (Rates::new(Duration::ZERO), 0, 0);
        for (pause, processes, ended, forgets) in steps {
            at += pause;
            rates.advance(&reading(at, &processes), &keys(&ended), Identity::from_counts);
            rates.locate(&Pods::default());
            prop_assert_eq!(rates.located().outside, rates.live().len() as u64);
            let total = requests(&rates.totals());
            prop_assert!(total >= before);
            before = total;
            let mut sum = requests(&rates.ended().totals);
            for (_, rate, requests) in live(&rates) {
                sum += requests;
                prop_assert!(rate >= 0.0 && rate.is_finite());
            }
            prop_assert_eq!(sum, total);
            if forgets {
                rates.forget(&keys(&ended));
            }
        }
    }

    /// Whether a reading names what has not changed makes no difference.
    #[test]
    fn what_is_left_out_of_a_reading_has_not_changed(steps in prop::collection::vec((0u64..3000, prop::array::uniform4(0u64..3)), 1..90)) {
        let [mut all, mut some] = [Rates::new(Duration::ZERO), Rates::new(Duration::ZERO)];
        let (mut at, mut received) = (0, [0; 4]);
        for (pause, more) in steps {
            at += pause;
            received = std::array::from_fn(|n| received[n] + more[n]);
            let is_known = |process: &(u32, u64)| process.1 > 0;
            let whole: Vec<_> = (1..).zip(received).filter(is_known).collect();
            let news: Vec<_> = (1..).zip(received).zip(more).filter(|(_, more)| *more > 0).map(|(process, _)| process).collect();
            all.advance(&reading(at, &whole), &[], Identity::from_counts);
            some.advance(&reading(at, &news), &[], Identity::from_counts);
            prop_assert_eq!(live(&all), live(&some));
            prop_assert_eq!((all.rate(), all.totals()), (some.rate(), some.totals()));
        }
        let histories = |rates: &Rates| rates.live().iter().map(|p| p.history.last(rates.now(), 60).collect::<Vec<_>>()).collect::<Vec<_>>();
        prop_assert_eq!(histories(&all), histories(&some));
    }
}

#[test]
fn a_process_is_where_the_pods_say_at_each_tick() {
    use crate::pods::cgroup::candidates;
    use crate::pods::index::{Container, ContainerKind, DELETED_KEPT, Pod};
    let (uid, id) = ("44c76ce5-f953-4bd3-bc89-12621681af49", "a".repeat(64));
    let mut pod = Pod {
        uid: PodUid::parse(uid).unwrap(),
        config_hash: None,
        scope_uid: uid.into(),
        namespace: "shop".into(),
        name: "web-1".into(),
        containers: Vec::new(),
    };
    // 1 and 2 are of one container, 3 is of another, 4 is of none.
    let mut rates = Rates::new(Duration::ZERO);
    let identify = |process: &ProcessCounts| {
        let container = match process.key.tgid {
            1 | 2 => id.clone(),
            n => format!("{n:064x}"),
        };
        let path = if process.key.tgid < 4 { format!("0::/kubepods/pod{uid}/{container}") } else { "0::/".to_owned() };
        Identity { candidates: candidates(&path).into(), ..Identity::from_counts(process) }
    };
    let place = |rates: &Rates, tgid| {
        rates.live().iter().find(|process| process.key.tgid == tgid).and_then(|process| process.place.clone())
    };
    let located = |found, unknown, outside| Located { found, awaited: 0, unknown, outside };
    let mut pods = Pods::default();
    rates.advance(&reading(1000, &[(1, 1), (3, 1), (4, 1)]), &[], identify);
    rates.locate(&pods);
    assert_eq!((place(&rates, 1), rates.located()), (None, located(0, 2, 1)));
    pods.apply(pod.clone());
    rates.locate(&pods);
    let first = place(&rates, 1).unwrap();
    assert_eq!((&*first.pod, &*first.namespace, &*first.scope_uid), ("web-1", "shop", uid));
    assert_eq!((first.container_id.unwrap().to_string(), first.container.as_deref()), (id.clone(), None));
    assert_eq!((place(&rates, 4), rates.located()), (None, located(2, 0, 1)));
    // A process that comes later, while the pods stay as they are.
    rates.advance(&reading(2000, &[(2, 1)]), &[], identify);
    rates.locate(&pods);
    assert!(Arc::ptr_eq(&first, &place(&rates, 2).unwrap()));
    assert_eq!(rates.located(), located(3, 0, 1));
    // The pod tells more.
    let container = ContainerId::parse(&id).unwrap();
    pod.containers.push(Container { name: "server".into(), id: container, kind: ContainerKind::Regular });
    pods.apply(pod.clone());
    rates.locate(&pods);
    assert_eq!(place(&rates, 1).unwrap().container.as_deref(), Some("server"));
    assert!(Arc::ptr_eq(&place(&rates, 1).unwrap(), &place(&rates, 2).unwrap()));
    // What is left of ended processes has a place while the pod is there, or a process lives in the container.
    let left = |rates: &Rates, pods: &Pods| {
        let there = rates.remains(pods).filter(|placed| placed.is_there);
        let mut places: Vec<_> = there.filter_map(|placed| placed.place?.container_id).collect();
        places.sort_unstable_by_key(ToString::to_string);
        places
    };
    rates.advance(&reading(3000, &[]), &keys(&[1, 3]), identify);
    rates.forget(&keys(&[1, 3]));
    rates.locate(&pods);
    assert_eq!(rates.located(), located(1, 0, 1));
    assert_eq!(left(&rates, &pods).len(), 2, "the pod is there");
    pods.delete(pod.uid, Duration::ZERO);
    rates.locate(&pods);
    assert_eq!(left(&rates, &pods), [container], "a process lives there");
    assert!(rates.remains(&pods).all(|placed| placed.place.is_some()), "it keeps its name");
    pods.sweep(DELETED_KEPT);
    rates.locate(&pods);
    assert_eq!((place(&rates, 2), rates.located()), (None, located(0, 1, 1)));
    assert!(rates.remains(&pods).all(|placed| placed.standing == Standing::Unknown));
}

#[test]
fn a_process_waits_for_its_pod_for_a_while() {
    use crate::counting::placing::POD_WAIT_TICKS;
    let path = format!("0::/kubepods/pod{:08x}-0000-0000-0000-000000000000", 1);
    let cgroup: Arc<[_]> = crate::pods::cgroup::candidates(&path).into();
    let identify =
        |process: &ProcessCounts| Identity { candidates: Arc::clone(&cgroup), ..Identity::from_counts(process) };
    let (mut rates, mut pods) = (Rates::new(Duration::ZERO), Pods::default());
    pods.set_watched(true);
    let mut tick = |second: u64, processes: &[(u32, u64)]| {
        rates.advance(&reading(second * 1000, processes), &[], identify);
        rates.locate(&pods);
        let standing: Vec<_> = rates.live().iter().map(|process| process.standing).collect();
        (standing, rates.located())
    };
    let (awaited, unknown) =
        (Located { awaited: 1, ..Located::default() }, Located { unknown: 2, ..Located::default() });
    assert_eq!(tick(1, &[(1, 5)]), (vec![Standing::Awaited], awaited));
    for second in 2..=POD_WAIT_TICKS {
        assert_eq!(tick(second, &[]).1, awaited, "{second}");
    }
    // One that comes later to the same cgroup does not wait anew.
    assert_eq!(tick(1 + POD_WAIT_TICKS, &[(2, 1)]), (vec![Standing::Unknown; 2], unknown));
}

#[test]
fn a_process_that_had_ended_when_it_was_looked_at_leaves_its_counts_and_is_nowhere() {
    let candidates = crate::pods::cgroup::candidates(&format!("0::/docker/{:064x}", 7));
    let late = |process: &ProcessCounts| Looked {
        identity: Identity { candidates: candidates.clone().into(), ..Identity::from_counts(process) },
        has_ended: process.key == key(2),
    };
    let mut rates = Rates::new(Duration::ZERO);
    rates.advance(&reading(1000, &[(1, 3), (2, 5)]), &[], late);
    rates.locate(&Pods::default());
    let live = |rates: &Rates| rates.live().iter().map(|process| process.key.tgid).collect::<Vec<_>>();
    let left = |rates: &Rates| {
        let pods = Pods::default();
        rates.remains(&pods).map(|placed| (requests(&placed.remains.totals), placed.remains.rates)).collect::<Vec<_>>()
    };
    assert_eq!((live(&rates), left(&rates)), (vec![1], vec![(5, [0.0, 0.0, 5.0])]));
    let Located { found, awaited, unknown, outside } = rates.located();
    assert_eq!((requests(&rates.totals()), rates.rate(), found + awaited + unknown + outside), (8, 8.0, 1));
    assert_eq!(rates.grown().map(|grown| requests(&grown.counts)).sum::<u64>(), 8);
    // It received one more before its end, which the next reading tells.
    rates.advance(&reading(2000, &[(2, 6)]), &[key(2)], late);
    rates.forget(&[key(2)]);
    assert_eq!((live(&rates), left(&rates)), (vec![1], vec![(6, [0.0, 5.0, 1.0])]));
    assert_eq!((requests(&rates.totals()), rates.ended().processes), (9, 1));
}

#[path = "rates_responses_tests.rs"]
mod responses;

#[path = "rates_carried_tests.rs"]
mod carried;
