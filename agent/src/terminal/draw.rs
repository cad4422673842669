//! Draws the live table. PURE: cells of a buffer, no terminal.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row, Table};

use super::controls::Sort;
use super::shorten::{shortened, shortened_command, shortened_container};
use super::view::{self, View};
use crate::counting::history::LENGTH;
use crate::counting::overview::Grouping;

/// From this width on there is room for the PID and the share.
const MIDDLE: u16 = 56;
/// From this width on there may be room for a sparkline.
const WIDE: u16 = 76;
/// From these widths on there is room for errors, for the 99th percentile, and for the median: what went wrong comes first.
const ERRORS_FROM: u16 = 66;
const P99_FROM: u16 = 76;
const P50_FROM: u16 = 90;
/// From this width on there is room for everything.
const FULL: u16 = 110;
const FULL_WITH_ANSWERS: u16 = 126;
/// The name gets at least this before there is a sparkline.
const NAME_WIDTH: u16 = 20;
/// A sparkline that would be narrower than its title is left out.
const MINUTE_WIDTH: u16 = 11;

const NUMBER_WIDTH: u16 = 8;
const RATE_WIDTH: u16 = 10;
const TOTAL_WIDTH: u16 = 14;
const SHARE_WIDTH: u16 = 6;
const UNSYNCED_WIDTH: u16 = 8;
const ERRORS_WIDTH: u16 = 7;
const DURATION_WIDTH: u16 = 7;

/// Draws the view over the whole frame.
pub(super) fn draw(frame: &mut Frame, view: &View) {
    let head = (view.facts.len() + usize::from(!view.tls.is_empty())) as u16 + 2;
    let foot = view.notices.len() as u16 + 1;
    let [head, table, foot] =
        Layout::vertical([Constraint::Length(head), Constraint::Min(1), Constraint::Length(foot)]).areas(frame.area());
    draw_head(frame, head, view);
    draw_table(frame, table, view);
    draw_foot(frame, foot, view);
}

fn draw_head(frame: &mut Frame, area: Rect, view: &View) {
    let certainty = if view.is_exact { faint() } else { warning(view) };
    let title = Line::styled(view.title.as_str(), Style::new().add_modifier(Modifier::BOLD));
    let facts = view.facts.iter().map(|fact| Line::styled(fact.as_str(), faint()));
    let certainty = Line::styled(view.certainty.as_str(), certainty);
    let tls = (!view.tls.is_empty()).then(|| Line::styled(view.tls.as_str(), warning(view)));
    frame.render_widget(Text::from_iter([title].into_iter().chain(facts).chain([certainty]).chain(tls)), area);
}

/// A column of the table.
struct Column {
    width: u16,
    title: Cell<'static>,
    cell: fn(&view::Line, &View, u16) -> Cell<'static>,
}

/// The columns for which this width has room. Names come first: a sparkline gets what the longest leaves.
fn columns(width: u16, view: &View) -> Vec<Column> {
    let column = |width: u16, title: &str, cell| Column { width, title: right(title), cell };
    let [name, number] = view.titles;
    let mark = |title: &str, column: Sort| match (view.sort == column, view.reversed) {
        (false, _) => title.to_owned(),
        (true, false) => format!("{title}▼"),
        (true, true) => format!("{title}▲"),
    };
    let mut columns = vec![
        column(RATE_WIDTH, &mark("REQ/S", Sort::Rate), rate_cell),
        column(TOTAL_WIDTH, &mark("TOTAL", Sort::Total), |line, _, _| right(&line.total)),
    ];
    if width >= MIDDLE {
        columns.insert(0, column(NUMBER_WIDTH, number, |line, _, _| right(&line.number)));
        columns.push(column(SHARE_WIDTH, "SHARE", |line, _, _| right(&line.share)));
    }
    if view.answers {
        let answers = [
            (ERRORS_FROM, column(ERRORS_WIDTH, &mark("ERR/S", Sort::Errors), errors_cell)),
            (P50_FROM, column(DURATION_WIDTH, &mark("P50", Sort::P50), |line, _, _| right(&line.p50))),
            (P99_FROM, column(DURATION_WIDTH, &mark("P99", Sort::P99), |line, _, _| right(&line.p99))),
        ];
        columns.extend(answers.into_iter().filter(|(from, _)| width >= *from).map(|(_, column)| column));
    }
    if width >= if view.answers { FULL_WITH_ANSWERS } else { FULL } {
        columns.push(column(UNSYNCED_WIDTH, "UNSYNCED", unsynced_cell));
    }
    let others: u16 = columns.iter().map(|column| column.width + 1).sum();
    let mut room = width.saturating_sub(others);
    let longest = u16::try_from(view.widest).unwrap_or(u16::MAX).max(NAME_WIDTH);
    let minute = room.saturating_sub(longest.saturating_add(1)).min(LENGTH as u16);
    if width >= WIDE && minute >= MINUTE_WIDTH {
        room -= minute + 1;
        // Behind the rate.
        columns.insert(2, Column { width: minute, title: Cell::new("LAST MINUTE"), cell: minute_cell });
    }
    columns.insert(0, Column { width: room, title: Cell::new(mark(name, Sort::Name)), cell: name_cell });
    columns
}

fn draw_table(frame: &mut Frame, area: Rect, view: &View) {
    let columns = columns(area.width, view);
    let widths: Vec<_> = columns.iter().map(|column| Constraint::Length(column.width)).collect();
    let row = |line| Row::new(columns.iter().map(|column| (column.cell)(line, view, column.width)));
    let rows: Vec<_> = view.lines.iter().map(row).collect();
    let header = Row::new(columns.iter().map(|column| column.title.clone()));
    let header = header.style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(1), area);
}

fn name_cell(line: &view::Line, view: &View, width: u16) -> Cell<'static> {
    let width = usize::from(width).saturating_sub(line.mark.len());
    let name = match view.by {
        Grouping::Container => shortened_container(&line.name, width),
        Grouping::Process => shortened_command(&line.name, width),
        Grouping::Pod => shortened(&line.name, width),
    };
    Cell::new(name + line.mark)
}

fn rate_cell(line: &view::Line, view: &View, _: u16) -> Cell<'static> {
    right(&line.rate).style(if line.is_busy { accent(view) } else { faint() })
}

/// The newest is at the right edge.
fn minute_cell(line: &view::Line, view: &View, width: u16) -> Cell<'static> {
    let skipped = line.minute.chars().count().saturating_sub(usize::from(width));
    right(&line.minute.chars().skip(skipped).collect::<String>()).style(accent(view))
}

fn unsynced_cell(line: &view::Line, view: &View, _: u16) -> Cell<'static> {
    right(&line.unsynced).style(if line.unsynced == "0" { Style::new() } else { warning(view) })
}

fn errors_cell(line: &view::Line, view: &View, _: u16) -> Cell<'static> {
    right(&line.errors).style(if line.fails { warning(view) } else { Style::new() })
}

fn draw_foot(frame: &mut Frame, area: Rect, view: &View) {
    let notices = view.notices.iter().map(|notice| Line::raw(notice.as_str()));
    let keys = Line::styled(view.foot.as_str(), faint());
    frame.render_widget(Text::from_iter(notices.chain([keys])), area);
}

fn right(text: &str) -> Cell<'static> {
    Cell::new(Text::from(text.to_owned()).alignment(Alignment::Right))
}

fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn accent(view: &View) -> Style {
    if view.colour { Style::new().fg(Color::Green) } else { Style::new() }
}

fn warning(view: &View) -> Style {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    if view.colour { bold.fg(Color::Yellow) } else { bold }
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
