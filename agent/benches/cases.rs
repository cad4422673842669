//! Ways of receiving.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

/// A way of receiving: each exchange sends something and reads it with one call.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Nanoseconds above an empty program.
    pub(crate) aim: Option<f64>,
    pub(crate) exchange: Box<dyn FnMut() -> io::Result<()>>,
}

const BROWSER: &str = "GET /index.html HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; \
    rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,\
    image/webp,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: \
    keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: none\r\nCookie: consent=1; session=0123456789abcdef0123456\r\nPriority: u=1\r\n\r\n";
const _: () = assert!(BROWSER.len() == 500, "its case is named so");
/// Nothing sent after this is a request.
const ENDLESS_BODY: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n";
/// A response of 100 bytes.
const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n\r\nhello, I am a server\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
/// With an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Indexed header fields, such as `:method: GET`, one a byte.
const HEADERS: [u8; 60] = [0x82; 60];

pub(crate) fn all() -> io::Result<Vec<Case>> {
    Ok(vec![
        case("100-byte GET", 150.0, repeat(tcp(b"")?, get(100))),
        case("500-byte GET of a browser", 250.0, repeat(tcp(b"")?, BROWSER.into())),
        case("1 KiB GET", None, repeat(tcp(b"")?, get(1024))),
        case("100 bytes inside a known body", 50.0, repeat(tcp(ENDLESS_BODY)?, vec![b'x'; 100])),
        case("16 KiB inside a known body", 50.0, repeat(tcp(ENDLESS_BODY)?, vec![b'x'; 16384])),
        case("100 bytes, known not to be a server's", 50.0, repeat(tcp(RESPONSE)?, vec![b'x'; 100])),
        case("HTTP/2 request, 60 bytes of headers", 200.0, http2(tcp(PREFACE)?)),
        case("100-byte GET over a Unix socket", None, repeat(UnixStream::pair()?, get(100))),
        case("UDP, 100 bytes", 0.0, udp(100)?),
        case("UDP, 32 KiB", 0.0, udp(32 * 1024)?),
    ])
}

/// Ways of answering: each exchange sends and reads something, of which the last is a response.
pub(crate) fn answers() -> io::Result<Vec<Case>> {
    Ok(vec![
        case("a send of no served connection", 25.0, repeat(tcp(b"")?, vec![0; 100])),
        case("small HTTP/1 response", 200.0, answered(tcp(b"")?, get(100), OK.to_vec())),
        case("chunked response of two sends", None, chunked(tcp(b"")?)),
        case("HTTP/2 response", 400.0, http2_answered(tcp(PREFACE)?)),
        case("a round of 1 MiB of response", 30.0, large(tcp(b"")?)),
    ])
}

/// Requests and their responses, the same again and again.
fn answered(
    (mut client, mut server): (TcpStream, TcpStream),
    request: Vec<u8>,
    response: Vec<u8>,
) -> impl FnMut() -> io::Result<()> {
    let (mut asked, mut told) = (vec![0; request.len()], vec![0; response.len()]);
    move || {
        client.write_all(&request)?;
        server.read_exact(&mut asked)?;
        server.write_all(&response)?;
        client.read_exact(&mut told)
    }
}

/// The head in one send, chunks in another.
fn chunked((mut client, mut server): (TcpStream, TcpStream)) -> impl FnMut() -> io::Result<()> {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const CHUNKS: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";
    let request = get(100);
    let (mut asked, mut told) = (vec![0; request.len()], vec![0; HEAD.len() + CHUNKS.len()]);
    move || {
        client.write_all(&request)?;
        server.read_exact(&mut asked)?;
        server.write_all(HEAD)?;
        server.write_all(CHUNKS)?;
        client.read_exact(&mut told)
    }
}

/// A new stream for every exchange, answered by `:status: 200`, six indexed fields, a length, and a body of two bytes.
fn http2_answered((mut client, mut server): (TcpStream, TcpStream)) -> impl FnMut() -> io::Result<()> {
    const FIELDS: &[u8] = b"\x88\xbe\xbf\xc0\xc1\xc2\xc3\x0f\x0d\x012";
    let mut stream = 1_u32;
    let (mut asked, mut told) = (vec![0; 9 + HEADERS.len()], vec![0; 9 + FIELDS.len() + 9 + 2]);
    move || {
        let id = stream.to_be_bytes();
        stream += 2;
        client.write_all(&[&[0, 0, HEADERS.len() as u8, 1, 5], id.as_slice(), &HEADERS].concat())?;
        server.read_exact(&mut asked)?;
        let head = [&[0, 0, FIELDS.len() as u8, 1, 4], id.as_slice(), FIELDS].concat();
        server.write_all(&[head.as_slice(), &[0, 0, 2, 0, 1], &id, b"ok"].concat())?;
        client.read_exact(&mut told)
    }
}

/// A body of 1 MiB, written while it is read.
fn large((mut client, mut server): (TcpStream, TcpStream)) -> impl FnMut() -> io::Result<()> {
    const PIECE: usize = 64 << 10;
    let (request, body) = (get(100), vec![b'x'; PIECE]);
    let (mut asked, mut piece) = (vec![0; request.len()], vec![0; PIECE]);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n";
    let mut told = vec![0; head.len()];
    move || {
        client.write_all(&request)?;
        server.read_exact(&mut asked)?;
        server.write_all(head)?;
        client.read_exact(&mut told)?;
        for _ in 0..(1 << 20) / PIECE {
            server.write_all(&body)?;
            client.read_exact(&mut piece)?;
        }
        Ok(())
    }
}

fn case(name: &'static str, aim: impl Into<Option<f64>>, exchange: impl FnMut() -> io::Result<()> + 'static) -> Case {
    Case { name, aim: aim.into(), exchange: Box::new(exchange) }
}

fn get(length: usize) -> Vec<u8> {
    let head = "GET / HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\nCookie: ";
    format!("{head}{}\r\n\r\n", "c".repeat(length - head.len() - 4)).into_bytes()
}

/// The same bytes again and again.
fn repeat<S: Read + Write>((mut client, mut server): (S, S), payload: Vec<u8>) -> impl FnMut() -> io::Result<()> {
    let mut buffer = vec![0; payload.len()];
    move || {
        client.write_all(&payload)?;
        server.read_exact(&mut buffer)
    }
}

/// A new stream for every exchange.
fn http2((mut client, mut server): (TcpStream, TcpStream)) -> impl FnMut() -> io::Result<()> {
    let mut stream = 1_u32;
    let mut buffer = [0; 9 + HEADERS.len()];
    move || {
        // HEADERS with END_STREAM and END_HEADERS.
        let frame = [&[0, 0, HEADERS.len() as u8, 1, 5], stream.to_be_bytes().as_slice(), &HEADERS].concat();
        stream += 2;
        client.write_all(&frame)?;
        server.read_exact(&mut buffer)
    }
}

/// A connection on which this was already received.
fn tcp(first: &[u8]) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    let (mut server, _) = listener.accept()?;
    server.set_nodelay(true)?;
    client.write_all(first)?;
    server.read_exact(&mut vec![0; first.len()])?;
    Ok((client, server))
}

fn udp(length: usize) -> io::Result<impl FnMut() -> io::Result<()>> {
    let (client, server) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    client.connect(server.local_addr()?)?;
    let (payload, mut buffer) = (vec![b'x'; length], vec![0; length]);
    Ok(move || {
        client.send(&payload)?;
        server.recv(&mut buffer).map(drop)
    })
}
