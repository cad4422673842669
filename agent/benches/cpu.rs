//! What /proc says a process used.

use std::fs;
use std::io;
use std::time::Duration;

/// `USER_HZ` is 100 on every architecture Linux has today.
const TICK: Duration = Duration::from_millis(10);
/// `utime`, counted from the field after the command's closing parenthesis (proc(5)); `stime` follows.
const USER_TIME: usize = 14 - 3;

/// Processor time of all threads that live: to the nanosecond where the kernel has `schedstat`,
/// else in the ticks of `stat`.
pub(crate) fn time(pid: u32) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { return time_in_ticks(pid) };
        sum += Duration::from_nanos(number(text.split(' ').next())?);
    }
    Ok(sum)
}

fn time_in_ticks(pid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut fields = fields.split(' ').skip(USER_TIME);
    let ticks = number(fields.next())? + number(fields.next())?;
    Ok(TICK * ticks as u32)
}

/// Resident memory in MiB.
pub(crate) fn resident(pid: u32) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = number(value.and_then(|value| value.split_ascii_whitespace().next()))?;
    Ok(kib as f64 / 1024.0)
}

/// The processes whose parent this is.
pub(crate) fn children(parent: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        if fields.split(' ').nth(1).is_some_and(|field| field.parse() == Ok(parent)) {
            children.push(pid);
        }
    }
    Ok(children)
}

fn number(field: Option<&str>) -> io::Result<u64> {
    field.and_then(|field| field.trim().parse().ok()).ok_or_else(|| io::Error::other("a file in /proc lacks a number"))
}
