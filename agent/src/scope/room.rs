//! How many nodes a report for Scope may have: fewer after Scope hung up on one, more again while it does not. PURE.
//!
//! Scope gives up half a second after it asked and shows nothing of a report that it did not get to the end of. So on a
//! node without time for all of them the busiest are worth more than none.

use std::time::Duration;

use super::report::MAX_REPORTED_PROCESSES;

/// Fewer nodes would not be quicker.
const LEAST: usize = 100;
/// Who leaves sooner did not give up: Go's client closes a connection if the last bytes of an answer in gzip are not
/// asked for. Twice in a row is no such accident.
const GIVES_UP_AFTER: Duration = Duration::from_millis(250);
/// After so many reports that Scope took there are a quarter more nodes in the next.
const CALM_REPORTS: u32 = 30;

/// What an event means for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// From now on reports are short.
    Short,
    /// They are whole again.
    Whole,
    /// Nothing to say.
    Nothing,
}

/// The room for nodes in a topology.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    nodes: usize,
    /// Reports taken since it last changed.
    calm: u32,
    /// Whether the last report was left, for whatever reason.
    doubtful: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { nodes: MAX_REPORTED_PROCESSES, calm: 0, doubtful: false }
    }
}

impl Room {
    /// The most nodes of each topology.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Scope left before it had the whole of a report of so many nodes, so long after it had asked.
    pub fn abandoned(&mut self, nodes: usize, after: Duration) -> Change {
        let gave_up = after >= GIVES_UP_AFTER || self.doubtful;
        self.doubtful = true;
        if !gave_up {
            return Change::Nothing;
        }
        let was_whole = self.nodes == MAX_REPORTED_PROCESSES;
        self.nodes = (nodes.min(self.nodes) / 2).max(LEAST);
        self.calm = 0;
        if was_whole { Change::Short } else { Change::Nothing }
    }

    /// Scope took the whole of a report.
    pub fn taken(&mut self) -> Change {
        self.doubtful = false;
        if self.nodes == MAX_REPORTED_PROCESSES {
            return Change::Nothing;
        }
        self.calm += 1;
        if self.calm < CALM_REPORTS {
            return Change::Nothing;
        }
        self.calm = 0;
        self.nodes = (self.nodes + self.nodes / 4).min(MAX_REPORTED_PROCESSES);
        if self.nodes == MAX_REPORTED_PROCESSES { Change::Whole } else { Change::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(490);
    const SOON: Duration = Duration::from_millis(20);

    #[test]
    fn each_time_scope_gives_up_there_are_half_as_many() {
        let mut room = Room::default();
        assert_eq!((room.abandoned(4000, LATE), room.nodes()), (Change::Short, 2000));
        assert_eq!((room.abandoned(2000, LATE), room.nodes()), (Change::Nothing, 1000));
        for _ in 0..20 {
            room.abandoned(1000, LATE);
        }
        assert_eq!(room.nodes(), LEAST);
        // Another reader may still have had a longer one.
        assert_eq!((room.abandoned(4000, LATE), room.nodes()), (Change::Nothing, LEAST));
    }

    #[test]
    fn one_that_left_soon_may_have_had_all_that_it_wanted() {
        let mut room = Room::default();
        assert_eq!(room.abandoned(4000, SOON), Change::Nothing);
        room.taken();
        assert_eq!(room.abandoned(4000, SOON), Change::Nothing);
        assert_eq!(room.nodes(), MAX_REPORTED_PROCESSES);
        assert_eq!((room.abandoned(4000, SOON), room.nodes()), (Change::Short, 2000));
    }

    #[test]
    fn while_scope_takes_reports_they_grow_until_they_are_whole() {
        let mut room = Room::default();
        room.abandoned(5000, LATE);
        let taken = |room: &mut Room| (0..CALM_REPORTS).map(|_| room.taken()).last();
        assert_eq!((taken(&mut room), room.nodes()), (Some(Change::Nothing), 3125));
        room.taken();
        assert_eq!((room.abandoned(3125, LATE), room.nodes()), (Change::Nothing, 1562));
        let whole = (0..100).position(|_| taken(&mut room) == Some(Change::Whole));
        assert_eq!((whole, room.nodes()), (Some(5), MAX_REPORTED_PROCESSES));
        assert_eq!(room.taken(), Change::Nothing);
    }
}
