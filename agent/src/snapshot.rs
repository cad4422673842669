//! What every consumer sees: the state after one tick, never changed afterwards. PURE.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common::failure::Failure;
use common::maps::{Counts, ProcessKey};
use jiff::Timestamp;

use crate::cgroup::{ContainerId, PodUid};
use crate::counts::{ProgramRuns, Reading, requests};
use crate::history::History;
pub use crate::history::REPEATED_TICKS;
use crate::pods::{self, Pods};
use crate::process::Identity;
use crate::rates::{Ended, Rates, Series};
use crate::remains::Remains;

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
    /// Processes that have ended, and on which this tick may be the last word. They are part of `ended`, and of
    /// `remains`. Whoever adds up what each tick brought, as counters do, needs them one by one: `remains` forgets.
    pub departed: Vec<Process>,
    /// The sum over all processes that ever were: never falls.
    pub totals: Counts,
    /// Requests per second over all of them.
    pub rate: f32,
    /// That rate at the last ticks.
    pub history: History,
    /// The part of the totals that belongs to processes that are gone.
    pub ended: Ended,
    /// The same by cgroup, where a cgroup names a container or a pod.
    pub remains: Vec<PlacedRemains>,
    /// What was lost, or might have been.
    pub losses: Losses,
    /// Slots of the kernel's table of processes that are in use.
    pub slots_used: usize,
    /// What the kernel measured of the probe itself.
    pub program: ProgramRuns,
}

/// One process that lives, at one tick.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which one it is.
    pub key: ProcessKey,
    /// Who it is for people.
    pub identity: Arc<Identity>,
    /// Its pod and container, where they are known.
    pub place: Option<Arc<Place>>,
    /// What it received since it was first counted, by version, and how often it went unsynced.
    pub totals: Counts,
    /// Its rates at the last ticks.
    pub history: History,
}

/// What is left of ended processes of one cgroup.
#[derive(Clone, Debug)]
pub struct PlacedRemains {
    /// What it is.
    pub remains: Remains,
    /// The pod and container, if the pod is still there or a process lives in that container.
    pub place: Option<Arc<Place>>,
}

/// Where in a Kubernetes cluster a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What Scope calls the pod: its UID, or the config hash of a static one.
    pub scope_uid: Box<str>,
    /// The pod's namespace.
    pub namespace: Box<str>,
    /// The pod's name.
    pub pod: Box<str>,
    /// The container's id; `None` for a process in the pod's own cgroup.
    pub container_id: Option<ContainerId>,
    /// The container's name; `None` until the API server tells it, and for pause containers.
    pub container: Option<Box<str>>,
}

impl From<pods::Place<'_>> for Place {
    fn from(place: pods::Place<'_>) -> Self {
        Self {
            scope_uid: place.pod.scope_uid.clone(),
            namespace: place.pod.namespace.clone(),
            pod: place.pod.name.clone(),
            container_id: place.container_id,
            container: place.container.map(|container| container.name.clone()),
        }
    }
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
            departed: Vec::new(),
            totals: Counts::default(),
            rate: 0.0,
            history: History::default(),
            ended: Ended::default(),
            remains: Vec::new(),
            losses: Losses::default(),
            slots_used: 0,
            program: ProgramRuns::default(),
        }
    }

    /// Says of each process where it runs or ran, as far as these pods tell. Processes of one container share the
    /// answer.
    pub fn locate(&mut self, pods: &Pods) {
        let mut places: HashMap<(PodUid, Option<ContainerId>), Arc<Place>> = HashMap::new();
        let key = |place: &pods::Place| (place.pod.uid, place.container_id);
        for process in self.processes.iter_mut().chain(&mut self.departed) {
            process.place = pods.resolve(&process.identity.candidates).map(|place| {
                let shared = places.entry(key(&place)).or_insert_with(|| Arc::new(place.into()));
                Arc::clone(shared)
            });
        }
        for remains in &mut self.remains {
            let place = pods.resolve(&remains.remains.candidates);
            remains.place = place.and_then(|place| match places.entry(key(&place)) {
                Entry::Occupied(shared) => Some(Arc::clone(shared.get())),
                Entry::Vacant(vacant) => place.is_live.then(|| Arc::clone(vacant.insert(Arc::new(place.into())))),
            });
        }
    }

    /// When this tick was; `None` before the first.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        self.ticks.last().copied()
    }
}

impl Process {
    fn new((key, series): (&ProcessKey, &Series)) -> Self {
        Self {
            key: *key,
            identity: Arc::clone(&series.identity),
            place: None,
            totals: series.totals,
            history: series.history.clone(),
        }
    }

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
    history: History,
}

impl Snapshots {
    /// None made yet.
    #[must_use]
    pub fn new(host: Arc<str>) -> Self {
        Self { host, sequence: 0, ticks: VecDeque::with_capacity(REPEATED_TICKS), history: History::default() }
    }

    /// The state after a tick at which rates advanced by `elapsed`.
    pub fn take(&mut self, rates: &Rates, reading: &Reading, elapsed: Duration, now: Timestamp) -> Snapshot {
        self.sequence += 1;
        if !elapsed.is_zero() {
            self.note_tick(now);
            self.history.push(rates.rate());
        }
        let remains = rates.remains().map(|remains| PlacedRemains { remains: remains.clone(), place: None });
        Snapshot {
            sequence: self.sequence,
            ticks: self.ticks.iter().copied().collect(),
            elapsed,
            host: Arc::clone(&self.host),
            processes: rates.live().map(Process::new).collect(),
            departed: rates.departed().map(Process::new).collect(),
            totals: rates.totals(),
            rate: rates.rate(),
            history: self.history.clone(),
            ended: rates.ended(),
            remains: remains.collect(),
            losses: Losses {
                failures: reading.failures,
                skipped_calls: reading.skipped_calls,
                resynced: reading.resynced,
                ..Losses::default()
            },
            slots_used: reading.processes.len(),
            program: reading.program,
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
    fn a_process_is_where_the_pods_say_at_each_tick() {
        use crate::cgroup::candidates;
        use crate::pods::{Container, ContainerKind, DELETED_KEPT, Pod};
        let (uid, id) = ("44c76ce5-f953-4bd3-bc89-12621681af49", "a".repeat(64));
        let mut pod = Pod {
            uid: PodUid::parse(uid).unwrap(),
            config_hash: None,
            scope_uid: uid.into(),
            namespace: "shop".into(),
            name: "web-1".into(),
            owner: None,
            containers: Vec::new(),
        };
        let mut inside = tests_support::process(1, &[1.0], 1);
        let identity = Arc::make_mut(&mut inside.identity);
        identity.candidates = candidates(&format!("0::/kubepods/pod{uid}/{id}")).into();
        let mut pods = Pods::default();
        let mut snapshot = tests_support::snapshot(vec![inside.clone(), inside, tests_support::process(2, &[1.0], 1)]);
        snapshot.locate(&pods);
        assert!(snapshot.processes.iter().all(|process| process.place.is_none()));
        pods.apply(pod.clone());
        snapshot.locate(&pods);
        let place = snapshot.processes[0].place.clone().unwrap();
        assert_eq!((&*place.pod, &*place.namespace, &*place.scope_uid), ("web-1", "shop", uid));
        assert_eq!((place.container_id.unwrap().to_string(), place.container.as_deref()), (id.clone(), None));
        assert!(Arc::ptr_eq(&place, snapshot.processes[1].place.as_ref().unwrap()));
        assert_eq!(snapshot.processes[2].place, None);
        let container = ContainerId::parse(&id).unwrap();
        pod.containers.push(Container { name: "server".into(), id: container, kind: ContainerKind::Regular });
        pods.apply(pod.clone());
        snapshot.locate(&pods);
        assert_eq!(snapshot.processes[0].place.as_ref().unwrap().container.as_deref(), Some("server"));
        let left = |n: u64| PlacedRemains {
            remains: Remains {
                candidates: candidates(&format!("0::/kubepods/pod{uid}/{n:064x}")).into(),
                totals: Counts::default(),
                rates: [0.0; REPEATED_TICKS],
                quiet_ticks: 0,
            },
            place: None,
        };
        let inside = PlacedRemains {
            remains: Remains {
                candidates: snapshot.processes[0].identity.candidates.to_vec().into(),
                ..left(0).remains
            },
            place: None,
        };
        snapshot.remains = vec![inside, left(1)];
        snapshot.locate(&pods);
        assert!(snapshot.remains.iter().all(|remains| remains.place.is_some()), "the pod is there");
        pods.delete(pod.uid, Duration::ZERO);
        snapshot.locate(&pods);
        assert!(snapshot.remains[0].place.is_some(), "a process lives there");
        assert_eq!(snapshot.remains[1].place, None);
        pods.sweep(DELETED_KEPT);
        snapshot.locate(&pods);
        assert_eq!(snapshot.processes[0].place, None);
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
            candidates: Box::default(),
        };
        Process {
            key: ProcessKey { start_ns: 1000, tgid: pid, reserved: 0 },
            identity: Arc::new(identity),
            place: None,
            totals: Counts { requests: [0, total, 0], unsynced: 0 },
            history,
        }
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
        Process { place: Some(Arc::new(place)), ..process }
    }

    /// The rates of all of them together.
    fn whole(processes: &[Process]) -> History {
        let mut history = History::default();
        for tick in (0..processes.iter().map(|process| process.history.len()).max().unwrap_or(0)).rev() {
            history.push(processes.iter().filter_map(|process| process.history.last(tick + 1).rev().nth(tick)).sum());
        }
        history
    }

    /// These processes on `node-1`, at the last of three ticks in September 2016.
    pub(crate) fn snapshot(processes: Vec<Process>) -> Snapshot {
        let tick = |second: i64| Timestamp::new(1_474_442_544 + second, 293_175_000).unwrap();
        Snapshot {
            sequence: 3,
            ticks: vec![tick(-2), tick(-1), tick(0)],
            elapsed: Duration::from_secs(1),
            rate: processes.iter().map(Process::rate).sum(),
            history: whole(&processes),
            totals: Counts { requests: [0, processes.iter().map(Process::requests).sum(), 0], unsynced: 0 },
            processes,
            ..Snapshot::empty("node-1".into())
        }
    }
}
