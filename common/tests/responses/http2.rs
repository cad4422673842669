//! HTTP/2 responses, a row each.

use crate::support::{Requests, Rest, check};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// A response that is complete.
const WHOLE: u8 = END_STREAM | END_HEADERS;

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

fn whole(id: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, id, block)
}

/// `:status` with this value and name index: 0x40 inserts it, 0 and 0x10 do not.
fn status(first: u8, index: u8, value: &[u8]) -> Vec<u8> {
    [&[first | index, value.len() as u8], value].concat()
}

/// What it is, its frames, and the statuses in it; each is of a stream of its own, but for those that go on.
type Row<'a> = (&'a str, Vec<Vec<u8>>, &'a [u32]);
/// The same, with the number of streams.
type StreamsRow<'a> = (&'a str, u32, Vec<Vec<u8>>, &'a [u32]);

/// A field whose name is spelled.
fn field(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[first, name.len() as u8], name, &[value.len() as u8], value].concat()
}

#[track_caller]
fn expect(name: &str, streams: u32, frames: &[Vec<u8>], statuses: &[u32]) {
    let unanswered = streams - statuses.len() as u32;
    check(name, Requests::Streams(streams), &frames.concat(), (statuses, Rest::Open(unanswered)));
}

#[test]
fn statuses_in_every_way() {
    for (index, code) in (8..=14).zip([200, 204, 206, 304, 400, 404, 500]) {
        expect("in the fixed table", 1, &[whole(1, &[0x80 | index])], &[code]);
    }
    for first in [0, 0x10, 0x40] {
        expect("plain", 1, &[whole(1, &status(first, 8, b"418"))], &[418]);
        expect("name index 14", 1, &[whole(1, &status(first, 14, b"503"))], &[503]);
        expect("name spelled", 1, &[whole(1, &field(first, b":status", b"302"))], &[302]);
        // 302 in Huffman code: 011001 00000 00010, as RFC 7541 C.6.1 has it.
        expect("Huffman code", 1, &[whole(1, &[first | 8, 0x82, 0x64, 0x02])], &[302]);
    }
}

#[test]
fn statuses_in_the_table() {
    let insert = status(0x40, 8, b"418");
    let other = field(0x40, b"a", b"b");
    let rows: &[Row<'_>] = &[
        ("the last inserted", vec![whole(1, &insert), whole(3, &[0x80 | 62])], &[418, 418]),
        (
            "another inserted behind it",
            vec![whole(1, &[insert.clone(), other.clone()].concat()), whole(3, &[0x80 | 63])],
            &[418, 418],
        ),
        (
            "not inserted behind it",
            vec![whole(1, &[insert.clone(), field(0, b"a", b"b")].concat()), whole(3, &[0x80 | 62])],
            &[418, 418],
        ),
        (
            "an index of two bytes",
            vec![whole(1, &[insert.clone(), other.repeat(70)].concat()), whole(3, &[0xff, 132 - 127])],
            &[418, 418],
        ),
        (
            "moved by trailers",
            vec![frame(HEADERS, END_HEADERS, 1, &insert), frame(HEADERS, WHOLE, 1, &other), whole(3, &[0x80 | 63])],
            &[418, 418],
        ),
        (
            "moved by an interim response",
            vec![whole(1, &insert), frame(HEADERS, END_HEADERS, 3, &status(0x40, 8, b"103")), whole(3, &[0x80 | 63])],
            &[418, 418],
        ),
        (
            "moved by a push",
            vec![
                whole(1, &insert),
                frame(PUSH_PROMISE, END_HEADERS, 3, &[&[0, 0, 0, 2], other.as_slice()].concat()),
                whole(2, &[0x88]),
                whole(3, &[0x80 | 63]),
            ],
            &[418, 418],
        ),
        (
            "evictions do not matter",
            vec![
                whole(1, &[insert.clone(), field(0x40, b"a", &[b'v'; 100]).repeat(40)].concat()),
                whole(3, &insert),
                whole(5, &[0x80 | 62]),
            ],
            &[418, 418, 418],
        ),
        (
            "in a smaller table",
            vec![whole(1, &[&[0x3f, 33], insert.as_slice()].concat()), whole(3, &[0x80 | 62])],
            &[418, 418],
        ),
        (
            "two sizes",
            vec![whole(1, &[&[0x20, 0x3f, 0xe1, 0x1f], insert.as_slice()].concat()), whole(3, &[0x80 | 62])],
            &[418, 418],
        ),
        (
            "no table: not known whether it is there",
            vec![whole(1, &[&[0x20], insert.as_slice()].concat()), whole(3, &[0x80 | 62])],
            &[418, 1],
        ),
        (
            "behind a field that may be too large",
            vec![
                whole(1, &[&[0x3f, 69], insert.as_slice(), &field(0x40, b"a", &[b'v'; 60])].concat()),
                whole(3, &[0x80 | 63]),
                whole(5, &[0x80 | 62]),
            ],
            &[418, 1, 1],
        ),
        ("an index of nothing", vec![whole(1, &[0x80 | 70])], &[1]),
    ];
    for (name, frames, statuses) in rows {
        let streams = statuses.len() as u32;
        expect(name, streams, frames, statuses);
    }
}

#[test]
fn frames() {
    let rows: &[StreamsRow<'_>] = &[
        ("data", 1, vec![frame(HEADERS, 4, 1, &[0x88]), frame(DATA, 0, 1, b"abc"), frame(DATA, 1, 1, b"d")], &[200]),
        ("an empty last data", 1, vec![frame(HEADERS, 4, 1, &[0x88]), frame(DATA, 1, 1, b"")], &[200]),
        ("data without an end", 1, vec![frame(HEADERS, 4, 1, &[0x88]), frame(DATA, 0, 1, b"abc")], &[]),
        ("interim", 1, vec![frame(HEADERS, 4, 1, &status(0, 8, b"103")), whole(1, &[0x8d])], &[404]),
        ("trailers", 1, vec![frame(HEADERS, 4, 1, &[0x88]), frame(HEADERS, 5, 1, &[0x8d])], &[200]),
        ("padded", 1, vec![frame(HEADERS, WHOLE | PADDED, 1, &[3, 0x88, 1, 1, 1])], &[200]),
        ("padded with nothing", 1, vec![frame(HEADERS, WHOLE | PADDED, 1, &[0, 0x88])], &[200]),
        ("with priority", 1, vec![frame(HEADERS, WHOLE | PRIORITY, 1, &[0, 0, 0, 0, 16, 0x88])], &[200]),
        ("both", 1, vec![frame(HEADERS, WHOLE | PRIORITY | PADDED, 1, &[2, 0, 0, 0, 0, 16, 0x88, 9, 9])], &[200]),
        (
            "other frames",
            1,
            vec![
                frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
                frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
                frame(0xee, 0xff, 1, b"?"),
                whole(1, &[0x88]),
            ],
            &[200],
        ),
        ("reset before a response", 2, vec![frame(RST_STREAM, 0, 1, &[0; 4]), whole(3, &[0x88])], &[200]),
        ("reset behind a response", 1, vec![whole(1, &[0x88]), frame(RST_STREAM, 0, 1, &[0; 4])], &[200]),
        ("reset in a response", 1, vec![frame(HEADERS, 4, 1, &[0x8e]), frame(RST_STREAM, 0, 1, &[0; 4])], &[500]),
        (
            "interleaved",
            2,
            vec![
                frame(HEADERS, 4, 3, &[0x8d]),
                frame(HEADERS, 4, 1, &[0x88]),
                frame(DATA, 0, 3, b"x"),
                frame(DATA, 1, 1, b"y"),
                frame(DATA, 1, 3, b"z"),
            ],
            &[200, 404],
        ),
        ("a pushed response", 1, vec![whole(2, &[0x8e]), whole(1, &[0x88])], &[200]),
        (
            "continuation that ends the stream",
            1,
            vec![frame(HEADERS, END_STREAM, 1, &[0x88]), frame(CONTINUATION, 4, 1, b"\x0f\x01\x01a")],
            &[200],
        ),
    ];
    for (name, streams, frames, statuses) in rows {
        // What was begun is counted at the connection's end, too.
        let began = if *name == "data without an end" { vec![200] } else { statuses.to_vec() };
        expect(name, *streams, frames, &began);
    }
}

#[test]
fn a_block_cut_into_frames_anywhere() {
    let block = [status(0x40, 8, b"418"), field(0x40, b"content-type", b"text"), field(0, b"x", &[b'y'; 100])].concat();
    for cut in 0..=block.len() {
        for padding in [None, Some(0_u8), Some(7)] {
            let head = padding.map_or(vec![], |length| vec![length]);
            let tail = vec![0; padding.unwrap_or(0).into()];
            let flags = if padding.is_some() { PADDED } else { 0 };
            let first = [&head, &block[..cut], &tail].concat();
            let frames = [
                frame(HEADERS, END_STREAM | flags, 1, &first),
                frame(CONTINUATION, 0, 1, b""),
                frame(CONTINUATION, END_HEADERS, 1, &block[cut..]),
                whole(3, &[0x80 | 63]),
            ];
            expect(&format!("cut at {cut}, padding {padding:?}"), 2, &frames, &[418, 418]);
        }
    }
}

#[test]
fn more_streams_than_are_kept() {
    let frames: Vec<_> = (0..100).map(|index| whole(2 * index + 1, &[0x88])).collect();
    expect("100 at once", 100, &frames, &[200; 100]);
}

#[test]
fn what_cannot_be_followed() {
    let rows: &[(&str, Vec<Vec<u8>>)] = &[
        ("another frame within a block", vec![frame(HEADERS, 0, 1, &[]), frame(DATA, 0, 1, b"")]),
        ("continuation of nothing", vec![frame(CONTINUATION, 4, 1, b"")]),
        ("padding beyond the frame", vec![frame(HEADERS, WHOLE | PADDED, 1, &[9, 0x88])]),
        ("priority beyond the frame", vec![frame(HEADERS, WHOLE | PRIORITY, 1, &[0x88])]),
        ("a block that ends in a field", vec![frame(HEADERS, WHOLE, 1, &[0x48, 3, b'2'])]),
        ("a number without an end", vec![frame(HEADERS, WHOLE, 1, &[0xff; 9])]),
    ];
    for (name, frames) in rows {
        check(name, Requests::Streams(2), &frames.concat(), (&[], Rest::Lost(2)));
    }
}

#[test]
fn what_follows_a_switch() {
    let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let stream = [head.as_slice(), &frame(SETTINGS, 0, 0, &[]), &whole(1, &[0x88])].concat();
    let methods = Requests::Methods(&[common::method::Method::Get]);
    check("the request that asked is answered by the switch", methods, &stream, (&[101], Rest::Open(0)));
}
