//! Rows for the rates: readings in, rates and totals out. PURE.
use super::*;
use crate::counts::Pid;
use proptest::prelude::*;

fn key(tgid: u32) -> ProcessKey {
    ProcessKey { start_ns: u64::from(tgid) * 10, tgid, reserved: 0 }
}

fn counts(requests: u64) -> Counts {
    Counts { requests: [0, requests, 0], unsynced: 0 }
}

fn reading(at_ms: u64, processes: &[(u32, u64)]) -> Reading {
    let processes = processes.iter().map(|(tgid, requests)| ProcessCounts {
        key: key(*tgid),
        pid: Some(Pid(*tgid)),
        command: format!("server-{tgid}"),
        cgroup_id: 0,
        counts: counts(*requests),
    });
    Reading { at: Duration::from_millis(at_ms), processes: processes.collect(), ..Reading::default() }
}

/// One row: a reading, who ended before it; then the overall rate and total, and the live processes.
type Row<'a> = (Reading, &'a [u32], f32, u64, &'a [(u32, f32, u64)]);

#[track_caller]
fn check(rows: &[Row]) {
    let mut rates = Rates::new(Duration::ZERO);
    for (number, (reading, ended, rate, total, expected)) in rows.iter().enumerate() {
        let ended: Vec<_> = ended.iter().map(|tgid| key(*tgid)).collect();
        rates.advance(reading, &ended, Identity::from_counts);
        let mut live: Vec<_> =
            rates.live().map(|(key, s)| (key.tgid, s.history.newest(), requests(&s.totals))).collect();
        live.sort_by_key(|row| row.0);
        assert_eq!((rates.rate(), requests(&rates.totals())), (*rate, *total), "row {number}");
        assert_eq!(live, *expected, "row {number}");
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
    check(&[
        (reading(1000, &[(1, 7)]), &[1], 7.0, 7, &[]),
        (reading(2000, &[(1, 7)]), &[], 0.0, 7, &[]),
        (reading(3000, &[(1, 8)]), &[], 1.0, 8, &[]),
        (reading(4000, &[]), &[], 0.0, 8, &[]),
    ]);
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

/// All processes are of one container.
#[track_caller]
fn check_remains(rows: &[Left]) {
    let mut rates = Rates::new(Duration::ZERO);
    let cgroup = crate::cgroup::candidates(&format!("0::/docker/{}", "a".repeat(64)));
    for (number, (reading, ended, expected)) in rows.iter().enumerate() {
        let ended: Vec<_> = ended.iter().map(|tgid| key(*tgid)).collect();
        let identify =
            |process: &ProcessCounts| Identity { candidates: cgroup.clone().into(), ..Identity::from_counts(process) };
        rates.advance(reading, &ended, identify);
        let left: Vec<_> = rates.remains().map(|left| (requests(&left.totals), left.rates, left.quiet_ticks)).collect();
        assert_eq!(left, Vec::from_iter(*expected), "row {number}");
    }
}

#[test]
fn a_process_that_lived_for_less_than_a_tick_leaves_its_requests_to_its_cgroup() {
    check_remains(&[
        (reading(1000, &[(9, 1)]), &[], None),
        (reading(2000, &[(9, 1), (1, 7)]), &[1], Some((7, [0.0, 0.0, 7.0], 0))),
        (reading(3000, &[(9, 1)]), &[], Some((7, [0.0, 7.0, 0.0], 1))),
        (reading(5000, &[(9, 1), (2, 3), (3, 1)]), &[2, 3], Some((11, [7.0, 0.0, 2.0], 0))),
    ]);
}

#[test]
fn an_ended_process_leaves_all_it_received_once() {
    check_remains(&[
        (reading(1000, &[(1, 4)]), &[], None),
        (reading(2000, &[(1, 6)]), &[], None),
        (reading(3000, &[(1, 9)]), &[1], Some((9, [4.0, 2.0, 3.0], 0))),
        // The kernel still names it, and it had received one more.
        (reading(4000, &[(1, 10)]), &[], Some((10, [2.0, 3.0, 1.0], 0))),
        (reading(5000, &[]), &[], Some((10, [3.0, 1.0, 0.0], 1))),
        (reading(6000, &[]), &[], Some((10, [1.0, 0.0, 0.0], 2))),
    ]);
    // Gone from the reading at once, and a clock that stands still.
    check_remains(&[
        (reading(1000, &[(1, 4), (2, 1)]), &[], None),
        (reading(2000, &[(2, 1)]), &[1], Some((4, [0.0, 4.0, 0.0], 1))),
        (reading(2000, &[(2, 5)]), &[2], Some((9, [0.0, 4.0, 0.0], 0))),
        (reading(3000, &[(2, 5)]), &[], Some((9, [5.0, 0.0, 4.0], 1))),
        (reading(4000, &[]), &[], Some((9, [0.0, 4.0, 0.0], 2))),
    ]);
}

#[test]
fn a_returned_pid_has_the_cgroup_of_its_new_process() {
    let mut rates = Rates::new(Duration::ZERO);
    let identify = |process: &ProcessCounts| Identity {
        candidates: crate::cgroup::candidates(&format!("0::/docker/{:064x}", process.key.start_ns)).into(),
        ..Identity::from_counts(process)
    };
    rates.advance(&reading(1000, &[(1, 7)]), &[], identify);
    let mut next = reading(2000, &[(1, 7), (1, 2)]);
    next.processes[1].key.start_ns = 99;
    rates.advance(&next, &[key(1)], identify);
    let [(live, series)] = rates.live().collect::<Vec<_>>()[..] else { panic!("one lives") };
    assert_eq!((live.start_ns, series.identity.pid), (99, Some(Pid(1))));
    assert_eq!(series.identity.candidates.to_vec(), crate::cgroup::candidates(&format!("0::/docker/{:064x}", 99)));
    let left: Vec<_> = rates.remains().map(|left| (left.candidates.to_vec(), requests(&left.totals))).collect();
    assert_eq!(left, [(crate::cgroup::candidates(&format!("0::/docker/{:064x}", 10)), 7)]);
}

#[test]
fn a_pid_that_returns_is_another_process() {
    let mut rates = Rates::new(Duration::ZERO);
    rates.advance(&reading(1000, &[(1, 7)]), &[], Identity::from_counts);
    let mut next = reading(2000, &[(1, 7), (1, 2)]);
    next.processes[1].key.start_ns = 99;
    rates.advance(&next, &[key(1)], Identity::from_counts);
    let live: Vec<_> = rates.live().map(|(_, series)| requests(&series.totals)).collect();
    assert_eq!((live, requests(&rates.totals())), (vec![2], 9));
    assert_eq!(rates.ended(), Ended { processes: 1, totals: counts(7) });
}

proptest! {
    /// Whatever is read, in whatever order processes come and go: totals only rise and rates are
    /// finite and not negative.
    #[test]
    fn totals_never_fall(steps in prop::collection::vec(
        (0u64..3000, prop::collection::vec((1u32..5, 0u64..1000), 0..5), prop::collection::vec(1u32..5, 0..3)), 1..30)) {
        let (mut rates, mut at, mut before) = (Rates::new(Duration::ZERO), 0, 0);
        for (pause, processes, ended) in steps {
            at += pause;
            let ended: Vec<_> = ended.into_iter().map(key).collect();
            rates.advance(&reading(at, &processes), &ended, Identity::from_counts);
            let total = requests(&rates.totals());
            prop_assert!(total >= before);
            before = total;
            let mut sum = requests(&rates.ended().totals);
            for (_, series) in rates.live() {
                sum += requests(&series.totals);
                prop_assert!(series.history.newest() >= 0.0 && series.history.newest().is_finite());
            }
            prop_assert_eq!(sum, total);
        }
    }
}

#[test]
fn a_process_that_ended_is_departed_for_as_long_as_the_kernel_names_it() {
    let mut rates = Rates::new(Duration::ZERO);
    let mut departed = |at, processes: &[(u32, u64)], ended: &[u32]| {
        let ended: Vec<_> = ended.iter().map(|tgid| key(*tgid)).collect();
        rates.advance(&reading(at, processes), &ended, Identity::from_counts);
        rates.departed().map(|(key, series)| (key.tgid, requests(&series.totals))).collect::<Vec<_>>()
    };
    assert_eq!(departed(1000, &[(1, 5), (2, 5)], &[]), []);
    assert_eq!(departed(2000, &[(1, 9), (2, 5)], &[1]), [(1, 9)]);
    assert_eq!(departed(3000, &[(1, 9), (2, 5)], &[]), [(1, 9)]);
    assert_eq!(departed(4000, &[(2, 6)], &[]), []);
}
