//! HTTP/2 connections that are older than the probe: certain once the server has answered a stream that was seen to open.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use common::exchange::UNTOLD;
use common::failure::Failure;
use common::method::Method::Get;

use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, INSERTED, PREFACE, REQUEST, SETTINGS, frame};
use crate::lab::{Case, Expected, Lab, here, loopback};
use crate::responses::{Seen, finish, seen};

const OK: &[u8] = &[0x88];
/// A place in the table that was filled before anybody looked.
const FROM_BEFORE: &[u8] = &[0x80 | 62];

/// Both ends, and the client's last stream.
struct Session {
    client: TcpStream,
    server: TcpStream,
    stream: u32,
}

impl Session {
    fn open() -> io::Result<Self> {
        let (client, server) = loopback()?;
        let mut session = Self { client, server, stream: 1 };
        session.ask(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
        session.answer(&frame(SETTINGS, 0, 0, &[]))?;
        session.request()?;
        Ok(session)
    }

    /// Bytes of the client's, read in one go.
    fn ask(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.write_all(bytes)?;
        self.server.read_exact(&mut vec![0; bytes.len()])
    }

    fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.server.write_all(bytes)?;
        self.client.read_exact(&mut vec![0; bytes.len()])
    }

    /// A request on the next stream, without its end.
    fn request(&mut self) -> io::Result<()> {
        self.stream += 2;
        self.ask(&frame(HEADERS, END_HEADERS, self.stream, REQUEST))
    }

    fn end(&mut self, stream: u32) -> io::Result<()> {
        self.ask(&frame(DATA, END_STREAM, stream, b"the end"))
    }

    fn respond(&mut self, stream: u32, block: &[u8]) -> io::Result<()> {
        self.answer(&frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
    }

    fn exchange(&mut self, block: &[u8]) -> io::Result<()> {
        self.request()?;
        self.end(self.stream)?;
        self.respond(self.stream, block)
    }
}

/// Connections made and used before the probe was attached; each has stream 3 open.
pub struct Old {
    idle: Session,
    open: Session,
    together: Session,
    in_frame: Session,
    silent: Session,
    client: Session,
}

impl Old {
    pub fn open() -> io::Result<Self> {
        let (mut idle, mut in_frame) = (Session::open()?, Session::open()?);
        idle.end(3)?;
        // How large the table is, is not known, so neither is whether this is found there again.
        idle.respond(3, INSERTED)?;
        let cut = frame(DATA, 0, 3, &[0; 100]);
        in_frame.ask(&cut[..50])?;
        let (mut silent, mut client) = (Session::open()?, Session::open()?);
        silent.end(3)?;
        client.end(3)?;
        Ok(Self { idle, open: Session::open()?, together: Session::open()?, in_frame, silent, client })
    }
}

pub fn cases(old: Old) -> Vec<Case> {
    let Old { mut idle, mut open, mut together, mut in_frame, mut silent, mut client } = old;
    vec![
        case("idle", 3, seen(&[(UNTOLD, Get, 1), (200, Get, 2)]), move || {
            idle.exchange(OK)?;
            idle.exchange(OK)?;
            idle.exchange(FROM_BEFORE)?;
            idle.exchange(OK)?;
            finish(idle.client, idle.server)
        }),
        case("with a stream open", 2, seen(&[(200, Get, 1), (418, Get, 1)]), move || {
            open.end(3)?;
            open.respond(3, OK)?;
            open.exchange(OK)?;
            open.exchange(INSERTED)?;
            open.exchange(OK)?;
            finish(open.client, open.server)
        }),
        // Of the requests that come before the first answer none counts, nor do their responses.
        case("with streams that open together", 2, seen(&[(200, Get, 2)]), move || {
            (0..10).try_for_each(|_| together.request())?;
            together.respond(11, OK)?;
            together.request()?;
            (3..=together.stream).filter(|id| id % 2 == 1 && *id != 11).try_for_each(|id| together.respond(id, OK))?;
            together.exchange(OK)?;
            finish(together.client, together.server)
        }),
        case("in a frame", 1, seen(&[(200, Get, 1)]), move || {
            in_frame.ask(&[0; 59])?;
            in_frame.exchange(OK)?;
            in_frame.exchange(OK)?;
            finish(in_frame.client, in_frame.server)
        }),
        Case::new("HTTP/2, older than the probe: not counted while no stream is answered", joined(0), move |_| {
            (0..5).try_for_each(|_| silent.request())?;
            // Not one of these.
            silent.respond(3, OK)?;
            (0..5).try_for_each(|_| silent.request())
        }),
        // What a client reads has HEADERS on odd streams, too.
        Case::new("HTTP/2, older than the probe: a client", joined(0), move |_| {
            std::mem::swap(&mut client.client, &mut client.server);
            (0..5).try_for_each(|_| client.exchange(OK))
        }),
    ]
}

fn joined(requests: u64) -> Expected {
    let resynced = u64::from(requests > 0);
    Expected { losses: vec![(Failure::Joined, 1)], resynced, ..here(requests) }
}

fn case(name: &str, requests: u64, expected: Seen, run: impl FnOnce() -> io::Result<()> + 'static) -> Case {
    Case::new(format!("HTTP/2, older than the probe: {name}"), joined(requests), move |lab: &mut Lab| {
        let (before, _) = lab.need_responses()?;
        run()?;
        expected.expect_since(&before, lab)
    })
}
