//! The probe, loaded once, and what it counts between two readings.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use agent::counting::counts::{Reading, requests};
use agent::kernel::{Kernel, LoadError};
use agent::settings::config::probe_of_variables;
use common::failure::Failure;
use common::maps::ProcessKey;

/// The loaded probe. No process is ever released, so that none can be forgotten.
pub struct Probe {
    kernel: Kernel,
    last: Reading,
}

/// What was counted for one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests of every version.
    pub requests: u64,
    /// Connections that had carried a request and became unsynced.
    pub unsynced: u64,
}

/// Counts so far, by process and PID.
pub struct Counts(HashMap<(ProcessKey, u32), Count>);

impl Probe {
    /// Loads and attaches it.
    pub fn load() -> Result<Self, LoadError> {
        Ok(Self {
            kernel: Kernel::load(probe_of_variables(|name| std::env::var(name).ok()))?,
            last: Reading::default(),
        })
    }

    /// Everything counted so far.
    pub fn read(&mut self) -> io::Result<Counts> {
        self.last = self.kernel.read_all(Duration::ZERO)?;
        let counts = self.last.processes.iter().filter_map(|process| {
            let count = Count { requests: requests(&process.counts), unsynced: process.counts.unsynced };
            Some(((process.key, process.pid?.0), count))
        });
        Ok(Counts(counts.collect()))
    }

    /// Calls that the kernel has skipped so far: it does where it preempts tasks inside the probe.
    pub fn skipped_calls(&self) -> u64 {
        self.last.skipped_calls
    }

    /// What the whole machine lost during the run. Other processes than the cases' may be among
    /// the causes, so this decides nothing.
    pub fn losses(&self) -> String {
        let causes = Failure::ALL.iter().map(|cause| (cause.name(), self.last.failures[*cause as usize]));
        let losses: Vec<_> = [("skipped_calls", self.last.skipped_calls), ("resynced", self.last.resynced)]
            .into_iter()
            .chain(causes)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let losses = if losses.is_empty() { "none".to_owned() } else { losses.join(", ") };
        format!("losses on the whole machine meanwhile: {losses}")
    }
}

impl Counts {
    /// What was counted since an earlier reading, by PID.
    pub fn since(&self, earlier: &Self) -> HashMap<u32, Count> {
        let mut counts: HashMap<u32, Count> = HashMap::new();
        for (process, now) in &self.0 {
            let before = earlier.0.get(process).copied().unwrap_or_default();
            let count = counts.entry(process.1).or_default();
            count.requests += now.requests - before.requests;
            count.unsynced += now.unsynced - before.unsynced;
        }
        counts
    }
}
