//! What answers on the plugin socket, as `top` reads it: nothing of it can act on a terminal.
#![no_main]

use agent::counting::overview::Overview;
use agent::printable::is_printable;
use agent::terminal::{Controls, lines};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(overview) = Overview::of_json(text) else { return };
    let shown = lines::lines(&overview, &Controls::default(), 10);
    assert!(shown.chars().all(|c| c == '\n' || is_printable(c)), "{shown:?}");
});
