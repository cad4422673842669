//! Frames after the HTTP/2 preface, and cut points; a reader that has all frames at hand is the judge.
#![no_main]

mod cuts;

use cuts::Input;
use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::parse(data) else { return };
    let split = data.len() - input.stream.len();
    let session = [&data[..split], PREFACE, input.stream].concat();
    let Some(input) = Input::parse(&session) else { return };
    let outcome = input.check_cuts();
    assert_eq!((outcome.total(), outcome.failure), (judge(&input.stream[PREFACE.len()..]), None));
});

/// New odd streams among the headers of all frames, the last of which may be cut short.
fn judge(mut frames: &[u8]) -> u64 {
    let (mut requests, mut highest) = (0, 0);
    while let Some((header, rest)) = frames.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let id = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) & 0x7fff_ffff;
        if header[3] == 1 && id % 2 == 1 && id > highest {
            highest = id;
            requests += 1;
        }
        frames = rest.get(length..).unwrap_or_default();
    }
    requests
}
