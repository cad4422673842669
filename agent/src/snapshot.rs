//! What every consumer sees: the state after one tick, never changed afterwards. PURE.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use common::failure::Failure;
use common::maps::{Counts, ProcessKey};
use jiff::Timestamp;

use crate::counts::{Reading, requests};
use crate::history::History;
use crate::process::Identity;
use crate::rates::{Ended, Rates};

/// How many ticks a report repeats, so that a missed poll costs nothing.
pub const REPEATED_TICKS: usize = 3;

/// The state of everything after one tick.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Number of the tick; 0 before the first.
    pub sequence: u64,
    /// Wall times of the last ticks, ascending, this one last. The newest samples of every history
    /// belong to them.
    pub ticks: Vec<Timestamp>,
    /// The time that this tick's rates stand for, as measured.
    pub elapsed: Duration,
    /// The machine, as Scope calls it.
    pub host: Arc<str>,
    /// Processes that live, in no particular order.
    pub processes: Vec<Process>,
    /// The sum over all processes that ever were: never falls.
    pub totals: Counts,
    /// Requests per second over all of them.
    pub rate: f32,
    /// The part of the totals that belongs to processes that are gone.
    pub ended: Ended,
    /// What was lost, or might have been.
    pub losses: Losses,
}

/// One process that lives, at one tick.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which one it is.
    pub key: ProcessKey,
    /// Who it is for people. Its container and pod, once known, belong beside it.
    pub identity: Arc<Identity>,
    /// What it received since it was first counted, by version, and how often it went unsynced.
    pub totals: Counts,
    /// Its rates at the last ticks.
    pub history: History,
}

/// Why a count may be short, all cumulative; all zero in a run that was exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// By cause, as the probe counted them.
    pub failures: [u64; Failure::COUNT],
    /// Calls of the probe that the kernel skipped.
    pub skipped_calls: u64,
    /// Connections that were unsynced and became certain again.
    pub resynced: u64,
    /// Processes of which /proc did not tell the command line or the end.
    pub unreadable_processes: u64,
    /// Ticks at which the kernel's counts could not be read; the next tick makes up for them.
    pub failed_reads: u64,
}

impl Snapshot {
    /// The state before the first tick.
    #[must_use]
    pub fn empty(host: Arc<str>) -> Self {
        Self {
            sequence: 0,
            ticks: Vec::new(),
            elapsed: Duration::ZERO,
            host,
            processes: Vec::new(),
            totals: Counts::default(),
            rate: 0.0,
            ended: Ended::default(),
            losses: Losses::default(),
        }
    }

    /// When this tick was; `None` before the first.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        self.ticks.last().copied()
    }
}

impl Process {
    /// Requests per second at this tick.
    #[must_use]
    pub fn rate(&self) -> f32 {
        self.history.newest()
    }

    /// Requests since it was first counted.
    #[must_use]
    pub fn requests(&self) -> u64 {
        requests(&self.totals)
    }
}

impl Losses {
    /// How many events there were that may have cost a count. Connections that were merely open
    /// before the probe was are none.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let causes = Failure::ALL.iter().filter(|cause| **cause != Failure::Joined);
        self.skipped_calls + causes.map(|cause| self.failures[*cause as usize]).sum::<u64>()
    }
}

/// Makes one snapshot after another.
#[derive(Debug)]
pub struct Snapshots {
    host: Arc<str>,
    sequence: u64,
    ticks: VecDeque<Timestamp>,
}

impl Snapshots {
    /// None made yet.
    #[must_use]
    pub fn new(host: Arc<str>) -> Self {
        Self { host, sequence: 0, ticks: VecDeque::with_capacity(REPEATED_TICKS) }
    }

    /// The state after a tick at which rates advanced by `elapsed`.
    pub fn take(&mut self, rates: &Rates, reading: &Reading, elapsed: Duration, now: Timestamp) -> Snapshot {
        self.sequence += 1;
        if !elapsed.is_zero() {
            self.note_tick(now);
        }
        let processes = rates.live().map(|(key, series)| Process {
            key: *key,
            identity: Arc::clone(&series.identity),
            totals: series.totals,
            history: series.history.clone(),
        });
        Snapshot {
            sequence: self.sequence,
            ticks: self.ticks.iter().copied().collect(),
            elapsed,
            host: Arc::clone(&self.host),
            processes: processes.collect(),
            totals: rates.totals(),
            rate: rates.rate(),
            ended: rates.ended(),
            losses: Losses {
                failures: reading.failures,
                skipped_calls: reading.skipped_calls,
                resynced: reading.resynced,
                ..Losses::default()
            },
        }
    }

    /// Scope wants samples in ascending order: after a wall clock that stepped back, older ticks
    /// are not repeated.
    fn note_tick(&mut self, now: Timestamp) {
        if self.ticks.back().is_some_and(|last| *last >= now) {
            self.ticks.clear();
        }
        if self.ticks.len() == REPEATED_TICKS {
            self.ticks.pop_front();
        }
        self.ticks.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_ticks(seconds: &[i64], expected: &[i64]) {
        let mut snapshots = Snapshots::new("host".into());
        for second in seconds {
            snapshots.note_tick(Timestamp::from_second(*second).unwrap());
        }
        let ticks: Vec<_> = snapshots.ticks.iter().map(|tick| tick.as_second()).collect();
        assert_eq!(ticks, expected);
    }

    #[test]
    fn ticks_ascend_whatever_the_wall_clock_does() {
        check_ticks(&[1], &[1]);
        check_ticks(&[1, 2, 3, 4], &[2, 3, 4]);
        check_ticks(&[100, 101, 7, 8], &[7, 8]);
        check_ticks(&[5, 5], &[5]);
    }

    #[test]
    fn a_connection_open_before_the_probe_is_no_loss() {
        let mut losses = Losses::default();
        losses.failures[Failure::Joined as usize] = 9;
        assert_eq!(losses.sum(), 0);
        losses.failures[Failure::Gap as usize] = 2;
        losses.skipped_calls = 1;
        assert_eq!(losses.sum(), 3);
    }
}

/// Literal snapshots for the tests of consumers.
#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;
    use crate::counts::Pid;

    /// A process `server-PID` with these rates, the newest last.
    pub(crate) fn process(pid: u32, rates: &[f32], total: u64) -> Process {
        let mut history = History::default();
        rates.iter().for_each(|rate| history.push(*rate));
        let identity = Identity {
            pid: Some(Pid(pid)),
            command: format!("server-{pid}"),
            command_line: format!("/usr/bin/server-{pid} --port 80"),
            cgroup_id: 0,
        };
        Process {
            key: ProcessKey { start_ns: 1000, tgid: pid, reserved: 0 },
            identity: Arc::new(identity),
            totals: Counts { requests: [0, total, 0], unsynced: 0 },
            history,
        }
    }

    /// These processes on `node-1`, at the last of three ticks in September 2016.
    pub(crate) fn snapshot(processes: Vec<Process>) -> Snapshot {
        let tick = |second: i64| Timestamp::new(1_474_442_544 + second, 293_175_000).unwrap();
        Snapshot {
            sequence: 3,
            ticks: vec![tick(-2), tick(-1), tick(0)],
            elapsed: Duration::from_secs(1),
            rate: processes.iter().map(Process::rate).sum(),
            totals: Counts { requests: [0, processes.iter().map(Process::requests).sum(), 0], unsynced: 0 },
            processes,
            ..Snapshot::empty("node-1".into())
        }
    }
}
