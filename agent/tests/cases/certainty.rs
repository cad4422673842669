//! Certainty: connections that are older than the probe.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use common::failure::Failure;

use crate::lab::{Case, Expected, here, loopback};
use crate::streams::GET;

pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Connections made and used before the probe was attached.
pub struct Old {
    idle: (TcpStream, TcpStream),
    in_body: (TcpStream, TcpStream),
    unused: (TcpStream, TcpStream),
    unix: (UnixStream, UnixStream),
}

const BODY: usize = 10_000;

impl Old {
    pub fn open() -> io::Result<Self> {
        let (mut idle, mut in_body) = (loopback()?, loopback()?);
        exchange(&mut idle, GET.as_bytes())?;
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {BODY}\r\n\r\n");
        in_body.0.write_all(head.as_bytes())?;
        in_body.0.write_all(&vec![b'x'; BODY / 2])?;
        in_body.1.read_exact(&mut vec![0; head.len() + BODY / 2])?;
        let mut unix = UnixStream::pair()?;
        exchange(&mut unix, GET.as_bytes())?;
        Ok(Self { idle, in_body, unused: loopback()?, unix })
    }
}

pub fn cases(old: Old) -> Vec<Case> {
    let Old { mut idle, mut in_body, mut unused, mut unix } = old;
    let joined = |requests| Expected { losses: vec![(Failure::Joined, 1)], resynced: 1, ..here(requests) };
    let begun_otherwise = |requests| Expected {
        losses: vec![(Failure::NoRequestLine, 1)],
        resynced: u64::from(requests > 0),
        ..here(requests)
    };
    vec![
        Case::new("older than the probe, idle: counts from the next answer on", joined(2), move |_| {
            // Whether anything was sent since the last read is not known of the first one.
            (0..3).try_for_each(|_| exchange(&mut idle, GET.as_bytes()))
        }),
        Case::new("older than the probe, in a body of requests", joined(2), move |_| {
            let rest = GET.repeat(BODY / 2 / GET.len() + 1);
            let (client, server) = &mut in_body;
            for piece in rest.as_bytes()[..BODY / 2].chunks(GET.len()) {
                client.write_all(piece)?;
                server.read_exact(&mut vec![0; piece.len()])?;
            }
            server.write_all(ANSWER)?;
            (0..2).try_for_each(|_| exchange(&mut in_body, GET.as_bytes()))
        }),
        Case::new("Unix, older than the probe: counts from the second read on", joined(2), move |_| {
            (0..3).try_for_each(|_| exchange(&mut unix, GET.as_bytes()))
        }),
        Case::new("a first line that is none: counts from the next answer on", begun_otherwise(3), move |_| {
            let mut connection = loopback()?;
            exchange(&mut connection, b"GET / ICE/1.0\r\n\r\n")?;
            (0..3).try_for_each(|_| exchange(&mut connection, GET.as_bytes()))
        }),
        Case::new("another protocol: tried four times, then left alone", begun_otherwise(0), move |_| {
            let mut connection = loopback()?;
            (0..5).try_for_each(|_| exchange(&mut connection, b"GET key\r\n"))?;
            (0..3).try_for_each(|_| exchange(&mut connection, GET.as_bytes()))
        }),
        Case::new("older than the probe, never read from: certain", here(3), move |_| {
            (0..3).try_for_each(|_| exchange(&mut unused, GET.as_bytes()))
        }),
    ]
}

pub fn exchange<S: io::Read + io::Write>((client, server): &mut (S, S), request: &[u8]) -> io::Result<()> {
    client.write_all(request)?;
    server.read_exact(&mut vec![0; request.len()])?;
    server.write_all(ANSWER)?;
    client.read_exact(&mut [0; ANSWER.len()])
}
