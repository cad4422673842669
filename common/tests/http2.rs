//! HTTP/2 streams, a row each.

mod support;
#[path = "support/told.rs"]
mod told;

use common::failure::Failure;
use common::method::Method;
use common::replay::Replay;
use proptest::collection::vec;
use proptest::prelude::*;
use support::{End, check};
use told::{NAMES, coded, told};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

fn session(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]), &frames.concat()].concat()
}

#[test]
fn requests_are_new_odd_streams() {
    let block = b"\x82\x86\x84GET / HTTP/1.1\r\n\r\n";
    let headers = |id| frame(HEADERS, 5, id, block);
    let rows: &[(&str, Vec<Vec<u8>>, u64)] = &[
        ("nothing but settings", vec![], 0),
        ("one", vec![headers(1)], 1),
        ("three", vec![headers(1), headers(3), headers(5)], 3),
        ("streams left out", vec![headers(1), headers(9), headers(101)], 3),
        ("with a body of requests", vec![frame(HEADERS, 4, 1, block), frame(DATA, 1, 1, block), headers(3)], 2),
        ("trailers", vec![frame(HEADERS, 4, 1, block), frame(DATA, 0, 1, b"x"), frame(HEADERS, 5, 1, block)], 1),
        ("continuation", vec![frame(HEADERS, 1, 1, block), frame(CONTINUATION, 4, 1, block), headers(3)], 2),
        ("padded, with priority", vec![frame(HEADERS, 0x2d, 1, &[4, 0, 0, 0, 0, 16, 0x82, 0, 0, 0, 0])], 1),
        (
            "other frames",
            vec![
                frame(PRIORITY, 0, 3, &[0; 5]),
                frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
                frame(PING, 0, 0, &[0; 8]),
                headers(1),
                frame(RST_STREAM, 0, 1, &[0; 4]),
                frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]),
                frame(0xee, 0, 7, b"?"),
            ],
            1,
        ),
        ("an even stream", vec![headers(2), headers(1)], 1),
        ("a reserved bit", vec![headers(0x8000_0001), headers(3)], 2),
        (
            "empty data",
            vec![frame(HEADERS, 4, 1, block), frame(DATA, 0, 1, b""), frame(DATA, 1, 1, b""), headers(3)],
            2,
        ),
        ("a large frame", vec![frame(HEADERS, 4, 1, block), frame(DATA, 1, 1, &[b'G'; 16384]), headers(3)], 2),
    ];
    for (name, frames, requests) in rows {
        check(name, &session(frames), *requests, End::Open);
    }
    let many: Vec<_> = (0..1000).map(|stream| headers(2 * stream + 1)).collect();
    check("1 000 requests", &session(&many), 1000, End::Open);
}

#[test]
fn upgrade() {
    let request =
        b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let frames = session(&[frame(HEADERS, 5, 1, b"\x82"), frame(HEADERS, 5, 3, b"\x82")]);
    check("the upgrading request is stream 1", &[request, frames.as_slice()].concat(), 2, End::Open);
    check("an upgrade that was not taken up", &[request.as_slice(), request].concat(), 2, End::Open);
}

#[test]
fn what_is_no_http_2() {
    let lost = End::Lost(Failure::MalformedFrame);
    check("a wrong preface", b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", 0, lost);
    check("no settings first", &[PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(), 0, lost);
}

const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// A HEADERS frame of the first stream, with these flags, and with what they say stands before the block and behind it.
fn headers(flags: u8, block: &[u8], padding: &[u8]) -> Vec<u8> {
    let length: &[u8] = if flags & PADDED != 0 { &[padding.len() as u8] } else { &[] };
    let priority: &[u8] = if flags & WITH_PRIORITY != 0 { &[0, 0, 0, 0, 0x82] } else { &[] };
    let padding = if flags & PADDED != 0 { padding } else { &[] };
    frame(HEADERS, 4 | flags, 1, &[length, priority, block, padding].concat())
}

/// How often each method was told.
fn methods<const CAPACITY: u32>(reads: &[&[u8]], slack: u8) -> [u64; 16] {
    let mut replay = Replay::<CAPACITY> { slack, unbounded: true, ..Replay::default() };
    reads.iter().for_each(|read| replay.read(read));
    replay.methods
}

fn once(method: Method) -> [u64; 16] {
    let mut methods = [0; 16];
    methods[method as usize] = 1;
    methods
}

#[test]
fn a_method_that_is_written_out_is_told_where_all_of_it_is_there() {
    let begin = session(&[]).len();
    for (name, method) in NAMES.into_iter().chain([("PROPFIND", Method::Other), ("GETS", Method::Other)]) {
        for (is_coded, value) in [(0, name.as_bytes().to_vec()), (0x80, coded(name))] {
            for kind in [0x42, 0x43, 0x02, 0x03, 0x12, 0x13] {
                for (before, flags) in [(0, 0), (1, PADDED), (3, WITH_PRIORITY), (6, PADDED | WITH_PRIORITY)] {
                    let field = [&[kind, is_coded | value.len() as u8], value.as_slice()].concat();
                    let block = [&[0x87, 0xc1, 0x84, 0xfe, 0x86, 0xbe][..before], &field, b"\x86"].concat();
                    let stream = session(&[headers(flags, &block, b"PUT\x83")]);
                    let behind = begin + headers(flags, &block[..block.len() - 1], b"").len();
                    for cut in 0..=stream.len() {
                        let is_there = cut <= begin || cut >= behind;
                        let expected = if is_there { method } else { Method::Unknown };
                        let (first, rest) = stream.split_at(cut);
                        let told = methods::<1024>(&[first, rest], b'T');
                        assert_eq!(told, once(expected), "{name}, {kind:#x}, coded {is_coded}, cut at {cut}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_named_method_is_told_wherever_a_field_of_the_first_word_begins() {
    for (name, method) in NAMES {
        for before in 0..8 {
            let block = [&[0x86; 7][..before], &[0x42, name.len() as u8], name.as_bytes()].concat();
            assert_eq!(methods::<1024>(&[&session(&[headers(0, &block, b"")])], 0), once(method), "{name}, {before}");
        }
    }
}

#[test]
fn a_method_is_told_wherever_a_window_ends() {
    // As much as may stand before it.
    let block = b"\0\0\0\0\0\0\x84\x84\x84\x84\x84\x84\x84\x42\x07OPTIONS\x87";
    let flags = 5 | PADDED | WITH_PRIORITY;
    let frames: Vec<_> = (0..500).map(|stream| frame(HEADERS, flags, 2 * stream + 1, block)).collect();
    for filler in 0..block.len() + 9 {
        let stream = session(&[vec![frame(DATA, 0, 1, &vec![0; filler])], frames.clone()].concat());
        assert_eq!(methods::<1024>(&[&stream], 0)[Method::Options as usize], 500, "{filler} bytes before");
    }
}

/// Bytes of blocks as there are, and almost are.
fn block() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![0x42_u8, 0x43, 0x02, 0x03, 0x12, 0x13, 0x41, 0x44, 0x04, 0x14, 0x00, 0x22]);
    let name = prop::sample::select(NAMES.map(|(name, _)| name).to_vec());
    let value = prop_oneof![
        name.clone().prop_map(|name| (name.len(), name.as_bytes().to_vec())),
        name.prop_map(|name| (0x80 | coded(name).len(), coded(name))),
        (0..140_usize, vec(any::<u8>(), 0..20)),
    ];
    let bytes = || prop_oneof![Just(0x82_u8), Just(0x83), Just(0xff), 0x84_u8..0xff, any::<u8>()];
    (vec(0x84_u8..0xff, 0..9), vec(bytes(), 0..2), kind, value, -1..2_isize, vec(bytes(), 0..6)).prop_map(
        |(before, other, kind, (length, value), more, behind)| {
            let length = length.saturating_add_signed(more) as u8;
            [before, other, vec![kind, length], value, behind].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_a_block_tells_is_what_a_reading_of_it_tells(
        block in block(), flags in prop::sample::select(vec![0, PADDED, WITH_PRIORITY, PADDED | WITH_PRIORITY]),
        padding in vec(any::<u8>(), 0..20), slack: u8) {
        let frames = [headers(flags, &block, &padding), frame(DATA, 1, 1, b"\x82PUT")];
        let expected = told(&block);
        prop_assert_eq!(methods::<1024>(&[&session(&frames)], slack), once(expected));
        // In a window that may be too small for it, nothing else is told.
        let in_small = methods::<24>(&[&session(&frames)], slack);
        prop_assert!(in_small == once(expected) || in_small == once(Method::Unknown));
    }
}
