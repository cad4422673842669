//! A stream and cut points; an independent parser is the judge wherever it knows the whole stream.
#![no_main]

mod cuts;
#[path = "../../tests/support/judge.rs"]
mod judge;

use cuts::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::parse(data) else { return };
    let outcome = input.check_cuts();
    if let Some(expected) = judge::judge(input.stream) {
        assert_eq!((outcome.total(), outcome.failure), (expected, None));
    }
});
