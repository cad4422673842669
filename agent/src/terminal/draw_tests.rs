//! Golden screens. PURE but for the golden files, which UPDATE_GOLDEN=1 rewrites.
use super::*;
use crate::counting::overview::{Facts, Grouping, Overview};
use crate::counting::snapshot::tests_support::{placed, process, snapshot};
use crate::golden;
use crate::terminal::Controls;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn overview() -> Overview {
    let mut rates: Vec<f32> = (0..60).map(|tick| (tick % 20) as f32 * 10.0).collect();
    rates.push(123.4);
    let mut unsynced = process(7, &[0.0], 3);
    unsynced.totals.unsynced = 2;
    let mut state = snapshot(vec![
        placed(process(42, &rates, 1_234_567), "web-1", Some('a')),
        placed(process(43, &[0.0, 10.0, 41.1], 89), "web-1", Some('b')),
        unsynced,
        process(9, &[], 1),
    ]);
    state.losses.skipped_calls = 4;
    state.ended.processes = 1000;
    let facts = Facts {
        probe: "tp_btf/skb_copy_datagram_iovec".into(),
        socket: "/var/run/scope/plugins/http-requests/http-requests.sock".into(),
        ..Facts::default()
    };
    Overview::new(&state, &facts)
}

fn screen((width, height): (u16, u16), controls: &Controls, colour: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let notices = vec!["INFO counting".to_owned()];
    terminal.draw(|frame| draw(frame, &View::new(&overview(), controls, notices, (height, colour)))).unwrap();
    terminal
}

#[track_caller]
fn check(name: &str, size: (u16, u16), controls: &Controls) {
    golden::check(name, &screen(size, controls, true).backend().to_string());
}

#[test]
fn wide() {
    check("screen-wide.txt", (160, 16), &Controls::default());
}

#[test]
fn usual() {
    check("screen-80x24.txt", (80, 24), &Controls::default());
}

#[test]
fn narrow_and_low() {
    check("screen-narrow.txt", (60, 8), &Controls::default());
    check("screen-very-narrow.txt", (40, 10), &Controls::default());
}

#[test]
fn by_container_and_pod() {
    let controls = Controls { by: Grouping::Container, sort: Sort::Name, ..Controls::default() };
    check("screen-containers.txt", (100, 14), &controls);
    let controls = Controls { by: Grouping::Pod, sort: Sort::Total, reversed: true, ..Controls::default() };
    check("screen-pods.txt", (100, 14), &controls);
}

/// Two replicas of one deployment, as Kubernetes calls them, at the widths that terminals have.
#[test]
fn replicas_look_different_at_every_width() {
    let replica = |pid, end: &str| {
        placed(process(pid, &[5.0; 61], 7), &format!("storefront-checkout-7d9c6b5f4d-{end}"), Some('a'))
    };
    let overview = Overview::new(&snapshot(vec![replica(1, "abcde"), replica(2, "xyzzy")]), &Facts::default());
    let screen = |by, width| {
        let controls = Controls { by, ..Controls::default() };
        let mut terminal = Terminal::new(TestBackend::new(width, 10)).unwrap();
        terminal.draw(|frame| draw(frame, &View::new(&overview, &controls, vec![], (10, false)))).unwrap();
        terminal.backend().to_string()
    };
    for (by, width) in [Grouping::Pod, Grouping::Container].into_iter().flat_map(|by| (80..=160).map(move |w| (by, w)))
    {
        let screen = screen(by, width);
        assert!(screen.contains("abcde") && screen.contains("xyzzy"), "{width}: {screen}");
        assert!(width < 120 || screen.contains("shop/storefront-checkout-7d9c6b5f4d-abcde"), "{screen}");
    }
    golden::check("screen-replicas-80.txt", &screen(Grouping::Container, 80));
    golden::check("screen-replicas-120.txt", &screen(Grouping::Pod, 120));
}

#[test]
fn filtered_and_paused() {
    let typing = Controls { filter: "web".into(), typing: true, ..Controls::default() };
    check("screen-typing.txt", (80, 14), &typing);
    let kept = Controls { paused: true, offset: 9, typing: false, ..typing };
    check("screen-paused.txt", (80, 8), &kept);
}

#[test]
fn the_smallest_screens_do_not_panic() {
    for size in [(1, 1), (2, 3), (10, 5), (300, 2)] {
        screen(size, &Controls::default(), true);
    }
}

#[test]
fn no_colour_means_none() {
    let colourful = |terminal: &Terminal<TestBackend>| {
        terminal.backend().buffer().content.iter().any(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset))
    };
    assert!(colourful(&screen((100, 12), &Controls::default(), true)));
    assert!(!colourful(&screen((100, 12), &Controls::default(), false)));
}
