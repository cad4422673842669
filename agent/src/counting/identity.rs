//! A process as people know it, and what the lines of /proc say about it. PURE.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::counting::counts::{Pid, ProcessCounts};
use crate::pods::cgroup::Candidate;
use crate::printable::printable;

/// Of a command line no more than this is kept.
pub const COMMAND_LINE_BYTES: usize = 4096;

/// Nanoseconds in a tick of /proc's clock: `USER_HZ` is 100 on every architecture Linux has today.
const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / 100;

/// The field `starttime`, counted from the one after the command's closing parenthesis (proc(5)).
const START_TIME_AFTER_COMMAND: usize = 22 - 3;

/// Who a process is, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its PID in the agent's PID namespace; `None` where it has none there.
    pub pid: Option<Pid>,
    /// Its name when it was first counted.
    pub command: String,
    /// Its arguments joined by blanks; empty where it was gone or could not be read.
    pub command_line: String,
    /// What its cgroups called its pod and container, the likeliest first. Which of them exists is asked anew
    /// whenever the pods have changed.
    pub candidates: Arc<[Candidate]>,
}

impl Identity {
    /// What the kernel knows: all there is for a process that ended before it was looked at.
    #[must_use]
    pub fn from_counts(process: &ProcessCounts) -> Self {
        Self {
            pid: process.pid,
            command: printable(&process.command),
            command_line: String::new(),
            candidates: Arc::clone(&process.candidates),
        }
    }
}

/// The start time in `/proc/PID/stat`, in clock ticks since boot.
///
/// The command may hold blanks and parentheses, so fields are counted from the last one on.
#[must_use]
pub fn start_ticks(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[end + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(START_TIME_AFTER_COMMAND)?.parse().ok()
}

/// The kernel's start time in the ticks that /proc shows, to whom the time since boot is `shift_ns` more.
#[must_use]
pub fn ticks(start_ns: u64, shift_ns: i64) -> u64 {
    start_ns.wrapping_add_signed(shift_ns) / NANOSECONDS_PER_TICK
}

/// By how much the time since boot is shifted, of `/proc/self/timens_offsets` (time_namespaces(7)): a line for each
/// clock, with its name, seconds and nanoseconds.
#[must_use]
pub fn boottime_shift_ns(offsets: &str) -> Option<i64> {
    const CLOCK_BOOTTIME: &str = "7";
    let mut clocks = offsets.lines().map(|line| line.split_ascii_whitespace());
    let mut of_boottime = clocks.find_map(|mut words| {
        let name = words.next()?;
        matches!(name, "boottime" | CLOCK_BOOTTIME).then_some(words)
    })?;
    let mut number = || of_boottime.next()?.parse::<i64>().ok();
    let (seconds, nanoseconds) = (number()?, number()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// The command line in `/proc/PID/cmdline`, whose arguments end with NUL.
#[must_use]
pub fn command_line(arguments: &[u8]) -> String {
    let bounded = &arguments[..arguments.len().min(COMMAND_LINE_BYTES)];
    let text = String::from_utf8_lossy(bounded).replace('\0', " ");
    printable(text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_start(stat: &str, expected: Option<u64>) {
        assert_eq!(start_ticks(stat.as_bytes()), expected, "{stat}");
    }

    #[test]
    fn start_time_is_found_behind_any_command() {
        let rest = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 170 1";
        check_start(&format!("7 (nginx) {rest}"), Some(12345));
        check_start(&format!("7 (a b) {rest}"), Some(12345));
        check_start(&format!("7 (a) S 1 (b) {rest}"), Some(12345));
        check_start(&format!("7 ()) {rest}\n"), Some(12345));
        check_start("7 (nginx) S 1 7", None);
        check_start("7 nginx S", None);
        check_start("", None);
    }

    #[test]
    fn start_time_of_a_command_that_is_not_utf8() {
        let stat = b"7 (\xff\xfe) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 170";
        assert_eq!(start_ticks(stat), Some(99));
    }

    #[test]
    fn ticks_are_whole_and_rounded_down_as_the_kernel_does() {
        assert_eq!(ticks(123_450_000_000, 0), 12345);
        assert_eq!(ticks(123_459_999_999, 0), 12345);
        assert_eq!(ticks(123_460_000_000, 0), 12346);
        assert_eq!(ticks(123_459_999_999, 1), 12346);
        assert_eq!(ticks(123_460_000_000, -1), 12345);
        // Before the begin of time the kernel's number wraps, too.
        assert_eq!(ticks(5, -6), u64::MAX / 10_000_000);
    }

    #[test]
    fn the_shift_of_a_time_namespace() {
        let of = boottime_shift_ns;
        assert_eq!(of("monotonic           0         0\nboottime       100000         5\n"), Some(100_000_000_000_005));
        assert_eq!(of("monotonic          -3         0\nboottime           -2 500000000\n"), Some(-1_500_000_000));
        for text in ["", "monotonic 1 1\n", "boottime 1\n", "boottime x 1\n", "boottime 9223372036854775807 0\n"] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }

    #[track_caller]
    fn check_line(arguments: &[u8], expected: &str) {
        assert_eq!(command_line(arguments), expected);
    }

    #[test]
    fn command_lines() {
        check_line(b"python3\0-m\0http.server\0", "python3 -m http.server");
        check_line(b"nginx: worker process\0\0\0\0", "nginx: worker process");
        check_line(b"", "");
        check_line(b"evil\x1b[2J\0", "evil\u{fffd}[2J");
        check_line(b"\xff\0", "\u{fffd}");
        assert_eq!(command_line(&[b'a'; 2 * COMMAND_LINE_BYTES]).len(), COMMAND_LINE_BYTES);
    }
}
