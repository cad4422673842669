//! Streams: what counts, however it is cut into packets and reads, over every transport.

use std::io;
use std::thread;

use crate::frames::{PREFACE, frame};
use crate::lab::{Case, End, Expected, Transport, here, tls};
use common::failure::Failure;

pub const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// How a stream is written and read.
#[derive(Clone, Copy, Debug)]
struct Cut {
    name: &'static str,
    write: usize,
    read: usize,
}

const CUTS: [Cut; 5] = [
    Cut { name: "whole", write: usize::MAX, read: 1 << 16 },
    Cut { name: "whole, 3-byte reads", write: usize::MAX, read: 3 },
    Cut { name: "whole, 100-byte reads", write: usize::MAX, read: 100 },
    Cut { name: "1-byte writes", write: 1, read: 1 << 16 },
    Cut { name: "7-byte writes, 5-byte reads", write: 7, read: 5 },
];

/// Longer streams are not cut into single bytes: that shows nothing new, and takes long.
const LONG: usize = 20_000;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, stream, expected) in rows() {
        for cut in CUTS {
            if stream.len() > LONG && (cut.write < 100 || cut.read < 100) {
                continue;
            }
            let (stream, expected) = (stream.clone(), expected.clone());
            let case_name = format!("{name}: {}", cut.name);
            // Every stream over every transport, in turn.
            let transport = Transport::ALL[cases.len() % Transport::ALL.len()];
            cases.push(Case::new(format!("{case_name}, {transport:?}"), expected, move |_| {
                let (client, server) = transport.connect()?;
                carry(client, server, stream, cut)
            }));
        }
    }
    for transport in Transport::ALL {
        cases.push(Case::new(
            format!("a request cut at every byte, {transport:?}"),
            here(GET.len() as u64 - 1),
            move |_| {
                (1..GET.len()).try_for_each(|cut| {
                    let (mut client, mut server) = transport.connect()?;
                    for piece in [&GET[..cut], &GET[cut..]] {
                        client.write_all(piece.as_bytes())?;
                        server.read_exact(&mut vec![0; piece.len()])?;
                    }
                    Ok(())
                })
            },
        ));
    }
    cases
}

/// Writes the stream in pieces while the other end reads it in pieces.
fn carry(mut client: Box<dyn End>, mut server: Box<dyn End>, stream: Vec<u8>, cut: Cut) -> io::Result<()> {
    let length = stream.len();
    let writer = thread::spawn(move || {
        for piece in stream.chunks(cut.write.min(stream.len())) {
            client.write_all(piece)?;
        }
        Ok::<_, io::Error>(client)
    });
    let mut buffer = vec![0; cut.read];
    let mut received = 0;
    while received < length {
        received += match server.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => count,
        };
    }
    writer.join().expect("the writer does not panic").map(drop)
}

fn lost(requests: u64, cause: Failure) -> Expected {
    Expected { losses: vec![(cause, 1)], ..here(requests) }
}

/// A connection that has carried no request, and so belongs to no process.
fn begun_otherwise(cause: Failure) -> Expected {
    Expected { losses: vec![(cause, 1)], ..here(0) }
}

fn rows() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let fake = GET.repeat(3);
    let sized = post(&format!("Content-Length: {}\r\n", fake.len()), &fake);
    let chunked = post(
        "Transfer-Encoding: chunked\r\n",
        &format!("{:x};x=\"GET / HTTP/1.1\"\r\n{fake}\r\n0\r\nGET / HTTP/1.1\r\nX: y\r\n\r\n", fake.len()),
    );
    let one_byte_chunks = post("Transfer-Encoding: chunked\r\n", &format!("{}0\r\n\r\n", "1\r\nG\r\n".repeat(50)));
    let large = |kib: usize| {
        let cookie = format!("Cookie: {}\r\nContent-Length: {}\r\n", "c".repeat(kib * 1024), fake.len());
        post(&cookie, &fake) + GET
    };
    let h2 = |requests: u32| {
        let mut stream = [PREFACE, &frame(4, 0, 0, &[])].concat();
        for index in 0..requests {
            stream.extend(frame(1, 4, 2 * index + 1, b"\x82\x86\x84GET / HTTP/1.1\r\n\r\n"));
            stream.extend(frame(0, 0, 2 * index + 1, fake.as_bytes()));
            stream.extend(frame(1, 5, 2 * index + 1, b"\x40\x01a\x01b"));
        }
        stream
    };
    let upgrade =
        "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let text = |text: &str| text.as_bytes().to_vec();
    let proxy_v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01\x1f\x90\0\x50";
    vec![
        ("one request", text(GET), here(1)),
        ("1 000 keep-alive requests", text(&GET.repeat(1000)), here(1000)),
        ("2 pipelined", text(&GET.repeat(2)), here(2)),
        ("16 pipelined", text(&GET.repeat(16)), here(16)),
        ("100 pipelined", text(&GET.repeat(100)), here(100)),
        (
            "methods of every kind",
            text(
                "PROPFIND /a HTTP/1.1\r\n\r\nOPTIONS * HTTP/1.0\r\n\r\nx-y!~ / HTTP/1.1\n\n\r\nTRACE / HTTP/1.1\r\n\r\n",
            ),
            here(4),
        ),
        ("a body of requests", text(&(sized.clone() + GET)), here(2)),
        ("Content-Length: 0", text(&(post("Content-Length: 0\r\n", "") + GET)), here(2)),
        ("a length of over 4 GiB", text(&post("Content-Length: 5000000000\r\n", &fake)), here(1)),
        (
            "lengths repeated and equal",
            text(&(post("Content-Length: 3\r\nContent-Length: 3\r\n", "GET") + GET)),
            here(2),
        ),
        (
            "lengths repeated and different",
            text(&(post("Content-Length: 3\r\nContent-Length: 4\r\n", "GET") + GET)),
            lost(1, Failure::MalformedFraming),
        ),
        ("a folded length", text(&(post(&format!("Content-Length:\r\n {}\r\n", fake.len()), &fake) + GET)), here(2)),
        ("chunks, extensions, trailers of requests", text(&(chunked + GET)), here(2)),
        ("one-byte chunks", text(&(one_byte_chunks + GET)), here(2)),
        (
            "chunked wins over a length",
            text(&(post("Content-Length: 9000\r\nTransfer-Encoding: chunked\r\n", "3\r\nGET\r\n0\r\n\r\n") + GET)),
            here(2),
        ),
        ("a head of 8 KiB", text(&large(8)), here(2)),
        ("a head of 32 KiB", text(&large(32)), here(2)),
        ("a head of 64 KiB", text(&large(64)), here(2)),
        ("Expect: 100-continue", text(&(post("Expect: 100-continue\r\nContent-Length: 3\r\n", "GET") + GET)), here(2)),
        (
            "an upgrade, then frames of requests",
            text(&format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}{GET}")),
            here(1),
        ),
        ("an upgrade that was refused", text(&format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n{GET}")), here(2)),
        (
            "CONNECT, then requests in the tunnel",
            text(&format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{GET}{GET}")),
            here(1),
        ),
        ("PROXY protocol 1", text(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n{GET}{GET}")), here(2)),
        ("PROXY protocol 2", [proxy_v2.as_slice(), GET.as_bytes()].concat(), here(1)),
        ("HTTP/2: 1 request with data and trailers", h2(1), here(1)),
        ("HTTP/2: 100 requests", h2(100), here(100)),
        ("h2c upgrade: the first request is stream 1", [upgrade.as_bytes(), &h2(3)].concat(), here(3)),
        (
            "responses that a client reads",
            text(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{fake}", fake.len())),
            here(0),
        ),
        ("responses whose bodies are requests", text(&format!("HTTP/1.1 200 OK\r\n\r\n{fake}")), here(0)),
        ("HTTP/0.9", text("GET /\r\n"), begun_otherwise(Failure::NoRequestLine)),
        ("two blanks, then requests", text(&format!("GET  / HTTP/1.1\r\nHost: a\r\n\r\n{GET}{GET}")), here(3)),
        ("a blank at the line's end, then requests", text(&format!("GET / HTTP/1.1 \r\n\r\n{GET}{GET}")), here(3)),
        ("a CR before the method, then requests", text(&format!("\r{GET}{GET}")), here(2)),
        ("tabs, then requests", text(&format!("GET\t/\tHTTP/1.1\t\r\n\r\n{GET}{GET}")), here(3)),
        ("HTTP/1.10, then requests", text(&format!("GET / HTTP/1.10\r\n\r\n{GET}{GET}")), here(3)),
        ("HTTP/2.0 without the preface, then requests", text(&format!("GET / HTTP/2.0\r\n\r\n{GET}{GET}")), here(3)),
        (
            "a version that is none",
            text(&format!("GET / HTTP/1.x\r\n\r\n{GET}")),
            begun_otherwise(Failure::MalformedRequest),
        ),
        ("Redis inline", text(&format!("GET key\r\n{GET}")), begun_otherwise(Failure::NoRequestLine)),
        ("Postgres parse", b"P\0\0\0\x20\0GET / HTTP/1.1\r\n\0\0\0".to_vec(), here(0)),
        ("memcached", text("get key\r\nset a 0 0 3\r\nGET\r\n"), here(0)),
        ("SMTP", text("EHLO a\r\nMAIL FROM:<a@a>\r\n"), here(0)),
        ("MQTT", b"\x10\x1a\0\x04MQTT\x04\x02\0\x3c\0\x0eGET / HTTP/1.1\r\n".to_vec(), here(0)),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfcGET / HTTP/1.1\r\n\r\n".to_vec(), tls(1)),
        ("garbage after a request", text(&format!("{GET}\u{1}\u{2}{GET}")), lost(1, Failure::MalformedRequest)),
    ]
}
