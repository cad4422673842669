//! Peers that try to have requests counted that are none.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use common::failure::Failure;

use crate::certainty::{ANSWER, exchange};
use crate::lab::{Case, Expected, here, loopback};
use crate::streams::GET;

const ROUNDS: usize = 20;
/// Requests that are sent together, or what looks like them.
const TOGETHER: usize = 10;

pub fn cases() -> Vec<Case> {
    let two_lengths = "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    let lost = |cause, requests| Expected { losses: vec![(cause, 1)], ..here(requests) };
    vec![
        Case::new("a body of requests behind a malformed one", lost(Failure::MalformedRequest, 1), |_| {
            body_behind("\u{1}\r\n\r\n")
        }),
        Case::new("a body of requests behind a malformed length", lost(Failure::MalformedFraming, 2), move |_| {
            body_behind(two_lengths)
        }),
        Case::new("a target of 900 KiB is a request's", here(2), |_| target_of(900 << 10, "")),
        Case::new("a target of 2 MiB, then a body of requests", lost(Failure::MalformedRequest, 1), |_| {
            target_of(2 << 20, &GET.repeat(TOGETHER))
        }),
        Case::new("a server that answers with requests: its client receives none", here(1), |_| {
            let (mut client, mut server) = loopback()?;
            client.write_all(GET.as_bytes())?;
            server.read_exact(&mut [0; GET.len()])?;
            (0..ROUNDS).try_for_each(|_| receive(&mut server, &mut client))
        }),
        Case::new("a server that greets, and then receives requests", here(3), |_| {
            const GREETING: &[u8] = b"220 hello\r\n";
            let mut ends = loopback()?;
            ends.1.write_all(GREETING)?;
            ends.0.read_exact(&mut [0; GREETING.len()])?;
            (0..3).try_for_each(|_| exchange(&mut ends, GET.as_bytes()))
        }),
        Case::new("a server that connects to its client", here(3), |_| {
            let (connected, accepted) = loopback()?;
            let mut ends = (accepted, connected);
            (0..3).try_for_each(|_| exchange(&mut ends, GET.as_bytes()))
        }),
    ]
}

/// A server that answers while it receives; whatever a client brings about, a body stays one.
fn body_behind(oddity: &str) -> io::Result<()> {
    let mut ends = loopback()?;
    exchange(&mut ends, GET.as_bytes())?;
    exchange(&mut ends, oddity.as_bytes())?;
    for _ in 0..ROUNDS {
        receive(&mut ends.0, &mut ends.1)?;
        ends.1.write_all(ANSWER)?;
        exchange(&mut ends, b"x")?;
        ends.0.read_exact(&mut [0; ANSWER.len()])?;
    }
    Ok(())
}

/// A request, one with a target of so many bytes, and this, to a server that reads 64 KiB at a time.
fn target_of(length: usize, then: &str) -> io::Result<()> {
    let mut ends = loopback()?;
    exchange(&mut ends, GET.as_bytes())?;
    let (mut client, mut server) = ends;
    let stream = format!("GET /{} HTTP/1.1\r\n\r\n{then}", "a".repeat(length));
    let mut left = stream.len();
    let sending = thread::spawn(move || client.write_all(stream.as_bytes()));
    while left > 0 {
        left -= server.read(&mut vec![0; 64 << 10])?;
    }
    sending.join().expect("the sender does not panic")
}

/// What looks like requests, in one read.
fn receive(sender: &mut TcpStream, receiver: &mut TcpStream) -> io::Result<()> {
    let requests = GET.repeat(TOGETHER);
    sender.write_all(requests.as_bytes())?;
    receiver.read_exact(&mut vec![0; requests.len()])
}
