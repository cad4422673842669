//! What the live table says, before anything is drawn. PURE.

use crate::counts::requests;
use crate::history::LENGTH;
use crate::process::Identity;
use crate::snapshot::{Process, Snapshot};
use crate::summary::{busiest, joined, losses};

/// How many log lines are shown below the table.
pub(super) const NOTICES: usize = 3;

/// Levels of a sparkline; the lowest is a rate of zero.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What does not change while the table is shown.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How the probe reads.
    pub probe: String,
    /// Where Scope finds the plugin.
    pub socket: String,
    /// Whether colours may be used.
    pub colour: bool,
}

/// The table's content, top to bottom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) title: String,
    /// How it is counted and where Scope finds it.
    pub(super) facts: [String; 2],
    pub(super) losses: String,
    pub(super) is_exact: bool,
    pub(super) rows: Vec<Row>,
    /// Processes for which there was no room.
    pub(super) hidden: usize,
    pub(super) notices: Vec<String>,
    pub(super) colour: bool,
}

/// One process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) process: String,
    pub(super) pid: String,
    pub(super) rate: String,
    pub(super) is_busy: bool,
    pub(super) minute: String,
    pub(super) total: String,
    pub(super) unsynced: String,
}

impl View {
    /// For a screen of so many lines: no more rows are made than it can show.
    pub(super) fn new(snapshot: &Snapshot, facts: &Facts, notices: Vec<String>, height: u16) -> Self {
        let rows: Vec<_> = busiest(snapshot, usize::from(height)).into_iter().map(Row::new).collect();
        Self {
            title: title(snapshot),
            facts: [format!("probe {}", facts.probe), format!("Scope {}", facts.socket)],
            is_exact: snapshot.losses.sum() == 0,
            losses: certainty(snapshot),
            hidden: snapshot.processes.len() - rows.len(),
            rows,
            notices,
            colour: facts.colour,
        }
    }
}

/// Whether the numbers can be relied on.
fn certainty(snapshot: &Snapshot) -> String {
    let resynced = snapshot.losses.resynced;
    match (losses(&snapshot.losses), joined(&snapshot.losses)) {
        (lost, _) if !lost.is_empty() => format!("not certain: {lost}; certain again {resynced}"),
        (_, 0) => "exact: nothing was lost".to_owned(),
        (_, joined) => format!("exact, but for connections open before the probe: {joined}; certain again {resynced}"),
    }
}

fn title(snapshot: &Snapshot) -> String {
    let ended = match snapshot.ended.processes {
        0 => String::new(),
        ended => format!(", {} ended", grouped(ended)),
    };
    format!(
        "HTTP requests on {}: {:.1}/s, {} total, {} processes{ended}",
        snapshot.host,
        snapshot.rate,
        grouped(requests(&snapshot.totals)),
        grouped(snapshot.processes.len() as u64),
    )
}

impl Row {
    fn new(process: &Process) -> Self {
        let identity = &process.identity;
        Self {
            process: name(identity).to_owned(),
            pid: identity.pid.map_or_else(|| "-".to_owned(), |pid| pid.0.to_string()),
            rate: format!("{:.1}", process.rate()),
            is_busy: process.rate() > 0.0,
            minute: sparkline(process),
            total: grouped(process.requests()),
            unsynced: grouped(process.totals.unsynced),
        }
    }
}

/// The command line without the folder of its program, which only takes room; else the command.
fn name(identity: &Identity) -> &str {
    let line = identity.command_line.as_str();
    let program = line.split(' ').next().unwrap_or_default();
    let folder = program.rfind('/').map_or(0, |slash| slash + 1);
    if line.is_empty() { &identity.command } else { &line[folder..] }
}

/// A character per tick, scaled to the process's own highest rate; the newest is last.
fn sparkline(process: &Process) -> String {
    let highest = process.history.highest();
    let level = |rate: f32| match rate {
        rate if rate > 0.0 => (1 + (rate / highest * 6.99) as usize).min(LEVELS.len() - 1),
        _ => 0,
    };
    process.history.last(LENGTH).map(|rate| LEVELS[level(rate)]).collect()
}

/// Thousands set apart by a blank.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests_support::{process, snapshot};
    use common::failure::Failure;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn sparklines_scale_to_the_highest_rate() {
        assert_eq!(sparkline(&process(1, &[0.0, 0.1, 50.0, 100.0], 1)), "▁▂▅█");
        assert_eq!(sparkline(&process(1, &[0.0, 0.0], 1)), "▁▁");
        assert_eq!(sparkline(&process(1, &[], 1)), "");
    }

    #[track_caller]
    fn check_name(command_line: &str, expected: &str) {
        let command_line = command_line.to_owned();
        let identity = Identity { pid: None, command: "comm".into(), command_line, cgroup_id: 0 };
        assert_eq!(name(&identity), expected);
    }

    #[test]
    fn names() {
        check_name("", "comm");
        check_name("/usr/bin/python3 -m http.server", "python3 -m http.server");
        check_name("nginx: worker process", "nginx: worker process");
        check_name("node /srv/app.js", "node /srv/app.js");
        check_name("./a/b", "b");
    }

    #[test]
    fn no_more_rows_than_fit() {
        let facts = Facts { probe: String::new(), socket: String::new(), colour: false };
        let state = snapshot((1..=10).map(|pid| process(pid, &[1.0], 1)).collect());
        let view = View::new(&state, &facts, Vec::new(), 4);
        assert_eq!((view.rows.len(), view.hidden), (4, 6));
    }

    #[test]
    fn what_is_not_certain_is_said() {
        let mut state = snapshot(vec![]);
        let facts = Facts { probe: String::new(), socket: String::new(), colour: false };
        let said = |state: &Snapshot| View::new(state, &facts, Vec::new(), 4).losses;
        assert_eq!(said(&state), "exact: nothing was lost");
        state.losses.failures[Failure::Joined as usize] = 2;
        assert_eq!(said(&state), "exact, but for connections open before the probe: 2; certain again 0");
        state.losses.skipped_calls = 1;
        assert_eq!(said(&state), "not certain: skipped_calls 1; certain again 0");
    }
}
