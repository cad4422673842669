//! Rows for keys and for the order of rows. PURE.
use super::*;

fn press(controls: &mut Controls, codes: &[KeyCode]) -> Vec<Outcome> {
    codes.iter().map(|code| controls.press(KeyEvent::new(*code, KeyModifiers::NONE))).collect()
}

fn letters(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

#[track_caller]
fn check(keys: &[KeyCode], expected: &Controls) {
    let mut controls = Controls::default();
    press(&mut controls, keys);
    assert_eq!(&controls, expected);
}

#[test]
fn keys() {
    let begin = Controls::default;
    check(&[KeyCode::Tab], &Controls { by: Grouping::Container, ..begin() });
    check(&[KeyCode::Tab, KeyCode::Tab], &Controls { by: Grouping::Pod, ..begin() });
    check(&[KeyCode::Tab, KeyCode::Tab, KeyCode::Tab], &begin());
    check(&letters("o"), &Controls { by: Grouping::Pod, ..begin() });
    check(&letters("cp"), &begin());
    check(&letters("s"), &Controls { sort: Sort::Total, ..begin() });
    check(&letters("sr"), &Controls { sort: Sort::Total, reversed: true, ..begin() });
    check(&letters("rs"), &Controls { sort: Sort::Total, ..begin() });
    check(&letters(" "), &Controls { paused: true, ..begin() });
    check(&letters("  "), &begin());
    check(&[KeyCode::Down, KeyCode::Down, KeyCode::Up], &Controls { offset: 1, ..begin() });
    check(&[KeyCode::PageDown, KeyCode::Tab], &Controls { by: Grouping::Container, ..begin() });
    check(&[KeyCode::End, KeyCode::Down], &Controls { offset: usize::MAX, ..begin() });
    check(&[KeyCode::End, KeyCode::Home, KeyCode::Up], &begin());
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let typed = [letters("/sqx"), vec![KeyCode::Backspace]].concat();
    check(&typed, &Controls { typing: true, filter: "sq".into(), ..Controls::default() });
    let kept = [typed.clone(), vec![KeyCode::Enter]].concat();
    check(&kept, &Controls { filter: "sq".into(), ..Controls::default() });
    check(&[typed, vec![KeyCode::Esc]].concat(), &Controls::default());
    check(&[kept, vec![KeyCode::Esc]].concat(), &Controls::default());
    check(&[letters("/"), vec![KeyCode::Backspace, KeyCode::Enter]].concat(), &Controls::default());
    let mut controls = Controls::default();
    press(&mut controls, &letters(&format!("/{}", "x".repeat(1000))));
    assert_eq!(controls.filter.len(), MAX_FILTER_CHARS);
}

#[test]
fn what_quits() {
    let mut controls = Controls::default();
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(press(&mut controls, &letters("q")), [Outcome::Quit]);
    assert_eq!(controls.press(interrupt), Outcome::Quit);
    assert_eq!(press(&mut controls, &letters("/q")), [Outcome::Redraw, Outcome::Redraw]);
    assert_eq!(controls.press(interrupt), Outcome::Quit);
    assert_eq!(press(&mut Controls::default(), &[KeyCode::Enter, KeyCode::F(1)]), [Outcome::Ignored; 2]);
}

fn row(name: &str, pid: u32, rate: f32, total: u64) -> Row {
    Row { name: name.into(), pid: Some(pid), rate, total, pod: format!("pod-{pid}"), ..Row::default() }
}

#[test]
fn rows_are_sorted_by_what_they_answered() {
    let of = |pid, error_rate, p50, p99| {
        let answered = Answered { error_rate, p50, p99, ..Answered::default() };
        Row { answered: Some(answered), ..row("nginx", pid, pid as f32, 1) }
    };
    let rows = [
        row("idle", 1, 9.0, 1),
        of(2, 0.0, Some(0.1), Some(0.2)),
        of(3, 5.0, Some(0.001), Some(3.0)),
        of(4, 0.0, None, None),
    ];
    for (sort, expected) in [(Sort::Errors, [3, 4, 2, 1]), (Sort::P50, [2, 3, 4, 1]), (Sort::P99, [3, 2, 4, 1])] {
        let controls = Controls { sort, ..Controls::default() };
        assert_eq!(controls.apply(&rows).iter().filter_map(|row| row.pid).collect::<Vec<_>>(), expected, "{sort:?}");
    }
}

#[track_caller]
fn check_order(controls: Controls, expected: &[u32]) {
    let rows = [row("nginx", 1, 0.0, 9), row("apache", 2, 5.0, 5), row("node", 3, 0.0, 10), row("Apache", 4, 0.0, 9)];
    let pids: Vec<_> = controls.apply(&rows).iter().filter_map(|row| row.pid).collect();
    assert_eq!(pids, expected, "{controls:?}");
}

#[test]
fn rows_are_sorted_and_filtered() {
    let begin = Controls::default;
    check_order(begin(), &[2, 3, 4, 1]);
    check_order(Controls { reversed: true, ..begin() }, &[1, 4, 3, 2]);
    check_order(Controls { sort: Sort::Total, ..begin() }, &[3, 4, 1, 2]);
    check_order(Controls { sort: Sort::Name, ..begin() }, &[4, 2, 1, 3]);
    check_order(Controls { filter: "APACHE".into(), ..begin() }, &[2, 4]);
    check_order(Controls { filter: "pod-3".into(), ..begin() }, &[3]);
    check_order(Controls { filter: "1".into(), ..begin() }, &[1]);
    check_order(Controls { filter: "nothing".into(), ..begin() }, &[]);
}
