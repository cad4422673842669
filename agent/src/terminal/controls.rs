//! What a person changes with keys: grouping, order, filter, pause, place in the table. PURE.

use std::cmp::Ordering;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::counting::answered::Answered;
use crate::counting::overview::{Grouping, Row};

/// Longer filters match nothing anyway.
const MAX_FILTER_CHARS: usize = 100;
/// Rows that PgUp and PgDn pass.
const PAGE: usize = 10;

/// By which column rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Requests per second, the highest first.
    #[default]
    Rate,
    /// Requests since the agent began to count, the most first.
    Total,
    /// Errors per second, the most first.
    Errors,
    /// The median duration, the longest first.
    P50,
    /// The 99th percentile of durations, the longest first.
    P99,
    /// Name, as in a dictionary.
    Name,
}

impl Sort {
    /// All of them, in the order in which `s` goes through them.
    pub const ALL: [Self; 6] = [Self::Rate, Self::Total, Self::Errors, Self::P50, Self::P99, Self::Name];

    /// Its name in flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Total => "total",
            Self::Errors => "errors",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Name => "name",
        }
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let (rate, total) = (b.rate.total_cmp(&a.rate), b.total.cmp(&a.total));
        let name = || a.name.cmp(&b.name).then(a.pid.cmp(&b.pid));
        match self {
            Self::Rate => rate.then(total).then_with(name),
            Self::Total => total.then(rate).then_with(name),
            Self::Errors => descending(a, b, |answered| answered.error_rate).then(rate).then_with(name),
            Self::P50 => descending(a, b, |answered| answered.p50.unwrap_or_default()).then(rate).then_with(name),
            Self::P99 => descending(a, b, |answered| answered.p99.unwrap_or_default()).then(rate).then_with(name),
            Self::Name => name().then(rate),
        }
    }
}

/// Rows without responses come last.
fn descending(a: &Row, b: &Row, of: impl Fn(&Answered) -> f32) -> Ordering {
    let value = |row: &Row| row.answered.as_ref().map_or(-1.0, &of);
    value(b).total_cmp(&value(a))
}

/// What is shown, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Controls {
    /// For what there is a row each.
    pub by: Grouping,
    /// Which column sorts.
    pub sort: Sort,
    /// The other way round.
    pub reversed: bool,
    /// Only rows with this text.
    pub filter: String,
    /// Whether keys are letters of the filter.
    pub typing: bool,
    /// Whether ticks pass unseen.
    pub paused: bool,
    /// Rows above the first that is shown.
    pub offset: usize,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The end.
    Quit,
    /// Another picture.
    Redraw,
    /// Nothing.
    Ignored,
}

impl Controls {
    /// Takes a key that was pressed.
    pub fn press(&mut self, key: KeyEvent) -> Outcome {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Outcome::Quit;
        }
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return Outcome::Ignored;
        }
        if self.typing { self.type_filter(key.code) } else { self.command(key.code) }
    }

    fn type_filter(&mut self, code: KeyCode) -> Outcome {
        self.offset = 0;
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => (self.typing, self.filter) = (false, String::new()),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.filter.chars().count() < MAX_FILTER_CHARS => self.filter.push(letter),
            _ => return Outcome::Ignored,
        }
        Outcome::Redraw
    }

    fn command(&mut self, code: KeyCode) -> Outcome {
        match code {
            KeyCode::Char('q' | 'Q') => return Outcome::Quit,
            KeyCode::Tab => self.group(next(&Grouping::ALL, self.by)),
            KeyCode::Char('p') => self.group(Grouping::Process),
            KeyCode::Char('c') => self.group(Grouping::Container),
            KeyCode::Char('o') => self.group(Grouping::Pod),
            KeyCode::Char('s') => (self.sort, self.reversed) = (next(&Sort::ALL, self.sort), false),
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Up | KeyCode::Char('k') => self.offset = self.offset.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.offset = self.offset.saturating_add(1),
            KeyCode::PageUp => self.offset = self.offset.saturating_sub(PAGE),
            KeyCode::PageDown => self.offset = self.offset.saturating_add(PAGE),
            KeyCode::Home => self.offset = 0,
            KeyCode::End => self.offset = usize::MAX,
            _ => return Outcome::Ignored,
        }
        Outcome::Redraw
    }

    fn group(&mut self, by: Grouping) {
        (self.by, self.offset) = (by, 0);
    }

    /// The rows that pass the filter, in order.
    #[must_use]
    pub fn apply<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        let filter = self.filter.to_lowercase();
        let passes = |row: &&Row| {
            let texts = [&row.name, &row.namespace, &row.pod, &row.container];
            let has = texts.iter().any(|text| text.to_lowercase().contains(&filter));
            has || row.pid.is_some_and(|pid| pid.to_string() == filter)
        };
        let mut rows: Vec<_> = rows.iter().filter(|row| filter.is_empty() || passes(row)).collect();
        rows.sort_by(|a, b| {
            let order = self.sort.compare(a, b);
            if self.reversed { order.reverse() } else { order }
        });
        rows
    }
}

/// The one after this, and after the last the first.
fn next<T: Copy + PartialEq>(all: &[T], current: T) -> T {
    let place = all.iter().position(|one| *one == current).unwrap_or_default();
    all[(place + 1) % all.len()]
}

#[cfg(test)]
#[path = "controls_tests.rs"]
mod tests;
