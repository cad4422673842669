//! One tick: what happens in which order. PURE but for the edges it is given.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use common::maps::ProcessKey;
use jiff::Timestamp;

use crate::counting::carried::Carried;
use crate::counting::counts::{ProcessCounts, Reading};
use crate::counting::plaintext::Plaintext;
use crate::counting::rates::{Looked, Rates};
use crate::counting::responses::Counted;
use crate::counting::snapshot::{Snapshot, Snapshots};
use crate::pods::index::Pods;

/// Time between two ticks. Scope asks as often.
pub const TICK: Duration = Duration::from_secs(1);

/// The kernel edge as a tick needs it.
pub trait Probe {
    /// What was counted since the last call, and the last word on processes that have `ended`; `at` is handed through.
    ///
    /// # Errors
    ///
    /// What the kernel said. Nothing is lost: counts are cumulative, and the next call gives what this one owed.
    fn read(&mut self, at: Duration, ended: &[ProcessKey]) -> io::Result<Reading>;

    /// Frees what the kernel keeps of processes that have ended and whose last counts were read.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()>;

    /// Living processes whose slots are needed for others: the next reading is the last word on them, as if they had
    /// ended. If one of them receives something later, it is counted anew.
    fn given_up(&mut self) -> Vec<ProcessKey>;

    /// How the probe reads, for people.
    fn description(&self) -> String;

    /// Whether responses are counted, and why not.
    fn responses(&self) -> Counted;

    /// What reads requests in TLS, or why that cannot be; `None` where nobody asked for it. The first time it is what was handed over,
    /// if anything was.
    fn plaintext(&mut self) -> Option<Result<Box<dyn Plaintext>, String>> {
        None
    }

    /// What must be the same for another agent to go on with it; `None` where none can.
    fn layout(&self) -> Option<String> {
        None
    }

    /// What another agent goes on with. Nothing may be read any more once it has.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn hand_over(&self) -> io::Result<Part> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What an agent hands over.
#[derive(Debug)]
pub struct Handed {
    /// Its probe.
    pub probe: Part,
    /// What reads requests in TLS, if the one that takes it reads them alike.
    pub tls: Option<Part>,
}

/// A part of it.
#[derive(Debug)]
pub struct Part {
    /// What the descriptors are, and what is not in the kernel: for the same layout to read.
    pub state: serde_json::Value,
    /// What is in the kernel, as descriptors.
    pub descriptors: Vec<OwnedFd>,
}

/// The /proc edge as a tick needs it.
pub trait Processes {
    /// Tracked processes that have ended since the last call. They are no longer tracked.
    fn ended(&mut self) -> Vec<ProcessKey>;

    /// Tracks these no more.
    fn forget(&mut self, given_up: &[ProcessKey]);

    /// Tracks a process from now on and says who it is, and whether it had ended by then.
    fn track(&mut self, process: &ProcessCounts) -> Looked;

    /// Processes so far of which something could not be read.
    fn unreadable(&self) -> u64;
}

/// The two clocks a tick looks at.
pub trait Clock {
    /// Monotonic time since boot, for rates.
    fn monotonic(&self) -> Duration;
    /// Wall time, for people and for Scope.
    fn wall(&self) -> Timestamp;
}

/// What a tick has read, before pods are looked for.
#[derive(Debug)]
pub struct Read {
    reading: Reading,
    elapsed: Duration,
    at: Timestamp,
}

/// Makes a snapshot of each tick: reads, looks for pods, and has the kernel free what it keeps of ended processes.
pub struct Sampler<K, P, C> {
    probe: K,
    processes: P,
    clock: C,
    rates: Rates,
    snapshots: Snapshots,
    /// Ended, but no reading since.
    ending: Vec<ProcessKey>,
    failed_reads: u64,
    /// What agents before this one noted of processes that could not be read.
    unreadable_before: u64,
    /// When the next reading is taken to be, if that is not when it is.
    next_at: Option<Duration>,
}

impl<K: Probe, P: Processes, C: Clock> Sampler<K, P, C> {
    /// For a probe that counts from now on.
    pub fn new(probe: K, processes: P, clock: C, host: Arc<str>) -> Self {
        let (rates, snapshots) = (Rates::new(clock.monotonic()), Snapshots::new(host));
        let (ending, failed_reads, unreadable_before) = (Vec::new(), 0, 0);
        Self { probe, processes, clock, rates, snapshots, ending, failed_reads, unreadable_before, next_at: None }
    }

    /// Its first tick comes at once. Of so short a time there is no rate: what it reads is part of the next one.
    #[must_use]
    pub fn read_at_once(self) -> Self {
        Self { next_at: Some(self.rates.measured_at()), ..self }
    }

    /// Goes on where another agent's ended, with the same probe.
    #[must_use]
    pub fn resumed(self, carried: Carried) -> Self {
        let Carried { rates, snapshots, ending, failed_reads, unreadable } = carried;
        let rates = Rates::resumed(rates);
        let mut processes = self.processes;
        for process in rates.live().iter() {
            // Who has ended meanwhile is among those that have ended at the next tick.
            processes.track(&ProcessCounts::of(process));
        }
        let snapshots = snapshots.at(self.snapshots);
        Self { rates, snapshots, processes, ending, failed_reads, unreadable_before: unreadable, ..self }
    }

    /// What another agent goes on with, and its probe.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn hand_over(&self) -> io::Result<(Carried, Part)> {
        let carried = Carried {
            rates: self.rates.carried(),
            snapshots: self.snapshots.clone(),
            ending: self.ending.clone(),
            failed_reads: self.failed_reads,
            unreadable: self.unreadable(),
        };
        Ok((carried, self.probe.hand_over()?))
    }

    /// As [`Probe::plaintext`].
    pub fn plaintext(&mut self) -> Option<Result<Box<dyn Plaintext>, String>> {
        self.probe.plaintext()
    }

    fn unreadable(&self) -> u64 {
        self.unreadable_before + self.processes.unreadable()
    }

    /// Looks who has ended, *then* reads, so that the reading is the last word on those.
    ///
    /// # Errors
    ///
    /// The counts could not be read. The next tick makes up for it.
    pub fn read(&mut self) -> io::Result<Read> {
        self.ending.extend(self.processes.ended());
        let given_up = self.probe.given_up();
        self.processes.forget(&given_up);
        self.ending.extend(given_up);
        let at = self.clock.wall();
        let now = self.next_at.take().unwrap_or_else(|| self.clock.monotonic());
        let read = self.probe.read(now, &self.ending);
        let reading = read.inspect_err(|_| self.failed_reads += 1)?;
        let elapsed = self.rates.advance(&reading, &self.ending, |process| self.processes.track(process));
        Ok(Read { reading, elapsed, at })
    }

    /// The state after a reading, among these pods.
    pub fn snapshot(&mut self, read: &Read, pods: &Pods) -> Snapshot {
        self.rates.locate(pods);
        let mut snapshot = self.snapshots.take(&self.rates, pods, &read.reading, (read.elapsed, read.at));
        snapshot.losses.unreadable_processes = self.unreadable();
        snapshot.losses.failed_reads = self.failed_reads;
        snapshot
    }

    /// Has the kernel free what it keeps of processes on which the last reading was the last word.
    ///
    /// # Errors
    ///
    /// What the kernel said. It is tried again after the next reading.
    pub fn release(&mut self) -> io::Result<()> {
        if !self.ending.is_empty() {
            self.probe.release(&self.ending)?;
            self.rates.forget(&self.ending);
            self.ending.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tick_tests.rs"]
mod tests;
