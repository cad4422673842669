//! Golden screens. PURE but for the golden files, which UPDATE_GOLDEN=1 rewrites.
use super::*;
use crate::counting::overview::{Facts, Grouping, Overview};
use crate::counting::snapshot::tests_support::{answered, answering, placed, process, snapshot, with_tls};
use crate::golden;
use crate::terminal::Controls;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::sync::Arc;

fn overview() -> Overview {
    let mut rates: Vec<f32> = (0..60).map(|tick| (tick % 20) as f32 * 10.0).collect();
    rates.push(123.4);
    let mut unsynced = process(7, &[0.0], 3);
    unsynced.totals.unsynced = 2;
    let web = answering(placed(process(42, &rates, 1_234_567), "web-1", Some('a')), &[(200, 1_234_000)], 2);
    let slow = answering(placed(process(43, &[0.0, 10.0, 41.1], 89), "web-1", Some('b')), &[(200, 80)], 10);
    let mut state = answered(snapshot(vec![web, answering(slow, &[(503, 8)], 19), unsynced, process(9, &[], 1)]));
    let responded = Arc::make_mut(state.responded.as_mut().unwrap());
    responded.durations.unknown += 300;
    state.losses.skipped_calls = 4;
    state.ended.processes = 1000;
    let facts = Facts {
        probe: "tp_btf/skb_copy_datagram_iovec".into(),
        responses: "counted at tp_btf/tcp_sendmsg_locked".into(),
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

/// Marked, and said what the mark means, whatever the width.
#[test]
fn what_receives_tls() {
    let long = placed(process(42, &[0.0], 0), "a-pod-of-a-very-long-name-that-has-to-be-cut-somewhere", Some('a'));
    let state = snapshot(vec![with_tls(long, 1234), with_tls(process(7, &[1.0], 1), 1), process(9, &[2.0], 2)]);
    let overview = Overview::new(&state, &Facts { probe: "hook".into(), ..Facts::default() });
    let mut screens = String::new();
    for (by, size) in [(Grouping::Process, (80, 14)), (Grouping::Pod, (60, 14)), (Grouping::Container, (40, 8))] {
        let controls = Controls { by, ..Controls::default() };
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal.draw(|frame| draw(frame, &View::new(&overview, &controls, Vec::new(), (size.1, false)))).unwrap();
        screens += &terminal.backend().to_string();
    }
    golden::check("screen-tls.txt", &screens);
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
        let process = process(pid, &[5.0; 61], 7);
        answering(placed(process, &format!("storefront-checkout-7d9c6b5f4d-{end}"), Some('a')), &[(200, 5)], 3)
    };
    let state = answered(snapshot(vec![replica(1, "abcde"), replica(2, "xyzzy")]));
    let overview = Overview::new(&state, &Facts::default());
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
