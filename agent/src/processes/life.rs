//! Whether a process still lives: /proc and signal 0. EDGE.
//!
//! What cannot be found out is no answer: a slot of the kernel's table that is given back too early belongs to the next
//! process, and what the old one receives from then on is lost without a word.

use std::fs::{self, File};
use std::io::{self, Read as _};

use common::maps::ProcessKey;
use rustix::io::Errno;
use rustix::process::test_kill_process;

use crate::counting::counts::Pid;
use crate::counting::identity::{boottime_shift_ns, start_ticks, ticks};

/// A line of /proc/PID/stat is shorter: 16 bytes of command and 51 numbers.
pub(super) const STAT_BYTES: usize = 2048;

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The process with this PID is the one that is meant.
    Alive,
    /// No process has this PID, or another one has it.
    Ended,
    /// /proc does not tell: no descriptor or no memory left, or it hides others' processes.
    NotKnown,
}

/// What the start times in /proc have more than the kernel's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shift(i64);

impl Shift {
    #[cfg(test)]
    pub(super) fn of_ns(shift_ns: i64) -> Self {
        Self(shift_ns)
    }

    /// That of the time namespace in which the agent is (time_namespaces(7)); none where the kernel has none.
    pub(super) fn of_this_namespace() -> Self {
        Self(
            fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| boottime_shift_ns(&text)).unwrap_or(0),
        )
    }
}

pub(super) fn life(pid: Pid, key: &ProcessKey, shift: Shift) -> Life {
    if !exists(pid) {
        return Life::Ended;
    }
    match read(pid, "stat", STAT_BYTES).ok().and_then(|stat| start_ticks(&stat)) {
        Some(started) if started == ticks(key.start_ns, shift.0) => Life::Alive,
        Some(_) => Life::Ended,
        // One that ended meanwhile does not exist at the next look.
        None => Life::NotKnown,
    }
}

/// Whether any process has this PID. Takes no descriptor; what may not be signalled exists.
fn exists(pid: Pid) -> bool {
    rustix_pid(pid).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

pub(super) fn rustix_pid(pid: Pid) -> Option<rustix::process::Pid> {
    i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw)
}

/// The begin of a file of the process.
pub(super) fn read(pid: Pid, name: &str, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(format!("/proc/{}/{name}", pid.0))?.take(limit as u64).read_to_end(&mut content)?;
    Ok(content)
}
