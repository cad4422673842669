//! How much a report says: everything, or what its reader does not have yet, and of how many nodes. PURE.
//!
//! Scope reads a report a byte at a time within half a second, so each byte counts where there are thousands of
//! processes. It keeps what it has read for 15 s.

use crate::counting::history::REPEATED_TICKS;

use super::processes::MAX_REPORTED_PROCESSES;

/// A reader that asks at each tick is told the total, the pod and the container of about so many processes in each
/// report. Of more they take turns.
pub const DETAILED: usize = 1000;

/// How much of a snapshot a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Of each node's rates the newest so many.
    pub ticks: usize,
    /// How many reports came before this one: total, pod and container are in it of the processes whose turn it is, or of
    /// all.
    pub turn: Option<u64>,
    /// The most nodes of each topology: the busiest.
    pub nodes: usize,
}

impl Extent {
    /// Everything.
    pub const WHOLE: Self = Self { ticks: REPEATED_TICKS, turn: None, nodes: MAX_REPORTED_PROCESSES };

    /// What a reader needs that got as many reports before this one, the last of them so many ticks ago.
    #[must_use]
    pub fn after(reports: u64, ticks: u64) -> Self {
        match usize::try_from(ticks) {
            Ok(ticks) if ticks < REPEATED_TICKS => Self { ticks: ticks.max(1), turn: Some(reports), ..Self::WHOLE },
            _ => Self::WHOLE,
        }
    }

    /// Whether total, pod and container of this process, one of so many, are in it.
    #[must_use]
    pub fn details(self, pid: u32, processes: usize) -> bool {
        self.is_turn(pid, turns(processes))
    }

    /// Whether what it answered is: where processes take turns, half as often.
    #[must_use]
    pub fn answers(self, pid: u32, processes: usize) -> bool {
        let turns = turns(processes);
        self.is_turn(pid, if turns > 1 { 2 * turns } else { 1 })
    }

    fn is_turn(self, pid: u32, turns: u64) -> bool {
        // Processes that are forked in the same way have PIDs at the same distance; their hashes have none.
        let hash = u64::from(pid.wrapping_mul(0x9e37_79b9) >> 16);
        self.turn.is_none_or(|turn| hash % turns == turn % turns)
    }
}

fn turns(processes: usize) -> u64 {
    processes.div_ceil(DETAILED).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_the_ticks_that_it_does_not_have() {
        let ticks = |ago| Extent::after(1, ago).ticks;
        assert_eq!([ticks(0), ticks(1), ticks(2), ticks(3), ticks(u64::MAX)], [1, 1, 2, 3, 3]);
        assert_eq!(Extent::after(9, 3), Extent::WHOLE, "it asks seldom: its turns would come too late");
    }

    #[test]
    fn in_as_many_reports_as_there_are_turns_each_process_is_told_of_once() {
        for processes in [0, 1, DETAILED, DETAILED + 1, MAX_REPORTED_PROCESSES] {
            let turns = processes.div_ceil(DETAILED).max(1) as u64;
            for pid in 1..50 {
                let told = (7..7 + turns).filter(|report| Extent::after(*report, 1).details(pid, processes));
                assert_eq!(told.count(), 1, "{pid} of {processes}");
                assert!(Extent::WHOLE.details(pid, processes));
            }
        }
    }

    #[test]
    fn what_it_answered_comes_with_every_second_of_its_turns() {
        for (processes, reports) in [(1, 1), (DETAILED, 1), (DETAILED + 1, 4), (MAX_REPORTED_PROCESSES, 10)] {
            for pid in 1..50 {
                let extent = |report: u64| Extent::after(report, 1);
                let told: Vec<_> = (7..7 + reports).filter(|report| extent(*report).answers(pid, processes)).collect();
                assert!(told.len() == 1 && extent(told[0]).details(pid, processes), "{pid} of {processes}: {told:?}");
            }
        }
    }

    #[test]
    fn turns_are_about_as_large_whatever_the_distance_of_pids() {
        for distance in [1, 2, 3, 4, 5, 10, 64] {
            let pids = (1..=MAX_REPORTED_PROCESSES as u32).map(|n| n * distance);
            let told = pids.filter(|pid| Extent::after(1, 1).details(*pid, MAX_REPORTED_PROCESSES)).count();
            assert!((800..1200).contains(&told), "{told} at a distance of {distance}");
        }
    }
}
