//! The probe, loaded once, and what it counts between two readings.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use agent::counting::counts::{Reading, requests};
use agent::counting::plaintext::Plaintext;
use agent::counting::responses::Counted;
use agent::counting::tick::Probe as _;
use agent::kernel::{Kernel, LoadError, ProbeConfig, ResponseChoice, TlsChoice};
use agent::settings::config::probe_of_variables;
use anyhow::bail;
use common::exchange::Untold;
use common::failure::Failure;
use common::maps::ProcessKey;

use crate::session::Lacking;

/// The loaded probe. No process is ever released, so that none can be forgotten.
pub struct Probe {
    kernel: Kernel,
    last: Reading,
    untold: [u64; Untold::COUNT],
}

/// What was counted for one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests of every version.
    pub requests: u64,
    /// Connections that had carried a request and became unsynced.
    pub unsynced: u64,
    /// Connections that began with a ClientHello.
    pub tls_connections: u64,
    /// TLS sessions in which requests were read.
    pub tls_sessions: u64,
    /// Responses by status.
    pub responses: BTreeMap<u32, u64>,
    /// Responses whose duration is not known.
    pub untimed: u64,
    /// Requests that went without a response.
    pub unanswered: u64,
    /// Requests whose response is not known.
    pub lost: u64,
}

impl Count {
    /// Responses of every status.
    pub fn answered(&self) -> u64 {
        self.responses.values().sum()
    }

    fn since(&self, earlier: &Self) -> Self {
        let before = |status: &u32| earlier.responses.get(status).copied().unwrap_or(0);
        Self {
            requests: self.requests - earlier.requests,
            unsynced: self.unsynced - earlier.unsynced,
            tls_connections: self.tls_connections - earlier.tls_connections,
            tls_sessions: self.tls_sessions - earlier.tls_sessions,
            responses: self.responses.iter().map(|(status, count)| (*status, count - before(status))).collect(),
            untimed: self.untimed - earlier.untimed,
            unanswered: self.unanswered - earlier.unanswered,
            lost: self.lost - earlier.lost,
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.unsynced += other.unsynced;
        self.tls_connections += other.tls_connections;
        self.tls_sessions += other.tls_sessions;
        for (status, count) in other.responses.iter().filter(|(_, count)| **count > 0) {
            *self.responses.entry(*status).or_default() += count;
        }
        self.untimed += other.untimed;
        self.unanswered += other.unanswered;
        self.lost += other.lost;
    }
}

/// Counts so far, by process and PID.
pub struct Counts(HashMap<(ProcessKey, u32), Count>);

impl Probe {
    /// Loads and attaches it.
    pub fn load() -> Result<Self, LoadError> {
        let config = probe_of_variables(|name| std::env::var(name).ok());
        let config = ProbeConfig { responses: ResponseChoice::Auto, tls: TlsChoice::ALL, ..config };
        Ok(Self { kernel: Kernel::load(config)?, last: Reading::default(), untold: [0; Untold::COUNT] })
    }

    /// What reads requests in TLS.
    ///
    /// # Errors
    ///
    /// [`Lacking`], where the kernel has nothing for that.
    pub fn plaintext(&mut self) -> anyhow::Result<Option<Box<dyn Plaintext>>> {
        match self.kernel.plaintext() {
            Some(Ok(plaintext)) => Ok(Some(plaintext)),
            Some(Err(cause)) => match self.kernel.uprobes() {
                Err(error @ LoadError::NoUprobes) => Err(Lacking(error).into()),
                _ => bail!(cause),
            },
            None => Ok(None),
        }
    }

    /// How responses are counted, or why not.
    pub fn responses(&self) -> Counted {
        self.kernel.responses()
    }

    /// Everything counted so far.
    pub fn read(&mut self) -> io::Result<Counts> {
        self.last = self.kernel.read_all(Duration::ZERO)?;
        let counts = self.last.processes.iter().filter_map(|process| {
            let common::maps::Counts { unsynced, tls_connections, tls_sessions, .. } = process.counts;
            let requests = requests(&process.counts);
            let count = Count { requests, unsynced, tls_connections, tls_sessions, ..Count::default() };
            Some(((process.key, process.pid?.0), count))
        });
        let mut counts: HashMap<(ProcessKey, u32), Count> = counts.collect();
        if let Some(responses) = self.kernel.read_responses()? {
            self.untold = responses.untold;
            for (process, count) in &mut counts {
                for series in responses.series.iter().filter(|series| series.process == process.0) {
                    *count.responses.entry(series.status).or_default() += series.count();
                    count.untimed += series.value.unknown;
                }
                for (_, outcome) in responses.outcomes.iter().filter(|(holder, _)| *holder == process.0) {
                    count.unanswered += outcome.unanswered;
                    count.lost += outcome.lost;
                }
            }
        }
        Ok(Counts(counts))
    }

    /// Calls that the kernel has skipped so far: it does where it preempts tasks inside the probe.
    pub fn skipped_calls(&self) -> u64 {
        self.last.skipped_calls
    }

    /// What the whole machine lost during the run. Other processes than the cases' may be among
    /// the causes, so this decides nothing.
    pub fn losses(&self) -> String {
        let causes = Failure::ALL.iter().map(|cause| (cause.name(), self.last.failures[*cause as usize]));
        let untold = Untold::ALL.iter().map(|cause| (cause.name(), self.untold[*cause as usize]));
        let untold = untold.map(|(name, count)| (format!("responses: {name}"), count));
        let losses: Vec<_> = [("skipped_calls", self.last.skipped_calls), ("resynced", self.last.resynced)]
            .into_iter()
            .chain(causes)
            .map(|(name, count)| (name.to_owned(), count))
            .chain(untold)
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
            let before = earlier.0.get(process).cloned().unwrap_or_default();
            counts.entry(process.1).or_default().add(&now.since(&before));
        }
        counts
    }
}
