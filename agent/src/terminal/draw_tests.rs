//! Golden screens. PURE but for the golden files, which UPDATE_GOLDEN=1 rewrites.
use super::*;
use crate::golden;
use crate::snapshot::tests_support::{process, snapshot};
use crate::terminal::Facts;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn screen(width: u16, height: u16, colour: bool) -> Terminal<TestBackend> {
    let mut rates: Vec<f32> = (0..60).map(|tick| (tick % 20) as f32 * 10.0).collect();
    rates.push(123.4);
    let mut state = snapshot(vec![process(42, &rates, 1_234_567), process(7, &[0.0], 3), process(9, &[], 1)]);
    state.processes[1].totals.unsynced = 2;
    state.losses.skipped_calls = 4;
    state.ended.processes = 1000;
    let facts = Facts {
        probe: "tp_btf/skb_copy_datagram_iovec".into(),
        socket: "/var/run/scope/plugins/http-requests/http-requests.sock".into(),
        colour,
    };
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let notices = vec!["INFO counting".to_owned()];
    terminal.draw(|frame| draw(frame, &View::new(&state, &facts, notices, height))).unwrap();
    terminal
}

#[test]
fn wide() {
    golden::check("screen-wide.txt", &screen(160, 12, true).backend().to_string());
}

#[test]
fn usual() {
    golden::check("screen-80x24.txt", &screen(80, 24, true).backend().to_string());
}

#[test]
fn narrow_and_low() {
    golden::check("screen-narrow.txt", &screen(60, 8, true).backend().to_string());
}

#[test]
fn the_smallest_screens_do_not_panic() {
    for (width, height) in [(1, 1), (2, 3), (10, 5), (300, 2)] {
        screen(width, height, true);
    }
}

#[test]
fn no_colour_means_none() {
    let colourful = |terminal: &Terminal<TestBackend>| {
        terminal.backend().buffer().content.iter().any(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset))
    };
    assert!(colourful(&screen(100, 12, true)));
    assert!(!colourful(&screen(100, 12, false)));
}
