//! HTTP/1 streams, a row each, with the counts that the definition of a request gives.

mod support;

use common::failure::Failure;
use support::{End, check};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn join(parts: &[&str]) -> Vec<u8> {
    parts.concat().into_bytes()
}

fn repeat(part: &str, count: usize) -> Vec<u8> {
    part.repeat(count).into_bytes()
}

#[test]
fn request_lines() {
    let rows: &[(&str, &str)] = &[
        ("plain", GET),
        ("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        ("HTTP/1.9", "GET / HTTP/1.9\r\n\r\n"),
        ("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n"),
        ("leading empty lines", "\r\n\n\r\nGET / HTTP/1.1\r\n\r\n"),
        ("OPTIONS *", "OPTIONS * HTTP/1.1\r\n\r\n"),
        ("absolute target", "GET http://a.example/b?c=d HTTP/1.1\r\n\r\n"),
        ("a target of bytes beyond ASCII", "GET /\u{e4}\u{4e2d} HTTP/1.1\r\n\r\n"),
        ("PROPFIND", "PROPFIND /dav HTTP/1.1\r\n\r\n"),
        ("MKCOL", "MKCOL /dav/new HTTP/1.1\r\n\r\n"),
        ("QUERY", "QUERY /search HTTP/1.1\r\n\r\n"),
        ("TRACE", "TRACE / HTTP/1.1\r\n\r\n"),
        ("a method of every kind of token character", "aZ09!#$%&'*+-.^_`|~ / HTTP/1.1\r\n\r\n"),
        ("a method of eight letters", "ABCDEFGH / HTTP/1.1\r\n\r\n"),
        ("a method of nine letters", "ABCDEFGHI / HTTP/1.1\r\n\r\n"),
        ("a method named PRI", "PRI /a HTTP/1.1\r\n\r\n"),
        ("PRI with an asterisk and HTTP/1.1", "PRI * HTTP/1.1\r\n\r\n"),
        ("a method named PROXY", "PROXY / HTTP/1.1\r\n\r\n"),
        ("HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no line end yet after the head", "GET / HTTP/1.1\r\nHost: a"),
        ("no field at all yet", "GET / HTTP/1.1\r\n"),
    ];
    for (name, stream) in rows {
        check(name, stream.as_bytes(), 1, End::Open);
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n{GET}", "a".repeat(9000));
    check("a target of 9 000 bytes", long.as_bytes(), 2, End::Open);
    let long = format!("{} / HTTP/1.1\r\n\r\n{GET}", "A".repeat(128));
    check("a method of 128 letters", long.as_bytes(), 2, End::Open);
}

/// Request lines that some server serves, and goes on behind: docs/accuracy.md.
#[test]
fn request_lines_that_servers_take() {
    let rows = [
        "GET  / HTTP/1.1\r\n",
        "GET         / HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "GET \t/\t HTTP/1.1\r\n",
        "GET /  HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET / HTTP/1.1 \t \r\n",
        "GET / HTTP/1.1 \n",
        "GET / HTTP/1.1\r\r\n",
        "GET\x0b/\x0bHTTP/1.1\r\n",
        "GET\x0c/\x0cHTTP/1.1\r\n",
        "GET\r/\rHTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "\tGET / HTTP/1.1\r\n",
        "\rGET / HTTP/1.1\r\n",
        "\r\r\nGET / HTTP/1.1\r\n",
        "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n",
        "GET / HTTP/1.10\r\n",
        "GET / HTTP/1.01\r\n",
        "GET / HTTP/1.999\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/3.0\r\n",
        "GET /\x01 HTTP/1.1\r\n",
        "GET \x01 HTTP/1.1\r\n",
        "GET /\x7f HTTP/1.1\r\n",
        "GET /\0a HTTP/1.1\r\n",
        "CONNECTED  x  HTTP/1.1\r\n",
        "PRI  /  HTTP/2.0\r\n",
        "PRI * HTTP/2.01\r\n",
        "PRI * HTTP/2.1\r\n",
    ];
    for line in rows {
        let stream = format!("{line}Host: a\r\n\r\n");
        check(line, stream.as_bytes(), 1, End::Open);
        check(&format!("{line:?} and others behind it"), &join(&[&stream, GET, &stream, GET]), 4, End::Open);
    }
    check("blanks in a line of CONNECT", &join(&["CONNECT  a:1\tHTTP/1.1\r\n\r\n", GET]), 1, End::Tunnel);
    check("100 blanks", &join(&["GET", &" ".repeat(100), "/ HTTP/1.1\r\n\r\n", GET]), 2, End::Open);
}

#[test]
fn versions() {
    use common::maps::Version;
    use common::replay::Replay;
    for (version, counts_as) in [
        ("1.1", Version::Http11),
        ("1.1 ", Version::Http11),
        ("1.0", Version::Http10),
        ("1.10", Version::Http10),
        ("1.01", Version::Http10),
        ("1.2", Version::Http10),
        ("2.0", Version::Http10),
        ("2.1", Version::Http10),
    ] {
        let mut replay = Replay::<64>::default();
        replay.read(format!("GET / HTTP/{version}\r\n\r\n").as_bytes());
        assert_eq!((replay.total(), replay.requests[counts_as as usize]), (1, 1), "{version}");
    }
}

#[test]
fn what_cannot_be_http() {
    let rows: &[(&str, &[u8])] = &[
        ("a response, as clients read it", b"HTTP/1.1 200 OK\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        ("Redis", b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"),
        ("Redis inline, a word", b"PING\r\nGET / HTTP/1.1\r\n\r\n"),
        ("Postgres, at the start", b"\0\0\0\x54\0\x03\0\0user\0a\0\0"),
        ("Postgres", b"P\0\0\0\x20\0GET / HTTP/1.1\r\n\0\0\0"),
        ("MQTT", b"\x10\x1a\0\x04MQTT\x04\x02\0\x3c\0\x0eGET / HTTP/1.1\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("a method without a target", b"GET \r\n"),
        ("PROXY alone", b"PROXY\r\nGET / HTTP/1.1\r\n\r\n"),
        ("an empty method", b" / HTTP/1.1\r\n\r\n"),
        ("a method that is no token", b"G@T / HTTP/1.1\r\n\r\n"),
        ("HTTP/2 frames of a server", b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"),
    ];
    for (name, stream) in rows {
        check(name, stream, 0, End::NotHttp);
    }
}

/// A word and a blank: it may yet come back.
#[test]
fn what_begins_like_a_request_and_is_none() {
    let rows: &[(&str, &[u8])] = &[
        ("HTTP/0.9", b"GET /\r\nGET / HTTP/1.1\r\n\r\n"),
        ("a version without its name", b"GET / 1.1\r\n\r\n"),
        ("another name", b"GET / ICE/1.0\r\n\r\n"),
        ("no target", b"GET HTTP/1.1\r\n\r\n"),
        ("a blank in the target", b"GET /a b HTTP/1.1\r\n\r\n"),
        ("Redis inline", b"GET key\r\nGET / HTTP/1.1\r\n\r\n"),
        ("memcached", b"get key\r\n"),
        ("SMTP", b"EHLO a.example\r\nMAIL FROM:<a@a.example>\r\n"),
    ];
    for (name, stream) in rows {
        check(name, stream, 0, End::Lost(Failure::NoRequestLine));
    }
    let long = format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(129));
    check("a method of 129 letters", long.as_bytes(), 0, End::Lost(Failure::NoRequestLine));
    let rows: &[(&str, &[u8])] = &[
        ("HTTP/0.9, named", b"GET / HTTP/0.9\r\n\r\n"),
        ("no minor version", b"GET / HTTP/1\r\n\r\n"),
        ("an empty minor version", b"GET / HTTP/1.\r\n\r\n"),
        ("a minor version that is no number", b"GET / HTTP/1.x\r\n\r\n"),
        ("a letter behind the version", b"GET / HTTP/1.1x\r\n\r\n"),
        ("a word behind the version", b"GET / HTTP/1.1 1\r\n\r\n"),
        ("a carriage return alone", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    ];
    for (name, stream) in rows {
        check(name, stream, 0, End::Lost(Failure::MalformedRequest));
    }
}

#[test]
fn pipelines() {
    for count in [2, 16, 100, 1000] {
        check(&format!("{count} pipelined"), &repeat(GET, count), count as u64, End::Open);
    }
    let garbage = join(&[GET, "\x01\x02\r\n", GET]);
    check("garbage after a request", &garbage, 1, End::Lost(Failure::MalformedRequest));
}

#[test]
fn lengths() {
    let fake = GET;
    let length = fake.len();
    let head = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let rows: &[(&str, String)] = &[
        ("a body of requests", format!("Content-Length: {length}")),
        ("upper case", format!("CONTENT-LENGTH:{length}")),
        ("blanks around the number", format!("content-length: \t {length} \t ")),
        ("leading zeros", format!("Content-Length: 000{length}")),
        ("repeated and equal", format!("Content-Length: {length}\r\nContent-Length: {length}")),
        ("a list of equal numbers", format!("Content-Length: {length}, {length}")),
        ("a folded value", format!("Content-Length:\r\n {length}")),
        ("after long fields", format!("Cookie: {}\r\nContent-Length: {length}", "c".repeat(3000))),
        (
            "after a field that begins alike",
            format!("Content-Lengths: 3\r\nContent-Length: {length}\r\nContent-Type: t"),
        ),
        ("after a field that is longer", format!("Content-Length-Hint: 3\r\nContent-Length: {length}")),
        ("after a field that is cut short", format!("Content-: 3\r\nContent-Length: {length}")),
        ("after a folded field", format!("X: a\r\n Content-Length: 7\r\nContent-Length: {length}")),
        ("Expect", format!("Expect: 100-continue\r\nContent-Length: {length}")),
    ];
    for (name, fields) in rows {
        let head = head(&format!("{fields}\r\n"));
        check(name, &join(&[&head, fake, GET]), 2, End::Open);
        check(&format!("{name}, and nothing else"), &join(&[&head, fake]), 1, End::Open);
    }
    check("Content-Length: 0", &join(&[&head("Content-Length: 0\r\n"), GET]), 2, End::Open);
    check("over 4 GiB", &join(&[&head("Content-Length: 5000000000\r\n"), GET]), 1, End::Open);
    check("the largest", &join(&[&head("Content-Length: 18446744073709551609\r\n"), GET]), 1, End::Open);
}

#[test]
fn lengths_that_cannot_be_known() {
    let rows: &[(&str, &str)] = &[
        ("repeated and different", "Content-Length: 3\r\nContent-Length: 4\r\n"),
        ("a list of different numbers", "Content-Length: 3, 4\r\n"),
        ("no number", "Content-Length: x\r\n"),
        ("empty", "Content-Length:\r\n"),
        ("signed", "Content-Length: +3\r\n"),
        ("two numbers", "Content-Length: 3 4\r\n"),
        ("a folded second number", "Content-Length: 3\r\n 4\r\n"),
        ("too large", "Content-Length: 18446744073709551620\r\n"),
        ("far too large", "Content-Length: 99999999999999999999999\r\n"),
        ("a blank before the colon", "Content-Length : 3\r\n"),
        ("gzip as the last coding", "Transfer-Encoding: chunked, gzip\r\n"),
        ("identity", "Transfer-Encoding: identity\r\n"),
        ("a coding that begins alike", "Transfer-Encoding: chunkedx\r\n"),
        ("half a coding", "Transfer-Encoding: chun ked\r\n"),
    ];
    for (name, fields) in rows {
        let stream = format!("POST / HTTP/1.1\r\n{fields}\r\nabc{GET}");
        check(name, stream.as_bytes(), 1, End::Lost(Failure::MalformedFraming));
    }
}

#[test]
fn chunks() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let rows: &[(&str, String)] = &[
        ("a chunk of requests", format!("{head}{:x}\r\n{GET}\r\n0\r\n\r\n", GET.len())),
        ("upper-case size", format!("{head}{:X}\r\n{GET}\r\n0\r\n\r\n", GET.len())),
        ("leading zeros", format!("{head}000{:x}\r\n{GET}\r\n00\r\n\r\n", GET.len())),
        ("extensions", format!("{head}3;{}=\"b c\"\r\nabc\r\n0;a\r\n\r\n", "GET / HTTP/1.1")),
        ("a blank after the size", format!("{head}3 \r\nabc\r\n0\r\n\r\n")),
        ("trailers", format!("{head}3\r\nabc\r\n0\r\nGET / HTTP/1.1\r\nX: y\r\n\r\n")),
        ("one-byte chunks", format!("{head}{}0\r\n\r\n", "1\r\na\r\n".repeat(40))),
        ("bare line feeds", format!("{head}3\nabc\n0\n\n")),
        ("no chunk", format!("{head}0\r\n\r\n")),
        (
            "chunked wins over a length",
            "POST / HTTP/1.1\r\nContent-Length: 5000\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (
            "gzip, chunked",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "two fields",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding:  Chunked \r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (
            "a folded coding",
            "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(),
        ),
    ];
    for (name, message) in rows {
        check(name, &join(&[message, GET]), 2, End::Open);
    }
    for (name, size) in
        [("no digits", ";\r\n"), ("no number", "g\r\n"), ("17 digits", "10000000000000000\r\n"), ("a dash", "-1\r\n")]
    {
        check(name, &join(&[head, size, GET]), 1, End::Lost(Failure::MalformedFraming));
    }
    check("data longer than its size", &join(&[head, "3\r\nabcd\r\n", GET]), 1, End::Lost(Failure::MalformedFraming));
}

#[test]
fn large_heads() {
    for kib in [8, 32, 64] {
        let cookie = format!("Cookie: {}\r\n", "c".repeat(kib * 1024));
        let one = format!("POST / HTTP/1.1\r\n{cookie}Content-Length: {}\r\n\r\n{GET}", GET.len());
        check(&format!("{kib} KiB in one field"), &join(&[&one, GET]), 2, End::Open);
        let many = "X-Field: value of some length\r\n".repeat(kib * 32);
        let one = format!("POST / HTTP/1.1\r\n{many}Content-Length: {}\r\n\r\n{GET}", GET.len());
        check(&format!("{kib} KiB in many fields"), &join(&[&one, GET]), 2, End::Open);
    }
}

#[test]
fn leaving_http() {
    let frames = "\u{1}\u{2}GET / HTTP/1.1\r\n\r\n";
    let upgrade = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    check("an upgrade that was taken up", &join(&[upgrade, frames]), 1, End::Tunnel);
    check("an upgrade that was not", &join(&[upgrade, GET]), 2, End::Open);
    check(
        "an upgrade, then garbage after another request",
        &join(&[upgrade, GET, frames]),
        2,
        End::Lost(Failure::MalformedRequest),
    );
    let connect = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
    check("CONNECT", &join(&[connect, GET]), 1, End::Tunnel);
    let insecure = "GET / HTTP/1.1\r\nUpgrade-Insecure-Requests: 1\r\n\r\n";
    check("Upgrade-Insecure-Requests", &join(&[insecure, frames]), 1, End::Lost(Failure::MalformedRequest));
}

#[test]
fn the_proxy_protocol() {
    check("version 1", &join(&["PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n", GET]), 1, End::Open);
    check("version 1, unknown", &join(&["PROXY UNKNOWN\r\n", GET]), 1, End::Open);
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend([10, 0, 0, 1, 10, 0, 0, 2, 0x1f, 0x90, 0, 80]);
    check("version 2", &[&header, GET.as_bytes()].concat(), 1, End::Open);
    check("version 2, local", &[b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", GET.as_bytes()].concat(), 1, End::Open);
    check("half a signature", &[b"\r\n\r\n\0\r\nQUI", GET.as_bytes()].concat(), 0, End::NotHttp);
    check("after a request", &[GET.as_bytes(), &header].concat(), 1, End::Lost(Failure::MalformedRequest));
}
