//! Responses on connections that are older than the probe.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use common::failure::Failure;
use common::method::Method::Get;

use crate::lab::{Case, Expected, Lab, here, loopback};
use crate::responses::{OK, finish, seen};
use crate::streams::GET;

const BODY: &str = "HTTP/1.1 500 No\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nContent-Length: 19\r\n\r\n";

/// Connections on which something was going on when the probe was attached.
pub struct Old {
    in_response: (TcpStream, TcpStream),
    in_request: (TcpStream, TcpStream),
}

impl Old {
    pub fn open() -> io::Result<Self> {
        let mut in_response = loopback()?;
        ask(&mut in_response, GET)?;
        answer(&mut in_response, "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n")?;
        let mut in_request = loopback()?;
        ask(&mut in_request, POST)?;
        ask(&mut in_request, &BODY[..9])?;
        Ok(Self { in_response, in_request })
    }
}

fn ask((client, server): &mut (TcpStream, TcpStream), bytes: &str) -> io::Result<()> {
    client.write_all(bytes.as_bytes())?;
    server.read_exact(&mut vec![0; bytes.len()])
}

fn answer((client, server): &mut (TcpStream, TcpStream), bytes: &str) -> io::Result<()> {
    server.write_all(bytes.as_bytes())?;
    client.read_exact(&mut vec![0; bytes.len()])
}

pub fn cases(old: Old) -> Vec<Case> {
    let Old { mut in_response, mut in_request } = old;
    vec![
        case("older than the probe, in a response", here(3), move || {
            answer(&mut in_response, BODY)?;
            then(3, in_response)
        }),
        case("older than the probe, in a request", joined(2), move || {
            ask(&mut in_request, &BODY[9..])?;
            answer(&mut in_request, OK)?;
            then(2, in_request)
        }),
    ]
}

fn then(requests: u64, mut ends: (TcpStream, TcpStream)) -> io::Result<()> {
    for _ in 0..requests {
        ask(&mut ends, GET)?;
        answer(&mut ends, OK)?;
    }
    finish(ends.0, ends.1)
}

/// Something is lost of it first.
fn joined(requests: u64) -> Expected {
    Expected { losses: vec![(Failure::Joined, 1)], resynced: 1, ..here(requests) }
}

fn case(name: &str, expected: Expected, run: impl FnOnce() -> io::Result<()> + 'static) -> Case {
    let requests = expected.here;
    Case::new(format!("responses: {name}"), expected, move |lab: &mut Lab| {
        let (before, _) = lab.need_responses()?;
        run()?;
        seen(&[(200, Get, requests)]).expect_since(&before, lab)
    })
}
