//! Rates that are handed over go on as if nothing had been. PURE.
use super::*;
use crate::counting::counts::Pid;
use crate::counting::history::LENGTH;
use crate::counting::rates::CarriedRates;
use crate::counting::responses::{Responses, SeriesCounts};
use crate::pods::cgroup::candidates;
use common::exchange::Asked;
use common::series::{Outcome, Series as Read};
use std::collections::BTreeMap;

/// A process that a kernel would have counted: its start, its requests, and its responses, of which some are errors.
type Counted = BTreeMap<u32, (u64, u64, u64)>;

fn key_of((tgid, (start_ns, ..)): (&u32, &(u64, u64, u64))) -> ProcessKey {
    ProcessKey { start_ns: *start_ns, tgid: *tgid, reserved: 0 }
}

fn read(counted: &Counted, second: u64) -> Reading {
    let mut reading = Reading { at: Duration::from_secs(second), ..Reading::default() };
    let mut responses = Responses::default();
    for process in counted {
        let (key, (_, requests, answered)) = (key_of(process), process.1);
        let cgroup = format!("0::/docker/{:064x}", key.tgid % 2);
        reading.processes.push(ProcessCounts {
            key,
            pid: Some(Pid(key.tgid)),
            command: "server".into(),
            candidates: candidates(&cgroup).into(),
            counts: Counts {
                requests: [0, *requests, 0],
                unsynced: *answered,
                tls_connections: requests / 3,
                tls_sessions: requests / 4,
            },
        });
        let mut value = Read { sum_ns: 7 * answered, ..Read::default() };
        value.buckets[3] = *answered;
        let status = if key.tgid > 2 { 500 } else { 200 };
        responses.series.push(SeriesCounts { process: key, asked: Asked::HTTP_2, status, value });
        responses.outcomes.push((key, Outcome { unanswered: requests / 5, lost: 0 }));
    }
    reading.responses = Some(responses);
    reading
}

/// Everything that a snapshot would show.
fn shown(rates: &Rates) -> String {
    let mut live: Vec<_> = rates.live().iter().collect();
    live.sort_by_key(|process| process.key);
    let histories = live.iter().map(|process| process.history.last(rates.now(), LENGTH).collect::<Vec<_>>());
    let histories: Vec<_> = histories.collect();
    let pods = Pods::default();
    let mut remains: Vec<_> = rates.remains(&pods).map(|placed| format!("{:?}", placed.remains)).collect();
    remains.sort();
    let mut grown: Vec<_> = rates.grown().map(|grown| format!("{grown:?}")).collect();
    grown.sort();
    let sums = (rates.now(), rates.totals(), rates.rate(), rates.ended(), rates.responded(), rates.located());
    format!("{sums:?}\n{live:?}\n{histories:?}\n{remains:?}\n{grown:?}")
}

fn handed_over(rates: &Rates) -> Rates {
    let text = serde_json::to_string(&rates.carried()).unwrap();
    let carried: CarriedRates = serde_json::from_str(&text).unwrap();
    assert_eq!(carried.fault(), None);
    let mut resumed = Rates::resumed(carried);
    resumed.locate(&Pods::default());
    resumed
}

proptest! {
    /// Wherever it is handed over, also after a tick that took no time, and whoever ends then.
    #[test]
    fn nothing_is_different_after_a_handover(
        ticks in prop::collection::vec((0..2_u64, prop::collection::vec((1..5_u32, 1..9_u64), 0..5), prop::option::of(1..5_u32)), 1..12),
        handovers in prop::collection::vec(any::<bool>(), 12),
    ) {
        let (mut counted, mut second) = (Counted::new(), 1);
        let (mut one, mut other) = (Rates::new(Duration::ZERO), Rates::new(Duration::ZERO));
        for ((passed, grown, ending), is_handed_over) in ticks.into_iter().zip(handovers) {
            second += passed;
            for (tgid, more) in grown {
                let process = counted.entry(tgid).or_insert((second, 0, 0));
                (process.1, process.2) = (process.1 + more, process.2 + more / 2);
            }
            let reading = read(&counted, second);
            let ended = ending.and_then(|tgid| counted.remove_entry(&tgid)).map(|(tgid, all)| key_of((&tgid, &all)));
            let ended: Vec<_> = ended.into_iter().collect();
            for rates in [&mut one, &mut other] {
                rates.advance(&reading, &ended, Identity::from_counts);
                rates.locate(&Pods::default());
            }
            prop_assert_eq!(shown(&one), shown(&other));
            for rates in [&mut one, &mut other] {
                rates.forget(&ended);
            }
            if is_handed_over {
                other = handed_over(&other);
            }
        }
    }
}

#[test]
fn what_no_agent_would_have_written_is_refused() {
    let mut rates = Rates::new(Duration::ZERO);
    rates.advance(&read(&Counted::from([(1, (1, 5, 2))]), 1), &[], Identity::from_counts);
    let mut written = serde_json::to_value(rates.carried()).unwrap();
    let fault = |written: &serde_json::Value| serde_json::from_value::<CarriedRates>(written.clone()).unwrap().fault();
    assert_eq!(fault(&written), None);
    written["series"][0]["rated"] = 6.into();
    assert!(fault(&written).is_some());
    written["series"][0]["rated"] = 5.into();
    written["now"] = 0.into();
    assert!(fault(&written).is_some());
}
