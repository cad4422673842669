//! What /proc says of a process, which has chosen its name and its arguments: nothing of it can act on a terminal.
#![no_main]

use agent::counting::identity::{COMMAND_LINE_BYTES, command_line, start_ticks};
use agent::printable::is_printable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let line = command_line(data);
    assert!(line.chars().all(is_printable), "{line:?}");
    // A byte that is no UTF-8 becomes a character of three.
    assert!(line.len() <= 3 * COMMAND_LINE_BYTES);
    let _ = start_ticks(data);
});
