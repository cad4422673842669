//! What the kernel notes of a program while it runs. EDGE.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::programs::Program;

/// Run statistics of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStatistics {
    /// Calls the kernel skipped because the program was already running on that CPU. Where a second one takes
    /// over: at most so many were skipped by both.
    pub skipped_calls: u64,
    /// Calls, counted only while `kernel.bpf_stats_enabled` is 1.
    pub runs: u64,
    /// Nanoseconds spent in them, likewise.
    pub run_time_ns: u64,
    /// Instructions that the verifier looked at.
    pub verified_instructions: u32,
}

pub struct ErrorKindMissing;

impl From<ErrorKindMissing> for io::Error {
    fn from(_: ErrorKindMissing) -> Self {
        Self::other("the probe's program is missing from its object")
    }
}

/// Of a program that aya has loaded.
pub fn program_statistics(program: &Program) -> io::Result<ProgramStatistics> {
    statistics_of(program.fd().map_err(io::Error::other)?.as_fd())
}

/// `recursion_misses` is shown in the program's fdinfo only.
pub fn statistics_of(program: BorrowedFd<'_>) -> io::Result<ProgramStatistics> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
    let mut statistics = ProgramStatistics::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim().parse().unwrap_or(0);
        match name {
            "recursion_misses" => statistics.skipped_calls = value,
            "run_cnt" => statistics.runs = value,
            "run_time_ns" => statistics.run_time_ns = value,
            "verified_insns" => statistics.verified_instructions = value as u32,
            _ => {}
        }
    }
    Ok(statistics)
}
