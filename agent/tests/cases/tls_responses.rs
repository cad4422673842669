//! Responses in TLS, as a process hands them to its library: each in every way in which it may be written.

use std::ffi::c_void;
use std::io;
use std::thread;

use common::exchange::Untold;
use common::failure::Failure;
use common::method::Method::{self, Get, Head};
use common::tls::action::Action;

use crate::frames::{HEADERS, PREFACE, REQUEST as FIELDS, SETTINGS, WHOLE, frame};
use crate::lab::{Case, Expected, Lab, here};
use crate::responses::{HEAD, OK, Seen, rows, seen};
use crate::responses_http2::rows as rows_http2;
use crate::streams::GET;
use crate::tls_calls::{Session, of_actions, probed};

const REQUEST: &[u8] = GET.as_bytes();
const S: Session = Session(0x7f00_0000_3000);
const OTHER: Session = Session(0x7f00_0000_4000);
/// More than one record of TLS.
const LARGE: usize = 20_000;

/// So many requests in so many sessions, and what became of them.
fn case(
    name: &str,
    (requests, sessions): (u64, u64),
    seen: Seen,
    run: impl FnOnce(&mut Lab) -> io::Result<()> + 'static,
) -> Case {
    expecting(name, Expected { sessions, ..here(requests) }, seen, run)
}

fn expecting(
    name: &str,
    expected: Expected,
    seen: Seen,
    run: impl FnOnce(&mut Lab) -> io::Result<()> + 'static,
) -> Case {
    Case::new(format!("TLS responses: {name}"), expected, move |lab| {
        let (before, _) = lab.need_responses()?;
        probed(lab, [S, OTHER], run)?;
        let (after, key) = lab.need_responses()?;
        let counted = Seen::between(&before, &after, key);
        if counted == seen { Ok(()) } else { Err(io::Error::other(format!("expected {seen:?}, counted {counted:?}"))) }
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = ways();
    cases.extend(of_sockets());
    cases.extend(lives());
    cases.extend(calls());
    cases
}

/// The cases of sockets: whole, byte by byte, and otherwise.
fn of_sockets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, request, response, expected) in rows() {
        let one = expected.clone();
        cases.push(case(name, (1, 1), one, |_| {
            S.begin_server();
            S.read(request.as_bytes());
            S.write(response);
            Ok(())
        }));
        cases.push(case(&format!("{name}, byte by byte"), (1, 1), expected, |_| {
            S.begin_server();
            S.read(request.as_bytes());
            response.chunks(1).for_each(|byte| S.write(byte));
            Ok(())
        }));
    }
    for row in rows_http2() {
        for cut in [usize::MAX, 1] {
            let name = format!("HTTP/2: {}{}", row.name, if cut == 1 { ", byte by byte" } else { "" });
            let ((requests, mut expected), (asked, sent)) = (row.expected(), row.bytes());
            keep_noted(&mut expected);
            cases.push(case(&name, (requests, 1), expected, move |_| {
                S.begin_server();
                asked.iter().filter(|bytes| !bytes.is_empty()).for_each(|bytes| S.read(bytes));
                sent.chunks(cut.min(sent.len().max(1))).for_each(|piece| S.write(piece));
                Ok(())
            }));
        }
    }
    cases
}

/// Of requests that come at once some are kept; of others it is known that they came.
fn keep_noted(expected: &mut Seen) {
    const NOTED: u64 = common::tls::session::NOTED as u64;
    if let [(status, Get, count)] = *expected.by_status
        && count > NOTED
    {
        expected.by_status = vec![(status, Get, NOTED), (status, Method::Unknown, count - NOTED)];
        expected.unknown_durations = count - NOTED;
    }
}

/// Ways in which bytes are written.
fn ways() -> Vec<Case> {
    let ok = |count| seen(&[(200, Get, count)]);
    let large = || {
        let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").into_bytes();
        response.resize(response.len() + LARGE, b'x');
        response
    };
    vec![
        case("1 000, one after another", (1000, 1), ok(1000), |_| {
            S.begin_server();
            for _ in 0..1000 {
                S.read(REQUEST);
                S.write(OK.as_bytes());
            }
            Ok(())
        }),
        case("32 pipelined", (32, 1), pipelined(32), |_| {
            S.begin_server();
            S.read(&REQUEST.repeat(32));
            S.write(OK.repeat(32).as_bytes());
            Ok(())
        }),
        case("33 pipelined", (33, 1), pipelined(33), |_| {
            S.begin_server();
            S.read(&REQUEST.repeat(33));
            S.write(OK.repeat(33).as_bytes());
            Ok(())
        }),
        case("1 000 pipelined", (1000, 1), pipelined(1000), |_| {
            S.begin_server();
            S.read(&REQUEST.repeat(1000));
            S.write(OK.repeat(1000).as_bytes());
            Ok(())
        }),
        case("HEAD and GET pipelined", (4, 1), seen(&[(200, Get, 2), (200, Head, 2)]), |_| {
            S.begin_server();
            S.read([HEAD, GET].concat().repeat(2).as_bytes());
            S.write(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", OK].concat().repeat(2).as_bytes());
            Ok(())
        }),
        case("of more than a record, whole and in pieces", (3, 1), ok(3), move |_| {
            S.begin_server();
            for size in [usize::MAX, 16_384, 7] {
                S.read(REQUEST);
                let response = large();
                response.chunks(size.min(response.len())).for_each(|piece| S.write(piece));
            }
            Ok(())
        }),
        case("SSL_write_ex", (1, 1), ok(1), |_| {
            S.begin_server();
            S.read_ex(REQUEST);
            S.write_ex(OK.as_bytes());
            Ok(())
        }),
        case("refused, and written again; and a part of it taken", (2, 1), ok(2), |_| {
            S.begin_server();
            S.read(REQUEST);
            (0..3).for_each(|_| S.write_returning(OK.as_bytes(), -1));
            S.write_returning(OK.as_bytes(), 0);
            S.write(OK.as_bytes());
            S.read(REQUEST);
            S.write_returning(OK.as_bytes(), 10);
            S.write(&OK.as_bytes()[10..]);
            Ok(())
        }),
        case("a body that is sent from a file", (2, 1), ok(2), |_| {
            S.begin_server();
            for _ in 0..2 {
                S.read(REQUEST);
                S.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n");
                S.send_file(8000);
                S.send_file(-1);
                S.send_file(1000);
            }
            Ok(())
        }),
        case("a head that is sent from a file: not known", (1, 1), Seen { lost: 1, ..Seen::default() }, |_| {
            S.begin_server();
            S.read(REQUEST);
            S.send_file(9000);
            Ok(())
        }),
        case("from memory that is not there: not known", (1, 1), Seen { lost: 1, ..Seen::default() }, |_| {
            S.begin_server();
            S.read(REQUEST);
            S.write_at_nothing(OK.len());
            Ok(())
        }),
        case("Go: two goroutines", (2, 1), ok(2), |_| {
            S.go_server();
            S.go_read(REQUEST, 1);
            S.go_write(OK.as_bytes(), 2);
            S.go_read(REQUEST, 1);
            S.go_write(&OK.as_bytes()[..5], 2);
            S.go_write(&OK.as_bytes()[5..], 3);
            S.go_close();
            Ok(())
        }),
        case("one thread reads, another one writes", (2000, 1), ok(2000), |_| {
            S.begin_server();
            both_at_once();
            Ok(())
        }),
    ]
}

fn pipelined(count: u64) -> Seen {
    let mut expected = seen(&[(200, Get, count)]);
    keep_noted(&mut expected);
    expected
}

/// Each request is answered once it was read.
fn both_at_once() {
    let (sender, receiver) = std::sync::mpsc::sync_channel(8);
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..2000 {
                S.read(REQUEST);
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
        receiver.iter().for_each(|()| S.write(OK.as_bytes()));
    });
}

/// How sessions begin and end.
fn lives() -> Vec<Case> {
    let unanswered = |count| Seen { unanswered: count, ..Seen::default() };
    vec![
        case("freed before it is answered", (2, 1), Seen { unanswered: 1, ..seen(&[(200, Get, 1)]) }, |_| {
            S.begin_server();
            S.read(&REQUEST.repeat(2));
            S.write(OK.as_bytes());
            Ok(())
        }),
        case("begun anew at its address", (2, 2), Seen { unanswered: 1, ..seen(&[(200, Get, 1)]) }, |_| {
            S.begin_server();
            S.read(REQUEST);
            S.begin_server();
            S.read(REQUEST);
            S.write(OK.as_bytes());
            Ok(())
        }),
        case("Go: closed before it is answered", (1, 1), unanswered(1), |_| {
            S.go_server();
            S.go_read(REQUEST, 1);
            S.go_close();
            Ok(())
        }),
        case("GnuTLS: a handshake within", (1, 1), seen(&[(200, Get, 1)]), |_| {
            S.begin_unless_known();
            S.read(REQUEST);
            S.begin_unless_known();
            S.write(OK.as_bytes());
            Ok(())
        }),
        case("a client's", (0, 0), Seen::default(), |_| {
            S.begin_client();
            S.write(REQUEST);
            S.read(OK.as_bytes());
            S.write(OK.as_bytes());
            Ok(())
        }),
        expecting(
            "of a session that is joined",
            Expected { resynced: 1, losses: vec![(Failure::Joined, 1)], sessions: 1, ..here(2) },
            seen(&[(200, Get, 2)]),
            |_| {
                S.write(b"the rest of an answer");
                S.read(b"the rest of a body");
                S.read(REQUEST);
                S.write(OK.as_bytes());
                S.read(REQUEST);
                S.write(OK.as_bytes());
                Ok(())
            },
        ),
        case("two sessions at once", (2, 2), seen(&[(200, Get, 1), (404, Get, 1)]), |_| {
            S.begin_server();
            OTHER.begin_server();
            S.read(REQUEST);
            OTHER.read(REQUEST);
            S.write(&OK.as_bytes()[..20]);
            OTHER.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
            S.write(&OK.as_bytes()[20..]);
            Ok(())
        }),
        case("more than there is room for", (17_000, 17_000), full(17_000), |lab| {
            let all = || (1..=17_000).map(|index| Session(index << 8));
            let before = lab.untold(Untold::StorageFull)?;
            all().for_each(Session::begin_server);
            all().for_each(|session| session.read(REQUEST));
            all().for_each(|session| session.write(OK.as_bytes()));
            all().for_each(Session::free);
            let lost = lab.untold(Untold::StorageFull)? - before;
            if lost == 17_000 - ROOM { Ok(()) } else { Err(io::Error::other(format!("{lost} are said to be lost"))) }
        }),
    ]
}

/// Sessions whose answers are followed at a time.
const ROOM: u64 = common::tls::session::MAX_ANSWERING as u64;

fn full(sessions: u64) -> Seen {
    Seen { lost: sessions - ROOM, ..seen(&[(200, Get, ROOM)]) }
}

/// Ends without entries, entries without ends, calls within calls; and where writes are not probed.
fn calls() -> Vec<Case> {
    extern "C" fn write_the_same(_: *mut c_void) -> i64 {
        S.write(OK.as_bytes());
        1
    }
    vec![
        case("a function that calls another one for the same bytes", (2, 1), seen(&[(200, Get, 2)]), |_| {
            S.begin_server();
            for _ in 0..2 {
                S.read(REQUEST);
                S.write_ex_within(OK.as_bytes(), write_the_same, std::ptr::null_mut());
            }
            Ok(())
        }),
        case("GnuTLS: corked, and then written", (2, 1), seen(&[(200, Get, 2)]), |_| {
            S.begin_server();
            for _ in 0..2 {
                S.read(REQUEST);
                S.write(OK.as_bytes());
                S.uncork(write_the_same, std::ptr::null_mut());
            }
            Ok(())
        }),
        case("GnuTLS: by a function that is not seen: not known", (2, 1), Seen { lost: 2, ..Seen::default() }, |_| {
            S.begin_server();
            S.read(&REQUEST.repeat(2));
            S.write_unseen();
            S.write(OK.as_bytes());
            Ok(())
        }),
        case("HTTP/2: by a function that is not seen: not known", (3, 1), Seen { lost: 3, ..Seen::default() }, |_| {
            let request = |id| frame(HEADERS, WHOLE, id, FIELDS);
            S.begin_server();
            S.read(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &request(1), &request(3)].concat());
            S.write(&frame(SETTINGS, 0, 0, &[]));
            S.write_unseen();
            S.write(&frame(HEADERS, WHOLE, 1, b"\x88"));
            S.read(&request(5));
            S.write(&frame(HEADERS, WHOLE, 5, b"\x88"));
            Ok(())
        }),
        case("given up before all is answered", (6, 2), Seen { lost: 5, ..seen(&[(200, Get, 1)]) }, |lab| {
            S.begin_server();
            S.read(&REQUEST.repeat(3));
            S.write(OK.as_bytes());
            S.write(&OK.as_bytes()[..20]);
            OTHER.begin_server();
            let request = |id| frame(HEADERS, WHOLE, id, FIELDS);
            OTHER.read(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &request(1), &request(3)].concat());
            OTHER.write(&frame(SETTINGS, 0, 0, &[]));
            OTHER.read(&request(5));
            lab.uprobes()?.give_up_answers()
        }),
        case("a write that began before there was a request", (1, 1), seen(&[(200, Get, 1)]), |_| {
            extern "C" fn read(_: *mut c_void) -> i64 {
                S.read(REQUEST);
                5
            }
            S.begin_server();
            S.write_within(b"hello", read, std::ptr::null_mut());
            S.write(OK.as_bytes());
            Ok(())
        }),
        Case::new("TLS responses: a file whose writes are not probed", Expected { sessions: 1, ..here(2) }, |lab| {
            let (before, _) = lab.need_responses()?;
            let told = lab.untold(Untold::Tls)?;
            let reads = of_actions(|action: Action| !action.is_write())?;
            let link = lab.uprobes()?.attach(&reads).map_err(io::Error::other)?;
            S.begin_server();
            for _ in 0..2 {
                S.read(REQUEST);
                S.write(OK.as_bytes());
            }
            S.free();
            drop(link);
            let (after, key) = lab.need_responses()?;
            let counted = (Seen::between(&before, &after, key), lab.untold(Untold::Tls)? - told);
            let expected = (Seen { lost: 2, ..Seen::default() }, 2);
            if counted == expected { Ok(()) } else { Err(io::Error::other(format!("{counted:?} of {expected:?}"))) }
        }),
    ]
}
