//! Responses of HTTP/2: frames and header blocks of every shape, sent whole and a byte at a time.

use std::io::{Read as _, Write as _};

use common::method::Method::{self, Connect, Delete, Get, Head, Options, Other, Post, Put, Unknown};

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INSERTED, PADDED, PREFACE, PRIORITY, PUSH_PROMISE,
    REQUEST, RST_STREAM, SETTINGS, WHOLE, frame,
};
use crate::lab::{Case, Transport, loopback};
use crate::responses::{Seen, case, finish, seen};

/// A status that is not known.
const UNTOLD: u32 = common::exchange::UNTOLD;

fn whole(id: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, id, block)
}

/// The field that was inserted last, and the one before.
const LAST: &[u8] = &[0x80 | 62];
const LAST_BUT_ONE: &[u8] = &[0x80 | 63];
/// What the table may hold from now on.
const SIZE_0: &[u8] = &[0x20];
const SIZE_64: &[u8] = &[0x3f, 33];
const SIZE_100: &[u8] = &[0x3f, 69];
const SIZE_4K: &[u8] = &[0x3f, 0xe1, 0x1f];
const SIZE_64K: &[u8] = &[0x3f, 0xe1, 0xff, 0x03];

/// A field that is inserted, with a value of this length.
fn other(length: u8) -> Vec<u8> {
    [&[0x40, 1, b'a', length], vec![b'v'; length.into()].as_slice()].concat()
}

/// What it is, how many streams are open, what the client and then the server sends, the statuses, and how many streams go
/// without.
pub struct Row {
    pub name: &'static str,
    streams: u32,
    more: Vec<u8>,
    frames: Vec<Vec<u8>>,
    statuses: Vec<(u32, u64)>,
    unanswered: u64,
}

fn row(name: &'static str, streams: u32, frames: Vec<Vec<u8>>, statuses: &[(u32, u64)]) -> Row {
    let answered: u64 = statuses.iter().map(|(_, count)| count).sum();
    let unanswered = u64::from(streams) - answered;
    Row { name, streams, more: Vec::new(), frames, statuses: statuses.to_vec(), unanswered }
}

pub fn cases() -> Vec<Case> {
    let rows = rows().into_iter().flat_map(|row| [usize::MAX, 1].map(|cut| of_row(&row, cut))).chain(methods());
    rows.chain([Transport::V4, Transport::Unix].map(methods_of_streams)).chain([cannot_be_followed()]).collect()
}

/// Those that were open are lost, and no more than that when the connection ends; so is one that opens then.
fn cannot_be_followed() -> Case {
    let expected = Seen { lost: 3, ..Seen::default() };
    case("HTTP/2: what cannot be followed", 3, expected, || {
        let (mut client, mut server) = loopback()?;
        let requests = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &whole(1, REQUEST), &whole(3, REQUEST)].concat();
        for (request, response) in [(requests, frame(CONTINUATION, 4, 1, b"")), (whole(5, REQUEST), whole(5, &[0x88]))]
        {
            client.write_all(&request)?;
            server.read_exact(&mut vec![0; request.len()])?;
            server.write_all(&response)?;
        }
        finish(client, server)
    })
}

pub fn rows() -> Vec<Row> {
    [tables(), frames(), ends()].into_iter().flatten().collect()
}

impl Row {
    /// How many requests that is, and what of them.
    pub fn expected(&self) -> (u64, Seen) {
        let by_status = self.statuses.iter().map(|(status, count)| (*status, Get, *count)).collect();
        (self.streams.into(), Seen { by_status, unanswered: self.unanswered, ..Seen::default() })
    }

    /// What the client sends, at once and then, and what the server sends.
    pub fn bytes(&self) -> ([Vec<u8>; 2], Vec<u8>) {
        let requests = (0..self.streams).flat_map(|index| whole(2 * index + 1, REQUEST));
        let requests = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat().into_iter().chain(requests).collect();
        ([requests, self.more.clone()], self.frames.concat())
    }
}

fn of_row(row: &Row, cut: usize) -> Case {
    let name = format!("HTTP/2: {}{}", row.name, if cut == 1 { ", byte by byte" } else { "" });
    let ((requests, expected), (asked, sent)) = (row.expected(), row.bytes());
    case(&name, requests, expected, move || {
        let (mut client, mut server) = loopback()?;
        for bytes in asked {
            client.write_all(&bytes)?;
            server.read_exact(&mut vec![0; bytes.len()])?;
        }
        sent.chunks(cut.min(sent.len().max(1))).try_for_each(|piece| server.write_all(piece))?;
        finish(client, server)
    })
}

/// The table of fields.
fn tables() -> Vec<Row> {
    let first = |parts: &[&[u8]]| whole(1, &parts.concat());
    vec![
        row("a table of 4 KiB", 2, vec![first(&[INSERTED]), whole(3, LAST)], &[(418, 2)]),
        row("a table of nothing", 2, vec![first(&[SIZE_0, b"\x08\x03418"]), whole(3, &[0x88])], &[(200, 1), (418, 1)]),
        row(
            "a table of nothing, and what is inserted all the same: not known",
            2,
            vec![first(&[SIZE_0, INSERTED]), whole(3, LAST)],
            &[(UNTOLD, 1), (418, 1)],
        ),
        row("a table of 64 bytes", 2, vec![first(&[SIZE_64, INSERTED]), whole(3, LAST)], &[(418, 2)]),
        row(
            "a table of 64 KiB, many fields",
            2,
            vec![first(&[SIZE_64K, INSERTED, &other(100).repeat(50)]), whole(3, &[0x80 | 112])],
            &[(418, 2)],
        ),
        row(
            "a table that is changed midway",
            4,
            vec![
                first(&[INSERTED]),
                whole(3, &[SIZE_64, INSERTED].concat()),
                whole(5, &[SIZE_4K, INSERTED].concat()),
                whole(7, LAST),
            ],
            &[(418, 4)],
        ),
        row(
            "two changes of the table at once",
            2,
            vec![first(&[SIZE_0, SIZE_4K, INSERTED]), whole(3, LAST)],
            &[(418, 2)],
        ),
        row(
            "a value larger than the table: what stood there is not known any more",
            3,
            vec![first(&[SIZE_100, INSERTED, &other(60)]), whole(3, LAST_BUT_ONE), whole(5, INSERTED)],
            &[(UNTOLD, 1), (418, 2)],
        ),
        row(
            "trailers and a push move the table",
            2,
            vec![
                frame(HEADERS, END_HEADERS, 1, INSERTED),
                frame(HEADERS, WHOLE, 1, &other(1)),
                frame(PUSH_PROMISE, END_HEADERS, 3, &[&[0, 0, 0, 2], other(1).as_slice()].concat()),
                whole(2, &[0x88]),
                whole(3, &[0x80 | 64]),
            ],
            &[(418, 2)],
        ),
    ]
}

/// Frames that carry a header block.
fn frames() -> Vec<Row> {
    let block = [INSERTED, &other(100)].concat();
    let cut = |at: usize, flags: u8, head: &[u8], tail: &[u8]| {
        vec![
            frame(HEADERS, END_STREAM | flags, 1, &[head, &block[..at], tail].concat()),
            frame(CONTINUATION, 0, 1, b""),
            frame(CONTINUATION, END_HEADERS, 1, &block[at..]),
            whole(3, LAST_BUT_ONE),
        ]
    };
    let body = |frames: [Vec<u8>; 2]| {
        let data = frame(DATA, 0, 1, b"\0\0\x01\x01\x05\0\0\0\x01\x8d");
        let [head, end] = frames;
        vec![head, data, end]
    };
    vec![
        row("CONTINUATION that cuts a status", 2, cut(3, 0, &[], &[]), &[(418, 2)]),
        row("CONTINUATION that cuts a field", 2, cut(50, 0, &[], &[]), &[(418, 2)]),
        row("CONTINUATION and PADDED", 2, cut(3, PADDED, &[7], &[0; 7]), &[(418, 2)]),
        row("PADDED", 1, vec![frame(HEADERS, WHOLE | PADDED, 1, &[3, 0x8d, 1, 1, 1])], &[(404, 1)]),
        row("PRIORITY", 1, vec![frame(HEADERS, WHOLE | PRIORITY, 1, &[0, 0, 0, 0, 16, 0x8e])], &[(500, 1)]),
        row(
            "PRIORITY and PADDED",
            1,
            vec![frame(HEADERS, WHOLE | PRIORITY | PADDED, 1, &[2, 0, 0, 0, 0, 16, 0x88, 9, 9])],
            &[(200, 1)],
        ),
        row(
            "data that looks like frames",
            1,
            body([frame(HEADERS, END_HEADERS, 1, &[0x88]), frame(DATA, END_STREAM, 1, b"")]),
            &[(200, 1)],
        ),
        row(
            "103, then the final one",
            1,
            vec![frame(HEADERS, END_HEADERS, 1, b"\x08\x03103"), whole(1, &[0x8d])],
            &[(404, 1)],
        ),
        row(
            "trailers, as gRPC's",
            1,
            body([frame(HEADERS, END_HEADERS, 1, &[0x88]), frame(HEADERS, WHOLE, 1, b"\0\x0bgrpc-status\x0213")]),
            &[(200, 1)],
        ),
        row(
            "a push",
            1,
            vec![
                frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], REQUEST].concat()),
                whole(2, &[0x8e]),
                whole(1, &[0x88]),
            ],
            &[(200, 1)],
        ),
    ]
}

/// Streams that end, or do not.
fn ends() -> Vec<Row> {
    let reset = |id| frame(RST_STREAM, 0, id, &[0, 0, 0, 8]);
    let many = (0..200).map(|index| whole(2 * index + 1, &[0x88])).collect();
    let backwards = (0..200).rev().map(|index| whole(2 * index + 1, &[0x8d])).collect();
    vec![
        row("200 streams at once", 200, many, &[(200, 200)]),
        row("200 streams at once, the last answered first", 200, backwards, &[(404, 200)]),
        row("reset by the server before its response", 2, vec![reset(1), whole(3, &[0x88])], &[(200, 1)]),
        row(
            "reset by the server in its response",
            1,
            vec![frame(HEADERS, END_HEADERS, 1, &[0x8e]), reset(1)],
            &[(500, 1)],
        ),
        row("reset by the server behind its response", 1, vec![whole(1, &[0x88]), reset(1)], &[(200, 1)]),
        Row {
            more: reset(1),
            ..row("reset by the client, and another answered", 2, vec![whole(3, &[0x88])], &[(200, 1)])
        },
        Row {
            more: reset(1),
            ..row("reset by the client, and answered all the same", 1, vec![whole(1, &[0x88])], &[(200, 1)])
        },
        row(
            "GOAWAY, and what was asked before",
            3,
            vec![whole(1, &[0x88]), frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]), whole(3, &[0x89])],
            &[(200, 1), (204, 1)],
        ),
        row("none at all", 5, vec![frame(SETTINGS, 0, 0, &[])], &[]),
    ]
}

/// In Huffman code, with its length.
const PROPFIND: &[u8] = b"\x87\xd7\xb7\x56\xbc\x39\x34\xdf";

/// Methods that are written out, of streams up to the last one whose method is kept, and beyond. None of them decides where its
/// response ends.
fn methods_of_streams(transport: Transport) -> Case {
    const FAR: u32 = 1 << 25;
    let asked = [
        (1, b"\x02\x04HEAD\x84\x86".to_vec()),
        (3, b"\x42\x07CONNECT\x01\x01a".to_vec()),
        (5, [b"\x12", PROPFIND, b"\x84\x86"].concat()),
        (FAR - 1, b"\x43\x03PUT\x84\x86".to_vec()),
        (FAR + 1, b"\x43\x03PUT\x84\x86".to_vec()),
        (u32::MAX >> 1, REQUEST.to_vec()),
    ];
    let expected = seen(&[Other, Connect, Get, Head, Put, Unknown].map(|method| (200, method, 1)));
    case(&format!("HTTP/2: methods of streams, {transport:?}"), asked.len() as u64, expected, move || {
        let (mut client, mut server) = transport.connect()?;
        client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
        server.read_exact(&mut [0; PREFACE.len() + 9])?;
        for (id, block) in asked {
            let request = whole(id, &block);
            client.write_all(&request)?;
            server.read_exact(&mut vec![0; request.len()])?;
            let response = [frame(HEADERS, END_HEADERS, id, &[0x88]), frame(DATA, END_STREAM, id, b"ok")];
            server.write_all(&response.concat())?;
        }
        finish(client, server)
    })
}

/// How requests say their method, and which is known of it. Each is asked twice, with the next ones, in one read.
fn methods() -> Vec<Case> {
    const SETTLED: &[u8] = b"\x86\x84";
    const AUTHORITY: &[u8] = b"\x08\x9d\x5c\x0b\x81\x70\xdc\x0b\xcf\xbe\xef";
    let rows: [(&str, u8, &[u8], Method); 16] = [
        ("GET", 0, b"\x82\x86\x84", Get),
        ("POST", 0, b"\x83\x86\x84", Post),
        ("GET, behind other fields", 0, b"\x86\x84\x82", Get),
        ("POST, with padding", PADDED, b"\x03\x83\x86\x84\x82\x82\x82", Post),
        ("POST, with a priority", PRIORITY, b"\0\0\0\0\x82\x83\x86\x84", Post),
        ("POST, with padding and a priority", PADDED | PRIORITY, b"\x01\0\0\0\0\x82\x83\x86\x84\x82", Post),
        ("GET, in the padding", PADDED, b"\x02\xbe\x82\x82", Unknown),
        ("PUT, written out", 0, b"\x42\x03PUT\x86\x84", Put),
        ("PUT, as curl 7.88 writes it", 0, &[b"\x42\x03PUT\x84\x86\x41\x8b", AUTHORITY].concat(), Put),
        ("DELETE, as curl 7.88 writes it", 0, &[b"\x42\x06DELETE\x84\x86\x41\x8b", AUTHORITY].concat(), Delete),
        ("PROPFIND, as curl 7.88 writes it", 0, &[b"\x42", PROPFIND, b"\x84\x86\x41\x8b", AUTHORITY].concat(), Other),
        (
            "OPTIONS, coded, with padding, a priority and other fields",
            PADDED | PRIORITY,
            b"\x04\0\0\0\0\x82\x86\xc0\x84\x13\x87\xd5\xaf\x7e\x4d\x5a\x77\x7f\0\0\0\0",
            Options,
        ),
        ("PUT, of which a part is padding", PADDED, b"\x01\x42\x03PUT", Unknown),
        ("PUT, which an earlier request inserted", 0, b"\xbe\x86\x84", Unknown),
        ("GET, behind a field that is written out", 0, b"\x41\x01a\x82\x86\x84", Unknown),
        ("none, in a block of no byte", PADDED, b"\0", Unknown),
    ];
    rows.into_iter()
        .map(|(name, flags, block, method)| {
            let expected = Seen { by_status: vec![(200, method, 2)], ..Seen::default() };
            let ask = |id| [frame(HEADERS, WHOLE | flags, id, block), frame(HEADERS, WHOLE, id + 2, SETTLED)].concat();
            let asked = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &ask(1), &ask(5)].concat();
            let sent = [whole(1, &[0x88]), whole(5, &[0x88])].concat();
            let expected = Seen { unanswered: 2, ..expected };
            case(&format!("HTTP/2: the method {name}"), 4, expected, move || {
                let (mut client, mut server) = loopback()?;
                client.write_all(&asked)?;
                server.read_exact(&mut vec![0; asked.len()])?;
                server.write_all(&sent)?;
                finish(client, server)
            })
        })
        .collect()
}
