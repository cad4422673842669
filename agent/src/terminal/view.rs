//! What the live table says, before anything is drawn. PURE.

use unicode_width::UnicodeWidthStr as _;

use super::controls::{Controls, Sort};
use crate::counting::history::LENGTH;
use crate::counting::overview::{Grouping, Overview, Row};
use crate::counting::quantile::BEYOND;

/// Behind the name of what receives TLS, whose requests are not counted.
pub(super) const TLS_MARK: &str = " *";

/// How many lines are shown below the table.
pub const NOTICES: usize = 3;
/// A screen with fewer lines shows what counts: no facts, and one notice.
const LOW: usize = 14;

/// Levels of a sparkline; the lowest is a rate of zero.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The table's content, top to bottom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) title: String,
    /// How it is counted and where Scope finds it; nothing on a low screen.
    pub(super) facts: Vec<String>,
    pub(super) certainty: String,
    /// What the mark means; empty where there is none.
    pub(super) tls: String,
    pub(super) is_exact: bool,
    pub(super) by: Grouping,
    /// Columns that the longest name takes, shown or not.
    pub(super) widest: usize,
    /// Titles of the first two columns.
    pub(super) titles: [&'static str; 2],
    pub(super) sort: Sort,
    /// Whether responses are counted.
    pub(super) answers: bool,
    pub(super) reversed: bool,
    pub(super) lines: Vec<Line>,
    pub(super) notices: Vec<String>,
    pub(super) foot: String,
    /// Rows above the first that is shown; no more than there are.
    pub(super) offset: usize,
    pub(super) colour: bool,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    /// Of what receives TLS, else empty.
    pub(super) mark: &'static str,
    /// A process's PID, or the number of processes.
    pub(super) number: String,
    pub(super) rate: String,
    pub(super) is_busy: bool,
    pub(super) minute: String,
    pub(super) total: String,
    pub(super) share: String,
    pub(super) unsynced: String,
    /// Errors a second.
    pub(super) errors: String,
    pub(super) fails: bool,
    pub(super) p50: String,
    pub(super) p99: String,
}

impl View {
    /// For a screen of so many lines: no more rows are made than it can show.
    pub(super) fn new(
        overview: &Overview,
        controls: &Controls,
        mut notices: Vec<String>,
        (height, colour): (u16, bool),
    ) -> Self {
        let height = usize::from(height);
        let is_low = height < LOW;
        notices.drain(..notices.len().saturating_sub(if is_low { 1 } else { NOTICES }));
        let facts = if is_low {
            Vec::new()
        } else {
            let responses = Some(&overview.responses).filter(|said| !said.is_empty());
            let responses = responses.map(|said| format!("responses {said}"));
            let ends = [format!("probe {}", overview.probe), format!("Scope {}", overview.socket)];
            let [probe, scope] = ends;
            [probe].into_iter().chain(responses).chain([scope]).collect()
        };
        let tls = if overview.tls.is_empty() { String::new() } else { format!("{} {}", TLS_MARK.trim(), overview.tls) };
        // Beside rows there are title, certainty, the table's header and the foot.
        let room = height.saturating_sub(4 + facts.len() + usize::from(!tls.is_empty()) + notices.len());
        let table = overview.table(controls.by);
        let rows = controls.apply(&table.rows);
        let offset = controls.offset.min(rows.len().saturating_sub(room));
        let shown = rows.iter().skip(offset).take(room);
        let lines: Vec<_> = shown.map(|row| Line::new(row, overview.rate)).collect();
        let hidden = rows.len() - lines.len() + if controls.filter.is_empty() { table.left_out } else { 0 };
        Self {
            title: title(overview, controls.paused),
            facts,
            is_exact: overview.exact,
            certainty: overview.certainty.clone(),
            tls,
            by: controls.by,
            widest: rows.iter().map(|row| row.name.width() + mark(row).width()).max().unwrap_or_default(),
            titles: match controls.by {
                Grouping::Process => ["PROCESS", "PID"],
                Grouping::Container => ["CONTAINER", "PROCS"],
                Grouping::Pod => ["POD", "PROCS"],
            },
            sort: controls.sort,
            answers: overview.answered.is_some(),
            reversed: controls.reversed,
            lines,
            notices,
            foot: foot(controls, hidden),
            offset,
            colour,
        }
    }
}

/// Whether its requests in TLS are missing.
pub(super) fn mark(row: &Row) -> &'static str {
    if row.tls_connections == 0 || row.tls_sessions > 0 { "" } else { TLS_MARK }
}

fn title(overview: &Overview, paused: bool) -> String {
    let ended = match overview.ended_processes {
        0 => String::new(),
        ended => format!(", {} ended", grouped(ended)),
    };
    format!(
        "{}HTTP requests on {}: {:.1}/s, {} total, {} processes{ended}",
        if paused { "PAUSED  " } else { "" },
        overview.host,
        overview.rate,
        grouped(overview.total),
        grouped(overview.processes as u64),
    )
}

/// What is not shown comes first: a narrow screen cuts the keys.
fn foot(controls: &Controls, hidden: usize) -> String {
    if controls.typing {
        return format!("filter: {}_   Enter keeps, Esc clears", controls.filter);
    }
    let filter = if controls.filter.is_empty() { String::new() } else { format!("filter: {}   ", controls.filter) };
    let more = if hidden == 0 { String::new() } else { format!("{hidden} more   ") };
    format!("{filter}{more}q quits  Tab groups  s sorts  r reverses  / filters  Space pauses")
}

impl Line {
    fn new(row: &Row, all: f32) -> Self {
        let answered = row.answered.as_ref();
        Self {
            errors: answered.map_or_else(|| "-".to_owned(), |answered| format!("{:.1}", answered.error_rate)),
            fails: answered.is_some_and(|answered| answered.error_rate > 0.0),
            p50: duration(answered.and_then(|answered| answered.p50)),
            p99: duration(answered.and_then(|answered| answered.p99)),
            name: row.name.clone(),
            mark: mark(row),
            number: match row.pid {
                Some(pid) => pid.to_string(),
                None if row.processes == 0 => "-".to_owned(),
                None => grouped(row.processes as u64),
            },
            rate: format!("{:.1}", row.rate),
            is_busy: row.rate > 0.0,
            minute: sparkline(&row.history),
            total: grouped(row.total),
            share: share(row.rate, all),
            unsynced: grouped(row.unsynced),
        }
    }
}

/// Three digits and a unit; beyond the last bucket's bound no more is known.
pub(super) fn duration(seconds: Option<f32>) -> String {
    let three = |number: f64, unit: &str| match number {
        ..9.995 => format!("{number:.2}{unit}"),
        ..99.95 => format!("{number:.1}{unit}"),
        _ => format!("{number:.0}{unit}"),
    };
    match seconds.map(f64::from) {
        None => "-".to_owned(),
        Some(BEYOND..) => format!(">{BEYOND:.0}s"),
        Some(seconds) if seconds < 0.9995 => three(seconds * 1e3, "ms"),
        Some(seconds) => three(seconds, "s"),
    }
}

/// Of all requests of this tick.
pub(super) fn share(rate: f32, all: f32) -> String {
    if rate > 0.0 && all > 0.0 { format!("{:.1}%", (rate / all * 100.0).min(100.0)) } else { "-".to_owned() }
}

/// A character per tick, scaled to the row's own highest rate; the newest is last.
fn sparkline(history: &[f32]) -> String {
    let newest = &history[history.len().saturating_sub(LENGTH)..];
    let highest = newest.iter().copied().fold(0.0, f32::max);
    let level = |rate: f32| match rate {
        rate if rate > 0.0 => (1 + (rate / highest * 6.99) as usize).min(LEVELS.len() - 1),
        _ => 0,
    };
    newest.iter().map(|rate| LEVELS[level(*rate)]).collect()
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
    use crate::counting::overview::Facts;
    use crate::counting::snapshot::tests_support::{process, snapshot};

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn sparklines_scale_to_the_highest_rate() {
        assert_eq!(sparkline(&[0.0, 0.1, 50.0, 100.0]), "▁▂▅█");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[f32::NAN, f32::INFINITY, -1.0]).chars().count(), 3);
        assert_eq!(sparkline(&[1.0; 1000]).chars().count(), LENGTH);
    }

    #[test]
    fn durations_have_three_digits() {
        for (seconds, text) in [
            (None, "-"),
            (Some(0.0), "0.00ms"),
            (Some(0.000_05), "0.05ms"),
            (Some(0.001_234), "1.23ms"),
            (Some(0.099_96), "100ms"),
            (Some(0.999_4), "999ms"),
            (Some(0.999_6), "1.00s"),
            (Some(9.99), "9.99s"),
            (Some(10.0), ">10s"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds:?}");
        }
    }

    #[test]
    fn shares() {
        for (rate, all, text) in
            [(0.0, 0.0, "-"), (0.0, 5.0, "-"), (1.0, 3.0, "33.3%"), (5.0, 5.0, "100.0%"), (6.0, 5.0, "100.0%")]
        {
            assert_eq!(share(rate, all), text);
        }
    }

    #[track_caller]
    fn check_rows(offset: usize, height: u16, expected: (usize, usize, &str)) {
        let state = snapshot((1..=10).map(|pid| process(pid, &[f64::from(pid) as f32], 1)).collect());
        let controls = Controls { offset, ..Controls::default() };
        let overview = Overview::new(&state, &Facts::default());
        let view = View::new(&overview, &controls, vec!["a".into(), "b".into()], (height, false));
        let first = view.lines.first().map(|line| line.number.as_str());
        assert_eq!((view.lines.len(), view.offset, first.unwrap_or_default()), expected);
    }

    #[test]
    fn no_more_rows_than_fit_and_no_scrolling_beyond_the_last() {
        check_rows(0, 9, (4, 0, "10"));
        check_rows(2, 9, (4, 2, "8"));
        check_rows(usize::MAX, 9, (4, 6, "4"));
        check_rows(5, 100, (10, 0, "10"));
        check_rows(5, 0, (0, 5, ""));
    }
}
