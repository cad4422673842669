//! docs/top.md has every key and every flag that the program takes, and no other.

use std::collections::BTreeSet;

use agent::settings::cli;
use agent::terminal::{Controls, Outcome};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{code_spans, read, root, rows, section};

/// What stands in the first column of a section's table.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = read(&root().join("docs/top.md"));
    let spans = rows(section(&text, heading)).flat_map(|row| code_spans(row[0]).map(str::to_owned).collect::<Vec<_>>());
    spans.collect()
}

/// Every key that a keyboard has, by its name in the docs.
fn keyboard() -> Vec<(String, KeyEvent)> {
    let named = [
        (KeyCode::Tab, "Tab"),
        (KeyCode::BackTab, "Shift-Tab"),
        (KeyCode::Enter, "Enter"),
        (KeyCode::Esc, "Esc"),
        (KeyCode::Backspace, "Backspace"),
        (KeyCode::Delete, "Del"),
        (KeyCode::Insert, "Ins"),
        (KeyCode::Char(' '), "Space"),
        (KeyCode::Up, "Up"),
        (KeyCode::Down, "Down"),
        (KeyCode::Left, "Left"),
        (KeyCode::Right, "Right"),
        (KeyCode::PageUp, "PgUp"),
        (KeyCode::PageDown, "PgDn"),
        (KeyCode::Home, "Home"),
        (KeyCode::End, "End"),
    ];
    let named = named.map(|(code, name)| (name.to_owned(), KeyEvent::new(code, KeyModifiers::NONE)));
    let letters = ('!'..='~').map(|c| (c.to_string(), KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
    let functions = (1..=12).map(|n| (format!("F{n}"), KeyEvent::new(KeyCode::F(n), KeyModifiers::NONE)));
    let held = |name: &'static str, modifier| {
        ('a'..='z')
            .map(move |c| (format!("{name}-{}", c.to_ascii_uppercase()), KeyEvent::new(KeyCode::Char(c), modifier)))
    };
    let held = held("Ctrl", KeyModifiers::CONTROL).chain(held("Alt", KeyModifiers::ALT));
    named.into_iter().chain(letters).chain(functions).chain(held).collect()
}

#[test]
fn the_keys_are_those_of_the_code() {
    let does_something = |controls: &Controls, key: KeyEvent| controls.clone().press(key) != Outcome::Ignored;
    let (table, typing) = (Controls::default(), Controls { typing: true, ..Controls::default() });
    // While a filter is typed any letter is one of it.
    let is_letter = |key: KeyEvent| matches!(key.code, KeyCode::Char(_)) && key.modifiers.is_empty();
    let used = keyboard()
        .into_iter()
        .filter(|(_, key)| does_something(&table, *key) || (!is_letter(*key) && does_something(&typing, *key)));
    assert_eq!(documented("Keys"), used.map(|(name, _)| name).collect(), "docs/top.md must have these keys");
}

#[test]
fn the_flags_are_those_of_the_code() {
    let command = cli::command();
    let top = command.find_subcommand("top").expect("there is the command");
    let flags = top.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?)));
    assert_eq!(documented("Flags of `top`"), flags.collect(), "docs/top.md must have these flags");
}
