//! Requests in TLS, as a library hands them to its caller: sessions, calls, and what is not seen of them.

use std::ffi::c_void;
use std::io;

use common::failure::Failure;
use common::tls::action::{Action, GNUTLS_CLIENT};

use crate::frames::PREFACE;
use crate::lab::{Case, Expected, Lab, here};
use crate::streams::GET;
use crate::tls_calls::{Session, library, of_actions, probed};

const REQUEST: &[u8] = GET.as_bytes();
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// What a body may hold.
const FAKES: &[u8] = b"GET /fake HTTP/1.1\r\nHost: a\r\n\r\nGET /fake HTTP/1.1\r\nHost: a\r\n\r\nGET /fake HTTP/1.1\r\nHost: a\r\n\r\n1234567";
const S: Session = Session(0x7f00_0000_1000);
const OTHER: Session = Session(0x7f00_0000_2000);

/// So many requests in so many sessions.
fn sessions(requests: u64, sessions: u64) -> Expected {
    Expected { sessions, ..here(requests) }
}

/// With as many losses.
fn lost(expected: Expected, cause: Failure, count: u64) -> Expected {
    Expected { losses: vec![(cause, count)], ..expected }
}

/// With every function of this binary probed.
fn case(name: &str, expected: Expected, run: impl FnOnce(&mut Lab) -> io::Result<()> + 'static) -> Case {
    Case::new(format!("TLS session: {name}"), expected, move |lab| probed(lab, [S, OTHER], run))
}

pub fn cases() -> Vec<Case> {
    assert_eq!(FAKES.len(), 100);
    let mut cases = requests();
    cases.extend(lives());
    cases.extend(calls());
    cases
}

/// Ways in which bytes are handed over.
fn requests() -> Vec<Case> {
    vec![
        case("a request", sessions(1, 1), |_| {
            S.begin_server();
            S.read(REQUEST);
            Ok(())
        }),
        case("1 000 requests, one after another", sessions(1000, 1), |_| {
            S.begin_server();
            (0..1000).for_each(|_| S.read(REQUEST));
            Ok(())
        }),
        case("16 requests in a read", sessions(16, 1), |_| {
            S.begin_server();
            S.read(&REQUEST.repeat(16));
            Ok(())
        }),
        case("cut at every byte", sessions(REQUEST.len() as u64, 1), |_| {
            S.begin_server();
            for cut in 0..REQUEST.len() {
                S.read(&REQUEST[..cut]);
                S.read(&REQUEST[cut..]);
            }
            Ok(())
        }),
        case("byte by byte", sessions(1, 1), |_| {
            S.begin_server();
            REQUEST.chunks(1).for_each(|byte| S.read(byte));
            Ok(())
        }),
        case("a body of fake requests", sessions(2, 1), |_| {
            S.begin_server();
            [POST, FAKES, REQUEST].iter().for_each(|bytes| S.read(bytes));
            Ok(())
        }),
        case("a read of 1 MiB", sessions(2, 1), |_| {
            S.begin_server();
            let body = FAKES.repeat(10_000);
            let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            S.read(&[head.as_bytes(), &body, REQUEST].concat());
            Ok(())
        }),
        case("HTTP/2", sessions(3, 1), |_| {
            S.begin_server();
            // A preface, settings, and three requests of one field that the tables know.
            let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
                [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload].concat()
            };
            S.read(PREFACE);
            S.read(&frame(4, 0, 0, b""));
            [1, 3, 5].iter().for_each(|stream| S.read(&frame(1, 5, *stream, &[0x82, 0x86, 0x84])));
            Ok(())
        }),
        case("what is not HTTP", sessions(0, 1), |_| {
            S.begin_server();
            (0..10).for_each(|_| S.read(b"\0\0\0\x08\x04\xd2\x16\x2f"));
            Ok(())
        }),
        case("a result of 0, of -1, and of fewer than there was room for", sessions(1, 1), |_| {
            S.begin_server();
            S.read_returning(REQUEST, 0);
            S.read_returning(REQUEST, -1);
            S.read_returning(REQUEST, i64::from(u32::MAX));
            S.read_returning(&REQUEST.repeat(2), REQUEST.len() as i64);
            Ok(())
        }),
        case("SSL_read_ex, and early data", sessions(4, 1), |_| {
            S.begin_server();
            S.early(REQUEST, 1);
            S.early(REQUEST, 0);
            S.early(REQUEST, 2);
            S.read_ex(REQUEST);
            S.read(REQUEST);
            Ok(())
        }),
        case("Go: sessions in two goroutines", sessions(2, 2), |_| {
            S.go_server();
            OTHER.go_server();
            S.go_read(&REQUEST[..5], 1);
            OTHER.go_read(REQUEST, 2);
            S.go_read(&REQUEST[5..], 1);
            S.go_close();
            OTHER.go_close();
            Ok(())
        }),
        case("Go: a client", sessions(0, 0), |_| {
            S.go_client();
            S.go_read(REQUEST, 1);
            Ok(())
        }),
    ]
}

/// How sessions begin and end.
fn lives() -> Vec<Case> {
    vec![
        case("a client's, whatever it reads", sessions(0, 0), |_| {
            S.begin_client();
            [RESPONSE, REQUEST, REQUEST].iter().for_each(|bytes| S.read(bytes));
            Ok(())
        }),
        case("freed, and begun anew at its address", sessions(2, 2), |_| {
            S.begin_server();
            [POST, b"a part of it"].iter().for_each(|bytes| S.read(bytes));
            S.free();
            S.begin_server();
            S.read(REQUEST);
            Ok(())
        }),
        case("never freed, and begun anew at its address", sessions(2, 2), |_| {
            S.begin_server();
            [POST, b"a part of it"].iter().for_each(|bytes| S.read(bytes));
            S.begin_server();
            S.read(REQUEST);
            Ok(())
        }),
        case("GnuTLS: a handshake within is no begin", sessions(2, 1), |_| {
            S.begin_unless_known();
            S.read(POST);
            S.begin_unless_known();
            S.read(FAKES);
            S.read(REQUEST);
            Ok(())
        }),
        case("GnuTLS: a client's, known by its flags", sessions(0, 0), |_| {
            S.init(GNUTLS_CLIENT | 1, 0);
            S.begin_unless_known();
            [RESPONSE, REQUEST].iter().for_each(|bytes| S.read(bytes));
            Ok(())
        }),
        case("GnuTLS: a server's, and one that was not made", sessions(2, 2), |_| {
            S.init(1, 0);
            OTHER.init(GNUTLS_CLIENT, -1);
            for session in [S, OTHER] {
                session.begin_unless_known();
                session.read(REQUEST);
            }
            Ok(())
        }),
        case("joined at a request", lost(Expected { resynced: 1, ..sessions(2, 1) }, Failure::Joined, 1), |_| {
            S.read(REQUEST);
            S.read(REQUEST);
            Ok(())
        }),
        case("joined within a body", lost(Expected { resynced: 1, ..sessions(1, 1) }, Failure::Joined, 1), |_| {
            S.read(b"the rest of a body");
            S.read(b"and more of it");
            S.read(REQUEST);
            Ok(())
        }),
        case("10 000 at a time", sessions(10_000, 10_000), |_| {
            let all = || (1..=10_000).map(|index| Session(index << 8));
            all().for_each(Session::begin_server);
            all().for_each(|session| session.read(REQUEST));
            all().for_each(Session::free);
            Ok(())
        }),
        case("more than there is room for", lost(sessions(0, 0), Failure::StorageFull, 1000), |_| {
            let all = || (1..=66_536).map(|index| Session(index << 8));
            all().for_each(Session::begin_server);
            all().for_each(Session::free);
            Ok(())
        }),
        case("of a process that has ended", sessions(1, 1), |lab| {
            S.begin_server();
            S.read(REQUEST);
            OTHER.begin_server();
            let uprobes = lab.uprobes()?;
            let known = uprobes.sessions()?;
            let swept = uprobes.sweep(|_| true)?;
            if swept.sessions != 0 || uprobes.sessions()? != known {
                return Err(io::Error::other(format!("{swept:?} of living processes")));
            }
            let swept = uprobes.sweep(|tgid| tgid != std::process::id())?;
            if swept.sessions != 2 || uprobes.sessions()? != known - 2 {
                return Err(io::Error::other(format!("{swept:?}, {known} were known")));
            }
            Ok(())
        }),
    ]
}

/// Ends without entries, entries without ends, calls within calls.
fn calls() -> Vec<Case> {
    extern "C" fn read_the_same(with: *mut c_void) -> i64 {
        let nested = Nested::of(with);
        nested.session.read(REQUEST);
        nested.result
    }
    extern "C" fn read_another(with: *mut c_void) -> i64 {
        OTHER.read(REQUEST);
        Nested::of(with).result
    }
    vec![
        case("a function that calls another one for the same bytes", sessions(1, 1), |_| {
            S.begin_server();
            S.read_ex_within(REQUEST, read_the_same, Nested { session: S, result: 1 }.hidden());
            Ok(())
        }),
        case("the same, of a session that is joined", lost(sessions(1, 1), Failure::Joined, 1), |_| {
            S.read_ex_within(REQUEST, read_the_same, Nested { session: S, result: 1 }.hidden());
            Ok(())
        }),
        case("within a read of one session, one of another", sessions(2, 2), |_| {
            S.begin_server();
            OTHER.begin_server();
            S.read_within(REQUEST, read_another, Nested { session: S, result: REQUEST.len() as i64 }.hidden());
            Ok(())
        }),
        Case::new("TLS session: an end without its entry", lost(here(0), Failure::CallLost, 1), |lab| {
            let ends = of_actions(|action| action.is_end())?;
            let _link = lab.uprobes()?.attach(&ends).map_err(io::Error::other)?;
            S.read(REQUEST);
            S.read_returning(REQUEST, 0);
            S.read_ex(REQUEST);
            Ok(())
        }),
        Case::new("TLS session: entries without ends, then with them", sessions(1, 1), |lab| {
            let entries = of_actions(|action| action == Action::ReadEntry)?;
            let link = lab.uprobes()?.attach(&entries).map_err(io::Error::other)?;
            (0..3).for_each(|_| S.read(REQUEST));
            drop(link);
            let _link = lab.uprobes()?.attach(&library()?).map_err(io::Error::other)?;
            S.begin_server();
            S.read(REQUEST);
            S.free();
            Ok(())
        }),
    ]
}

/// What a nested call is told: there is one pointer for it.
#[derive(Clone, Copy)]
struct Nested {
    session: Session,
    result: i64,
}

impl Nested {
    /// Sessions of these cases are in the upper bits, results in the lower 12.
    fn hidden(self) -> *mut c_void {
        assert_eq!(self.session.0 & 0xfff, 0);
        std::ptr::without_provenance_mut((self.session.0 | self.result as u64) as usize)
    }

    fn of(with: *mut c_void) -> Self {
        let with = with.addr() as u64;
        Self { session: Session(with & !0xfff), result: (with & 0xfff) as i64 }
    }
}
