//! A library's file, which whoever made the container has put there.
#![no_main]

use agent::tls::place::Wanted;
use agent::tls::places::places;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(found) = places(&data, Wanted { writes: true, go: true }) {
        for place in found.as_slice() {
            assert!(place.offset < data.len() as u64, "{place:?}");
        }
    }
});
