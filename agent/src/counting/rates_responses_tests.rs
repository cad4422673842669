//! Responses among the rates: readings in, sums out. PURE.
use super::*;
use crate::counting::responses::{Responses, SeriesCounts};
use crate::pods::cgroup::candidates;
use common::exchange::Asked;
use common::series;

/// So many responses of each process: those of 200, and those of 500.
fn answering(mut reading: Reading, processes: &[(u32, u64, u64)]) -> Reading {
    let series = |process, status, count| {
        let mut value = series::Series { sum_ns: count, ..series::Series::default() };
        value.buckets[4] = count;
        SeriesCounts { process: key(process), asked: Asked::HTTP_1, status, value }
    };
    let of = |(process, well, failed): &(u32, u64, u64)| [series(*process, 200, *well), series(*process, 500, *failed)];
    reading.responses = Some(Responses { series: processes.iter().flat_map(of).collect(), ..Responses::default() });
    reading
}

/// Responses of live processes: PID, how many, errors a second.
fn responded(rates: &Rates) -> Vec<(u32, u64, f32)> {
    let row = |process: &Process| {
        let responded = process.responded.as_ref()?;
        Some((process.key.tgid, responded.responses(), responded.error_rate(rates.now())))
    };
    let mut rows: Vec<_> = rates.live().iter().filter_map(row).collect();
    rows.sort_by_key(|row| row.0);
    rows
}

#[test]
fn responses_stay_in_the_sums_when_their_process_ends_and_what_was_in_flight_is_lost() {
    let mut rates = Rates::new(Duration::ZERO);
    let mut in_cgroup = reading(1000, &[(1, 5), (2, 9)]);
    in_cgroup.processes[0].candidates = candidates(&format!("0::/docker/{:064x}", 1)).into();
    rates.advance(&answering(in_cgroup, &[(1, 2, 1)]), &[], Identity::from_counts);
    assert_eq!(responded(&rates), [(1, 3, 1.0)]);
    let all = |rates: &Rates| rates.responded().map(|all| (all.responses(), all.errors, all.in_flight(14)));
    assert_eq!(all(&rates), Some((3, 1, 11)));
    assert_eq!(rates.grown().map(|grown| grown.kinds.len()).collect::<Vec<_>>(), [0, 0, 2]);
    // Idle, and then the last word on the first.
    let before = rates.live().clone();
    rates.advance(&answering(reading(2000, &[]), &[(1, 2, 1)]), &[], Identity::from_counts);
    assert_eq!((responded(&rates), rates.grown().count()), (vec![(1, 3, 0.0)], 0));
    let is_same = |index| std::ptr::eq(before.iter().nth(index).unwrap(), rates.live().iter().nth(index).unwrap());
    assert!(is_same(0) && is_same(1), "what is idle is not touched");
    rates.advance(&answering(reading(4000, &[]), &[(1, 3, 1)]), &[key(1)], Identity::from_counts);
    let left = |rates: &Rates| {
        let left = rates.graveyard.iter().find_map(|remains| remains.responded.clone()).unwrap();
        (left.responses(), left.statuses.clone(), left.recent.buckets(rates.now())[4])
    };
    assert_eq!((responded(&rates), left(&rates)), (vec![], (4, vec![(200, 3), (500, 1)], 4)));
    // Its slot could not be freed: one more comes late.
    rates.advance(&answering(reading(5000, &[]), &[(1, 3, 2)]), &[key(1)], Identity::from_counts);
    assert_eq!((left(&rates).0, all(&rates)), (5, Some((5, 2, 9))));
    rates.forget(&keys(&[1]));
    let outcome = rates.responded().unwrap().outcome;
    assert_eq!((all(&rates), outcome.lost), (Some((5, 2, 9)), 0), "all of its five were answered");
    rates.advance(&answering(reading(6000, &[]), &[(2, 1, 0)]), &[key(2)], Identity::from_counts);
    rates.forget(&keys(&[2]));
    assert_eq!((all(&rates), rates.responded().unwrap().outcome.lost), (Some((6, 2, 0)), 8));
}

proptest! {
    /// Whatever is received, answered and ended in whatever order: each request is answered, in flight or lost.
    #[test]
    fn every_request_is_somewhere(ticks in prop::collection::vec(prop::collection::vec((1..5_u32, 0..5_u64, 0..5_u64, any::<bool>()), 0..6), 1..12)) {
        let mut rates = Rates::new(Duration::ZERO);
        let mut alive: HashMap<u32, (u64, u64)> = HashMap::new();
        let mut gone = HashSet::new();
        for (events, at) in ticks.iter().zip(1..) {
            let mut ended = Vec::new();
            for (process, received, answered, ends) in events.iter().filter(|event| !gone.contains(&event.0)) {
                let counts = alive.entry(*process).or_default();
                counts.0 += received;
                counts.1 = (counts.1 + answered).min(counts.0);
                ended.extend(ends.then_some(*process));
            }
            let received: Vec<_> = alive.iter().map(|(process, counts)| (*process, counts.0)).collect();
            let answered: Vec<_> = alive.iter().map(|(process, counts)| (*process, counts.1, 0)).collect();
            rates.advance(&answering(reading(at * 1000, &received), &answered), &keys(&ended), Identity::from_counts);
            rates.forget(&keys(&ended));
            alive.retain(|process, _| !ended.contains(process));
            gone.extend(ended);
            let total = requests(&rates.totals());
            let all = rates.responded().unwrap();
            prop_assert_eq!(all.in_flight(total), alive.values().map(|counts| counts.0 - counts.1).sum::<u64>());
            prop_assert_eq!(all.responses() + all.outcome.lost + all.in_flight(total), total);
        }
    }
}
