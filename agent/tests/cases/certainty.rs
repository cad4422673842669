//! Certainty: connections that are older than the probe.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use common::failure::Failure;

use crate::lab::{Case, Expected, here, loopback};
use crate::streams::GET;
use crate::tls::HELLO;

pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

const REDIS: &[u8] = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
const EXPECTS: &str = "POST / HTTP/1.1\r\nContent-Length: 81\r\n\r\n";

/// Connections made and used before the probe was attached.
pub struct Old {
    idle: (TcpStream, TcpStream),
    in_hands: (TcpStream, TcpStream),
    in_head: (TcpStream, TcpStream),
    in_queue: (TcpStream, TcpStream),
    continued: (TcpStream, TcpStream),
    redis: (TcpStream, TcpStream),
    in_body: (TcpStream, TcpStream),
    unused: (TcpStream, TcpStream),
    in_handshake: (TcpStream, TcpStream),
    unix: (UnixStream, UnixStream),
}

const BODY: usize = 10_000;
/// Longer than a tick of any kernel: what is sent then is sent later than what came before was received.
const TICKS: Duration = Duration::from_millis(50);
const HALF: usize = 7;

impl Old {
    pub fn open() -> io::Result<Self> {
        let (mut idle, mut in_body) = (loopback()?, loopback()?);
        ask(&mut idle, GET.as_bytes())?;
        let (mut in_hands, mut in_head, mut in_queue) = (loopback()?, loopback()?, loopback()?);
        ask(&mut in_hands, GET.as_bytes())?;
        exchange(&mut in_head, GET.as_bytes())?;
        ask(&mut in_queue, GET.as_bytes())?;
        in_queue.0.write_all(GET.as_bytes())?;
        let mut redis = loopback()?;
        ask(&mut redis, REDIS)?;
        // A server that has said nothing of the body yet.
        let mut continued = loopback()?;
        ask(&mut continued, EXPECTS.as_bytes())?;
        thread::sleep(TICKS);
        for answered in [&mut idle, &mut in_queue, &mut redis] {
            answer(answered)?;
        }
        ask(&mut in_head, &GET.as_bytes()[..HALF])?;
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {BODY}\r\n\r\n");
        in_body.0.write_all(head.as_bytes())?;
        in_body.0.write_all(&vec![b'x'; BODY / 2])?;
        in_body.1.read_exact(&mut vec![0; head.len() + BODY / 2])?;
        let (mut unix, mut in_handshake) = (UnixStream::pair()?, loopback()?);
        exchange(&mut unix, GET.as_bytes())?;
        exchange(&mut in_handshake, HELLO)?;
        Ok(Self {
            idle,
            in_hands,
            in_head,
            in_queue,
            continued,
            redis,
            in_body,
            unused: loopback()?,
            in_handshake,
            unix,
        })
    }
}

pub fn cases(old: Old) -> Vec<Case> {
    let Old { mut idle, mut in_hands, mut in_head, mut in_queue, mut continued, mut redis, .. } = old;
    let (mut in_body, mut unused, mut in_handshake, mut unix) = (old.in_body, old.unused, old.in_handshake, old.unix);
    let joined = |requests| Expected { losses: vec![(Failure::Joined, 1)], resynced: 1, ..here(requests) };
    let begun_before = Expected { losses: vec![(Failure::Joined, 1)], ..here(0) };
    let begun_otherwise = |requests| Expected {
        losses: vec![(Failure::NoRequestLine, 1)],
        resynced: u64::from(requests > 0),
        ..here(requests)
    };
    vec![
        Case::new("older than the probe, idle: certain", here(3), move |_| {
            (0..3).try_for_each(|_| exchange(&mut idle, GET.as_bytes()))
        }),
        Case::new("older than the probe, while a request is being answered: certain", here(3), move |_| {
            answer(&mut in_hands)?;
            (0..3).try_for_each(|_| exchange(&mut in_hands, GET.as_bytes()))
        }),
        Case::new("older than the probe, in a request's head", joined(2), move |_| {
            exchange(&mut in_head, &GET.as_bytes()[HALF..])?;
            (0..2).try_for_each(|_| exchange(&mut in_head, GET.as_bytes()))
        }),
        // What was sent last is no answer to what waits; whether it was all is not known.
        Case::new("older than the probe, with a request that waits to be read", joined(2), move |_| {
            in_queue.1.read_exact(&mut vec![0; GET.len()])?;
            answer(&mut in_queue)?;
            (0..2).try_for_each(|_| exchange(&mut in_queue, GET.as_bytes()))
        }),
        Case::new("older than the probe, before a body of requests", joined(2), move |_| {
            ask(&mut continued, GET.repeat(2).as_bytes())?;
            ask(&mut continued, GET.as_bytes())?;
            answer(&mut continued)?;
            (0..2).try_for_each(|_| exchange(&mut continued, GET.as_bytes()))
        }),
        Case::new("older than the probe, another protocol", begun_before.clone(), move |_| {
            (0..3).try_for_each(|_| exchange(&mut redis, REDIS))
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
        Case::new("Unix, older than the probe: certain", here(3), move |_| {
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
        // A client may say hello again in the same connection: what it begins with was not seen.
        Case::new("older than the probe, in a handshake: no TLS connection", begun_before, move |_| {
            (0..3).try_for_each(|_| exchange(&mut in_handshake, HELLO))
        }),
        Case::new("older than the probe, never read from: certain", here(3), move |_| {
            (0..3).try_for_each(|_| exchange(&mut unused, GET.as_bytes()))
        }),
    ]
}

fn ask((client, server): &mut (TcpStream, TcpStream), request: &[u8]) -> io::Result<()> {
    client.write_all(request)?;
    server.read_exact(&mut vec![0; request.len()])
}

fn answer((client, server): &mut (TcpStream, TcpStream)) -> io::Result<()> {
    server.write_all(ANSWER)?;
    client.read_exact(&mut [0; ANSWER.len()])
}

pub fn exchange<S: io::Read + io::Write>((client, server): &mut (S, S), request: &[u8]) -> io::Result<()> {
    client.write_all(request)?;
    server.read_exact(&mut vec![0; request.len()])?;
    server.write_all(ANSWER)?;
    client.read_exact(&mut [0; ANSWER.len()])
}
