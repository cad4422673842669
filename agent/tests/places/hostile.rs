//! Files that somebody made to do harm: every one is answered, soon.

use std::path::Path;

use agent::tls::place::Wanted;
use agent::tls::places::places;
use proptest::prelude::*;

use crate::machine::ALL;
use crate::made::{FIRST, LOADED, Made, STEP};

/// Everything that a file can have, small.
fn rich() -> Vec<u8> {
    let distance = (4 * STEP - 7) as u32;
    let mut made = Made::openssl(&[&[0x53, 0x0f, 0x88][..], &distance.to_le_bytes(), &[0x5b, 0xc3]].concat());
    made.unnamed(&[0xff, 0xe0, 0x48, 0x83, 0xc4, 0x08, 0xc3]);
    made.function("own", &[0xc3]);
    let stub = made.stub("own");
    let at = made.next();
    let jump = (stub.wrapping_sub(at + 5) as u32).to_le_bytes();
    made.function("SSL_write", &[&[0xe9][..], &jump].concat());
    made.section(".gopclntab", LOADED + FIRST, vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8, 9, 9, 9, 9]);
    made.bytes()
}

fn take(bytes: &[u8]) {
    let _ = places(&bytes, ALL);
}

/// It is what fuzzing begins with.
#[test]
fn the_file_itself_is_understood() {
    let bytes = rich();
    assert!(places(&bytes.as_slice(), Wanted::default()).is_ok());
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/places/library");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&seed, &bytes).unwrap();
    }
    assert!(std::fs::read(seed).unwrap() == bytes, "the fuzzer's seed is another file: UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn every_length_is_taken() {
    let bytes = rich();
    for length in 0..bytes.len() {
        take(&bytes[..length]);
    }
}

#[test]
fn every_byte_may_be_another() {
    let bytes = rich();
    for place in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[place] = value;
            take(&bytes);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes: Vec<u8>) {
        take(&bytes);
    }

    #[test]
    fn any_code_is_taken(code in prop::collection::vec(any::<u8>(), 1..512)) {
        take(&Made::openssl(&code).bytes());
    }

    #[test]
    fn any_part_may_be_another(at in 0_usize.., bytes in prop::collection::vec(any::<u8>(), 1..64)) {
        let mut file = rich();
        let start = at % (file.len() - bytes.len());
        file[start..start + bytes.len()].copy_from_slice(&bytes);
        take(&file);
    }
}

/// Work is bounded by what is looked at, not by what a file claims.
#[test]
fn many_symbols_that_hand_over_to_nobody_take_no_longer() {
    // Each jump is to a stub of its own, for which all relocations are gone through.
    let mut made = Made::openssl(&[0xc3]);
    let stubs: Vec<_> = (0..300).map(|index| made.stub(&format!("nobody_{index}"))).collect();
    let at = made.next();
    let code: Vec<u8> = stubs
        .iter()
        .enumerate()
        .flat_map(|(index, stub)| {
            let from = at + index as u64 * 6;
            [&[0x0f, 0x84][..], &(stub.wrapping_sub(from + 6) as u32).to_le_bytes()].concat()
        })
        .collect();
    made.function("SSL_write", &code);
    let found = places(&made.bytes().as_slice(), ALL).unwrap();
    let trouble = found.unanswered().map(ToString::to_string);
    assert_eq!(trouble.unwrap_or_default(), "SSL_write hands over to nobody_0, which is not in this file");
}
