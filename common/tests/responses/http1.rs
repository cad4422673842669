//! HTTP/1 responses, a row each, with what the definition of a response gives.

use crate::support::{Requests, Rest, asked, check};
use common::exchange::Answer;
use common::method::Method;
use common::method::Method::{Connect, Get, Head, Post};
use common::replay_responses::Responses;
use common::stream::Phase;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EMPTY: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

#[track_caller]
fn one(name: &str, method: Method, response: &str, statuses: &[u32]) {
    let stream = [response, EMPTY].concat();
    check(name, Requests::Methods(&[method, Get]), stream.as_bytes(), (statuses, Rest::Open(0)));
}

#[test]
fn lengths() {
    let rows: &[(&str, Method, &str, u32)] = &[
        ("a length", Get, OK, 200),
        ("no reason", Get, "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200),
        ("an empty reason", Get, "HTTP/1.1 599 \r\nContent-Length: 2\r\n\r\nok", 599),
        ("line feeds", Get, "HTTP/1.1 200\nContent-Length: 2\n\nok", 200),
        ("HTTP/1.0", Get, "HTTP/1.0 500 Broken\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n500", 500),
        ("a status of no class", Get, "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 999),
        ("a response in the body", Get, "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 500 No\r\n\r\n", 200),
        (
            "a response in a field",
            Get,
            "HTTP/1.1 200 HTTP/1.1 500\r\nX: HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n",
            200,
        ),
        (
            "chunked",
            Get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n13;x=y\r\nHTTP/1.1 500 No\r\n\r\n\r\n0\r\n\r\n",
            200,
        ),
        (
            "chunked with trailers",
            Get,
            "HTTP/1.1 201 Created\r\nTrailer: X\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\nX: HTTP/1.1 500\r\n\r\n",
            201,
        ),
        (
            "chunked overrides a length",
            Get,
            "HTTP/1.1 200 OK\r\nContent-Length: 999\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            200,
        ),
        ("204 with a length", Get, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204),
        ("204 with chunked", Get, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204),
        ("304 with a length", Get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\n\r\n", 304),
        ("304 without fields", Get, "HTTP/1.1 304 Not Modified\r\n\r\n", 304),
        ("HEAD with a length", Head, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", 200),
        ("HEAD, chunked", Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
        ("HEAD, until close", Head, "HTTP/1.1 200 OK\r\n\r\n", 200),
        ("HEAD with differing lengths", Head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 200),
        ("CONNECT refused", Connect, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno", 407),
        ("100", Post, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        (
            "103, 102 and 100",
            Post,
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 3\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            200,
        ),
    ];
    for (name, method, response, status) in rows {
        one(name, *method, response, &[*status, 404]);
    }
}

/// What it is, the requests, what is sent, the statuses in it, and how many requests go without an answer.
type Row<'a> = (&'a str, &'a [Method], &'a str, &'a [u32], u32);

#[test]
fn what_ends_with_the_connection() {
    let rows: &[Row<'_>] = &[
        ("until close", &[Get, Get], "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 No\r\n\r\n", &[200], 1),
        ("a coding that is not chunked", &[Get], "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", &[200], 0),
        ("cut in its body", &[Get, Get], "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabc", &[200], 1),
        ("cut in its head", &[Get], "HTTP/1.1 200 OK\r\nContent-Len", &[200], 0),
        ("cut in its status", &[Get], "HTTP/1.1 20", &[], 1),
        ("only 100", &[Post], "HTTP/1.1 100 Continue\r\n\r\n", &[], 1),
        ("nothing", &[Get, Get, Get], "", &[], 3),
        (
            "a tunnel",
            &[Connect],
            "HTTP/1.1 200 Connected\r\nContent-Length: 5\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
            &[200],
            0,
        ),
        (
            "a websocket",
            &[Get],
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x05HTTP/1.1 500 No\r\n\r\n",
            &[101],
            0,
        ),
        ("to no request", &[], "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", &[], 0),
    ];
    for (name, methods, response, statuses, unanswered) in rows {
        check(name, Requests::Methods(methods), response.as_bytes(), (statuses, Rest::Open(*unanswered)));
    }
}

#[test]
fn what_cannot_be_followed() {
    let rows: &[(&str, &str, &[u32], u32)] = &[
        ("no response", "SSH-2.0-OpenSSH\r\n\r\n", &[], 2),
        ("a status of two digits", "HTTP/1.1 20 \r\n\r\n", &[], 2),
        ("a status of four digits", "HTTP/1.1 2000\r\n\r\n", &[], 2),
        ("a status that begins with 0", "HTTP/1.1 099 \r\n\r\n", &[], 2),
        ("another version", "HTTP/2.0 200 OK\r\n\r\n", &[], 2),
        ("differing lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nHTTP/1.1", &[200], 1),
        ("a bad chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", &[200], 1),
        ("more than the length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok, and then more", &[200], 1),
    ];
    for (name, response, statuses, lost) in rows {
        check(name, Requests::Methods(&[Get, Get]), response.as_bytes(), (statuses, Rest::Lost(*lost)));
    }
}

#[test]
fn pipelines() {
    for count in [2, 16, 17, 64, 1000] {
        let stream = OK.repeat(count);
        let statuses = vec![200; count];
        check(
            &format!("{count} of GET"),
            Requests::Methods(&vec![Get; count]),
            stream.as_bytes(),
            (&statuses, Rest::Open(0)),
        );
    }
    let methods: Vec<_> = [Head, Get].into_iter().cycle().take(16).collect();
    let stream = ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", OK].concat().repeat(8);
    check("HEAD and GET in turn", Requests::Methods(&methods), stream.as_bytes(), (&[200; 16], Rest::Open(0)));
}

#[test]
fn whether_a_body_comes_is_not_guessed() {
    let methods: Vec<_> = [Get; 17].into_iter().chain([Head, Get]).collect();
    let stream = OK.repeat(17);
    // The 17th may be the answer to a HEAD for all that is kept: it is known that it came.
    check("HEAD beyond those kept", Requests::Methods(&methods), stream.as_bytes(), (&[200; 17], Rest::Lost(2)));
}

fn send<const CAPACITY: u32>(responses: &mut Responses<CAPACITY>, position: u32, bytes: &str) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    responses.sends(position, bytes.as_bytes(), &mut |answer: Answer| found.push((answer.status, answer.started_ns)));
    found
}

#[test]
fn sends_that_were_refused_come_again() {
    let mut responses = Responses::<1024>::default();
    responses.expect(asked(Get), 7);
    responses.expect(asked(Get), 2048);
    assert_eq!(send(&mut responses, 0, &OK[..30]), []);
    assert_eq!(send(&mut responses, 10, &OK[10..30]), []);
    assert_eq!(send(&mut responses, 20, &[&OK[20..], OK].concat()), [(200, 7), (200, 2048)]);
    assert_eq!(send(&mut responses, 20, &[&OK[20..], OK].concat()), []);
}

#[test]
fn a_gap_is_passed_over_within_a_body_only() {
    let mut responses = Responses::<1024>::default();
    responses.expect(asked(Get), 1 << 32);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let length = head.len() as u32;
    assert_eq!(send(&mut responses, 0, head), []);
    assert_eq!(send(&mut responses, length + 500, "x"), []);
    assert_eq!(send(&mut responses, length + 999, "x"), [(200, 1 << 32)]);
    responses.expect(asked(Get), 9);
    assert_eq!(send(&mut responses, length + 2000, OK), []);
    assert_eq!((responses.lost, responses.exchange.stream.phase), (1, Phase::Unsynced));
}

#[test]
fn certain_again_when_nothing_is_owed() {
    let mut responses = Responses::<1024>::default();
    responses.expect(asked(Get), 3);
    assert_eq!(send(&mut responses, 0, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), []);
    assert_eq!(send(&mut responses, 900, "x"), [(200, 0)], "of what was lost on the way no duration is known");
    responses.sent = 1000;
    responses.expect(asked(Get), 4);
    assert_eq!(send(&mut responses, 1000, OK), [(200, 4)]);
    responses.expect(asked(Get), 5);
    responses.expect(asked(Get), 6);
    assert_eq!(send(&mut responses, 1000 + OK.len() as u32, "no response at all"), []);
    assert_eq!(responses.lost, 2);
    responses.sent = 2000;
    responses.expect(asked(Get), 7);
    assert_eq!(send(&mut responses, 2000, OK), [], "it may be the answer to one of those two");
    assert_eq!(responses.lost, 3);
}
