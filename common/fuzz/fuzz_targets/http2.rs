//! Frames after the HTTP/2 preface, and cut points; a reader that has all frames at hand is the judge.
#![no_main]

mod cuts;
#[path = "../../tests/support/told.rs"]
mod told;

use cuts::Input;
use libfuzzer_sys::fuzz_target;
use told::told;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::parse(data) else { return };
    let split = data.len() - input.stream.len();
    let session = [&data[..split], PREFACE, input.stream].concat();
    let Some(input) = Input::parse(&session) else { return };
    let outcome = input.check_cuts();
    let methods = judge(&input.stream[PREFACE.len()..]);
    assert_eq!((outcome.total(), outcome.methods, outcome.failure), (methods.iter().sum(), methods, None));
});

/// New odd streams among the headers of all frames, the last of which may be cut short, by what their blocks tell of their methods.
fn judge(mut frames: &[u8]) -> [u64; 16] {
    let (mut methods, mut highest) = ([0; 16], 0);
    while let Some((header, rest)) = frames.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let id = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) & 0x7fff_ffff;
        if header[3] == 1 && id % 2 == 1 && id > highest {
            highest = id;
            methods[told(block(header[4], length, rest)) as usize] += 1;
        }
        frames = rest.get(length..).unwrap_or_default();
    }
    methods
}

/// As much as there is of the fields in a payload of this length, without what stands before and behind them.
fn block(flags: u8, length: usize, rest: &[u8]) -> &[u8] {
    let is_padded = flags & 8 != 0;
    let before = usize::from(is_padded) + if flags & 0x20 != 0 { 5 } else { 0 };
    let padding = if is_padded { rest.first().copied().unwrap_or_default().into() } else { 0 };
    let end = length.saturating_sub(padding).min(rest.len());
    rest.get(before..end).unwrap_or_default()
}
