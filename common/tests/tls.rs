//! Connections that begin with a TLS ClientHello, and those that only look so.

mod client_hellos;
mod support;

use client_hellos::HELLOS;
use common::failure::Failure;
use common::replay::Replay;
use proptest::collection::vec;
use proptest::prelude::*;
use support::{End, check};

const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const PROXY_V1: &[u8] = b"PROXY TCP4 10.0.0.1 10.0.0.2 1234 443\r\n";
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01\x1f\x90\x01\xbb";
const PROXY_V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[test]
fn what_clients_send() {
    for (name, hello) in HELLOS {
        check(name, hello, 0, End::Tls);
        check(&format!("{name}, and what looks like requests"), &[hello, GET, GET].concat(), 0, End::Tls);
        check(&format!("{name}, twice"), &[hello, hello].concat(), 0, End::Tls);
        for (version, header) in [("1", PROXY_V1), ("2", PROXY_V2), ("2, local", PROXY_V2_LOCAL)] {
            check(&format!("PROXY {version}, {name}"), &[header, hello].concat(), 0, End::Tls);
        }
        for length in 0..6 {
            check(&format!("{name}, {length} bytes of it"), &hello[..length], 0, End::Open);
        }
    }
}

#[test]
fn records_of_every_size_and_version() {
    for minor in 0..=4 {
        check(&format!("version 3.{minor}"), &[0x16, 3, minor, 2, 0, 1, 0], 0, End::Tls);
    }
    check("cut into records of a byte", b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x01\x00", 0, End::Tls);
    check("the largest record", b"\x16\x03\x01\x40\x00\x01\x00", 0, End::Tls);
}

#[test]
fn what_is_no_client_hello() {
    let rows: &[(&str, &[u8])] = &[
        ("a ServerHello, as clients read it", b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        ("application data", b"\x17\x03\x03\x00\x20\x01\x00"),
        ("an empty record", b"\x16\x03\x01\x00\x00\x01\x00"),
        ("a record that is too large", b"\x16\x03\x01\x40\x01\x01\x00"),
        ("another major version", b"\x16\x02\x01\x00\x7a\x01\x00"),
        ("another minor version", b"\x16\x03\x05\x00\x7a\x01\x00"),
        ("a hello of SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"),
        ("DTLS", b"\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7a\x01"),
    ];
    for (name, stream) in rows {
        check(name, stream, 0, End::NotHttp);
        check(&format!("{name}, and requests"), &[stream, GET].concat(), 0, End::NotHttp);
    }
    let hello = HELLOS[0].1;
    check("behind an empty line", &[b"\r\n", hello].concat(), 0, End::NotHttp);
    check("behind a blank", &[b" ", hello].concat(), 0, End::NotHttp);
    check("behind a request", &[GET, hello].concat(), 1, End::Lost(Failure::MalformedRequest));
    check("STARTTLS of SMTP", &[b"EHLO a\r\nSTARTTLS\r\n", hello].concat(), 0, End::Lost(Failure::NoRequestLine));
    check("Postgres, which asks first", &[b"\0\0\0\x08\x04\xd2\x16\x2f", hello].concat(), 0, End::NotHttp);
}

fn hellos(stream: &[u8], cuts: &[usize]) -> u64 {
    let mut replay = Replay::<1024>::default();
    let mut rest = stream;
    for cut in cuts {
        let (read, after) = rest.split_at((*cut).min(rest.len()));
        replay.read(read);
        rest = after;
    }
    replay.read(rest);
    replay.client_hellos
}

/// As RFC 8446 writes it, with all six bytes at hand.
fn begins_with_hello(stream: &[u8]) -> bool {
    let [22, 3, 0..=4, high, low, 1, ..] = *stream else { return false };
    (1..=1 << 14).contains(&u16::from_be_bytes([high, low]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn agrees_with_a_look_at_six_bytes(
        header in (prop_oneof![9 => Just(22), 1 => any::<u8>()], prop_oneof![9 => Just(3), 1 => any::<u8>()], 0..6_u8,
            0..0x44_u8, prop_oneof![Just(0), any::<u8>()], 0..3_u8),
        rest in vec(any::<u8>(), 0..40), kept in 0..50_usize, proxied: bool, cuts in vec(0..12_usize, 0..12),
    ) {
        let (kind, major, minor, high, low, message) = header;
        let mut stream = [&[kind, major, minor, high, low, message], rest.as_slice()].concat();
        stream.truncate(kept);
        let expected = u64::from(begins_with_hello(&stream));
        let stream = if proxied { [PROXY_V2, &stream].concat() } else { stream };
        prop_assert_eq!(hellos(&stream, &cuts), expected);
    }
}
