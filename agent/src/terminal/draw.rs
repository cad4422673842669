//! Draws the live table. PURE: cells of a buffer, no terminal.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row, Table};

use super::view::{self, View};
use crate::history::LENGTH;

/// From this width on there is room for a sparkline.
const WIDE: u16 = 72;
/// Everything but the sparkline and the process's name.
const NUMBERS_WIDTH: u16 = 8 + 11 + 15 + 9 + 5;
/// The process's name gets at least this.
const NAME_WIDTH: u16 = 24;

/// Draws the view over the whole frame.
pub(super) fn draw(frame: &mut Frame, view: &View) {
    let notices = view.notices.len() as u16;
    let [head, table, foot] =
        Layout::vertical([Constraint::Length(4), Constraint::Min(1), Constraint::Length(notices + 1)])
            .areas(frame.area());
    draw_head(frame, head, view);
    draw_table(frame, table, view);
    draw_foot(frame, foot, view, usize::from(table.height.saturating_sub(1)));
}

fn draw_head(frame: &mut Frame, area: Rect, view: &View) {
    let certainty = if view.is_exact { Style::new().add_modifier(Modifier::DIM) } else { warning(view) };
    let faint = Style::new().add_modifier(Modifier::DIM);
    let lines = [
        Line::styled(view.title.as_str(), Style::new().add_modifier(Modifier::BOLD)),
        Line::styled(view.facts[0].as_str(), faint),
        Line::styled(view.facts[1].as_str(), faint),
        Line::styled(view.losses.as_str(), certainty),
    ];
    frame.render_widget(Text::from_iter(lines), area);
}

fn draw_table(frame: &mut Frame, area: Rect, view: &View) {
    let is_wide = area.width >= WIDE;
    let spare = area.width.saturating_sub(NUMBERS_WIDTH + NAME_WIDTH);
    let minute = if is_wide { spare.min(LENGTH as u16) } else { 0 };
    let mut widths = vec![Constraint::Min(8), Constraint::Length(8), Constraint::Length(11)];
    let mut titles = vec![Cell::new("PROCESS"), right("PID"), right("REQ/S")];
    if is_wide {
        widths.push(Constraint::Length(minute));
        titles.push(Cell::new("LAST MINUTE"));
    }
    widths.extend([Constraint::Length(15), Constraint::Length(9)]);
    titles.extend([right("TOTAL"), right("UNSYNCED")]);
    let rows = view.rows.iter().map(|row| draw_row(row, view, is_wide.then_some(usize::from(minute))));
    let header = Row::new(titles).style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(1), area);
}

fn draw_row<'a>(row: &'a view::Row, view: &View, minute: Option<usize>) -> Row<'a> {
    let busy = if row.is_busy { accent(view) } else { Style::new().add_modifier(Modifier::DIM) };
    let mut cells = vec![Cell::new(row.process.as_str()), right(&row.pid), right(&row.rate).style(busy)];
    if let Some(width) = minute {
        // The newest is at the right edge.
        let skipped = row.minute.chars().count().saturating_sub(width);
        let newest: String = row.minute.chars().skip(skipped).collect();
        cells.push(Cell::new(Text::from(newest).alignment(Alignment::Right)).style(accent(view)));
    }
    let unsynced = if row.unsynced == "0" { Style::new() } else { warning(view) };
    cells.extend([right(&row.total), right(&row.unsynced).style(unsynced)]);
    Row::new(cells)
}

fn draw_foot(frame: &mut Frame, area: Rect, view: &View, room: usize) {
    let hidden = view.hidden + view.rows.len().saturating_sub(room);
    let more = if hidden == 0 { String::new() } else { format!("   {hidden} more processes") };
    let keys = Line::styled(format!("q quits{more}"), Style::new().add_modifier(Modifier::DIM));
    let notices = view.notices.iter().map(|notice| Line::raw(notice.as_str()));
    frame.render_widget(Text::from_iter(notices.chain([keys])), area);
}

fn right(text: &str) -> Cell<'_> {
    Cell::new(Text::from(text).alignment(Alignment::Right))
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
