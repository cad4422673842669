//! TLS: connections that a process receives and that begin with a ClientHello are counted, and nothing else of them.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use common::failure::Failure;
use rustix::net::RecvFlags;

use crate::certainty::{ANSWER, exchange};
use crate::client_hellos::HELLOS;
use crate::lab::{Case, Expected, Transport, loopback, tls};
use crate::processes::{finish, start};
use crate::reading::{receive, splice_away, wait_for};
use crate::streams::GET;

pub const HELLO: &[u8] = HELLOS[0].1;
/// As far as it is looked at.
const LOOKED_AT: usize = 6;
const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03GET / HTTP/1.1\r\n\r\n";
const REQUEST: &[u8] = GET.as_bytes();
const PROXY_V1: &[u8] = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n";
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01\x1f\x90\x01\xbb";

pub fn cases() -> Vec<Case> {
    let mut cases = hellos();
    cases.extend(readers());
    cases.extend(none());
    cases
}

/// ClientHellos of real programs, over every transport, cut at every byte.
fn hellos() -> Vec<Case> {
    let mut cases = Vec::new();
    for transport in Transport::ALL {
        for (name, hello) in HELLOS {
            cases.push(Case::new(format!("TLS: {name}, {transport:?}"), tls(1), move |_| {
                carry(transport, &[hello, GET.as_bytes()])
            }));
        }
        let cuts = HELLO.len().min(64);
        cases.push(Case::new(format!("TLS: a hello cut at every byte, {transport:?}"), tls(cuts as u64), move |_| {
            (1..=cuts).try_for_each(|cut| carry(transport, &[&HELLO[..cut], &HELLO[cut..]]))
        }));
        cases.push(Case::new(format!("TLS: a hello byte by byte, {transport:?}"), tls(1), move |_| {
            carry(transport, &HELLO.chunks(1).collect::<Vec<_>>())
        }));
        cases.push(Case::new(format!("TLS: behind a PROXY header, {transport:?}"), tls(4), move |_| {
            [PROXY_V1, PROXY_V2].into_iter().try_for_each(|header| {
                carry(transport, &[header, HELLO])?;
                carry(transport, &[&[header, HELLO].concat()])
            })
        }));
    }
    cases.push(Case::new("TLS: 1 000 connections", tls(1000), |_| {
        (0..1000).try_for_each(|index| carry(Transport::V4, &[HELLOS[index % HELLOS.len()].1]))
    }));
    cases
}

/// Ways in which servers take a hello.
fn readers() -> Vec<Case> {
    let here = |name, run: fn(TcpStream, TcpStream) -> io::Result<()>| {
        Case::new(format!("TLS: {name}"), tls(1), move |_| {
            let (mut client, server) = loopback()?;
            client.write_all(HELLO)?;
            wait_for(&server, HELLO.len())?;
            run(client, server)
        })
    };
    vec![
        here("a record's head, then its payload, as OpenSSL reads", |_, mut server| {
            server.read_exact(&mut [0; 5])?;
            server.read_exact(&mut [0; HELLO.len() - 5])
        }),
        here("a byte peeked first, as nginx does", |_, mut server| {
            receive(&mut server, 1, RecvFlags::PEEK)?;
            server.read_exact(&mut [0; HELLO.len()])
        }),
        here("peeked four times, then read", |_, mut server| {
            (0..4).try_for_each(|_| receive(&mut server, HELLO.len(), RecvFlags::PEEK))?;
            server.read_exact(&mut [0; HELLO.len()])
        }),
        here("peeked, then spliced away, as a proxy that passes it on may", |_, mut server| {
            receive(&mut server, HELLO.len(), RecvFlags::PEEK)?;
            splice_away(&mut server, HELLO.len())
        }),
        here("in another process than the one that accepted", |client, server| {
            let child = start("read-stdin", &[], OwnedFd::from(server))?;
            drop(client);
            finish(child)
        }),
        here("half of it here, the rest in another process", |client, mut server| {
            server.read_exact(&mut [0; LOOKED_AT - 1])?;
            let child = start("read-stdin", &[], OwnedFd::from(server))?;
            drop(client);
            finish(child)
        }),
        here("reset behind it", |client, mut server| {
            server.read_exact(&mut [0; HELLO.len()])?;
            crate::raw::reset_at_close(&client)
        }),
    ]
}

/// What is none.
fn none() -> Vec<Case> {
    let lost = |cause| Expected { losses: vec![(cause, 1)], ..tls(0) };
    let of_request = Expected { here: 1, losses: vec![(Failure::MalformedRequest, 1)], ..tls(0) };
    let stream = |name: &str, expected: Expected, pieces: &'static [&'static [u8]]| {
        Case::new(format!("no TLS connection: {name}"), expected, move |_| carry(Transport::V4, pieces))
    };
    vec![
        stream("five bytes of a hello, then the end", tls(0), &[b"\x16\x03\x01\x02\x00"]),
        stream("a hello of SSL 2", tls(0), &[b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", HELLO]),
        stream("an alert", tls(0), &[b"\x15\x03\x01\x00\x02\x02\x28", HELLO]),
        stream("a ServerHello", tls(0), &[SERVER_HELLO, HELLO]),
        stream("an empty line first", tls(0), &[b"\r\n", HELLO]),
        stream("behind a request", of_request, &[REQUEST, HELLO]),
        stream("behind the question of Postgres", tls(0), &[b"\0\0\0\x08\x04\xd2\x16\x2f", HELLO]),
        Case::new("no TLS connection: STARTTLS", lost(Failure::NoRequestLine), |_| {
            let mut ends = loopback()?;
            [b"EHLO a.example\r\n".as_slice(), b"STARTTLS\r\n", HELLO]
                .iter()
                .try_for_each(|say| exchange(&mut ends, say))
        }),
        Case::new("no TLS connection: a client, whatever its server says", tls(0), |_| {
            let (mut client, mut server) = loopback()?;
            client.write_all(b"\x01")?;
            server.read_exact(&mut [0; 1])?;
            server.write_all(HELLO)?;
            client.read_exact(&mut [0; HELLO.len()])
        }),
        Case::new("one TLS connection: a client and its server, Unix", tls(1), |_| {
            let (mut client, mut server) = UnixStream::pair()?;
            exchange_hellos(&mut client, &mut server)
        }),
        Case::new("one TLS connection: a client and its server", tls(1), |_| {
            let (mut client, mut server) = loopback()?;
            exchange_hellos(&mut client, &mut server)
        }),
        Case::new("no TLS connection: a datagram, as QUIC's", tls(0), |_| {
            let (client, server) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
            client.send_to(HELLO, server.local_addr()?)?;
            server.recv(&mut [0; HELLO.len()]).map(drop)
        }),
        Case::new("no TLS connection: what never passed the hook", lost(Failure::Joined), |_| {
            let mut ends = loopback()?;
            ends.0.write_all(HELLO)?;
            wait_for(&ends.1, HELLO.len())?;
            splice_away(&mut ends.1, HELLO.len())?;
            ends.1.write_all(ANSWER)?;
            ends.0.read_exact(&mut [0; ANSWER.len()])?;
            (0..3).try_for_each(|_| exchange(&mut ends, HELLO))?;
            // Nor behind a header that could be the first.
            exchange(&mut ends, &[PROXY_V1, HELLO].concat())
        }),
    ]
}

fn exchange_hellos<S: io::Read + io::Write>(client: &mut S, server: &mut S) -> io::Result<()> {
    client.write_all(HELLO)?;
    server.read_exact(&mut [0; HELLO.len()])?;
    server.write_all(SERVER_HELLO)?;
    client.read_exact(&mut [0; SERVER_HELLO.len()])
}

/// Each piece is read before the next is written.
fn carry(transport: Transport, pieces: &[&[u8]]) -> io::Result<()> {
    let (mut client, mut server) = transport.connect()?;
    for piece in pieces {
        client.write_all(piece)?;
        server.read_exact(&mut vec![0; piece.len()])?;
    }
    Ok(())
}
