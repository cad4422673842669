//! What the kernel edge hands over once a tick, and nothing else crosses. PURE.

use common::failure::Failure;
use common::maps::{Counts, ProcessKey};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

use crate::counting::living::Process;
use crate::counting::responses::Responses;
use crate::pods::cgroup::Candidate;

/// A process id in the agent's own PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pid(pub u32);

/// Cumulative counts of one process at one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessCounts {
    /// Who it is; PIDs return, this does not.
    pub key: ProcessKey,
    /// Its PID as the agent sees it; `None` for a process of a PID namespace the agent is not above.
    pub pid: Option<Pid>,
    /// Its name when it was first counted.
    pub command: Arc<str>,
    /// What its cgroups called its pod and container when it was first counted, the likeliest first.
    pub candidates: Arc<[Candidate]>,
    /// Sums over all CPUs since the process was first counted: monotonic.
    pub counts: Counts,
}

impl ProcessCounts {
    /// As the kernel had it when the process was last counted.
    #[must_use]
    pub fn of(process: &Process) -> Self {
        let identity = &*process.identity;
        Self {
            key: process.key,
            pid: identity.pid,
            command: identity.command.as_str().into(),
            candidates: Arc::clone(&identity.candidates),
            counts: process.totals,
        }
    }
}

/// What was read from the kernel at one tick. All values are cumulative and monotonic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// When it was read, on the monotonic clock that `rates` measures with (since boot).
    pub at: Duration,
    /// Processes whose counts may have changed since the reading before, in no particular order.
    pub processes: Vec<ProcessCounts>,
    /// What they answered; `None` where responses are not counted.
    pub responses: Option<Responses>,
    /// Slots of the kernel's table of processes that are in use.
    pub slots_used: usize,
    /// Processes whose slots were given to others while they lived.
    pub given_up: u64,
    /// Loss by cause, summed over all CPUs.
    pub failures: [u64; Failure::COUNT],
    /// Calls of the probe that the kernel skipped (`recursion_misses`).
    pub skipped_calls: u64,
    /// Connections that were unsynced and became certain again.
    pub resynced: u64,
    /// What the kernel measured of the probe itself.
    pub program: ProgramRuns,
}

/// Calls of the kernel program; both 0 unless the kernel measures them (`kernel.bpf_stats_enabled`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRuns {
    /// How many there were.
    pub calls: u64,
    /// Time spent in them, on all processors.
    pub time: Duration,
}

/// Requests of every version together.
#[must_use]
pub fn requests(counts: &Counts) -> u64 {
    counts.requests.iter().sum()
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Counts, more: &Counts) {
    for (sum, more) in sum.requests.iter_mut().zip(more.requests) {
        *sum += more;
    }
    sum.unsynced += more.unsynced;
    sum.tls_connections += more.tls_connections;
    sum.tls_sessions += more.tls_sessions;
}

/// What `counts` has more than `part`, which was part of it.
#[must_use]
pub fn less(counts: &Counts, part: &Counts) -> Counts {
    let mut rest = *counts;
    for (rest, part) in rest.requests.iter_mut().zip(part.requests) {
        *rest -= part;
    }
    rest.unsynced -= part.unsynced;
    rest.tls_connections -= part.tls_connections;
    rest.tls_sessions -= part.tls_sessions;
    rest
}

/// What `read` has more than `counts`: nothing where it has less, what has been counted never falls.
#[must_use]
pub fn more(read: &Counts, counts: &Counts) -> Counts {
    let mut more = *read;
    for (more, count) in more.requests.iter_mut().zip(counts.requests) {
        *more = more.saturating_sub(count);
    }
    more.unsynced = more.unsynced.saturating_sub(counts.unsynced);
    more.tls_connections = more.tls_connections.saturating_sub(counts.tls_connections);
    more.tls_sessions = more.tls_sessions.saturating_sub(counts.tls_sessions);
    more
}
