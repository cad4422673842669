//! From the names of cgroups, as the probe noted them, to the pods and containers that they may stand for. PURE.

use std::sync::Arc;

use common::maps::Process;

use crate::pods::cgroup::{Candidate, candidates};

/// What the cgroups of a process call its pod and container.
pub fn of_process(process: &Process) -> Arc<[Candidate]> {
    let noted = process.cgroups.get(..process.cgroup_bytes as usize).unwrap_or(&process.cgroups);
    candidates(&text(noted)).into()
}

/// As /proc/PID/cgroup has it, a line for each hierarchy; their numbers say nothing to whoever reads it.
fn text(noted: &[u8]) -> String {
    let mut text = String::from("0::");
    // Behind the last NUL there is what found no room.
    let ends = noted.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(end, _)| end);
    let mut begin = 0;
    for end in ends {
        match &noted[begin..end] {
            [] => text.push_str("\n0::"),
            name => {
                text.push('/');
                text.push_str(&String::from_utf8_lossy(name));
            }
        }
        begin = end + 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(noted: &str, expected: &str) {
        assert_eq!(text(noted.as_bytes()), expected, "{noted:?}");
    }

    #[test]
    fn a_line_for_each_hierarchy() {
        check("", "0::");
        check("\0", "0::\n0::");
        check("a\0b c\0\0", "0::/a/b c\n0::");
        check("a\0b\0\0c\0\0", "0::/a/b\n0::/c\n0::");
        check("\0c\0\0", "0::\n0::/c\n0::");
    }

    #[test]
    fn a_name_that_was_cut_is_left_out() {
        check("a\0podcut", "0::/a");
        check("cut", "0::");
    }

    #[test]
    fn more_than_there_is_room_for_is_not_read() {
        let process = Process { cgroup_bytes: u32::MAX, ..super::super::counters::tests::process() };
        assert_eq!(of_process(&process).len(), 0);
    }
}
