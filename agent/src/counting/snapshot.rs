//! What every consumer sees: the state after one tick, never changed afterwards. PURE.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use common::exchange::Untold;
use common::failure::Failure;
use common::maps::Counts;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::counting::carried;
use crate::counting::counts::{ProgramRuns, Reading};
use crate::counting::ended::Remains;
use crate::counting::history::History;
pub use crate::counting::history::REPEATED_TICKS;
pub use crate::counting::living::{Place, Process, Processes, Standing};
use crate::counting::plaintext::Plain;
use crate::counting::rates::{Ended, Growth, Located, Rates};
use crate::counting::responded::Responded;
use crate::pods::index::Pods;

/// A wall clock that differs by more from the time that has passed was set, and not slewed.
const SET: SignedDuration = SignedDuration::from_secs(1);

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
    /// The number of the last tick that has rates: histories are asked as of it.
    pub now: u64,
    /// Processes that live.
    pub processes: Processes,
    /// What this tick brought, by process, also of those that have ended.
    pub grown: Vec<Growth>,
    /// Where processes that live were found.
    pub located: Located,
    /// The sum over all processes that ever were: never falls.
    pub totals: Counts,
    /// Requests per second over all of them.
    pub rate: f32,
    /// That rate at the last ticks.
    pub history: History,
    /// What all processes that ever were have answered; `None` where responses are not counted.
    pub responded: Option<Arc<Responded>>,
    /// What is not known of responses, by cause.
    pub untold: [u64; Untold::COUNT],
    /// The part of the totals that belongs to processes that are gone.
    pub ended: Ended,
    /// The same by cgroup, where a cgroup names a container or a pod.
    pub remains: Vec<PlacedRemains>,
    /// What was left of cgroups that are forgotten, because there were too many.
    pub forgotten: Counts,
    /// What was lost, or might have been.
    pub losses: Losses,
    /// Slots of the kernel's table of processes that are in use.
    pub slots_used: usize,
    /// Processes whose slots were given to others while they lived.
    pub given_up: u64,
    /// What the kernel measured of the probe itself.
    pub program: ProgramRuns,
    /// How it stands with requests in TLS.
    pub plain: Arc<Plain>,
}

/// What is left of ended processes of one cgroup.
#[derive(Clone, Debug)]
pub struct PlacedRemains {
    /// What it is.
    pub remains: Remains,
    /// The pod and container, where they are known.
    pub place: Option<Arc<Place>>,
    /// Whether they are, and why not.
    pub standing: Standing,
    /// Whether the pod is still there, or a process lives in that container: a pod keeps its name for a while.
    pub is_there: bool,
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
    /// The time since the last event that may have cost a count; `None` if there was none.
    pub quiet_for: Option<Duration>,
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
            now: 0,
            processes: Processes::default(),
            grown: Vec::new(),
            located: Located::default(),
            totals: Counts::default(),
            rate: 0.0,
            history: History::default(),
            responded: None,
            untold: [0; Untold::COUNT],
            ended: Ended::default(),
            remains: Vec::new(),
            forgotten: Counts::default(),
            losses: Losses::default(),
            slots_used: 0,
            given_up: 0,
            program: ProgramRuns::default(),
            plain: Arc::default(),
        }
    }

    /// When this tick was; `None` before the first.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        self.ticks.last().copied()
    }
}

impl Losses {
    /// How many events there were that may have cost a count. See [`Failure::is_loss`].
    #[must_use]
    pub fn sum(&self) -> u64 {
        let causes = Failure::ALL.iter().filter(|cause| cause.is_loss());
        self.skipped_calls + causes.map(|cause| self.failures[*cause as usize]).sum::<u64>()
    }
}

/// Makes one snapshot after another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshots {
    host: Arc<str>,
    sequence: u64,
    #[serde(with = "carried::times")]
    ticks: VecDeque<Timestamp>,
    history: History,
    /// How many losses there were at the last tick, and when, on the monotonic clock, the last of them was seen.
    lost: (u64, Option<Duration>),
}

impl Snapshots {
    /// None made yet.
    #[must_use]
    pub fn new(host: Arc<str>) -> Self {
        let ticks = VecDeque::with_capacity(REPEATED_TICKS);
        Self { host, sequence: 0, ticks, history: History::default(), lost: (0, None) }
    }

    /// Goes on for the machine that another was made for.
    #[must_use]
    pub fn at(self, new: Self) -> Self {
        Self { host: new.host, ..self }
    }

    /// The state after a tick at which rates advanced by `elapsed` and were located among `pods`.
    pub fn take(
        &mut self,
        rates: &Rates,
        pods: &Pods,
        reading: &Reading,
        (elapsed, at): (Duration, Timestamp),
    ) -> Snapshot {
        self.sequence += 1;
        let now = rates.now();
        if !elapsed.is_zero() {
            self.note_tick(at, elapsed);
            self.history.note(now, rates.rate());
        }
        Snapshot {
            sequence: self.sequence,
            ticks: self.ticks.iter().copied().collect(),
            elapsed,
            host: Arc::clone(&self.host),
            now,
            processes: rates.live().clone(),
            grown: rates.grown().collect(),
            located: rates.located(),
            totals: rates.totals(),
            rate: rates.rate(),
            history: self.history.clone(),
            responded: rates.responded().cloned(),
            untold: reading.responses.as_ref().map_or([0; Untold::COUNT], |responses| responses.untold),
            ended: rates.ended(),
            remains: rates.remains(pods).collect(),
            forgotten: rates.forgotten(),
            losses: self.losses(reading),
            slots_used: reading.slots_used,
            given_up: reading.given_up,
            program: reading.program,
            plain: Arc::default(),
        }
    }

    fn losses(&mut self, reading: &Reading) -> Losses {
        let mut losses = Losses {
            failures: reading.failures,
            skipped_calls: reading.skipped_calls,
            resynced: reading.resynced,
            ..Losses::default()
        };
        let sum = losses.sum();
        if sum != self.lost.0 {
            self.lost = (sum, Some(reading.at));
        }
        losses.quiet_for = self.lost.1.map(|at| reading.at.saturating_sub(at));
        losses
    }

    /// Where the wall clock was set since the last tick, older ticks are of another time and not repeated; Scope wants
    /// samples in ascending order, too.
    fn note_tick(&mut self, now: Timestamp, elapsed: Duration) {
        let was_set = |last: &Timestamp| {
            let passed = now.duration_since(*last);
            let set_by = passed.saturating_sub(SignedDuration::try_from(elapsed).unwrap_or_default());
            passed <= SignedDuration::ZERO || set_by.abs() > SET
        };
        if self.ticks.back().is_some_and(was_set) {
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
            snapshots.note_tick(Timestamp::from_second(*second).unwrap(), Duration::from_secs(1));
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
    fn ticks_of_another_time_are_not_repeated() {
        check_ticks(&[1, 2, 300_000, 300_001], &[300_000, 300_001]);
        // A machine that slept, and a tick that was late: as long as both clocks say so.
        let mut snapshots = Snapshots::new("host".into());
        for (second, elapsed) in [(1, 1), (2, 1), (5_000, 4_998)] {
            snapshots.note_tick(Timestamp::from_second(second).unwrap(), Duration::from_secs(elapsed));
        }
        assert_eq!(snapshots.ticks.len(), 3);
    }

    #[test]
    fn an_old_loss_is_told_from_a_recent_one() {
        let mut snapshots = Snapshots::new("host".into());
        let mut quiet_for = |second, gaps| {
            let mut reading = Reading { at: Duration::from_secs(second), ..Reading::default() };
            reading.failures[Failure::Gap as usize] = gaps;
            snapshots.losses(&reading).quiet_for.map(|time| time.as_secs())
        };
        let seen = [quiet_for(1, 0), quiet_for(2, 1), quiet_for(62, 1), quiet_for(63, 2), quiet_for(64, 2)];
        assert_eq!(seen, [None, Some(0), Some(60), Some(0), Some(1)]);
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
    use crate::counting::counts::Pid;
    use crate::counting::identity::Identity;
    use crate::counting::responses::{Durations, Kind};
    use crate::pods::cgroup::ContainerId;
    use common::exchange::Asked;
    use common::maps::{ProcessKey, Version};
    use common::method::Method;

    /// The number of the tick that everything here is as of.
    const NOW: u64 = 100;

    /// A process `server-PID` with these rates, the newest last.
    pub(crate) fn process(pid: u32, rates: &[f32], total: u64) -> Process {
        let identity = Identity {
            pid: Some(Pid(pid)),
            command: format!("server-{pid}"),
            command_line: format!("/usr/bin/server-{pid} --port 80"),
            candidates: Arc::default(),
        };
        Process {
            key: ProcessKey { start_ns: 1000, tgid: pid, reserved: 0 },
            identity: Arc::new(identity),
            place: None,
            standing: Standing::Outside,
            totals: Counts { requests: [0, total, 0], ..Counts::default() },
            history: history(rates.iter().copied()),
            responded: None,
        }
    }

    /// The process with so many TLS connections, too.
    pub(crate) fn with_tls(mut process: Process, connections: u64) -> Process {
        process.totals.tls_connections = connections;
        process
    }

    /// The process with these responses at this tick, by status, all of them of this duration's bucket.
    pub(crate) fn answering(process: Process, statuses: &[(u32, u64)], bucket: usize) -> Process {
        let mut responded = process.responded.as_deref().cloned().unwrap_or_default();
        for (kind, series) in kinds(statuses, bucket) {
            responded.note(NOW, (kind, &series), |count| count as f32);
        }
        Process { responded: Some(Arc::new(responded)), ..process }
    }

    /// Responses to GET over HTTP/1.1, by status.
    pub(crate) fn kinds(statuses: &[(u32, u64)], bucket: usize) -> Vec<(Kind, Durations)> {
        let asked = Asked::from_number(Method::Get as u8 | (Version::Http11 as u8) << 4);
        let kind = |(status, count): &(u32, u64)| {
            let mut series = Durations { sum_ns: count * 1_000_000, ..Durations::default() };
            series.buckets[bucket] = *count;
            (Kind { asked, status: *status }, series)
        };
        statuses.iter().map(kind).collect()
    }

    /// The snapshot with what its processes answered, all together and as news of this tick.
    pub(crate) fn answered(mut state: Snapshot) -> Snapshot {
        let mut all = Responded::default();
        for process in state.processes.iter().filter_map(|process| process.responded.as_deref()) {
            all.add(process);
        }
        for growth in &mut state.grown {
            let Some(responded) = &growth.process.responded else { continue };
            let bucket = responded.durations.buckets.iter().position(|count| *count > 0).unwrap_or_default();
            growth.kinds = kinds(&responded.statuses, bucket);
        }
        state.responded = Some(Arc::new(all));
        state
    }

    /// These rates, the newest now.
    fn history(rates: impl ExactSizeIterator<Item = f32>) -> History {
        let mut history = History::default();
        let first = NOW + 1 - rates.len() as u64;
        rates.zip(first..).for_each(|(rate, tick)| history.note(tick, rate));
        history
    }

    /// Where `process` runs: pod `web-1` of namespace `shop`, in a container of this digit.
    pub(crate) fn placed(process: Process, pod: &str, container: Option<char>) -> Process {
        let place = Place {
            scope_uid: format!("uid-of-{pod}").into(),
            namespace: "shop".into(),
            pod: pod.into(),
            container_id: container.and_then(|digit| ContainerId::parse(&digit.to_string().repeat(64))),
            container: container.map(|digit| format!("server-{digit}").into()),
        };
        Process { place: Some(Arc::new(place)), standing: Standing::Found, ..process }
    }

    /// The rates of all of them together.
    fn whole(processes: &[Process]) -> History {
        let ticks = processes.iter().map(|process| process.history.len(NOW)).max().unwrap_or(0);
        let at =
            |ago| processes.iter().filter_map(move |process| process.history.last(NOW, ticks).rev().nth(ago)).sum();
        history((0..ticks).rev().map(at))
    }

    /// All that it has received is new.
    fn received(process: &Process) -> Growth {
        Growth { process: Arc::new(process.clone()), counts: process.totals, kinds: Vec::new() }
    }

    fn located(processes: &[Process]) -> Located {
        let found = processes.iter().filter(|process| process.place.is_some()).count() as u64;
        Located { found, awaited: 0, unknown: 0, outside: processes.len() as u64 - found }
    }

    /// These processes on `node-1`, at the last of three ticks in September 2016.
    pub(crate) fn snapshot(processes: Vec<Process>) -> Snapshot {
        let tick = |second: i64| Timestamp::new(1_474_442_544 + second, 293_175_000).unwrap();
        Snapshot {
            sequence: 3,
            now: NOW,
            ticks: vec![tick(-2), tick(-1), tick(0)],
            elapsed: Duration::from_secs(1),
            rate: processes.iter().map(|process| process.history.newest(NOW)).sum(),
            history: whole(&processes),
            totals: Counts {
                requests: [0, processes.iter().map(Process::requests).sum(), 0],
                tls_connections: processes.iter().map(|process| process.totals.tls_connections).sum(),
                ..Counts::default()
            },
            grown: processes.iter().map(received).collect(),
            located: located(&processes),
            processes: processes.into_iter().collect(),
            ..Snapshot::empty("node-1".into())
        }
    }
}
