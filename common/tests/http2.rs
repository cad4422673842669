//! HTTP/2 streams, a row each.

mod support;

use common::failure::Failure;
use support::{End, check};

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
