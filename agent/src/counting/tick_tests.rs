//! The order of a tick, with edges that are literals. PURE.
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;
use crate::counting::counts::{Pid, requests};
use crate::counting::identity::Identity;
use common::maps::Counts;

fn key(tgid: u32) -> ProcessKey {
    ProcessKey { start_ns: 1, tgid, reserved: 0 }
}

fn process(tgid: u32, requests: u64) -> ProcessCounts {
    ProcessCounts {
        key: key(tgid),
        pid: Some(Pid(tgid)),
        command: "server".into(),
        candidates: Arc::default(),
        counts: Counts { requests: [0, requests, 0], ..Counts::default() },
    }
}

type Journal = Rc<RefCell<Vec<String>>>;

struct ScriptedProbe(VecDeque<io::Result<Vec<ProcessCounts>>>, Journal, Rc<Cell<bool>>);

impl Probe for ScriptedProbe {
    fn read(&mut self, at: Duration, ended: &[ProcessKey]) -> io::Result<Reading> {
        let tgids: Vec<_> = ended.iter().map(|key| key.tgid).collect();
        self.1.borrow_mut().push(format!("read, ended {tgids:?}"));
        let processes = self.0.pop_front().unwrap()?;
        Ok(Reading { at, processes, ..Reading::default() })
    }
    fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        let tgids: Vec<_> = ended.iter().map(|key| key.tgid).collect();
        self.1.borrow_mut().push(format!("release {tgids:?}"));
        if self.2.get() { Err(io::Error::other("busy")) } else { Ok(()) }
    }
    fn given_up(&mut self) -> Vec<ProcessKey> {
        Vec::new()
    }
    fn description(&self) -> String {
        "scripted".into()
    }
    fn responses(&self) -> Counted {
        Counted::Off
    }
}

struct ScriptedProcesses(VecDeque<Vec<u32>>, Journal);

impl Processes for ScriptedProcesses {
    fn ended(&mut self) -> Vec<ProcessKey> {
        self.1.borrow_mut().push("ended".into());
        self.0.pop_front().unwrap_or_default().into_iter().map(key).collect()
    }
    fn forget(&mut self, _given_up: &[ProcessKey]) {}
    fn track(&mut self, process: &ProcessCounts) -> Looked {
        self.1.borrow_mut().push(format!("track {}", process.key.tgid));
        Identity::from_counts(process).into()
    }
    fn unreadable(&self) -> u64 {
        5
    }
}

struct ScriptedClock(Cell<i64>);

impl Clock for ScriptedClock {
    fn monotonic(&self) -> Duration {
        self.0.set(self.0.get() + 1);
        Duration::from_secs(self.0.get() as u64)
    }
    fn wall(&self) -> Timestamp {
        Timestamp::from_second(1_000_000 + self.0.get()).unwrap()
    }
}

struct Script {
    journal: Journal,
    release_fails: Rc<Cell<bool>>,
    sampler: Sampler<ScriptedProbe, ScriptedProcesses, ScriptedClock>,
}

fn script(readings: Vec<io::Result<Vec<ProcessCounts>>>, ended: Vec<Vec<u32>>) -> Script {
    let (journal, release_fails) = (Journal::default(), Rc::new(Cell::new(false)));
    let probe = ScriptedProbe(readings.into(), journal.clone(), release_fails.clone());
    let processes = ScriptedProcesses(ended.into(), journal.clone());
    let sampler = Sampler::new(probe, processes, ScriptedClock(Cell::new(0)), "host".into());
    Script { journal, release_fails, sampler }
}

impl Script {
    /// All of a tick, and whether the release failed.
    fn tick(&mut self) -> io::Result<(Snapshot, io::Result<()>)> {
        let read = self.sampler.read()?;
        let snapshot = self.sampler.snapshot(&read, &Pods::default());
        Ok((snapshot, self.sampler.release()))
    }
}

#[test]
fn ended_then_read_then_track_then_release() {
    let mut script =
        script(vec![Ok(vec![process(1, 3)]), Ok(vec![process(1, 5), process(2, 1)])], vec![vec![], vec![1]]);
    script.tick().unwrap().1.unwrap();
    let (snapshot, _) = script.tick().unwrap();
    assert_eq!(
        *script.journal.borrow(),
        ["ended", "read, ended []", "track 1", "ended", "read, ended [1]", "track 2", "release [1]"]
    );
    assert_eq!((snapshot.sequence, requests(&snapshot.totals)), (2, 6));
    assert_eq!((snapshot.processes.len(), snapshot.ended.processes), (1, 1));
    assert_eq!(snapshot.losses.unreadable_processes, 5);
}

#[test]
fn what_is_read_at_once_is_part_of_the_next_rate() {
    let mut script = script(vec![Ok(vec![process(1, 3)]), Ok(vec![process(1, 5)])], vec![]);
    script.sampler = script.sampler.read_at_once();
    let (first, _) = script.tick().unwrap();
    assert_eq!((first.elapsed, requests(&first.totals), first.processes.len()), (Duration::ZERO, 3, 1));
    let (second, _) = script.tick().unwrap();
    assert_eq!((second.elapsed, requests(&second.totals)), (Duration::from_secs(1), 5));
    assert!((second.rate - 5.0).abs() < 0.01, "{}", second.rate);
}

#[test]
fn a_failed_read_keeps_who_has_ended_for_the_next_one() {
    let readings = vec![Ok(vec![process(1, 3)]), Err(io::Error::other("interrupted")), Ok(vec![process(1, 4)])];
    let mut script = script(readings, vec![vec![], vec![1]]);
    script.tick().unwrap().1.unwrap();
    script.tick().unwrap_err();
    let (snapshot, _) = script.tick().unwrap();
    assert_eq!(script.journal.borrow().last().unwrap(), "release [1]");
    assert_eq!((requests(&snapshot.totals), snapshot.losses.failed_reads, snapshot.sequence), (4, 1, 2));
    assert_eq!(snapshot.elapsed, Duration::from_secs(2));
}

#[test]
fn a_failed_release_is_tried_again_and_loses_no_snapshot() {
    let mut script = script(vec![Ok(vec![process(1, 3)]), Ok(vec![process(1, 3)])], vec![vec![1]]);
    script.release_fails.set(true);
    let (snapshot, release) = script.tick().unwrap();
    assert_eq!((requests(&snapshot.totals), release.is_err()), (3, true));
    script.release_fails.set(false);
    // The kernel still names it.
    let (snapshot, release) = script.tick().unwrap();
    assert_eq!((requests(&snapshot.totals), snapshot.ended.processes, release.is_ok()), (3, 1, true));
    assert_eq!(script.journal.borrow().last().unwrap(), "release [1]");
}
