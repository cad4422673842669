//! Time and size of the report at the number of processes at which it is bounded, and of the tick before it.
//!
//! `cargo bench --bench report`

use std::time::{Duration, Instant};

use agent::counts::{Pid, ProcessCounts, Reading};
use agent::process::Identity;
use agent::rates::Rates;
use agent::report::{MAX_REPORTED_PROCESSES, render};
use agent::snapshot::Snapshots;
use common::maps::{Counts, ProcessKey};
use jiff::Timestamp;

/// Enough for a median that stands still.
const ROUNDS: u32 = 101;

fn reading(second: u64) -> Reading {
    let processes = (1..=MAX_REPORTED_PROCESSES as u32).map(|pid| ProcessCounts {
        key: ProcessKey { start_ns: 1, tgid: pid, reserved: 0 },
        pid: Some(Pid(pid)),
        command: "server".into(),
        cgroup_id: 1,
        counts: Counts { requests: [second, second * u64::from(pid), 0], unsynced: 0 },
    });
    Reading { at: Duration::from_millis(second * 1001), processes: processes.collect(), ..Reading::default() }
}

fn main() {
    let mut rates = Rates::new(Duration::ZERO);
    let mut snapshots = Snapshots::new("ip-10-0-0-1.eu-central-1.compute.internal".into());
    let (mut ticks, mut reports, mut size) = (Vec::new(), Vec::new(), 0);
    for round in 1..=ROUNDS {
        let reading = reading(round.into());
        let started = Instant::now();
        let elapsed = rates.advance(&reading, &[], Identity::from_counts);
        let snapshot = snapshots.take(&rates, &reading, elapsed, Timestamp::UNIX_EPOCH + reading.at);
        ticks.push(started.elapsed());
        let started = Instant::now();
        size = render(&snapshot).len();
        reports.push(started.elapsed());
    }
    println!("processes\t{MAX_REPORTED_PROCESSES}");
    print("tick (rates and snapshot)", ticks);
    print("report", reports);
    println!("report\t{size} bytes");
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}\tmedian {:.2} ms\tworst {:.2} ms", median.as_secs_f64() * 1e3, worst.as_secs_f64() * 1e3);
}
