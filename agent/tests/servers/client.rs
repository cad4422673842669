//! A client that sends exactly the bytes it is given, cut as it is told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process::Tool;
use crate::session::Session;

const PATIENCE: Duration = Duration::from_secs(60);
/// What bodies consist of.
pub const FAKE: &str = "GET /fake HTTP/1.1\r\nHost: fake\r\n\r\n";

/// Where to connect to.
#[derive(Clone, Debug)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// A port of 127.0.0.1.
    pub fn port(port: u16) -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

/// Both directions of a connection.
pub struct Connection {
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
}

impl Connection {
    /// Connects; what is written leaves at once.
    pub fn open(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Self { reader: Box::new(stream.try_clone()?), writer: Box::new(stream) })
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Self { reader: Box::new(stream.try_clone()?), writer: Box::new(stream) })
            }
        }
    }

    /// Sends.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Receives a head: everything up to an empty line, and nothing behind it.
    pub fn receive_head(&mut self) -> io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            head.extend(byte);
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// Receives so many bytes.
    pub fn receive(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Sends a stream in pieces of at most `piece` bytes while it reads the answers, until the server
/// closes: the last request asks it to. Every one of `requests` must have been answered with 200.
pub fn exchange(address: &Address, stream: &[u8], piece: usize, requests: usize) -> Result<()> {
    let Connection { mut reader, mut writer } = Connection::open(address)?;
    let mut answers = Vec::new();
    thread::scope(|scope| -> io::Result<()> {
        let sender = scope.spawn(move || stream.chunks(piece).try_for_each(|piece| writer.write_all(piece)));
        reader.read_to_end(&mut answers)?;
        sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
    })?;
    let answers = String::from_utf8_lossy(&answers);
    let good = answers.matches("HTTP/1.1 200 ").count();
    ensure!(good == requests, "{good} of {requests} requests were answered with 200: {:.200}", answers);
    Ok(())
}

/// h2load: exactly so many requests, all of which must succeed.
pub fn h2load(session: &mut Session, requests: usize, options: &str, url: &str) -> Result<()> {
    let tool = Tool::new("h2load")?.arg(format!("--requests={requests}")).args(options).arg(url);
    let report = session.run(tool)?;
    ensure!(report.contains(&format!(" {requests} succeeded,")), "h2load: {report}");
    Ok(())
}

/// So many requests, the last of which ends the connection.
pub fn gets(requests: usize) -> Vec<u8> {
    let mut stream = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(requests - 1);
    stream += "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.into_bytes()
}

/// A POST with a body of at least `length` bytes, all of it fake requests.
pub fn post(target: &str, length: usize, fields: &str) -> Vec<u8> {
    let body = fakes(length);
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
        .into_bytes()
}

/// The same body in chunks of several sizes, with fake requests as extensions and trailers.
pub fn post_chunked(target: &str, length: usize, fields: &str) -> Vec<u8> {
    let body = fakes(length);
    let mut stream = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{fields}\r\n");
    let mut rest = body.as_str();
    for size in [1, 2, 34, 68, 4096, 16_000].into_iter().cycle() {
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        stream += &format!("{:X};x=\"GET / HTTP/1.1\"\r\n{chunk}\r\n", chunk.len());
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    stream += "0\r\nX-Fake: GET / HTTP/1.1\r\n\r\n";
    stream.into_bytes()
}

/// Fake requests, at least `length` bytes of them.
pub fn fakes(length: usize) -> String {
    FAKE.repeat(length.div_ceil(FAKE.len()))
}
